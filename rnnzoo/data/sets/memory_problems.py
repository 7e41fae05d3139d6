"""Problems of memory that papers train on, made in code: `memory_problems/PROBLEM_STEPS`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rnnzoo.data.builder import FileBuilder
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.problems.memory import PROBLEMS
from rnnzoo.data.source import Splits, register_dataset
from rnnzoo.data.terms import register_terms
from rnnzoo.errors import DataError
from rnnzoo.util.suggest import suggest

_NAME = "memory_problems"
_LENGTHS = (20, 50, 100, 200, 500, 1000)
# Split -> seed and number of sequences.
_SPLITS = {"train": (1, 2000), "validation": (2, 250), "test": (3, 500)}
# Those whose answer is one label.
LABELLED = ("temporal_order", "recall")

register_terms(
    _NAME,
    title="Problems of memory, made in code",
    licence="Apache-2.0",
    citation="After Hochreiter and Schmidhuber (1997), Arjovsky et al. (2016) and Gu and Dao (2023)",
    url="https://doi.org/10.1162/neco.1997.9.8.1735",
)


@register_dataset(f"{_NAME}/", "rows-label")
def read_memory_problems(config: DataConfig) -> Splits:
    """`memory_problems/temporal_order_STEPS` and `memory_problems/recall_STEPS`: rows, and the class as a label."""
    name = config.dataset.partition("/")[2]
    known = [one for one in MemoryProblems.CONFIGS if one.rpartition("_")[0] in LABELLED]
    if name not in known:
        choices = [f"{_NAME}/{one}" for one in known]
        raise DataError(f"data.dataset={config.dataset}: no problem with a label; {suggest(config.dataset, choices)}")
    names = {"train": "train", "dev": "validation", "test": "test"}
    return {
        part: [(row["x"], str(row["y"])) for row in rows(f"{_NAME}/{name}", split)] for part, split in names.items()
    }


class MemoryProblems(FileBuilder):
    """Sequences `x` and answers `y` of `rnnzoo.data.problems.memory.PROBLEMS`, with a seed for each split."""

    VERSION = "1.0.0"
    FILES = {}
    CONFIGS = tuple(f"{name}_{steps}" for name in PROBLEMS for steps in _LENGTHS)

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        x, y = (array[0] for array in self._made(0, 1))
        features = {name: _feature(array) for name, array in (("x", x), ("y", y))}
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features), disable_shuffling=True)

    def _made(self, seed: int, count: int) -> Any:
        problem, _, steps = self.builder_config.name.rpartition("_")
        return PROBLEMS[problem](np.random.default_rng(seed), count, int(steps))

    def _split_generators(self, dl_manager: Any) -> Any:
        return {split: self._generate_examples(*how) for split, how in _SPLITS.items()}

    def _generate_examples(self, seed: int, count: int) -> Iterator[tuple[int, dict[str, Any]]]:
        for i, (x, y) in enumerate(zip(*self._made(seed, count), strict=True)):
            yield i, {"x": x, "y": y}


def _feature(array: Any) -> Any:
    import tensorflow_datasets as tfds

    return tfds.features.Tensor(shape=np.shape(array), dtype=np.asarray(array).dtype)
