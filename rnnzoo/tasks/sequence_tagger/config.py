"""The `data` and `model` sections of a sequence tagger."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.data.config import RowsConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import RowModelConfig
from rnnzoo.util.ranges import Size


@dataclass(frozen=True, kw_only=True)
class SequenceTaggerData(RowsConfig):
    """Samples of a signal with events in it.

    Args:
        sample_rate: samples a second.
        frame: samples that the model takes at a time; it says something after each frame.
        window: frames of a training window; the state is carried from window to window.
        tolerance: seconds by which an event that is found may be early or late.

    Raises:
        ConfigError: a value is out of its range.
    """

    sample_rate: float
    frame: int = 12
    window: int = 120
    tolerance: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.frame < 1 or self.window < 1:
            raise ConfigError(f"data.frame and data.window are at least 1; received {self.frame} and {self.window}")
        if not (self.sample_rate > 0 and self.tolerance > 0):
            raise ConfigError(
                f"data.sample_rate and data.tolerance are above 0; received {self.sample_rate} and {self.tolerance}"
            )


@dataclass(frozen=True)
class SequenceTaggerConfig(RowModelConfig):
    """The same over frames of samples.

    Args:
        frame_units: outputs of the layer that takes a frame.
    """

    frame_units: Size = 32


DATA = {"rows": SequenceTaggerData}
MODEL = SequenceTaggerConfig
