"""One training on several devices: the GPUs of a machine, or workers on several machines."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnnzoo.errors import ConfigError

STRATEGIES = ("mirrored", "multiworker")


class Parallel:
    """Data parallelism: each device takes an equal part of every batch, and all make the same update.

    Args:
        kind: `mirrored`, the GPUs of this machine (its logical CPUs where it has none), or `multiworker`, the
            processes that TF_CONFIG lists, each started with the same command.

    Raises:
        ConfigError: the kind is unknown, or TF_CONFIG is missing or no cluster.
    """

    def __init__(self, kind: str):
        if kind not in STRATEGIES:
            raise ConfigError(f"expected a strategy among {', '.join(STRATEGIES)}; received {kind!r}")
        if kind == "mirrored":
            devices = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
            self.strategy: Any = tf.distribute.MirroredStrategy([device.name for device in devices])
            self.worker, self.workers = 0, 1
        else:
            self.worker, self.workers = _cluster()
            self.strategy = tf.distribute.MultiWorkerMirroredStrategy()
        self.devices: int = self.strategy.num_replicas_in_sync

    @property
    def is_chief(self) -> bool:
        """Whether this process writes the files."""
        return self.worker == 0

    @staticmethod
    def is_loss(error: BaseException) -> bool:
        """Whether an error means that another worker is lost."""
        lost = tf.errors.UnavailableError, tf.errors.AbortedError, tf.errors.DeadlineExceededError
        return isinstance(error, lost)

    def model(self, model: keras.Model) -> keras.Model:
        """The model that is trained instead, with the same weights."""
        return ParallelModel({t.name: t for t in model.inputs}, model.output, name=model.name)

    def dataset(self, make: Callable[[Any], tf.data.Dataset]) -> Any:
        """Batches for the devices of this worker.

        Args:
            make: takes a function from a batch to its parts, and returns the data set of the parts.
        """
        own = self.devices // self.workers
        mine = range(self.worker * own, (self.worker + 1) * own)

        def parts(batch: Any) -> list[Any]:
            return [split_batch(batch, self.devices)[i] for i in mine]

        return self.strategy.distribute_datasets_from_function(lambda _: make(parts))


def split_batch(batch: Any, count: int) -> list[Any]:
    """A batch as `count` parts of one size; the mean over their mean losses is the mean loss of the batch.

    Parts are filled up with rows of weight 0 to equal sizes, and the weights are scaled to keep the mean.

    Args:
        batch: inputs by name, targets, weights; each with the batch as its first axis.
    """
    inputs, targets, weights = batch
    rows = len(weights)
    size = -(-rows // count)
    chosen = np.minimum(np.arange(size * count), rows - 1)
    shares = (np.arange(size * count) < rows) * (size * count / rows)
    weights = weights[chosen] * shares.reshape(-1, *[1] * (weights.ndim - 1)).astype(weights.dtype)

    def part(array: NDArray[Any], i: int) -> NDArray[Any]:
        return array[chosen][i * size : (i + 1) * size]

    return [
        (
            {name: part(array, i) for name, array in inputs.items()},
            part(targets, i),
            weights[i * size : (i + 1) * size],
        )
        for i in range(count)
    ]


class ParallelModel(keras.Model):
    """A functional model that Keras 3 can train on several workers, clipping the gradient of the whole batch.

    Keras clips the gradient of each device before they are summed, and on several workers it cannot build the model
    from a distributed batch, nor take the mean of scalars (keras#20585).
    """

    def train_step(self, data: Any) -> dict[str, Any]:
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        with tf.GradientTape() as tape:
            predicted = self(x, training=True)
            loss = self.compute_loss(x=x, y=y, y_pred=predicted, sample_weight=weights, training=True)
            # Keras has divided it by the number of devices: the sum of their gradients is that of the whole batch.
            scaled = self.optimizer.scale_loss(loss)
        self._track(loss, weights)
        variables = self.trainable_weights
        gradients = [tf.convert_to_tensor(one) for one in tape.gradient(scaled, variables)]
        gradients = tf.distribute.get_replica_context().all_reduce("SUM", gradients)
        # They are sums already: the optimizer has nothing to add up.
        self.optimizer._all_reduce_sum_gradients = lambda pairs: pairs
        self.optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return self.compute_metrics(x, y, predicted, weights)

    def test_step(self, data: Any) -> dict[str, Any]:
        x, y, weights = keras.utils.unpack_x_y_sample_weight(data)
        predicted = self(x, training=False)
        loss = self.compute_loss(x=x, y=y, y_pred=predicted, sample_weight=weights, training=False)
        self._track(loss, weights)
        return self.compute_metrics(x, y, predicted, weights)

    def _track(self, loss: Any, weights: Any) -> None:
        whole = loss * self.distribute_strategy.num_replicas_in_sync
        # A batch counts by its own rows, without those that fill it up.
        real = tf.reduce_any(tf.reshape(weights, (tf.shape(weights)[0], -1)) != 0, axis=1)
        rows = tf.distribute.get_replica_context().all_reduce("MEAN", tf.reduce_sum(tf.cast(real, loss.dtype)))
        self._loss_tracker.update_state(whole, sample_weight=rows)

    def prepare(self, batch: Any) -> None:
        """Make the variables of optimizer and metrics, from one batch of arrays."""
        with self.distribute_strategy.scope():
            self._symbolic_build(data_batch=tf.nest.map_structure(tf.convert_to_tensor, batch))

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """`prepare` has done it."""

    def _make_function(self, step_function: Callable[[Any], Any]) -> Callable[[Any], Any]:
        strategy = self.distribute_strategy

        @tf.function(reduce_retracing=True)
        def one_step(data: Any) -> Any:
            outputs = strategy.run(step_function, args=(data,))
            return tf.nest.map_structure(lambda value: strategy.reduce("MEAN", value, axis=None), outputs)

        return lambda iterator: one_step(next(iterator))


def _cluster() -> tuple[int, int]:
    """Number of this worker, and of all workers."""
    text = os.environ.get("TF_CONFIG", "")
    try:
        cluster = json.loads(text)
        workers: Sequence[str] = cluster["cluster"]["worker"]
        task = cluster["task"]
        if task["type"] != "worker" or not 0 <= task["index"] < len(workers):
            raise ValueError
    except (ValueError, KeyError, TypeError):
        raise ConfigError(
            "--strategy multiworker reads the cluster from TF_CONFIG: expected "
            '{"cluster": {"worker": ["host:port", ...]}, "task": {"type": "worker", "index": 0}}; '
            f"received {text[:80]!r}"
        ) from None
    return int(task["index"]), len(workers)
