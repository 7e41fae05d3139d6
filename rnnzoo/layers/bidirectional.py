"""A recurrent layer in both directions, correct for padded batches."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from rnnzoo.layers.refusals import Recurrent, refused


@keras.saving.register_keras_serializable(package="rnnzoo")
class Bidirectional(Recurrent, keras.layers.Bidirectional):
    """Forward and backward over each sequence of a batch, without its padding (Schuster & Paliwal 1997).

        y[t] = merge(forward(x)[t], reverse(backward(reverse(x[:n])))[t]),   n the length of the sequence

    A `keras.layers.Bidirectional` whose result does not depend on the padding, also if the layer does not support
    masks. A layer without masks needs padding at the right, and gets its sequences aligned so that nothing precedes
    them.

    Args: those of `keras.layers.Bidirectional`.

    Input: (B, T, D) and a mask (B, T). Output: as of the layer, merged; zeros where the mask hides a step.

    Raises:
        ValueError: states are returned or given together with a mask, by a layer that does not support masks.
    """

    stream_as = keras.layers.Bidirectional

    def initial_sizes(self, count: int) -> Any:
        cells = [getattr(layer, "cell", None) for layer in (self.forward_layer, self.backward_layer)]
        sizes = [getattr(cell, "state_size", None) for cell in cells]
        return None if None in sizes else sizes

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None) -> Any:
        if mask is None or self.forward_layer._call_has_mask_arg:
            return super().call(sequences, initial_state=initial_state, mask=mask, training=training)
        if initial_state is not None or self.return_state:
            raise refused(
                f"Bidirectional: expected neither initial_state nor return_state with a mask, as "
                f"{type(self.forward_layer).__name__} knows no masks. Received: {initial_state=}, {self.return_state=}"
            )
        kwargs = {"training": training} if self.forward_layer._call_has_training_arg else {}
        lengths = ops.sum(ops.cast(mask, "int32"), axis=1, keepdims=True)
        steps = ops.arange(ops.shape(sequences)[1])[None]
        padding = ops.shape(sequences)[1] - lengths
        ahead = self._sequence(self.forward_layer, sequences, kwargs)
        # The backward layer begins at the right end: there the sequences must end.
        back = self._sequence(self.backward_layer, _gather(sequences, ops.maximum(steps - padding, 0)), kwargs)
        if self.return_sequences:
            back = _gather(back, ops.maximum(lengths - 1 - steps, 0))
            hidden = ops.cast(mask, ahead.dtype)[:, :, None]
            return self._merge(ahead * hidden, back * hidden)
        last = ops.maximum(lengths - 1, 0)
        return self._merge(_gather(ahead, last)[:, 0], _gather(back, last)[:, 0])

    @staticmethod
    def _sequence(layer: Any, x: Any, kwargs: dict[str, Any]) -> Any:
        """All outputs, also of a layer that returns its last one: that may belong to padding."""
        given, layer.return_sequences = layer.return_sequences, True
        try:
            return layer(x, **kwargs)
        finally:
            layer.return_sequences = given

    def _merge(self, a: Any, b: Any) -> Any:
        merge = {
            "concat": lambda: ops.concatenate([a, b], axis=-1),
            "sum": lambda: a + b,
            "ave": lambda: (a + b) / 2,
            "mul": lambda: a * b,
            None: lambda: (a, b),
        }
        return merge[self.merge_mode]()


def _gather(x: Any, index: Any) -> Any:
    """x[b, index[b, t]]."""
    return ops.take_along_axis(
        x, ops.broadcast_to(index, (ops.shape(x)[0], index.shape[1] or ops.shape(index)[1]))[:, :, None], axis=1
    )
