"""translate-de-en on test2016 of Multi30k: a beam search of 5 over the reference client."""

from __future__ import annotations

import gzip
from pathlib import Path

import oracle
import tasks

BUNDLE, KIND = "translate-de-en", "text-text"


def examples(data: Path, limit: int | None = None) -> list[tuple[str, str]]:
    """A German and an English sentence."""
    sides = [
        gzip.decompress((data / "multi30k" / f"test_2016_flickr.{code}.gz").read_bytes()).decode().splitlines()
        for code in ("de", "en")
    ]
    return list(zip(*sides, strict=True))[:limit]


def figures(model: oracle.Model, rows: list[tuple[str, str]]) -> dict[str, float]:
    """BLEU against the one reference; nothing is written of a source that is longer than the file takes."""
    codec, written = tasks.Codec(model.files["source.json"]), []
    for text, _ in rows:
        fits = len(codec.encode(text)) < model.meta["encode"]["max_length"]
        written.append(tasks.translation(model, model.meta["task"], text)[0]["text"] if fits else "")
    return {"bleu": oracle.bleu(written, [[target] for _, target in rows]), "count": float(len(rows))}


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first sentences of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
