"""A linear-chain conditional random field over the labels of a sequence."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from rnnzoo.layers import chain
from rnnzoo.layers.refusals import OverSequences, fit_mask, refused, shape_of
from streaming._compat import get_keras_mask

# Far below every score, and finite: a difference of two such scores is no NaN.
FORBIDDEN = -1e4


@keras.saving.register_keras_serializable(package="rnnzoo")
class CRF(OverSequences, keras.layers.Layer):
    """Holds the chain's scores over the labels; the output is the input (Lafferty, McCallum & Pereira 2001).

    Put it after the layer that scores the labels of each step, compile the model with `CRFLoss(crf)`, and decode with
    `crf.decode(model(x))`. In a stream it costs nothing: the file gives the scores, and contains `crf.chain_scores()`
    for the Viterbi decoder of `streaming.runtime.decoding`, with any delay.

    Args:
        labels: names of the labels; with them, transitions that the BIO scheme forbids are impossible: I-X after
            anything but B-X or I-X. None: all transitions are possible.

    Input and output: (B, T, K), the scores of K labels.

    Raises:
        ValueError: as many labels as scores were expected.
    """

    def __init__(self, labels: Sequence[str] | None = None, **kwargs: Any):
        super().__init__(**kwargs)
        self.labels = None if labels is None else tuple(labels)
        self.supports_masking = True

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        size = input_shape[-1]
        if self.labels is not None and len(self.labels) != size:
            raise refused(f"CRF: expected scores of {len(self.labels)} labels. Received: shape {tuple(input_shape)}")
        self.transitions = self.add_weight((size, size), name="transitions", initializer="zeros")
        self.start = self.add_weight((size,), name="start", initializer="zeros")
        self.end = self.add_weight((size,), name="end", initializer="zeros")
        names = self.labels or ("O",) * int(size or 0)
        self._moves = np.array([[bio_allows(a, b) for b in names] for a in names], "float32")
        self._starts = np.array([bio_allows("O", b) for b in names], "float32")

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return input_shape

    def call(self, scores: Any) -> Any:
        return scores

    def scores(self) -> tuple[Any, Any, Any]:
        """Transitions (K, K), start and end (K,), with what is forbidden far below the rest; float32."""
        moves, starts = ops.convert_to_tensor(self._moves), ops.convert_to_tensor(self._starts)
        transitions, start, end = (ops.cast(w, "float32") for w in (self.transitions, self.start, self.end))
        return transitions * moves + FORBIDDEN * (1 - moves), start * starts + FORBIDDEN * (1 - starts), end

    def log_likelihood(self, scores: Any, labels: Any, mask: Any = None) -> Any:
        """Log probability (B,) of the labels (B, T), given the scores (B, T, K)."""
        return chain.log_likelihood(ops.cast(scores, "float32"), labels, *self.scores(), mask=self._fit(scores, mask))

    def marginals(self, scores: Any, mask: Any = None) -> Any:
        """Probability (B, T, K) of each label at each step, given the whole sequence."""
        return chain.marginals(ops.cast(scores, "float32"), *self.scores(), mask=self._fit(scores, mask))

    def decode(self, scores: Any, mask: Any = None) -> Any:
        """The most probable labels, int32 (B, T)."""
        return chain.viterbi(ops.cast(scores, "float32"), *self.scores(), mask=self._fit(scores, mask))

    def _fit(self, scores: Any, mask: Any) -> Any:
        if mask is not None:
            fit_mask(self, mask, "scores", shape_of(scores))
        return mask

    def chain_scores(self) -> dict[str, Any]:
        """Content of `transitions.json` of a bundle: lists of numbers, None for what is forbidden."""

        def numbers(value: Any, allowed: NDArray[Any]) -> Any:
            rows = np.where(allowed > 0, ops.convert_to_numpy(value).astype("float64"), np.nan)
            return [[None if np.isnan(v) else v for v in row] for row in np.atleast_2d(rows).tolist()]

        return {
            "transitions": numbers(self.transitions, self._moves),
            "start": numbers(self.start, self._starts)[0],
            "end": numbers(self.end, np.ones_like(self._starts))[0],
        }

    def stream_spec(self, input_shape: tuple[int | None, ...]) -> dict[str, Any]:
        """Nothing is done at inference."""
        return {"identity": True}

    def stream_step(self, x: Any, valid: Any, states: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """The scores as they are."""
        return x, valid, states

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "labels": self.labels}


@keras.saving.register_keras_serializable(package="rnnzoo")
class CRFLoss(keras.losses.Loss):
    """Negative log-likelihood of the labels, mean over the sequences of a batch.

    Args:
        crf: the CRF layer whose input the model's output is; its scores are trained with the model.

    y_true: labels (B, T); y_pred: scores (B, T, K). Positions of weight 0 in a `sample_weight` (B, T), or masked by the
    Keras mask of y_pred, are not part of the chain; a `sample_weight` (B,) weighs the sequences.

    A loaded model can predict at once; to continue its training, compile it again with `CRFLoss(model.get_layer(...))`.

    Raises:
        ValueError: the loss has no layer, as after loading.
    """

    def __init__(self, crf: CRF | None = None, name: str = "crf_loss", **kwargs: Any):
        super().__init__(name=name, **kwargs)
        if crf is not None and not isinstance(crf, CRF):
            raise refused(f"CRFLoss: expected a CRF layer. Received: {type(crf).__name__}")
        self.crf = crf

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Any:
        if self.crf is None:
            raise refused("CRFLoss: expected a CRF layer; compile the model with CRFLoss(layer). Received: None")
        mask, weight = get_keras_mask(y_pred), None
        if sample_weight is not None:
            sample_weight = ops.convert_to_tensor(sample_weight)
            if len(sample_weight.shape) == 1:
                weight = ops.cast(sample_weight, "float32")
            else:
                present = sample_weight > 0
                mask = present if mask is None else ops.logical_and(mask, present)
        values = self.call(y_true, y_pred, mask)
        return ops.mean(values if weight is None else values * weight)

    def call(self, y_true: Any, y_pred: Any, mask: Any = None) -> Any:
        assert self.crf is not None
        labels = ops.cast(y_true, "int32")
        if len(labels.shape) == 3:
            labels = ops.squeeze(labels, -1)
        return -self.crf.log_likelihood(y_pred, labels, mask)


def bio_allows(before: str, after: str) -> bool:
    """Whether a label may follow another one in the BIO scheme; I-X needs B-X or I-X before it."""
    return not after.startswith("I-") or (before[:2] in ("B-", "I-") and before[2:] == after[2:])
