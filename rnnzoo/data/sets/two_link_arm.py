"""Ways of a two-link arm with a hidden payload, made in code."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from rnnzoo.data.builder import FileBuilder
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.problems.arm import COLUMNS, HEAVY_PAYLOADS, PAYLOADS, Episode, collect, draw_episode
from rnnzoo.data.source import Splits, register_dataset
from rnnzoo.data.terms import register_terms

_NAME = "two_link_arm"
_STEPS = 500
# Split -> seed, episodes with a payload as in training, and with a heavier one.
_SPLITS = {"train": (1, 480, 0), "validation": (2, 16, 8), "test": (3, 24, 8)}

register_terms(
    _NAME,
    title="A two-link arm with a hidden payload, made in code",
    licence="Apache-2.0",
    citation="After Spong, Hutchinson & Vidyasagar (2006), Robot Modeling and Control",
    url="https://www.tensorflow.org/datasets",
)


@register_dataset(_NAME, "rows-control")
def read_two_link_arm(config: DataConfig) -> Splits:
    """Observations (T, 12) of half a second at 1 kHz, with the expert's torques (T, 2) and the episode as the answer.

    480 ways of mistaken controllers for training, with payloads of 0 to 2 kg; 16 and 24 episodes for development and
    test, and 8 more in each with payloads of 2 to 3 kg.
    """
    names = {"train": "train", "dev": "validation", "test": "test"}
    return {
        part: [(row["rows"], (row["torques"], _episode(row))) for row in rows(_NAME, split)]
        for part, split in names.items()
    }


def _episode(row: dict[str, Any]) -> Episode:
    return Episode(float(row["payload"]), row["waves"], row["centers"], row["offset"], int(row["seed"]))


class TwoLinkArm(FileBuilder):
    """Episodes of `rnnzoo.data.problems.arm`, with rows and torques of their collection and a seed for each split."""

    VERSION = "1.0.0"
    FILES = {}

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        def numbers(*shape: int, dtype: Any = np.float64) -> Any:
            return tfds.features.Tensor(shape=shape, dtype=dtype)

        features = {
            "rows": numbers(_STEPS, len(COLUMNS), dtype=np.float32),
            "torques": numbers(_STEPS, 2, dtype=np.float32),
            "payload": numbers(),
            "waves": numbers(2, 2, 3),
            "centers": numbers(2),
            "offset": numbers(4),
            "seed": numbers(dtype=np.int64),
        }
        return self.dataset_info_from_configs(features=tfds.features.FeaturesDict(features), disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> Any:
        return {split: self._generate_examples(*how) for split, how in _SPLITS.items()}

    def _generate_examples(self, seed: int, count: int, heavy: int) -> Iterator[tuple[int, dict[str, Any]]]:
        rng = np.random.default_rng(seed)
        ranges = [PAYLOADS] * count + [HEAVY_PAYLOADS] * heavy
        episodes = [draw_episode(rng, payloads) for payloads in ranges]
        for i, (episode, *arrays) in enumerate(zip(episodes, *collect(episodes, _STEPS, rng), strict=True)):
            named = dict(zip(("rows", "torques"), (array.astype(np.float32) for array in arrays), strict=True))
            yield i, {**vars(episode), **named}
