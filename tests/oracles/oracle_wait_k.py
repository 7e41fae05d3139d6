"""translate-en-de-waitk on test2016 of Multi30k: written while the English is read."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import oracle
import oracle_translator
import tasks

BUNDLE, KIND = "translate-en-de-waitk", "text-text"


def examples(data: Path, limit: int | None = None) -> list[tuple[str, str]]:
    """An English and a German sentence."""
    return [(english, german) for german, english in oracle_translator.examples(data, limit)]


def figures(model: oracle.Model, rows: list[tuple[str, str]]) -> dict[str, float]:
    """BLEU, and the average lagging in words and signs (Ma et al. 2019, equation 8)."""
    codec, written, lags = tasks.Codec(model.files["source.json"]), [], []
    for text, _ in rows:
        said = tasks.translation(model, model.meta["task"], text)
        written.append(" ".join(event["word"] for event in said))
        units = sum(codec.begins_unit(number) for number in codec.encode(text))
        read = [event["read"] for event in said]
        until = next((t for t, n in enumerate(read, 1) if n >= units), len(read))
        lags.append(np.mean([n - t * units / len(read) for t, n in enumerate(read[:until])]))
    score = oracle.bleu(written, [[target] for _, target in rows])
    return {"bleu": score, "average_lagging": float(np.mean(lags)), "count": float(len(rows))}


def evaluate(data: Path, limit: int | None = None) -> dict[str, float]:
    """The figures of the first sentences of the test split; of all without a limit."""
    return figures(oracle.open_bundle(BUNDLE), examples(data, limit))


if __name__ == "__main__":
    oracle.main(evaluate)
