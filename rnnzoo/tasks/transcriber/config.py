"""The `data` and `model` sections of a transcriber."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.data.config import AudioConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import AudioModelConfig
from rnnzoo.util.ranges import Size


@dataclass(frozen=True)
class TranscriberConfig(AudioModelConfig):
    """A model over log-mel features with an output after every few frames.

    Args:
        stride: frames from one output to the next.

    Raises:
        ConfigError: as before, or the convolution would skip frames.
    """

    stride: Size = 2

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 1 <= self.stride <= self.conv_width:
            raise ConfigError(
                f"model.stride is from 1 to model.conv_width={self.conv_width}, so that each frame is seen; "
                f"received {self.stride}"
            )


DATA = {"audio": AudioConfig}
MODEL = TranscriberConfig
