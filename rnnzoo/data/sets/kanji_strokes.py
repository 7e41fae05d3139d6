"""Chinese characters of Japanese writing as the strokes of a pen (KanjiVG, Apel 2009)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Splits, register_dataset
from rnnzoo.data.terms import register_terms

_NAME = "kanji_strokes"
_SPLITS = {"train": "train", "validation": "valid", "test": "test"}
_PAGE = "https://github.com/hardmaru/sketch-rnn-datasets"

register_terms(
    _NAME,
    title="KanjiVG as strokes, short characters",
    licence="CC-BY-SA-3.0",
    citation="Apel (2009-2015), KanjiVG; as strokes by Ha (2015), Recurrent Net Dreams Up Fake Chinese Characters",
    url=_PAGE,
)


@register_dataset(_NAME, "strokes")
def read_kanji(config: DataConfig) -> Splits:
    """11,100 characters in the order of their strokes: rows (dx, dy, lift), y downwards.

    dx and dy are the movement since the row before, lift is 1 in the last row of a stroke.
    """
    own = {"train": "train", "validation": "dev", "test": "test"}
    return {own[name]: [(row["points"].astype(np.float32), None) for row in rows(_NAME, name)] for name in own}


class KanjiStrokes(PackedFiles):
    """Points (N, 3) of a character: dx, dy and whether the pen is lifted after it; CC BY-SA 3.0."""

    VERSION = "1.0.0"
    FILES = {"short_kanji_stroke3.npz": "1b51af37bbb1f90c9c21535df99bb3dba0a0dcebd1d060a5b2b697205ed77342"}
    MIRROR = _NAME

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        points = tfds.features.Tensor(shape=(None, 3), dtype=np.int16)
        return self.dataset_info_from_configs(
            features=tfds.features.FeaturesDict({"points": points}), homepage=_PAGE, disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        path = self.paths(dl_manager)["short_kanji_stroke3.npz"]
        return {name: self._generate_examples(path, split) for name, split in _SPLITS.items()}

    def _generate_examples(self, path: Path, split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        with np.load(path, allow_pickle=False) as arrays:
            drawings = np.split(arrays[f"{split}_points"], np.cumsum(arrays[f"{split}_lengths"])[:-1])
        for i, points in enumerate(drawings):
            yield i, {"points": points}
