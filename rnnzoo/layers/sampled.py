"""Softmax over a large vocabulary, of which training computes only a part."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops

from rnnzoo.layers.memoryless import Memoryless
from rnnzoo.layers.refusals import positive, refused


class LargeSoftmax(Memoryless, keras.layers.Layer):
    """Base of both kinds: layer(x) gives log probabilities (B, T, V), layer(x, targets) the loss of each step.

    To train, give the targets as an input of the model and let it minimize its output: `MeanOutput` is that loss. For
    inference and streaming, build a model of the same layers without targets.
    """

    def __init__(self, vocabulary: int, **kwargs: Any):
        super().__init__(**kwargs)
        positive(self, vocabulary=vocabulary)
        if vocabulary < 2:
            raise refused(f"{type(self).__name__}: expected vocabulary >= 2. Received: vocabulary={vocabulary}")
        self.vocabulary = vocabulary
        self.supports_masking = True

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "vocabulary": self.vocabulary}


@keras.saving.register_keras_serializable(package="rnnzoo")
class SampledSoftmax(LargeSoftmax):
    """Importance-sampled softmax (Jean et al. 2015, On Using Very Large Target Vocabulary).

    In training, the normalizer runs over the target and `samples` ids c, drawn for the whole batch with
    p(c) = log((c + 2) / (c + 1)) / log(V + 1), whose scores are lowered by log(samples p(c)); a sample that equals
    the target does not count. Ids must be ordered by falling frequency.

    Args:
        vocabulary: ids V.
        samples: ids drawn for a batch.
        seed: of the draw.

    Input: x (B, T, D), in training targets (B, T). Output: log probabilities (B, T, V); with targets the negative
    log-likelihood (B, T): estimated with training=True, exact else.

    Raises:
        ValueError: a size is out of range.
    """

    def __init__(self, vocabulary: int, samples: int = 1024, seed: int | None = None, **kwargs: Any):
        super().__init__(vocabulary, **kwargs)
        positive(self, samples=samples)
        self.samples, self.seed = samples, seed
        self._random = keras.random.SeedGenerator(seed)

    def build(self, x_shape: Any, targets_shape: Any = None) -> None:
        self.kernel = self.add_weight((self.vocabulary, x_shape[-1]), name="kernel")
        self.bias = self.add_weight((self.vocabulary,), name="bias", initializer="zeros")
        self.built = True

    def call(self, x: Any, targets: Any = None, training: bool = False) -> Any:
        if targets is not None and training:
            return self._estimate(x, ops.cast(targets, "int32"))
        scores = ops.matmul(x, ops.transpose(ops.convert_to_tensor(self.kernel))) + self.bias
        log_probabilities = ops.log_softmax(scores, axis=-1)
        if targets is None:
            return log_probabilities
        return -ops.take_along_axis(log_probabilities, ops.cast(targets, "int32")[:, :, None], axis=-1)[:, :, 0]

    def _estimate(self, x: Any, targets: Any) -> Any:
        drawn = keras.random.uniform((self.samples,), seed=self._random)
        ids = ops.cast(ops.exp(drawn * math.log(self.vocabulary + 1)), "int32") - 1
        ids = ops.clip(ids, 0, self.vocabulary - 1)
        right = ops.sum(x * ops.take(self.kernel, targets, axis=0), axis=-1) + ops.take(self.bias, targets, axis=0)
        rows = ops.transpose(ops.take(self.kernel, ids, axis=0))
        others = ops.matmul(x, rows) + ops.take(self.bias, ids, axis=0) - self._log_expected(ids, x.dtype)
        others = ops.where(targets[:, :, None] == ids, -1e4, others)
        scores = ops.concatenate([right[:, :, None], others], axis=-1)
        return ops.logsumexp(scores, axis=-1) - right

    def _log_expected(self, ids: Any, dtype: Any) -> Any:
        """log of how often an id is drawn."""
        rank = ops.cast(ids, "float32")
        share = ops.log((rank + 2) / (rank + 1)) / math.log(self.vocabulary + 1)
        return ops.cast(ops.log(self.samples * share), dtype)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "samples": self.samples, "seed": self.seed}


@keras.saving.register_keras_serializable(package="rnnzoo")
class AdaptiveSoftmax(LargeSoftmax):
    """Adaptive softmax (Grave et al. 2017, Efficient softmax approximation for GPUs).

        log p(w) = log softmax(H x)[w]                                         w < cutoffs[0]
        log p(w) = log softmax(H x)[cluster i] + log softmax(B_i A_i x)[w]     in cluster i, A_i to D / factor^i

    Ids must be ordered by falling frequency: the frequent ones are scored at once, rare ones in clusters of smaller
    width. The probabilities are exact and sum to 1.

    Args:
        vocabulary: ids V.
        cutoffs: where the clusters begin, ascending.
        factor: how much narrower each cluster is than the one before.

    Input: x (B, T, D), in training targets (B, T). Output: log probabilities (B, T, V), or the negative
    log-likelihood of the targets (B, T).

    Raises:
        ValueError: cutoffs that do not ascend within the vocabulary, or a factor below 1.
    """

    def __init__(self, vocabulary: int, cutoffs: Sequence[int], factor: float = 4.0, **kwargs: Any):
        super().__init__(vocabulary, **kwargs)
        self.cutoffs, self.factor = tuple(cutoffs), factor
        ascending = [0, *self.cutoffs, vocabulary]
        if not self.cutoffs or not np.all(np.diff(ascending) > 0) or factor < 1:
            raise refused(
                f"AdaptiveSoftmax: expected ascending cutoffs between 1 and {vocabulary - 1}, and factor >= 1. "
                f"Received: cutoffs={self.cutoffs}, factor={factor}"
            )

    def build(self, x_shape: Any, targets_shape: Any = None) -> None:
        width, clusters = x_shape[-1], len(self.cutoffs)
        self.head = self.add_weight((width, self.cutoffs[0] + clusters), name="head")
        self.tails = []
        for index, (begin, end) in enumerate(self._spans()):
            inner = max(1, int(width / self.factor ** (index + 1)))
            down = self.add_weight((width, inner), name=f"down_{index}")
            self.tails.append((down, self.add_weight((inner, end - begin), name=f"up_{index}")))
        self.built = True

    def _spans(self) -> list[tuple[int, int]]:
        return list(zip(self.cutoffs, (*self.cutoffs[1:], self.vocabulary), strict=True))

    def call(self, x: Any, targets: Any = None) -> Any:
        head = ops.log_softmax(ops.matmul(x, self.head), axis=-1)
        frequent = self.cutoffs[0]
        if targets is None:
            parts = [head[:, :, :frequent]]
            for index in range(len(self.tails)):
                parts.append(self._tail(x, index) + head[:, :, frequent + index : frequent + index + 1])
            return ops.concatenate(parts, axis=-1)
        return self._loss(x, head, ops.cast(targets, "int32"))

    def _tail(self, x: Any, index: int) -> Any:
        down, up = self.tails[index]
        return ops.log_softmax(ops.matmul(ops.matmul(x, down), up), axis=-1)

    def _loss(self, x: Any, head: Any, targets: Any) -> Any:
        """A cluster is computed for those steps only whose target is in it, where shapes may depend on values."""
        frequent, place = self.cutoffs[0], targets
        for index, (begin, _) in enumerate(self._spans()):
            place = ops.where(targets >= begin, frequent + index, place)
        log_probabilities = ops.reshape(ops.take_along_axis(head, place[:, :, None], axis=-1), (-1,))
        rows, flat = ops.reshape(x, (-1, x.shape[-1])), ops.reshape(targets, (-1,))
        for index, (begin, end) in enumerate(self._spans()):
            inside = ops.logical_and(flat >= begin, flat < end)
            if keras.backend.backend() == "jax":
                scores = self._tail(rows, index)
                picked = ops.take_along_axis(scores, ops.clip(flat - begin, 0, end - begin - 1)[:, None], axis=-1)[:, 0]
                log_probabilities = log_probabilities + ops.where(inside, picked, ops.zeros_like(picked))
                continue
            (which,) = ops.nonzero(inside)
            scores = self._tail(ops.take(rows, which, axis=0), index)
            picked = ops.take_along_axis(scores, ops.take(flat, which, axis=0)[:, None] - begin, axis=-1)[:, 0]
            log_probabilities = log_probabilities + ops.scatter(
                ops.cast(which, "int32")[:, None], picked, ops.shape(log_probabilities)
            )
        return -ops.reshape(log_probabilities, ops.shape(targets))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cutoffs": self.cutoffs, "factor": self.factor}


@keras.saving.register_keras_serializable(package="rnnzoo")
class MeanOutput(keras.losses.Loss):
    """The loss of a model whose output is itself the loss of each step (B, T); y_true is ignored."""

    def __init__(self, name: str = "mean_output", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        return y_pred
