"""Pictures and their captions as the numbers of a captioner."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.batching import Arrays
from rnnzoo.errors import ConfigError, DataError
from streaming.errors import ArtifactError
from streaming.runtime.codec import END, START, TextCodec
from streaming.runtime.pictures import on_white

if TYPE_CHECKING:
    from rnnzoo.data.config import PicturesConfig
    from rnnzoo.data.source import Example

_CODEC, _SHAPE = "target.json", "picture.json"
_OPACITY = 4


@dataclass(frozen=True)
class CaptionEncoder:
    """Pictures, or features of them, with captions to `picture`, `target`, and the `targets` that follow each number.

    Args:
        codec: the vocabulary of the captions; it travels with the model to the device.
        shape: of what the model takes, (height, width, channels) or (positions, features).
        max_length: most numbers of a caption, its end included; what is longer is cut.
    """

    inputs: ClassVar[tuple[str, ...]] = ("picture", "target")
    codec: TextCodec
    shape: tuple[int, ...]
    max_length: int

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the model's outputs, in their order."""
        return self.codec.entries

    @classmethod
    def fit(cls, train: Sequence[Example], config: PicturesConfig) -> CaptionEncoder:
        """The vocabulary of a training split, and the shape of its pictures.

        Raises:
            ConfigError: features are to be moved or mirrored, as pictures are.
        """
        if train[0][0].ndim < 3 and (config.shift or config.mirror):
            raise ConfigError(
                f"data.shift={config.shift} and data.mirror={str(config.mirror).lower()} are for pictures, and the "
                "data are features: set them to 0 and false"
            )
        captions = [caption for _, captions in train for caption in captions]
        size, least = config.vocabulary, config.min_count
        codec = TextCodec.fit(captions, config.level, size=size, min_count=least, lower=config.lower)
        return cls(codec, _seen_shape(train[0][0].shape), config.max_length)

    def read(self, picture: NDArray[Any]) -> NDArray[Any]:
        """A picture as the model takes it, with its own dtype if the shape is right.

        Raises:
            DataError: it has another shape.
        """
        pixels = on_white(picture) if picture.ndim == 3 and picture.shape[-1] == _OPACITY else picture
        if pixels.shape != self.shape:
            raise DataError(
                f"a picture has shape {picture.shape}, the first one of the training split {self.shape}: bring all to "
                "one size, such as by data.size=[96, 128]"
            )
        return pixels

    def encode(self, example: Example) -> Arrays:
        """A picture with its first caption as `picture`, `target` (T,) and `targets` (T,)."""
        picture, captions = example
        written = self.codec.encode(captions[0])[: self.max_length - 1]
        return {
            "picture": self.read(picture),
            "target": np.append(np.int32(START), written),
            "targets": np.append(written, np.int32(END)),
        }

    def to_files(self) -> dict[str, bytes]:
        """The vocabulary as the captioner of `streaming` reads it, and the shape."""
        return {_CODEC: self.codec.to_bytes(), _SHAPE: json.dumps({"shape": self.shape}).encode()}

    @classmethod
    def from_files(cls, files: Mapping[str, bytes], config: PicturesConfig) -> CaptionEncoder:
        """Read what `to_files` wrote; raises ArtifactError where it is missing or damaged."""
        for name in (_CODEC, _SHAPE):
            if name not in files:
                raise ArtifactError(f"{name} is missing; take the files of one run")
        return cls(TextCodec.from_bytes(files[_CODEC]), _read_shape(files[_SHAPE]), config.max_length)


def resized(picture: NDArray[Any], size: Sequence[int]) -> NDArray[Any]:
    """A picture (H, W, C) brought to a height and a width, on white where it is transparent: float32, 0 to 255.

    Raises:
        ConfigError: it is none.
    """
    import tensorflow as tf

    if picture.ndim != 3:
        raise ConfigError(f"data.size={list(size)} is for pictures, and the data are features: set it to []")
    shown = on_white(picture) if picture.shape[-1] == _OPACITY else picture
    return tf.image.resize(shown, tuple(size), antialias=True).numpy()


def moved(picture: NDArray[Any], down: int, right: int, mirror: bool) -> NDArray[Any]:
    """A picture (H, W, C) moved by some pixels, its edges drawn out, and mirrored left to right."""
    height, width = picture.shape[:2]
    rows = np.clip(np.arange(height) - down, 0, height - 1)
    columns = np.clip(np.arange(width) - right, 0, width - 1)
    return picture[rows[:, None], columns[::-1] if mirror else columns]


def _seen_shape(shape: tuple[int, ...]) -> tuple[int, ...]:
    return (*shape[:2], 3) if len(shape) == 3 and shape[-1] == _OPACITY else tuple(shape)


def _read_shape(data: bytes) -> tuple[int, ...]:
    try:
        sizes: Any = json.loads(data)["shape"]
        shape = tuple(int(size) for size in sizes)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise ArtifactError(f"{_SHAPE} is damaged ({error}); take the files of one run") from error
    if len(shape) not in (2, 3) or min(shape) < 1:
        raise ArtifactError(f"{_SHAPE} holds the shape {shape}, expected 2 or 3 sizes; take the files of one run")
    return shape
