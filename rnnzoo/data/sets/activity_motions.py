"""What a person does, by the phone that is carried along (Matey-Sanz, Casteleyn and Granell 2023)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms
from rnnzoo.errors import DataError

_NAME = "activity_motions"
_DEVICES = ("phone", "watch")
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
# Samples at about 100 Hz, of which a row is the mean.
_MEAN_OF = 4

register_terms(
    _NAME,
    title="Inertial measurements of smartphones and smartwatches for human activity recognition",
    licence="CC-BY-4.0",
    citation=(
        "Matey-Sanz, Casteleyn and Granell (2023), Dataset of inertial measurements of smartphones and smartwatches "
        "for human activity recognition, Data in Brief 109809"
    ),
    url="https://github.com/GeoTecINIT/sp-sw-har-dataset",
)


@register_dataset(f"{_NAME}/", "rows-tags")
def read_activities(config: DataConfig) -> Splits:
    """`activity_motions/phone` or `/watch`: rows of acceleration (m/s2) and rotation (rad/s), an activity for each.

    A row (x, y, z, x, y, z) is the mean of four samples at 100 Hz, its activity that of the last; dev and test are of
    people who are not in train.

    Raises:
        DataError: there is no such device.
    """
    device = config.dataset.removeprefix(f"{_NAME}/")
    if device not in _DEVICES:
        raise DataError(f"{_NAME} has no device {device!r}; known: {', '.join(_DEVICES)}")
    return {
        split: [_at_rows(row) for row in rows(_NAME, name) if row["device"].decode() == device]
        for name, split in _SPLITS.items()
    }


def _at_rows(recording: dict[str, Any]) -> Example:
    count = len(recording["samples"]) // _MEAN_OF
    samples = recording["samples"][: count * _MEAN_OF].reshape(count, _MEAN_OF, -1)
    names = recording["activities"][_MEAN_OF - 1 :: _MEAN_OF][:count]
    return samples.mean(axis=1, dtype=np.float32), [name.decode() for name in names]


class ActivityMotions(PackedFiles):
    """348 recordings of 18 people who get up, walk, turn, walk back, turn and sit down, by two devices; CC BY 4.0."""

    VERSION = "1.0.0"
    FILES = {
        "phone.npz": "04a585eab3681df6c419ad91b688482bfd1e5be580b7b87c5ddefa3dbeda560b",
        "watch.npz": "e259b11c1b9a9a277af554d5a0ea58211962ba4bf703623bb05723d8a349cf3e",
    }
    MIRROR = _NAME

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        text = tfds.features.Text()
        features = tfds.features.FeaturesDict(
            {
                "samples": tfds.features.Tensor(shape=(None, 6), dtype=np.float32),
                "activities": tfds.features.Sequence(text),
                "subject": text,
                "device": text,
            }
        )
        return self.dataset_info_from_configs(
            features=features, homepage="https://github.com/GeoTecINIT/sp-sw-har-dataset", disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        return {name: self._generate_examples(paths, split) for name, split in _SPLITS.items()}

    def _generate_examples(self, paths: dict[str, Path], split: str) -> Iterator[tuple[str, dict[str, Any]]]:
        for device in _DEVICES:
            with np.load(paths[f"{device}.npz"], allow_pickle=False) as arrays:
                borders = np.cumsum(arrays["length"])[:-1]
                samples, labels = np.split(arrays["x"], borders), np.split(arrays["label"], borders)
                names = arrays["label_names"]
                for i in np.flatnonzero(arrays["split"] == split):
                    yield (
                        f"{device} {arrays['execution'][i]}",
                        {
                            "samples": samples[i],
                            "activities": [str(names[label]) for label in labels[i]],
                            "subject": str(arrays["subject"][i]),
                            "device": device,
                        },
                    )
