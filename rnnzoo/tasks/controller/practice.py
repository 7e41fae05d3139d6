"""Learning from drives of the policy itself: by the answers of an expert (DAgger), or by their errors (REINFORCE)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from rnnzoo.data.problems.arm import STEP, Drive, draw_episode, record
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.controller.driver import Driver

if TYPE_CHECKING:
    from rnnzoo.tasks.base import Task
    from rnnzoo.tasks.batches import Batch

Logs = dict[str, float] | None
# White noise on the torque (N m) in drives for the expert's answers, and in those whose errors are compared.
_ROUND_NOISE, _REINFORCE_NOISE = 1.0, 2.0
# Drives of each episode whose errors are compared, and the seconds after which a torque no longer counts for them.
_COPIES, _HORIZON = 4, 0.1


class Apprentice(keras.Model):
    """A policy whose `fit` also reads what came of its own drives.

    Args:
        policy: functional; it shares its layers and weights.
        rounds: R, of drives with an expert.
        count: examples of the training split, and drives of a round.
        shape: of the rows of an example, (T, D).
        outputs: of a step.

    Raises:
        ConfigError: the backend of Keras is another than TensorFlow.
    """

    def __init__(self, policy: keras.Model, rounds: int, count: int, shape: tuple[int, ...], outputs: int):
        super().__init__({tensor.name: tensor for tensor in policy.inputs}, policy.output, name=policy.name)
        if keras.backend.backend() != "tensorflow":
            received = keras.backend.backend()
            raise ConfigError(f"data.rounds and data.reinforce need KERAS_BACKEND=tensorflow; received {received!r}")
        import tensorflow as tf

        size = sum(int(np.prod(weight.shape)) for weight in policy.weights)
        # The weights that drove in each round: a resumed training drives again, which is shorter than its snapshots
        # would be with all rows in them.
        self.drivers = self.add_weight(shape=(rounds, size), initializer="zeros", trainable=False, name="drivers")
        self.rounds = self.add_weight(shape=(), initializer="zeros", dtype="int32", trainable=False, name="rounds")
        self.reinforcing = self.add_weight(
            shape=(), initializer="zeros", dtype="bool", trainable=False, name="reinforcing"
        )
        self._random, self._count = keras.random.SeedGenerator(), count
        shapes = (shape, (shape[0], outputs), shape[:1])
        self._lessons, self._trials = (
            [tf.Variable(tf.zeros((1, *axes)), shape=(None, *axes), trainable=False) for axes in shapes]
            for _ in range(2)
        )

    def teach(self, batch: Batch) -> None:
        """Replace what the batches of the data set are mixed with."""
        _fill(self._lessons, batch)

    def attempt(self, batch: Batch) -> None:
        """Replace what a step with `reinforcing` reads; the weights are advantages."""
        _fill(self._trials, batch)

    def train_step(self, data: Any) -> dict[str, Any]:
        import tensorflow as tf

        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        rows, y, weights = tf.cond(
            self.reinforcing.value,
            lambda: [variable.read_value() for variable in self._trials],
            lambda: self.mixed([x["rows"], y, weights]),
        )
        return super().train_step(({"rows": rows}, y, weights))

    def mixed(self, batch: list[Any]) -> list[Any]:
        """Rows, targets and weights: each of the batch, or of a drive, as if all were one data set."""
        rounds = ops.cast(self.rounds, "float32")
        size = ops.shape(batch[0])[:1]
        chosen = keras.random.uniform(size, seed=self._random) < rounds / (rounds + 1)
        indices = keras.random.uniform(size, seed=self._random) * rounds * self._count
        indices = ops.minimum(ops.cast(indices, "int32"), ops.maximum(self.rounds * self._count - 1, 0))
        return [
            ops.where(ops.reshape(chosen, (-1, *(1,) * (len(part.shape) - 1))), ops.take(known, indices, axis=0), part)
            for known, part in zip(self._lessons, batch, strict=True)
        ]


def _fill(variables: list[Any], batch: Batch) -> None:
    inputs, targets, weights = batch
    for variable, values in zip(variables, (inputs["rows"], targets, weights), strict=True):
        variable.assign(values)


class Practice(keras.callbacks.Callback):
    """Lets an `Apprentice` drive, so many times in its training as its data section says.

    Rounds with the expert divide the epochs before those of REINFORCE into equal parts. The drives are through new
    episodes, with payloads as in training, by the seed of the task and the number of the round or step.

    Args:
        task: the task.
        policy: the model that drives.
        episodes: of a step of REINFORCE.

    Raises:
        ConfigError: there are too few epochs.
    """

    def __init__(self, task: Task, policy: keras.Model, episodes: int):
        super().__init__()
        self._task, self._policy, self._episodes = task, policy, episodes
        self._steps = len(task.examples("train")[0][0])
        self._lessons: list[Drive] = []
        self._drivers: dict[int, Driver] = {}

    def on_train_begin(self, logs: Logs = None) -> None:
        config, epochs = self._task.config, self.params["epochs"]
        self._begin = epochs - config.reinforce
        least = config.rounds + 1 if config.rounds else 0
        if self._begin < least:
            raise ConfigError(
                f"data.rounds={config.rounds} and data.reinforce={config.reinforce} need training.epochs of at least "
                f"{least + config.reinforce}; received {epochs}"
            )
        self._ends = [self._begin * (i + 1) // (config.rounds + 1) - 1 for i in range(config.rounds)]
        for number in range(int(self.model.rounds)):
            self._take_round(number)

    def on_epoch_begin(self, epoch: int, logs: Logs = None) -> None:
        self.model.reinforcing.assign(epoch >= self._begin)

    def on_epoch_end(self, epoch: int, logs: Logs = None) -> None:
        if epoch in self._ends:
            number = self._ends.index(epoch)
            drivers = np.array(self.model.drivers)
            drivers[number] = np.concatenate([weight.ravel() for weight in self._policy.get_weights()])
            self.model.drivers.assign(drivers)
            self._take_round(number)
            self.model.rounds.assign(number + 1)

    def on_train_batch_begin(self, batch: int, logs: Logs = None) -> None:
        if not bool(self.model.reinforcing.value):
            return
        rng = np.random.default_rng((self._task.seed, 2, int(self.model.optimizer.iterations)))
        drive = self._drive(self._policy.get_weights(), self._episodes, _COPIES, _REINFORCE_NOISE, rng)
        rows = [
            {**self._task.encode((rows, (torques, None))), "weights": better}
            for rows, torques, better in zip(drive.rows, drive.torques, advantages(drive.errors, _COPIES), strict=True)
        ]
        self.model.attempt(self._task.collate(rows))

    def _take_round(self, number: int) -> None:
        """Drive by the weights of a round, and add the expert's answers."""
        weights, begin = [], 0
        for weight in self._policy.weights:
            size = int(np.prod(weight.shape))
            weights.append(np.array(self.model.drivers[number, begin : begin + size]).reshape(weight.shape))
            begin += size
        rng = np.random.default_rng((self._task.seed, 1, number))
        self._lessons.append(self._drive(weights, len(self._task.examples("train")), 1, _ROUND_NOISE, rng))
        pairs = [pair for drive in self._lessons for pair in zip(drive.rows, drive.answers, strict=True)]
        self.model.teach(self._task.collate([self._task.encode((rows, (answers, None))) for rows, answers in pairs]))

    def _drive(
        self, weights: list[NDArray[Any]], episodes: int, copies: int, noise: float, rng: np.random.Generator
    ) -> Drive:
        drawn = [episode for _ in range(episodes) for episode in [draw_episode(rng)] * copies]
        if len(drawn) not in self._drivers:
            self._drivers[len(drawn)] = Driver(self._policy, self._task.encoder, len(drawn))
        driver = self._drivers[len(drawn)]
        driver.begin(weights)
        return record(drawn, self._steps, driver, noise, rng)


def advantages(errors: NDArray[Any], copies: int) -> NDArray[Any]:
    """How much better the errors after each step are than the mean of the same episode's drives at that step.

    The return of step t is - sum over k > t of exp(-(k - t - 1) STEP / horizon) |error_k|^2; advantages are divided by
    their deviation over all steps and drives.

    Args:
        errors: of the angles, (N, T, 2).
        copies: of each episode, side by side.

    Returns:
        (N, T), of mean 0 over the copies of an episode.
    """
    costs, discount = (errors**2).sum(axis=-1), np.exp(-STEP / _HORIZON)
    returns = np.zeros_like(costs)
    for step in range(costs.shape[1] - 2, -1, -1):
        returns[:, step] = discount * returns[:, step + 1] - costs[:, step + 1]
    groups = returns.reshape(-1, copies, costs.shape[1])
    better = (groups - groups.mean(axis=1, keepdims=True)).reshape(costs.shape)
    return (better / max(float(better.std()), 1e-12)).astype(np.float32)
