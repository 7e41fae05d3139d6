"""charlm-mingru on the last twentieth of Tiny Shakespeare, in one stream."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import oracle
import tasks
from stream import Stream

BUNDLE, KIND = "charlm-mingru", "text"


def examples(data: Path, limit: int | None = None) -> list[tuple[str, None]]:
    """One text; a limit is one of characters."""
    text = (data / "tiny_shakespeare" / "input.txt").read_text(encoding="utf-8")
    rest = text[int(len(text) * 0.9) :]
    return [(rest[len(rest) // 2 :][:limit], None)]


def figures(model: oracle.Model, rows: list[tuple[str, None]]) -> dict[str, float]:
    """Nats and bits a character, of each but the first given all before it."""
    ((text, _),) = rows
    codec, info = tasks.Codec(model.files["target.json"]), model.meta["inputs"][0]
    ids = np.array(codec.encode(text), info["dtype"])
    stream = Stream(model)
    scores = tasks.log_softmax(tasks.only(stream, stream.feed({info["name"]: ids[:-1]})).astype(np.float64))
    nats = -float(np.mean(scores[np.arange(len(scores)), ids[1:]]))
    return {"nats": nats, "bits_per_token": nats / float(np.log(2)), "count": float(len(scores))}


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first characters of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
