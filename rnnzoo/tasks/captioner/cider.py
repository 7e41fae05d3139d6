"""CIDEr-D: similarity of a caption and human captions by TF-IDF weighted n-grams (Vedantam et al. 2015)."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

_WORD = re.compile(r"\w+")
_LONGEST = 4
_SIGMA = 6.0

_Grams = Counter[tuple[str, ...]]


class _Vectors(NamedTuple):
    """The weights of a caption's n-grams, for each n, their norms, and its number of words."""

    weights: list[dict[tuple[str, ...], float]]
    norms: list[float]
    words: int


def cider(written: Sequence[str], references: Sequence[Sequence[str]]) -> float:
    """The mean of CIDEr-D over pictures, 0 to 10; n-grams of 1 to 4 lower-cased words, without punctuation.

        g_n[k] = count[k] (log N - log max(1, df[k]))
        10 mean_n mean_refs exp(-(l - l_ref)^2 / 72) sum_k min(g_n[k], g_n,ref[k]) g_n,ref[k] / (|g_n| |g_n,ref|)

    with N pictures, df[k] of which have the n-gram k in a reference.

    Args:
        written: a caption for each picture.
        references: the captions of people for each picture.
    """
    counted = [[_count(text) for text in texts] for texts in references]
    seen = Counter(gram for texts in counted for gram in {gram for grams in texts for gram in grams})
    scores = []
    for text, texts in zip(written, counted, strict=True):
        own = _weigh(_count(text), seen, len(references))
        scores.append(np.mean([_similar(own, _weigh(grams, seen, len(references))) for grams in texts]))
    return 10 * float(np.mean(scores))


def _count(text: str) -> _Grams:
    words = _WORD.findall(text.lower())
    return Counter(tuple(words[i : i + n]) for n in range(1, _LONGEST + 1) for i in range(len(words) - n + 1))


def _weigh(grams: _Grams, seen: _Grams, pictures: int) -> _Vectors:
    weights: list[dict[tuple[str, ...], float]] = [{} for _ in range(_LONGEST)]
    for gram, count in grams.items():
        weights[len(gram) - 1][gram] = count * float(np.log(pictures) - np.log(max(1, seen[gram])))
    norms = [float(np.sqrt(sum(value**2 for value in row.values()))) for row in weights]
    return _Vectors(weights, norms, sum(count for gram, count in grams.items() if len(gram) == 1))


def _similar(own: _Vectors, other: _Vectors) -> float:
    similarities = []
    for mine, theirs, a, b in zip(own.weights, other.weights, own.norms, other.norms, strict=True):
        shared = sum(min(value, theirs[gram]) * theirs[gram] for gram, value in mine.items() if gram in theirs)
        similarities.append(shared / (a * b) if a and b else 0.0)
    return float(np.mean(similarities) * np.exp(-((own.words - other.words) ** 2) / (2 * _SIGMA**2)))
