"""Figures of each label, and their mean."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence


def class_figures(true: Sequence[Collection[str]], predicted: Sequence[Collection[str]]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and count of each true or predicted label, by name.

    F1 = 2 TP / (2 TP + FP + FN); a figure without any example is 0.

    Args:
        true, predicted: the labels of each example.
    """
    held, given, both = Counter[str](), Counter[str](), Counter[str]()
    for right, guess in zip(true, predicted, strict=True):
        held.update(right)
        given.update(guess)
        both.update(set(right) & set(guess))
    return {
        label: {
            "precision": both[label] / max(1, given[label]),
            "recall": both[label] / max(1, held[label]),
            "f1": 2 * both[label] / (held[label] + given[label]),
            "count": float(held[label]),
        }
        for label in sorted(held | given)
    }


def macro_f1(figures: dict[str, dict[str, float]]) -> float:
    """The mean F1 over labels; NaN over none."""
    scores = [row["f1"] for row in figures.values()]
    return sum(scores) / len(scores) if scores else float("nan")
