"""The `data` and `model` sections of a sequence tagger."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.data.config import RowsConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import RowModelConfig
from rnnzoo.util.ranges import Count, Size


@dataclass(frozen=True, kw_only=True)
class SequenceTaggerData(RowsConfig):
    """Samples of a signal with events in it, or rows with a label each.

    Args:
        sample_rate: samples a second; only events need it.
        frame: samples that the model takes at a time, with one output for each frame. None: 12 with events, 1 where
            each row has a label.
        window: frames of a training window; the state is carried from window to window.
        tolerance: seconds by which a detected event may be early or late.

    Raises:
        ConfigError: a value is out of its range.
    """

    sample_rate: float | None = None
    frame: int | None = None
    window: int = 120
    tolerance: float = 0.15

    def __post_init__(self) -> None:
        super().__post_init__()
        if (self.frame is not None and self.frame < 1) or self.window < 1:
            raise ConfigError(f"data.frame and data.window are at least 1; received {self.frame} and {self.window}")
        if not ((self.sample_rate is None or self.sample_rate > 0) and self.tolerance > 0):
            raise ConfigError(
                f"data.sample_rate and data.tolerance are above 0; received {self.sample_rate} and {self.tolerance}"
            )

    @property
    def rows_in_frame(self) -> int:
        """The frame, or 1."""
        return 1 if self.frame is None else self.frame


@dataclass(frozen=True)
class SequenceTaggerConfig(RowModelConfig):
    """Recurrent layers over frames of samples.

    Args:
        frame_units: outputs of the layer that takes a frame.
        context: frames before each that a causal convolution looks at, of as many outputs; 0: there is none. With
            `layers: 0` the model is a convolutional network over windows.
        layers: recurrent layers.
    """

    frame_units: Size = 32
    context: Count = 0
    layers: Count = 1


DATA = {"rows": SequenceTaggerData}
MODEL = SequenceTaggerConfig
