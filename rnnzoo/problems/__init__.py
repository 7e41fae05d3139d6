"""A topology on a data set: how examples become arrays, and predictions figures."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnnzoo.data import read_source
from rnnzoo.problems.base import Problem
from rnnzoo.registry import problem_class

if TYPE_CHECKING:
    from rnnzoo.config import ExperimentConfig

__all__ = ["Problem", "load_problem"]


def load_problem(config: ExperimentConfig, encoder: Any = None) -> Problem:
    """Read the data set of an experiment, and fit its encoder on the training split unless one is given.

    Raises:
        DataError: the data set is unknown, cannot be found, is malformed, or is none for this topology.
    """
    return problem_class(config.topology).from_source(
        read_source(config.data), config.data, encoder=encoder, seed=config.seed
    )
