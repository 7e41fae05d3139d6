"""Shared by the oracles: evaluations by the reference client (an interpreter and NumPy), and by raw files alone.

Each `oracle_TASK.py` has `BUNDLE` and `KIND`, `examples(data, limit)`, the test split read from the files of a data
mirror, `figures(model, rows)`, the headline figures by their definitions, and `evaluate(data, limit)`, which is both.
As a script it prints them: `python tests/oracles/oracle_tagger.py DATA [LIMIT]`. None imports the packages under test.
"""

from __future__ import annotations

import math
import re
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "clients" / "python"))

from stream import Model  # noqa: E402

__all__ = ["Model", "accuracy", "bleu", "edits", "main", "open_bundle"]

_ENTITIES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}
_ORDER = 4


def open_bundle(name: str) -> Model:
    """The float32 file of a bundle, which `streaming.pipeline` takes of a folder."""
    return Model(str(ROOT / "pretrained" / name / "float32.tflite"))


def main(evaluate: Callable[..., dict[str, float]]) -> None:
    """Print the figures of a data mirror, the first argument; a second one limits the examples."""
    data, *limit = sys.argv[1:]
    for name, value in evaluate(Path(data), *map(int, limit)).items():
        print(f"{name}={value:.6g}")


def edits(found: Sequence[Any], true: Sequence[Any]) -> int:
    """Insertions, deletions and replacements that make one sequence the other (Levenshtein)."""
    row = list(range(len(true) + 1))
    for i, a in enumerate(found, 1):
        before, row = row, [i]
        for j, b in enumerate(true, 1):
            row.append(min(before[j] + 1, row[-1] + 1, before[j - 1] + (a != b)))
    return row[-1]


def bleu(written: Sequence[str], references: Sequence[Sequence[str]], lower: bool = False) -> float:
    """BLEU-4 of a corpus in per cent (Papineni et al. 2002), of the words of `mteval-v13a.pl`.

    An order without a match counts 1 / (2^k n), k the number of such orders so far (Chen and Cherry 2014).
    """
    matches, totals, length, closest = [0] * _ORDER, [0] * _ORDER, 0, 0
    for text, others in zip(written, references, strict=True):
        words, known = _words(text, lower), [_words(other, lower) for other in others]
        length += len(words)
        closest += min((abs(len(other) - len(words)), len(other)) for other in known)[1]
        for n in range(1, _ORDER + 1):
            most: Counter[tuple[str, ...]] = Counter()
            for other in known:
                most |= _grams(other, n)
            matches[n - 1] += (_grams(words, n) & most).total()
            totals[n - 1] += max(0, len(words) - n + 1)
    logs, missed = [], 0
    for match, total in zip(matches, totals, strict=True):
        if not total:
            return 0.0
        missed += not match
        logs.append(math.log(match / total if match else 1 / (2**missed * total)))
    return 100 * math.exp(min(0.0, 1 - closest / max(1, length)) + sum(logs) / _ORDER)


def _grams(words: list[str], n: int) -> Counter[tuple[str, ...]]:
    return Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))


def _words(text: str, lower: bool) -> list[str]:
    for code, sign in _ENTITIES.items():
        text = text.replace(code, sign)
    text = f" {text.lower() if lower else text} "
    text = re.sub(r"([{-~\[-` -&(-+:-@/])", r" \1 ", text)
    text = re.sub(r"([^0-9])([.,])", r"\1 \2 ", text)
    text = re.sub(r"([.,])([^0-9])", r" \1 \2", text)
    return re.sub(r"([0-9])(-)", r"\1 \2 ", text).split()


def accuracy(right: Sequence[bool]) -> float:
    """The share that is right."""
    return float(np.mean(right))
