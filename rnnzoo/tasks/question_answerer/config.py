"""The `data` and `model` sections of a question answerer."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.tasks.classifier.config import ClassifierWords
from rnnzoo.util.ranges import Rate, Size


@dataclass(frozen=True)
class QuestionAnswererConfig:
    """A memory of statements that is asked in hops.

    Args:
        units: width of all vectors.
        memories: statements that are remembered, the last ones.
        hops: passes over them.
        dropout: rate on vectors, in training.
    """

    units: Size = 64
    memories: Size = 64
    hops: Size = 3
    dropout: Rate = 0.2


DATA = {"words": ClassifierWords}
MODEL = QuestionAnswererConfig
