"""Connectionist temporal classification: training on labels without alignment."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from rnnzoo.layers.refusals import refused
from streaming._compat import get_keras_mask


@keras.saving.register_keras_serializable(package="rnnzoo")
class CTCLoss(keras.losses.Loss):
    """Negative log probability of a label sequence, summed over its alignments (Graves et al. 2006).

    Mean over the batch. With TensorFlow one loop gives the loss and the gradient; other backends use
    `keras.ops.ctc_loss`. Labels that no alignment gives, as there are too few steps for them, have a large loss, and
    with TensorFlow no gradient.

    Args:
        blank: the id of the blank, which also pads the labels.

    y_true: labels (B, L), at the left, padded with the blank; y_pred: logits (B, T, K). Steps at the end that have
    weight 0 in a `sample_weight` (B, T), or that the Keras mask of y_pred hides, do not exist; a `sample_weight` (B,)
    weighs the sequences.

    Raises:
        ValueError: the blank is negative.
    """

    def __init__(self, blank: int = 0, name: str = "ctc_loss", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        if blank < 0:
            raise refused(f"CTCLoss: expected blank >= 0. Received: blank={blank}")
        self.blank = blank

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        mask, weight = get_keras_mask(y_pred), None
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(sample_weight)
            if len(sample_weight.shape) == 1:
                weight = ops.cast(sample_weight, "float32")
            else:
                mask = sample_weight > 0
        values = self.call(y_true, y_pred, mask)
        return ops.mean(values if weight is None else values * weight)

    def call(self, y_true: Any, y_pred: Any, mask: Any = None) -> Any:
        labels, logits = ops.cast(y_true, "int32"), ops.cast(y_pred, "float32")
        counts = ops.sum(ops.cast(labels != self.blank, "int32"), axis=-1)
        steps = steps_of(logits, mask)
        if keras.backend.backend() == "tensorflow":
            from rnnzoo.layers.tensorflow_chains import ctc

            return ctc(labels, logits, counts, steps, self.blank)
        return ops.ctc_loss(labels, logits, counts, steps, mask_index=self.blank)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "blank": self.blank}


def ctc_greedy_decode(logits: Any, mask: Any = None, blank: int = 0) -> tuple[Any, Any]:
    """The labels of the best alignment: repeats merged, blanks left out.

    logits (B, T, K), mask (B, T) of steps at the end that do not exist. Returns the labels, int32 (B, T), padded with
    -1, and the log probabilities of the alignments, (B,).
    """
    logits = ops.cast(logits, "float32")
    paths, scores = ops.ctc_decode(logits, steps_of(logits, mask), mask_index=blank)
    return ops.cast(paths[0], "int32"), scores[:, 0]


def steps_of(logits: Any, mask: Any) -> Any:
    """Number of steps of each sequence, int32 (B,)."""
    if mask is None:
        return ops.full((ops.shape(logits)[0],), ops.shape(logits)[1], dtype="int32")
    return ops.sum(ops.cast(mask, "int32"), axis=-1)
