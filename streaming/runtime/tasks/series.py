"""Tasks over series of rows: forecasts, and detection of anomalies."""

from __future__ import annotations

import math
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError
from streaming.runtime.carried import Carrier
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks.base import Task, real_rows
from streaming.runtime.tasks.intervals import AdaptiveIntervals
from streaming.runtime.tasks.rows import RowReader, RowSession, filled
from streaming.runtime.tasks.schema import AnomalyDetectorSpec, ForecasterSpec, TaskSpec


class Forecast(NamedTuple):
    """After `row` (counted from 0): `values` (horizon, targets) of the rows that follow, in the units of the input.

    `quantiles` holds arrays of the same shape by their quantile, where the model gives them; `values` is then the one
    nearest to the median.
    """

    row: int
    values: NDArray[Any]
    quantiles: dict[float, NDArray[Any]]


class Anomaly(NamedTuple):
    """The error of the forecast of row `row`, how unlikely recent errors are (0 to 1), and whether that is an alarm."""

    row: int
    error: float
    score: float
    alarm: bool


class Forecaster(Task):
    """Forecasts the next rows after each row.

    Args:
        model: takes rows (columns,) and gives (horizon, targets), or these and the quantiles as a last axis, in any
            shape with as many elements in this order.
    """

    takes: ClassVar[str] = "rows"
    spec_type: ClassVar[type[TaskSpec]] = ForecasterSpec

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        spec = self.spec
        self.reader = RowReader(model, spec)
        self.targets: tuple[str, ...] = spec.targets or spec.columns
        self.places = [spec.columns.index(name) for name in self.targets]
        self.shape = (spec.horizon, len(self.targets), max(1, len(spec.quantiles)))
        quantiles = spec.quantiles
        self.middle = min(range(len(quantiles)), key=lambda i: abs(quantiles[i] - 0.5)) if quantiles else 0
        shape = tuple(model.metadata.outputs[0].shape)
        if len(model.metadata.outputs) > 1 or math.prod(shape) != math.prod(self.shape):
            raise ArtifactError(
                f"the model gives {shape}, its task names {spec.horizon} rows of {len(self.targets)} targets by "
                f"{self.shape[2]} quantiles; export the model anew"
            )
        meta = model.metadata
        late = (model.window is None and model.delay) or meta.unit != 1 or meta.outputs[0].rate != (1, 1)
        if spec.intervals and late:
            raise ArtifactError(
                "intervals that adapt need a forecast after each row; the model's come late or less often"
            )

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the columns."""
        return self.reader.columns

    def session(self) -> Any:
        """Takes arrays (n, columns) of one series."""
        adapts = self.spec.intervals is not None
        return filled(self, AdaptiveForecasterSession(self) if adapts else ForecasterSession(self))

    def forecast(self, rows: Any) -> Forecast:
        """Forecast of the rows that follow all given rows (n, columns).

        Raises:
            InputError: there are too few rows, or they are of another kind.
        """
        forecasts = [event for event in self.run([rows]) if isinstance(event, Forecast)]
        if not forecasts:
            raise InputError(f"a forecast needs more than {len(np.asarray(rows))} rows; give the series so far")
        return forecasts[-1]

    def read(self, output: NDArray[Any]) -> NDArray[np.float64]:
        """The values (horizon, targets, quantiles) of a row of outputs, in the units of the columns."""
        values = real_rows(self.model, output).astype(np.float64).reshape(self.shape)
        if self.spec.scaler is not None:
            mean = np.array(self.spec.scaler.mean)[self.places, None]
            values = values * np.array(self.spec.scaler.scale)[self.places, None] + mean
        return values

    def named(self, row: int, values: NDArray[np.float64]) -> Forecast:
        """The forecast after a row, of its values (horizon, targets, quantiles)."""
        quantiles = self.spec.quantiles
        return Forecast(row, values[..., self.middle], {q: values[..., i] for i, q in enumerate(quantiles)})


class ForecasterSession(RowSession):
    """One series at a time through a `Forecaster`."""

    carries: ClassVar[tuple[str, ...]] = ("_stream", "_row")

    def __init__(self, task: Forecaster):
        super().__init__(task)
        self._stream, self._row = task.model.create_stream(), 0

    def feed(self, piece: Any) -> list[Forecast]:
        """A forecast after each row."""
        return self._read(self._stream.feed(self._task.reader.scaled(self._task.reader.read(piece))))

    def finish(self) -> list[Forecast]:
        """Events that were held back."""
        forecasts = self._read(self._stream.finish())
        self._stream.reset()
        self._row = 0
        return forecasts

    def _read(self, outputs: NDArray[Any]) -> list[Forecast]:
        return [self._given(self._task.read(output)) for output in outputs]

    def _given(self, values: NDArray[np.float64]) -> Forecast:
        self._row += 1
        forecast: Forecast = self._task.named(self._row - 1, values)
        return forecast


class AdaptiveForecasterSession(ForecasterSession):
    """One series at a time through a `Forecaster` whose intervals follow the errors."""

    carries = ("_intervals",)

    def __init__(self, task: Forecaster):
        super().__init__(task)
        self._intervals = AdaptiveIntervals(task.spec.intervals, task.shape, task.middle)

    def feed(self, piece: Any) -> list[Forecast]:
        """A forecast after each row, whose values are all known."""
        rows = self._task.reader.read(piece)
        return self.feed_filled(rows, np.zeros(rows.shape, bool))

    def feed_filled(self, rows: NDArray[Any], missing: NDArray[Any]) -> list[Forecast]:
        """A forecast after each row; those of a value that was missing are not scored."""
        places, forecasts = self._task.places, []
        outputs = self._stream.feed(self._task.reader.scaled(rows))
        # Windows give nothing before they are full, and then a row for each.
        early = len(rows) - len(outputs)
        for i, (row, gaps) in enumerate(zip(rows, missing, strict=True)):
            self._intervals.observe(row[places], gaps[places])
            if i >= early:
                values = self._intervals.adapt(self._task.read(outputs[i - early]))
                forecasts.append(self._given(values))
        return forecasts

    def finish(self) -> list[Forecast]:
        """Nothing: each row has had its forecast. The next one begins a new series."""
        forecasts = super().finish()
        self._intervals.begin()
        return forecasts


def standardize(rows: NDArray[Any], first: NDArray[Any]) -> NDArray[Any]:
    """Rows (n, D), standardized by the mean and deviation of the first rows (P, D) of their series."""
    deviation = first.std(axis=0)
    return (rows - first.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)


class AnomalyDetector(Forecaster):
    """Compares each row with its forecast, online.

    The error is the root mean square over the targets, in units of the scaler. The score is the anomaly likelihood of
    Ahmad et al. (2017): P(z < (short - long) / s), z normal, with the means of the latest errors over a short and a
    long window and the standard deviation s of the long one; 0 until there are `warm_up` errors. With `probation`, the
    first rows of a series are not judged; their mean and deviation are its scaler.

    Args:
        model: a forecaster without delay; only the first row of its horizon is used.
    """

    spec_type = AnomalyDetectorSpec

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        if model.delay or model.metadata.outputs[0].rate != (1, 1):
            raise ArtifactError(
                "an anomaly detector needs a forecast after each row; the model's come late or less often"
            )

    @property
    def threshold(self) -> float:
        """The score that makes an alarm."""
        return float(self.spec.threshold)

    def session(self) -> Any:
        """Takes arrays (n, columns) of one series."""
        return filled(self, AnomalyDetectorSession(self))

    def detect(self, rows: Any) -> list[Anomaly]:
        """All rows (n, columns) of a series."""
        return list(self.run([rows]))

    def expected(self, output: NDArray[Any]) -> NDArray[Any]:
        """The forecast (targets,) of the next row, in units of the scaler."""
        return real_rows(self.model, output).astype(np.float64).reshape(self.shape)[0, :, self.middle]


class Likelihood(Carrier):
    """Likelihood of the latest forecast errors, given the errors before.

    Args:
        spec: its windows.
    """

    carries = ("_errors", "_count")

    def __init__(self, spec: AnomalyDetectorSpec):
        self._spec = spec
        self._errors = np.zeros(spec.long_window)
        self._count = 0

    def score(self, error: float) -> float:
        """The likelihood with one more error."""
        spec = self._spec
        self._errors[self._count % spec.long_window] = error
        self._count += 1
        if self._count < spec.warm_up:
            return 0.0
        known = self._errors[: self._count]
        last = np.arange(max(0, self._count - spec.short_window), self._count) % spec.long_window
        # A series that never errs has no spread: the least error is then a surprise, none is not.
        spread = max(float(known.std()), 1e-12)
        z = (float(self._errors[last].mean()) - float(known.mean())) / spread
        return 0.5 * math.erfc(-z / math.sqrt(2))


class AnomalyDetectorSession(RowSession):
    """One series at a time through an `AnomalyDetector`."""

    carries = ("_stream", "_row", "_expected", "_likelihood", "_first")
    _expected: NDArray[Any] | None
    _first: NDArray[Any]

    def __init__(self, task: AnomalyDetector):
        super().__init__(task)
        self._stream = task.model.create_stream()
        self._anew()

    def feed(self, piece: Any) -> list[Anomaly]:
        """Anomaly score of each row; the first of a series has no forecast, and 0 for an error."""
        task, anomalies = self._task, []
        rows = task.reader.read(piece)
        if missing := task.spec.probation - len(self._first):
            early, rows = rows[:missing], rows[missing:]
            self._first = np.concatenate([self._first, early])
            if len(early) == missing:
                self._judge(standardize(self._first, self._first))
            anomalies = [Anomaly(self._row + i, 0.0, 0.0, False) for i in range(len(early))]
            self._row += len(early)
        values = standardize(rows, self._first) if len(self._first) else task.reader.scaled(rows)
        for error, score in self._judge(values) if len(rows) else ():
            anomalies.append(Anomaly(self._row, error, score, score >= task.spec.threshold))
            self._row += 1
        return anomalies

    def _judge(self, values: NDArray[Any]) -> list[tuple[float, float]]:
        """Error and score of rows (n, ...) that are scaled."""
        task, scores = self._task, []
        outputs = self._stream.feed(values.astype(np.float32).reshape(len(values), *task.reader.shape))
        for row, output in zip(values.reshape(len(values), -1)[:, task.places], outputs, strict=True):
            error = 0.0 if self._expected is None else float(np.sqrt(np.mean((row - self._expected) ** 2)))
            scores.append((error, 0.0 if self._expected is None else self._likelihood.score(error)))
            self._expected = task.expected(output)
        return scores

    def finish(self) -> list[Anomaly]:
        """Nothing: each row is judged at once. The next one begins a new series."""
        self._stream.reset()
        self._anew()
        return []

    def _anew(self) -> None:
        self._row = 0
        self._expected = None
        self._likelihood = Likelihood(self._task.spec)
        self._first = np.zeros((0, self._task.reader.taken))
