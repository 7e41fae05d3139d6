"""lyrics-shakespeare on the last twentieth of the passages of each play, with the play told and without."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import oracle
import tasks
from stream import Stream

BUNDLE, KIND = "lyrics-shakespeare", "styled-lines"
# The play that begins with each line of the file.
_FIRST = {
    "Before we proceed any further, hear me speak.": "Coriolanus",
    "Now is the winter of our discontent": "Richard III",
    "Old John of Gaunt, time-honour'd Lancaster,": "Richard II",
    "Gregory, o' my word, we'll not carry coals.": "Romeo and Juliet",
    "I wonder how the king escaped our hands.": "Henry VI, Part 3",
    "If you shall chance, Camillo, to visit Bohemia, on": "The Winter's Tale",
    "Escalus.": "Measure for Measure",
    "I'll pheeze you, in faith.": "The Taming of the Shrew",
    "Boatswain!": "The Tempest",
}


def examples(data: Path, limit: int | None = None) -> list[tuple[str, str]]:
    """The last of twenty passages of each play, with its name."""
    lines = (data / "tiny_shakespeare" / "input.txt").read_text(encoding="utf-8").split("\n")
    # A play begins with the line of who speaks, before its first line.
    starts = [(i - 1, _FIRST[line]) for i, line in enumerate(lines) if line in _FIRST]
    assert [play for _, play in starts] == list(_FIRST.values())
    found = []
    for (begin, play), (end, _) in zip(starts, [*starts[1:], (len(lines), "")], strict=True):
        passages = cut("\n".join(lines[begin:end]).strip().split("\n"))
        found += [(passage, play) for passage in passages[len(passages) - len(passages) // 20 :]]
    return found[:limit]


def cut(lines: list[str]) -> list[str]:
    """Passages: after 400 characters they end with the speech, after 600 with the line."""
    passages, rest = [], "\n".join(lines) + "\n"
    while rest := rest.lstrip("\n"):
        ends = [
            match.end()
            for match in re.finditer(r"\n", rest)
            if match.end() > 600 or (match.end() > 400 and rest[match.start() - 1 : match.start()] == "\n")
        ]
        passages.append(rest[: ends[0] if ends else None].rstrip("\n") + "\n")
        rest = rest[len(rest) if not ends else ends[0] :]
    return passages


def figures(model: oracle.Model, rows: list[tuple[str, str]]) -> dict[str, float]:
    """Nats a token, each text with its end; the first token is that of the play, or the one that starts a text."""
    codec, info = tasks.Codec(model.files["target.json"]), model.meta["inputs"][0]
    told, untold = [], []
    for text, play in rows:
        tokens = [*codec.encode(text), tasks.END]
        for first, found in ((codec.entries.index(f"<{play}>"), told), (tasks.START, untold)):
            stream = Stream(model)
            made = tasks.only(stream, stream.feed({info["name"]: np.array([first, *tokens[:-1]], info["dtype"])}))
            scores = tasks.log_softmax(made.astype(np.float64))
            found.append(-scores[np.arange(len(tokens)), tokens])
    nats = np.concatenate(told)
    return {
        "nats": float(nats.mean()),
        "unstyled_nats": float(np.concatenate(untold).mean()),
        "count": float(len(nats)),
    }


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first passages of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
