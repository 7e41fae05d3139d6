"""Controllers: behaviour cloning of an expert, measured by how well the stream drives the simulated body."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.data.problems.arm import (
    COLUMNS,
    PAYLOADS,
    STEP,
    TORQUES,
    Episode,
    Simulation,
    computed_torque,
    follow,
    reference,
    tips,
)
from rnnzoo.data.source import Example
from rnnzoo.tasks.base import Task
from rnnzoo.tasks.baselines import Baseline
from rnnzoo.tasks.controller.driver import torque_units
from streaming.runtime.tasks import Forecaster
from streaming.runtime.tasks.schema import ForecasterSpec

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.tasks.controller.config import ControlConfig
    from rnnzoo.training.config import TrainingConfig
    from streaming.runtime.model import StreamingModel

# Episodes of a picture.
_DRAWN = 4


class ControllerTask(Task):
    """Torques for a two-link arm with a hidden payload.

    A file has the device class of a forecaster of one row: what it forecasts of the next row are the torques, which are
    columns of it, being those of the step before.
    """

    topology = "controller"
    kinds = ("rows-control",)
    monitor = "val_rms"
    higher_is_better = False
    padding: ClassVar[Mapping[str, float]] = {}

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: ControlConfig) -> RowEncoder:
        rows = np.concatenate([rows for rows, _ in train]).astype(np.float64)
        return RowEncoder(tuple(rows.mean(axis=0).tolist()), tuple(rows.std(axis=0).tolist()), columns=COLUMNS)

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> RowEncoder:
        return RowEncoder.from_files(files)

    @classmethod
    def spec(cls, config: Any, encoder: RowEncoder) -> ForecasterSpec:
        return ForecasterSpec(columns=encoder.columns, targets=TORQUES, scaler=encoder.scaler)

    def encode(self, example: Example) -> Arrays:
        rows, (torques, _) = example
        mean, scale = torque_units(self.encoder)
        return {
            **self.encoder.encode(rows),
            "targets": ((torques - mean) / scale).astype(np.float32),
            "weights": np.ones(len(rows), np.float32),
        }

    def loss(self, config: TrainingConfig) -> keras.losses.Loss:
        import keras

        return keras.losses.MeanSquaredError()

    def metrics(self) -> list[keras.metrics.Metric]:
        return []

    def training_model(self, model: keras.Model, batch_size: int) -> keras.Model:
        self._trained, self._batch_size = model, batch_size
        if not self.config.rounds and not self.config.reinforce:
            return model
        from rnnzoo.tasks.controller.practice import Apprentice

        count, (inputs, targets, _) = len(self.examples("train")), self.collate(self.arrays("train")[:1])
        return Apprentice(model, self.config.rounds, count, inputs["rows"].shape[1:], targets.shape[-1])

    def callbacks(self) -> list[keras.callbacks.Callback]:
        from rnnzoo.tasks.callbacks import EpochFigures
        from rnnzoo.tasks.controller.practice import Practice

        policy = self._trained
        figures = EpochFigures(lambda _: {"rms": self.rms("dev", self._driven(policy, self.episodes("dev")))})
        practises = self.config.rounds or self.config.reinforce
        return [figures, *([Practice(self, policy, self._batch_size)] if practises else [])]

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        return self.score(split, self._driven(model, self.episodes(split)))

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        """The same, each arm driven by a session of the streaming file, step by step."""
        task = self.streamed_task(model, Forecaster, exact=True)
        return self.score(split, follow(self.episodes(split), self.steps_driven, stream_controller(task)))

    @property
    def steps_driven(self) -> int:
        """Steps of an episode in which the model drives."""
        return round(self.config.seconds / STEP)

    def episodes(self, split: str) -> list[Episode]:
        """The episodes of a split."""
        return [episode for _, (_, episode) in self.examples(split)]

    def _driven(self, model: keras.Model, episodes: Sequence[Episode]) -> NDArray[Any]:
        """Angles (N, T, 2) of arms that the Keras model drives."""
        from rnnzoo.tasks.controller.driver import Driver

        return follow(episodes, self.steps_driven, Driver(model, self.encoder, len(episodes)))

    def baseline(self, split: str) -> Baseline:
        believed = np.full(len(self.examples(split)), np.mean(PAYLOADS))

        def controller(simulation: Simulation) -> NDArray[Any]:
            seen = simulation.observe()
            wanted = simulation.wanted[:, simulation.step]
            return computed_torque(seen[:, :4], wanted, believed)

        angles = follow(self.episodes(split), self.steps_driven, controller)
        return Baseline("computed torque for the mean payload", self.score(split, angles), 1)

    def score(self, split: str, angles: NDArray[Any]) -> dict[str, float]:
        """Figures of angles (N, T, 2) that were driven.

        Returns:
            `rms`, the root mean square of the errors of the angles, in rad, after `data.settle` seconds, of payloads as
            in training; `rms_beyond`, of heavier ones; `worst`, the largest error of payloads as in training;
            `expert_rms`, of the controller that knows payload and state; `count` of episodes.
        """
        known, expert = self._known(split), follow(self.episodes(split), self.steps_driven, Simulation.expert)
        return {
            "rms": self.rms(split, angles),
            "rms_beyond": _rms(self._errors(split, angles)[~known]),
            "worst": float(np.abs(self._errors(split, angles)[known]).max()),
            "expert_rms": self.rms(split, expert),
            "count": float(len(known)),
        }

    def rms(self, split: str, angles: NDArray[Any]) -> float:
        """`rms` of `score` alone."""
        return _rms(self._errors(split, angles)[self._known(split)])

    def _known(self, split: str) -> NDArray[Any]:
        """Which episodes (N,) have payloads as in training."""
        return np.array([episode.payload <= PAYLOADS[1] for episode in self.episodes(split)])

    def _errors(self, split: str, angles: NDArray[Any]) -> NDArray[Any]:
        """Errors (N, T', 2) of angles (N, T, 2), of the steps that count."""
        wanted = np.stack([reference(episode, self.steps_driven)[:, :2] for episode in self.episodes(split)])
        return np.asarray(angles - wanted)[:, round(self.config.settle / STEP) :]

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """The ways of the tip, wanted and driven."""
        from rnnzoo.tasks.drawing import draw_paths

        episodes = self.episodes(split)[:_DRAWN]
        ways = tips(self._driven(model, episodes))
        wanted = [tips(reference(episode, self.steps_driven)[:, :2]) for episode in episodes]
        titles = [f"{episode.payload:.2f} kg" for episode in episodes]
        pairs = [{"wanted": a, "driven": b} for a, b in zip(wanted, ways, strict=True)]
        return [draw_paths(folder / "paths.png", dict(zip(titles, pairs, strict=True)))]


def stream_controller(task: Forecaster) -> Callable[[Simulation], NDArray[Any]]:
    """What drives the arms of a simulation, each by a session of a streaming file."""
    sessions: list[Any] = []

    def controller(simulation: Simulation) -> NDArray[Any]:
        rows = simulation.observe()
        if not sessions:
            sessions.extend(task.session() for _ in rows)
        return np.stack([session.feed(row[None])[0].values[0] for session, row in zip(sessions, rows, strict=True)])

    return controller


def _rms(errors: NDArray[Any]) -> float:
    """NaN over nothing."""
    return float(np.sqrt(np.mean(errors**2))) if errors.size else float("nan")
