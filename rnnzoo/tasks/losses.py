"""Losses and metrics of logits."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from streaming.runtime.decoding.mixtures import MAX_CORRELATION, PARAMETERS, PENS


@keras.saving.register_keras_serializable(package="rnnzoo")
class LabelAccuracy(keras.metrics.Mean):
    """The share of labels that are right, each label counted by its weight.

    Keras's own accuracies first average within a sequence, so that a word of a long sentence counts less.
    """

    def __init__(self, name: str = "accuracy", **kwargs: Any):
        super().__init__(name=name, **kwargs)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        right = ops.equal(ops.cast(y_true, "int32"), ops.cast(ops.argmax(y_pred, axis=-1), "int32"))
        weight = None if sample_weight is None else ops.reshape(sample_weight, (-1,))
        super().update_state(ops.reshape(ops.cast(right, "float32"), (-1,)), weight)


@keras.saving.register_keras_serializable(package="rnnzoo")
class SmoothedCrossEntropy(keras.losses.Loss):
    """Cross-entropy of integer labels and logits, with label smoothing s.

    loss = logsumexp(z) - (1 - s) z[label] - s mean(z)
    """

    def __init__(self, smoothing: float = 0.0, name: str = "cross_entropy", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.smoothing = smoothing

    def call(self, y_true: Any, y_pred: Any) -> Any:
        chosen = ops.take_along_axis(y_pred, ops.expand_dims(ops.cast(y_true, "int32"), -1), axis=-1)
        target = (1 - self.smoothing) * chosen[..., 0] + self.smoothing * ops.mean(y_pred, axis=-1)
        return ops.logsumexp(y_pred, axis=-1) - target

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "smoothing": self.smoothing}


@keras.saving.register_keras_serializable(package="rnnzoo")
class SummedBinaryCrossEntropy(keras.losses.Loss):
    """-sum over the last axis of y log p + (1 - y) log(1 - p), of probabilities p clipped to lowest .. 1 - lowest."""

    def __init__(self, lowest: float = 1e-7, name: str = "summed_binary_cross_entropy", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.lowest = lowest

    def call(self, y_true: Any, y_pred: Any) -> Any:
        p = ops.clip(y_pred, self.lowest, 1 - self.lowest)
        return -ops.sum(y_true * ops.log(p) + (1 - y_true) * ops.log(1 - p), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "lowest": self.lowest}


@keras.saving.register_keras_serializable(package="rnnzoo")
class ListwiseScores(keras.losses.Loss):
    """Cross-entropy of the softmax of true scores and of margins over a sequence (ListNet, Cao et al. 2007).

        loss = - sum_t p[t] log q[t],   p = softmax of y / temperature,   q = softmax of z[1] - z[0]

    Over the steps whose score y (B, T) is 0 or more; of logits z (B, T, 2). Each step has its share (B, T).

    Args:
        temperature: the lower, the more the best step counts alone.
    """

    def __init__(self, temperature: float = 0.05, name: str = "listwise_scores", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.temperature = temperature

    def call(self, y_true: Any, y_pred: Any) -> Any:
        scores, margins = ops.cast(y_true, y_pred.dtype), y_pred[..., 1] - y_pred[..., 0]
        hidden = ops.where(scores < 0, -1e9, 0.0)
        true = ops.softmax(scores / self.temperature + hidden)
        return -true * ops.log_softmax(margins + hidden)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "temperature": self.temperature}


@keras.saving.register_keras_serializable(package="rnnzoo")
class ForecastLoss(keras.losses.Loss):
    """The squared error of forecasts (B, T, H, D), or the pinball loss of quantiles (B, T, H, D, Q); means over steps.

    pinball_q(y, z) = max(q (y - z), (q - 1) (y - z)) (Koenker and Bassett 1978)
    """

    def __init__(self, quantiles: Sequence[float] = (), name: str = "forecast", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.quantiles = tuple(quantiles)

    def call(self, y_true: Any, y_pred: Any) -> Any:
        if not self.quantiles:
            return ops.mean(ops.square(y_true - y_pred), axis=(2, 3))
        q = ops.convert_to_tensor(self.quantiles, y_pred.dtype)
        error = ops.expand_dims(y_true, -1) - y_pred
        return ops.mean(ops.maximum(q * error, (q - 1) * error), axis=(2, 3, 4))

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "quantiles": self.quantiles}


@keras.saving.register_keras_serializable(package="rnnzoo")
class BalancedAccuracy(keras.metrics.Metric):
    """The mean recall of the labels that occur, of integer labels (B,) and logits (B, L).

    Args:
        labels: their number L.
    """

    def __init__(self, labels: int, name: str = "balanced_accuracy", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.labels = labels
        self.right, self.held = (self.add_weight((labels,), "zeros", name=part) for part in ("right", "held"))

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        true = ops.cast(ops.reshape(y_true, (-1,)), "int32")
        known = ops.one_hot(true, self.labels, dtype="float32")
        if sample_weight is not None:
            # Weights balance labels; what weighs nothing has an unknown one.
            known = known * ops.cast(ops.reshape(sample_weight, (-1, 1)) > 0, "float32")
        right = ops.cast(ops.equal(true, ops.cast(ops.argmax(y_pred, axis=-1), "int32")), "float32")
        self.held.assign_add(ops.sum(known, axis=0))
        self.right.assign_add(ops.sum(known * ops.expand_dims(right, -1), axis=0))

    def result(self) -> Any:
        occurs = ops.cast(self.held > 0, "float32")
        return ops.sum(self.right / ops.maximum(self.held, 1.0)) / ops.maximum(ops.sum(occurs), 1.0)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "labels": self.labels}


@keras.saving.register_keras_serializable(package="rnnzoo")
class MacroF1(keras.metrics.F1Score):
    """The mean over labels of F1 = 2 TP / (2 TP + FP + FN), of logits (B, L) against zeros and ones.

    Args:
        threshold: the probability from which on a label holds.
    """

    def __init__(self, threshold: float = 0.5, name: str = "macro_f1", **kwargs: Any):
        super().__init__("macro", threshold, name=name, **kwargs)

    def update_state(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> None:
        # A data pipeline may not say how many labels there are.
        y_true = ops.reshape(y_true, (-1, y_pred.shape[-1]))
        super().update_state(y_true, ops.sigmoid(y_pred), sample_weight)

    def get_config(self) -> dict[str, Any]:
        config = super().get_config()
        config.pop("average")
        return config


@keras.saving.register_keras_serializable(package="rnnzoo")
class PenMixtureLoss(keras.losses.Loss):
    """Negative log density of movements and pens, of outputs (B, T, 6 M + 3) as `PenMixture.read` takes them.

        loss = - log sum_m w_m N2(dx, dy; mean_m, deviation_m, correlation_m) - log p[pen]   (Graves 2013, equation 26)

    Targets (B, T, 3) are dx, dy and the number of the pen.

    Args:
        floor: added to every deviation.
    """

    def __init__(self, floor: float = 0.01, name: str = "pen_mixture", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.floor = floor

    def call(self, y_true: Any, y_pred: Any) -> Any:
        shape = ops.shape(y_pred)
        parts = ops.reshape(y_pred[..., :-PENS], (shape[0], shape[1], -1, PARAMETERS))
        deviations = self.floor + ops.exp(ops.clip(parts[..., 3:5], -20, 20))
        rho = MAX_CORRELATION * ops.tanh(parts[..., 5])
        z = (ops.expand_dims(y_true[..., :2], -2) - parts[..., 1:3]) / deviations
        rest = 1 - ops.square(rho)
        square = ops.sum(ops.square(z), axis=-1) - 2 * rho * z[..., 0] * z[..., 1]
        scale = math.log(2 * math.pi) + ops.sum(ops.log(deviations), axis=-1) + 0.5 * ops.log(rest)
        moves = ops.logsumexp(ops.log_softmax(parts[..., 0]) - square / (2 * rest) - scale, axis=-1)
        pens = ops.one_hot(ops.cast(y_true[..., 2], "int32"), PENS, dtype=y_pred.dtype)
        return -moves - ops.sum(pens * ops.log_softmax(y_pred[..., -PENS:]), axis=-1)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "floor": self.floor}


class FramesLoss(keras.losses.Loss):
    """Negative log density of frames and ends, of outputs (B, T, 2 R M + 1) as `FrameDensity.read` takes them.

        loss = - mean log N(frames; means, deviations) - log p[end]

    Targets (B, T, R M + 1) are the frames, and 1 where they are the last.

    Args:
        floor: added to every deviation.
    """

    def __init__(self, floor: float = 0.1, name: str = "frames", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        self.floor = floor

    def call(self, y_true: Any, y_pred: Any) -> Any:
        means, logs = ops.split(y_pred[..., :-1], 2, axis=-1)
        deviations = self.floor + ops.exp(ops.clip(logs, -20, 20))
        z = (y_true[..., :-1] - means) / deviations
        frames = 0.5 * ops.square(z) + ops.log(deviations) + 0.5 * math.log(2 * math.pi)
        ends, logits = y_true[..., -1], y_pred[..., -1]
        return ops.mean(frames, axis=-1) + ops.softplus(logits) - ends * logits

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "floor": self.floor}
