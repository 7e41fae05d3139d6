"""Forecasting: many rows ahead of a series, all at once, after every row."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.data.encoders.series import SeriesEncoder
from rnnzoo.data.source import Example
from rnnzoo.errors import DataError
from rnnzoo.tasks.base import Task
from rnnzoo.tasks.baselines import Baseline
from rnnzoo.tasks.batches import Batch
from rnnzoo.tasks.evaluation import predict_whole
from rnnzoo.tasks.forecaster.figures import ForecastFigures, blocks
from rnnzoo.util.suggest import suggest
from streaming.runtime.tasks import Forecaster
from streaming.runtime.tasks.schema import ForecasterSpec, IntervalsSpec

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.tasks.forecaster.config import ForecasterData
    from rnnzoo.training.config import TrainingConfig
    from streaming.runtime.model import StreamingModel

# Columns that are drawn.
_DRAWN = 3


class ForecasterTask(Task):
    """Forecasts the next `horizon` rows after each row.

    Figures are on standardized values over all windows of a split, as the literature has them (Zhou et al. 2021).
    """

    topology = "forecaster"
    kinds = ("series",)
    monitor = "val_loss"
    higher_is_better = False
    windowed = True

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: ForecasterData) -> SeriesEncoder:
        ((rows, _),) = train
        columns = config.columns or tuple(f"column_{i}" for i in range(rows.shape[1]))
        encoder = RowEncoder.fit([rows], dataclasses.replace(config, columns=columns))
        measured = encoder.measured(config)
        if strange := [name for name in config.targets if name not in measured]:
            raise DataError(f"data.targets: no column {strange[0]!r}; {suggest(strange[0], measured)}")
        # What is filled in, masks, is not forecast.
        targets = config.targets or (measured if measured != columns else ())
        sizes = {"context": config.context, "horizon": config.horizon, "quantiles": config.quantiles}
        return SeriesEncoder(encoder.mean, encoder.scale, (), columns, **sizes, targets=targets)  # type: ignore[arg-type]

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> SeriesEncoder:
        return SeriesEncoder.from_files(files)

    @classmethod
    def spec(cls, config: Any, encoder: SeriesEncoder) -> ForecasterSpec:
        adaptive = config.intervals
        return ForecasterSpec(
            horizon=encoder.horizon,
            targets=encoder.targets,
            scaler=encoder.scaler,
            quantiles=encoder.quantiles,
            intervals=IntervalsSpec(adaptive.coverage, adaptive.rate) if adaptive else None,
            **encoder.table(config),
        )

    def encode(self, example: Example) -> Arrays:
        return self.encoder.encode(example[0])

    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        from rnnzoo.tasks.losses import ForecastLoss

        return ForecastLoss(self.encoder.quantiles)

    def begin(self, model: keras.Model, config: Any) -> None:
        from rnnzoo.tasks.forecaster.model import begin_linear

        begin_linear(model, config, self.encoder, [self.arrays("train")[0]["rows"]])

    def metrics(self) -> list[keras.metrics.Metric]:
        return []

    def steps(self, split: str, batch_size: int) -> int:
        return -(-len(self._starts(split, 0)) // batch_size)

    def batches(
        self, split: str, batch_size: int, rng: np.random.Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[NDArray[Any], Batch]]:
        """Windows of the series; outputs count from the first row that has its whole context before it."""
        config, rows = self.config, self.arrays(split)[0]["rows"]
        starts = self._starts(split, 0 if rng is None else int(rng.integers(config.window - config.context + 1)))
        if rng is not None:
            starts = rng.permutation(starts)
        ahead = np.lib.stride_tricks.sliding_window_view(rows[:, self.encoder.places], config.horizon, axis=0)
        for i in range(skip, self.steps(split, batch_size)):
            chosen = starts[i * batch_size : (i + 1) * batch_size]
            inputs = np.stack([rows[a : a + config.window] for a in chosen])
            # (B, T, D, H) to (B, T, H, D).
            targets = np.stack([ahead[a + 1 : a + 1 + config.window] for a in chosen]).swapaxes(2, 3)
            weights = np.ones(inputs.shape[:2], np.float32)
            weights[:, : config.context - 1] = 0
            yield chosen, ({"rows": inputs}, targets, weights)

    def _starts(self, split: str, offset: int) -> NDArray[Any]:
        """First rows of windows such that all rows but some at the end are forecast from; as many for any offset."""
        config, begin = self.config, self._begin(split)
        stride = config.window - config.context + 1
        last = len(self.examples(split)[0][0]) - config.window - config.horizon
        count = (last - begin - (stride - 1)) // stride + 1
        if count < 1:
            raise DataError(
                f"split {split!r} has fewer rows than data.window={config.window} and data.horizon={config.horizon} "
                "need: lower them"
            )
        return begin + offset + stride * np.arange(count)

    def _begin(self, split: str) -> int:
        """The first row of the context of the first window."""
        return max(0, self.examples(split)[0][1] - self.config.context)

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        """Figures of forecasts from windows of `context` rows and a fresh state."""
        context, begin, rows = self.config.context, self._begin(split), self.arrays(split)[0]["rows"]

        def outputs() -> Iterator[NDArray[Any]]:
            for first, last in blocks(len(self._true(split))):
                batches = []
                for i in range(first, last, batch_size):
                    starts = range(begin + i, begin + min(i + batch_size, last))
                    windows = np.stack([rows[a : a + context] for a in starts])
                    batches.append(np.asarray(model.predict_on_batch({"rows": windows}))[:, -1])
                yield np.concatenate(batches)

        return self._figures(split, outputs())

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        """Figures of one stream over the split that is never reset, from the first row of the first context on.

        Quantiles are those that the device gives, adapted where the task says so; `evaluate` has those of the model.
        """
        task = self.streamed_task(model, Forecaster, exact=True)
        return self._figures(split, self._streamed(task, split))

    def _streamed(self, task: Forecaster, split: str) -> Iterator[NDArray[Any]]:
        """Standardized outputs of a stream, block by block."""
        rows, places = self.examples(split)[0][0][self._begin(split) :], self.encoder.places
        mean, scale = (np.array(part)[places, None] for part in (self.encoder.mean, self.encoder.scale))
        session, several = task.session(), len(self.encoder.quantiles)

        def events() -> Iterator[NDArray[Any]]:
            for begin, end in blocks(len(rows)):
                for event in session.feed(rows[begin:end]):
                    values = [event.quantiles[q] for q in self.encoder.quantiles] or [event.values]
                    yield (np.stack(values, axis=-1) - mean) / scale

        # Models of this task answer each row at once.
        forecasts = itertools.islice(events(), self.config.context - 1, None)
        for first, last in blocks(len(self._true(split))):
            outputs = np.stack(list(itertools.islice(forecasts, last - first)))
            yield outputs if several else outputs[..., 0]

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """The first forecast of the split, of some columns, in the units of the data."""
        from rnnzoo.tasks.drawing import draw_forecasts

        begin, context, horizon = self._begin(split), self.config.context, self.config.horizon
        rows = self.arrays(split)[0]["rows"][begin : begin + context + horizon]
        ahead = predict_whole(model, rows=rows[:context])[-1]
        true = rows[:, self.encoder.places]
        lines = {}
        for i, place in enumerate(self.encoder.places[:_DRAWN]):
            mean, scale = self.encoder.mean[place], self.encoder.scale[place]
            both = {"true": true[:, i], "forecast": ahead[:, i]}
            lines[self.encoder.columns[place]] = {name: values * scale + mean for name, values in both.items()}
        return [draw_forecasts(folder / "forecast.png", lines, context)]

    def baseline(self, split: str) -> Baseline:
        rows, last = self.arrays(split)[0]["rows"][:, self.encoder.places], self._begin(split) + self.config.context - 1

        def outputs() -> Iterator[NDArray[Any]]:
            for begin, end in blocks(len(self._true(split))):
                last_values = np.repeat(rows[last + begin : last + end, None], self.config.horizon, axis=1)
                quantiles = len(self.encoder.quantiles)
                yield np.repeat(last_values[..., None], quantiles, axis=-1) if quantiles else last_values

        return Baseline("last value", self._figures(split, outputs()), self.encoder.width)

    def _true(self, split: str) -> NDArray[Any]:
        """The rows after each window, (N, D, H)."""
        rows = self.arrays(split)[0]["rows"][self._begin(split) + self.config.context :, self.encoder.places]
        return np.lib.stride_tricks.sliding_window_view(rows, self.config.horizon, axis=0)

    def score(self, split: str, outputs: NDArray[Any]) -> dict[str, float]:
        """Figures of outputs (N, H, D) or, with quantiles, (N, H, D, Q), on standardized values of the targets D.

        Returns:
            `mse`, `mae` (of the quantile next to the median); `mase`, the mean over columns of their `mae` against that
            of the seasonal naive forecast one step ahead on `train` (Hyndman & Koehler 2006); with quantiles also
            `pinball`, the mean over quantiles of the pinball loss, and `crps`, the continuous ranked probability score
            as twice that mean, which it is for quantiles that lie close (Gneiting & Ranjan 2011), and `coverage`, the
            share of the values between the lowest and the highest quantile; `last_value_mse` and `seasonal_mse`
            (`data.season` rows back) of naive forecasts, and their `mase`; `count` of windows.
        """
        return self._figures(split, (outputs[begin:end] for begin, end in blocks(len(outputs))))

    def _figures(self, split: str, outputs: Iterable[NDArray[Any]]) -> dict[str, float]:
        """The figures of `score`, of outputs block by block."""
        config, places, true = self.config, self.encoder.places, self._true(split)
        rows, known = (self.arrays(name)[0]["rows"][:, places] for name in (split, "train"))
        figures = ForecastFigures(known, config.season, self.encoder.quantiles)
        back = config.season - np.arange(config.horizon) % config.season
        for (begin, end), block in zip(blocks(len(true)), outputs, strict=True):
            ends = self._begin(split) + config.context + np.arange(begin, end)
            naive = {"last_value": rows[ends - 1][:, None], "seasonal": rows[ends[:, None] - back]}
            figures.add(true[begin:end].swapaxes(1, 2), block, naive)
        return figures.result()

    def _signature(self, split: str) -> Any:
        import tensorflow as tf

        width, horizon = self.encoder.width, self.config.horizon
        return (
            {"rows": tf.TensorSpec((None, None, width), tf.float32)},
            tf.TensorSpec((None, None, horizon, len(self.encoder.places)), tf.float32),
            tf.TensorSpec((None, None), tf.float32),
        )
