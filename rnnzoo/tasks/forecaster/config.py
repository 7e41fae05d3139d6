"""The `data` and `model` sections of a forecaster."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnnzoo.data.config import RowsConfig
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.cells import RowModelConfig


@dataclass(frozen=True, kw_only=True)
class ForecasterData(RowsConfig):
    """One series.

    Args:
        targets: the columns that are forecast; none: all.
        context: rows before each forecast in the evaluation.
        horizon: rows that are forecast.
        quantiles: the quantiles of each value that are forecast, in order; none: its mean.
        window: rows of a training window, of which those after the first `context` count.
        season: rows after which the naive forecast repeats itself.

    Raises:
        ConfigError: a value is out of its range.
    """

    targets: tuple[str, ...] = ()
    context: int = 96
    horizon: int = 96
    quantiles: tuple[float, ...] = ()
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
