"""tagger-en-ewt-stream on the test part of UD English EWT: CoNLL-U read by hand."""

from __future__ import annotations

from pathlib import Path

import oracle
import tasks

BUNDLE, KIND = "tagger-en-ewt-stream", "words-tags"


def examples(data: Path, limit: int | None = None) -> list[tuple[list[str], list[str]]]:
    """Words and universal parts of speech, without the lines of ranges (3-4) and of words that were left out (3.1)."""
    text = (data / "ud_en_ewt" / "en_ewt-ud-test.conllu").read_text(encoding="utf-8")
    found = []
    for block in text.strip().split("\n\n")[:limit]:
        rows = [line.split("\t") for line in block.split("\n") if not line.startswith("#")]
        kept = [row for row in rows if row[0].isdecimal()]
        found.append(([row[1] for row in kept], [row[3] for row in kept]))
    return found


def figures(model: oracle.Model, rows: list[tuple[list[str], list[str]]]) -> dict[str, float]:
    """The accuracy over words, and over those that the vocabulary lacks."""
    encoder, labels = tasks.Words(model.files), tasks.lines(model.files["labels.txt"])
    right, seen = [], []
    for words, tags in rows:
        best = tasks.whole(model, encoder.encode(words)).argmax(axis=-1)
        right += [labels[k] == tag for k, tag in zip(best, tags, strict=True)]
        seen += [word.lower() in encoder.ids["words"] for word in words]
    unseen = [ok for ok, known in zip(right, seen, strict=True) if not known]
    return {"accuracy": oracle.accuracy(right), "unseen_accuracy": oracle.accuracy(unseen), "count": float(len(right))}


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first sentences of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
