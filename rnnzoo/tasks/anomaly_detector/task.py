"""Anomaly detection: a forecast of the next row, and how far each row is from it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.series import SeriesEncoder
from rnnzoo.data.source import Example
from rnnzoo.errors import DataError
from rnnzoo.tasks.anomaly_detector.scoring import ScoredSeries, choose_threshold, nab_score, windowed_gaussian
from rnnzoo.tasks.base import Task
from rnnzoo.tasks.baselines import Baseline
from rnnzoo.tasks.batches import Batch
from rnnzoo.tasks.evaluation import predict_whole
from streaming.runtime.tasks import AnomalyDetector
from streaming.runtime.tasks.schema import AnomalyDetectorSpec
from streaming.runtime.tasks.series import Likelihood, standardize

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.tasks.anomaly_detector.config import AnomalyDetectorData
    from rnnzoo.training.config import TrainingConfig
    from streaming.runtime.model import StreamingModel

# Of the rows on probation, those that a model is trained on; the others are the development split.
_TRAINED = 0.8
# Columns that are drawn.
_DRAWN = 3


class AnomalyDetectorTask(Task):
    """Forecasts the next row after each row; a row that differs from its forecast more than usual is an anomaly.

    One model for all series: each is standardized by its own first rows. It is trained only on the rows on probation,
    on which no detector is judged, and never sees labels.
    """

    topology = "anomaly_detector"
    kinds = ("series-windows",)
    monitor = "val_loss"
    higher_is_better = False
    windowed = True

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: AnomalyDetectorData) -> SeriesEncoder:
        width = train[0][0].shape[1]
        columns = config.columns or tuple(f"column_{i}" for i in range(width))
        return SeriesEncoder((0.0,) * width, (1.0,) * width, (), columns, context=config.context, horizon=1)

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> SeriesEncoder:
        return SeriesEncoder.from_files(files)

    @classmethod
    def spec(cls, config: Any, encoder: SeriesEncoder) -> AnomalyDetectorSpec:
        names = ("short_window", "long_window", "warm_up", "threshold", "probation")
        return AnomalyDetectorSpec(**{name: getattr(config, name) for name in names}, **encoder.table(config))

    def encode(self, example: Example) -> Arrays:
        values, about = example
        if len(values) < self.config.probation or about["probation"] < self.config.probation:
            raise DataError(
                f"series {about['name']!r} has {about['probation']} rows on probation, data.probation asks for "
                f"{self.config.probation}: lower it"
            )
        return {"rows": standardize(values, values[: self.config.probation]).astype(np.float32)}

    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        from rnnzoo.tasks.losses import ForecastLoss

        return ForecastLoss(())

    def begin(self, model: keras.Model, config: Any) -> None:
        from rnnzoo.tasks.forecaster.model import begin_linear

        known = [row["rows"][: self._span("train", i)[1]] for i, row in enumerate(self.arrays("train"))]
        begin_linear(model, config, self.encoder, known)

    def metrics(self) -> list[keras.metrics.Metric]:
        return []

    def steps(self, split: str, batch_size: int) -> int:
        return -(-len(self._starts(split)) // batch_size)

    def batches(
        self, split: str, batch_size: int, rng: np.random.Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[NDArray[Any], Batch]]:
        """Windows of all series; outputs count from the first row that has its whole context before it."""
        window, rows, starts = self.config.window, self.arrays(split), self._starts(split)
        order = np.arange(len(starts)) if rng is None else rng.permutation(len(starts))
        for i in range(skip, self.steps(split, batch_size)):
            chosen = order[i * batch_size : (i + 1) * batch_size]
            parts = np.stack([rows[series]["rows"][a : a + window + 1] for series, a in (starts[k] for k in chosen)])
            weights = np.ones((len(chosen), window), np.float32)
            weights[:, : self.config.context - 1] = 0
            yield chosen, ({"rows": parts[:, :-1]}, parts[:, 1:, None], weights)

    def _starts(self, split: str) -> list[tuple[int, int]]:
        """Number of the series and first row of each window, so that each row on probation is forecast about once."""
        config, starts = self.config, []
        stride = config.window - config.context + 1
        for number in range(len(self.arrays(split))):
            begin, end = self._span(split, number)
            starts += [(number, a) for a in range(begin, end - config.window, stride)]
        if not starts:
            raise DataError(f"no series has more rows on probation than data.window={config.window}: lower it")
        return starts

    def _span(self, split: str, number: int) -> tuple[int, int]:
        probation = self.examples(split)[number][1]["probation"]
        border = int(_TRAINED * probation)
        # A development window's context may lie before the border.
        return (0, border) if split == "train" else (max(0, border - self.config.window), probation)

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        errors, scores = zip(*(self._judged(model, row["rows"]) for row in self.arrays(split)), strict=True)
        return self._figures(split, errors, scores)

    def _judged(self, model: keras.Model, rows: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """Error and score of each row of a series, (T,) both."""
        output = predict_whole(model, rows=rows)
        error = np.sqrt(np.mean((rows[1:] - output[:-1, 0]) ** 2, axis=1))
        likelihood = Likelihood(self.spec(self.config, self.encoder))
        return np.concatenate([[0.0], error]), np.array([0.0, *map(likelihood.score, error)])

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """A series that holds an anomaly, or else the first, with the score of each row."""
        from rnnzoo.tasks.drawing import draw_anomalies

        examples = self.examples(split)
        number = next((i for i, (_, about) in enumerate(examples) if len(about["windows"])), 0)
        values, about = examples[number]
        _, scores = self._judged(model, self.arrays(split)[number]["rows"])
        columns = dict(zip(self.encoder.columns[:_DRAWN], values.T, strict=False))
        threshold = self.config.threshold
        path = folder / "anomalies.png"
        return [draw_anomalies(path, str(about["name"]), columns, scores, threshold, about["windows"])]

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        task = self.streamed_task(model, AnomalyDetector)
        detections = [task.detect(values) for values, _ in self.examples(split)]
        errors, scores = (
            [np.array([getattr(e, name) for e in events]) for events in detections] for name in ("error", "score")
        )
        return self._figures(split, errors, scores)

    def _figures(self, split: str, errors: Sequence[NDArray[Any]], scores: Sequence[NDArray[Any]]) -> dict[str, float]:
        """Figures of errors (T,) and scores (T,) of all series.

        Returns:
            On `test` `nab_score`, each series at the one threshold that is best on the others; `shipped_nab_score` at
            `data.threshold`, which the file has; `best_nab_score` at the `best_threshold` of all series, as NAB chooses
            it for every detector: optimistic. `windowed_gaussian` and `best_windowed_gaussian` are those of NAB's
            baseline, treated alike. Where no anomaly is marked,
            `mse` and `alarms_per_1000_rows` at `data.threshold` instead. On the other splits the mean squared error
            `mse` of their rows. `count` of rows that were judged.
        """
        examples = self.examples(split)
        if split != "test":
            spans = [slice(max(begin, self.config.probation), end) for begin, end in self._spans(split)]
            judged = np.concatenate([error[span] for error, span in zip(errors, spans, strict=True)])
            return {"mse": float(np.mean(judged**2)), "count": float(len(judged))}

        if not any(len(about["windows"]) for _, about in examples):
            after = [slice(about["probation"], None) for _, about in examples]
            errors, scores = (
                [np.concatenate([row[span] for row, span in zip(rows, after, strict=True)])]
                for rows in (errors, scores)
            )
            alarms = scores[0] >= self.config.threshold
            figures = {"mse": float(np.mean(errors[0] ** 2)), "alarms_per_1000_rows": 1000 * float(np.mean(alarms))}
            return figures | {"count": float(len(alarms))}

        def scored(rows: Sequence[NDArray[Any]]) -> list[ScoredSeries]:
            about = [about for _, about in examples]
            return [ScoredSeries(s, a["windows"], a["probation"]) for s, a in zip(rows, about, strict=True)]

        own = choose_threshold(scored(scores))
        baseline = choose_threshold(scored([windowed_gaussian(values[:, 0]) for values, _ in examples]))
        shipped = nab_score(scored(scores), self.config.threshold)
        return {
            # One series alone leaves none to choose by.
            "nab_score": own.left_out if len(examples) > 1 else shipped,
            "windowed_gaussian": baseline.left_out,
            "shipped_nab_score": shipped,
            "best_nab_score": own.best,
            "best_windowed_gaussian": baseline.best,
            "best_threshold": own.threshold,
            "count": float(sum(len(values) - about["probation"] for values, about in examples)),
        }

    def baseline(self, split: str) -> Baseline:
        rows = [row["rows"] for row in self.arrays(split)]
        if split == "test" and any(len(about["windows"]) for _, about in self.examples(split)):
            score = self._figures(split, rows, [np.zeros(len(row)) for row in rows])["windowed_gaussian"]
            return Baseline("windowed Gaussian", {"nab_score": score}, 3)
        errors = [np.sqrt(np.mean(np.diff(row, axis=0, prepend=row[:1]) ** 2, axis=1)) for row in rows]
        return Baseline("last value", self._figures(split, errors, errors), self.encoder.width)

    def _spans(self, split: str) -> list[tuple[int, int]]:
        return [self._span(split, number) for number in range(len(self.examples(split)))]

    def _signature(self, split: str) -> Any:
        import tensorflow as tf

        width = self.encoder.width
        return (
            {"rows": tf.TensorSpec((None, None, width), tf.float32)},
            tf.TensorSpec((None, None, 1, width), tf.float32),
            tf.TensorSpec((None, None), tf.float32),
        )
