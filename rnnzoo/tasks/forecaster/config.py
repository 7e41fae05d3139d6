"""The `data` and `model` sections of a forecaster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnnzoo.data.config import RowsConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import RowModelConfig
from streaming.runtime.tasks.schema import check_intervals


@dataclass(frozen=True, kw_only=True)
class IntervalsConfig:
    """Quantiles that widen and narrow on the device, as the values come that were forecast (docs/tasks.md).

    Args:
        coverage: the share of the values that is to lie between the outer quantiles.
        rate: how much an error changes the logarithm of the width; choose it on dev, such as 0.02.

    Raises:
        ConfigError: a value is out of its range.
    """

    coverage: float
    rate: float

    def __post_init__(self) -> None:
        if not (0 < self.coverage < 1 and 0 < self.rate <= 1):
            raise ConfigError(
                "expected data.intervals.coverage between 0 and 1 and data.intervals.rate above 0, at most 1; received "
                f"{self.coverage} and {self.rate}"
            )


@dataclass(frozen=True, kw_only=True)
class ForecasterData(RowsConfig):
    """One series.

    Args:
        targets: the columns that are forecast; none: all.
        context: rows before each forecast in the evaluation.
        horizon: rows that are forecast.
        quantiles: the quantiles of each value that are forecast, in order; none: its mean.
        intervals: how quantiles adapt on the device; None: they are those of the model.
        window: rows of a training window, of which those after the first `context` count.
        season: rows after which the naive forecast repeats itself.

    Raises:
        ConfigError: a value is out of its range.
    """

    targets: tuple[str, ...] = ()
    context: int = 96
    horizon: int = 96
    quantiles: tuple[float, ...] = ()
    intervals: IntervalsConfig | None = None
    window: int = 192
    season: int = 24

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 2 <= self.context <= self.window or self.horizon < 1 or not 1 <= self.season <= self.context:
            raise ConfigError(
                "expected 2 <= data.context <= data.window, data.horizon of at least 1 and 1 <= data.season <= "
                f"data.context; received {self.context}, {self.window}, {self.horizon} and {self.season}"
            )
        if list(self.quantiles) != sorted(set(self.quantiles)) or not all(0 < q < 1 for q in self.quantiles):
            raise ConfigError(f"data.quantiles rise between 0 and 1; received {list(self.quantiles)}")
        if self.intervals and (lacking := check_intervals(self.quantiles)):
            raise ConfigError(f"data.quantiles: {lacking}")


@dataclass(frozen=True)
class ForecasterConfig(RowModelConfig):
    """The same, added to a linear map of the changes before each row.

    Args:
        reads: the input of the recurrent layers: `rows`, or `changes` from row to row, so that a shift of the series
            shifts the whole forecast.
        columns: recurrent layers read all columns `together`, or each by itself, with the same weights (`apart`; Nie
            et al. 2023), as an LSTM.
        linear: the initial linear map in `rnnzoo train`: `zeros`, or the solution of `least_squares` on the training
            split.

    Raises:
        ConfigError: as before, `reads` or `columns` is something else, or another cell is to read columns `apart`.
    """

    linear: Literal["zeros", "least_squares"] = "zeros"
    reads: Literal["rows", "changes"] = "rows"
    columns: Literal["together", "apart"] = "together"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.columns == "apart" and self.cell != "lstm":
            raise ConfigError(f"model.columns=apart needs model.cell=lstm; received {self.cell!r}")


DATA = {"rows": ForecasterData}
MODEL = ForecasterConfig
