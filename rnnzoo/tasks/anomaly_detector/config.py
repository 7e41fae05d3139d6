"""The `data` and `model` sections of an anomaly detector."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.data.config import RowsConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.forecaster.config import ForecasterConfig


@dataclass(frozen=True, kw_only=True)
class AnomalyDetectorData(RowsConfig):
    """Series in which something is unexpected.

    Args:
        context: the least number of rows before a forecast of the next one.
        window: rows of a training window, of which those after the first `context` count.
        probation: first rows of each series, which give its mean and deviation and are not judged.
        short_window, long_window, warm_up, threshold: of the score, as `streaming` describes an anomaly detector.

    Raises:
        ConfigError: a value is out of its range.
    """

    context: int = 32
    window: int = 128
    probation: int = 250
    short_window: int = 10
    long_window: int = 1000
    warm_up: int = 100
    threshold: float = 0.9999

    def __post_init__(self) -> None:
        super().__post_init__()
        if not (2 <= self.context <= self.window and self.probation >= 1):
            raise ConfigError(
                "expected 2 <= data.context <= data.window and data.probation of at least 1 row; received "
                f"{self.context}, {self.window} and {self.probation}"
            )
        if not (1 <= self.short_window < self.long_window and self.warm_up >= 2 and 0 < self.threshold < 1):
            raise ConfigError(
                "expected 1 <= data.short_window < data.long_window, data.warm_up of at least 2 and a data.threshold "
                f"between 0 and 1; received {self.short_window}, {self.long_window}, {self.warm_up}, {self.threshold}"
            )


@dataclass(frozen=True)
class AnomalyDetectorConfig(ForecasterConfig):
    """A forecaster of the next row."""


DATA = {"rows": AnomalyDetectorData}
MODEL = AnomalyDetectorConfig
