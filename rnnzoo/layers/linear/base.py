"""Base of the linear cells: a step, and the same over a whole sequence at once."""

from __future__ import annotations

import re
from typing import Any, ClassVar

import keras
from keras import ops

from rnnzoo.layers.cells.base import RecurrentCell
from rnnzoo.layers.linear.scan import hold, linear_scan
from rnnzoo.layers.refusals import Recurrent, refused


class LinearCell(RecurrentCell):
    """Base of the cells whose recurrence is linear in the state, so that a sequence needs no loop over its steps.

    Args:
        units: U.
        use_bias: add biases.
        dropout: of the inputs, while training; one mask for all steps of a sequence.
        seed: of the masks.
        kwargs: `kernel_`, `recurrent_` and `bias_`, each with `initializer`, `regularizer` and `constraint`; what
            every Keras layer takes.

    Raises:
        ValueError: units below one, a rate outside of [0, 1), an option that the cell does not have, states that do
            not fit.
    """

    # Arguments of the base that the gates of these cells have no use for.
    absent: ClassVar[tuple[str, ...]] = ("activation", "recurrent_dropout")
    # False where an option makes the recurrence other than linear: then a sequence takes Keras's loop.
    parallel: bool = True

    def __init__(self, units: int, **kwargs: Any):
        for name in self.absent:
            if name in kwargs:
                raise refused(
                    f"{type(self).__name__}: has no option {name}, its gates do not read the state. "
                    f"Received: {name}={kwargs[name]!r}"
                )
        super().__init__(units, **kwargs)

    def get_config(self) -> dict[str, Any]:
        return {name: value for name, value in super().get_config().items() if name not in self.absent}

    def drop_inputs(self, x: Any, training: bool | None) -> Any:
        """x (B, D) or (B, T, D) with the dropout mask of this sequence, while training."""
        if not training or not self.dropout:
            return x
        several = len(x.shape) == 3
        kept = self.get_dropout_mask(x[:, 0] if several else x)
        return x * (kept[:, None] if several else kept)

    def parallel_scan(self, x: Any, states: list[Any], mask: Any, training: bool | None) -> tuple[Any, list[Any]]:
        """All steps at once: x (B, T, D), mask (B, T) or None -> outputs (B, T, U) and the last states.

        A step where the mask is False does not change the states; its output is arbitrary.
        """
        raise NotImplementedError


class DiagonalCell(LinearCell):
    """Base of the cells with h[t] = a[t] h[t-1] + b[t], where a and b depend on x[t] alone."""

    def gates(self, x: Any) -> tuple[Any, Any, Any]:
        """a and b, (..., U), and other inputs of `show`, from x (..., D); a and b may be complex, as pairs."""
        raise NotImplementedError

    def show(self, h: Any, context: Any) -> Any:
        """The output from the state."""
        return h

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        (h,) = self.read(states)
        a, b, context = self.gates(self.drop_inputs(inputs, training))
        # Gates may be wider than the state under mixed precision.
        h = ops.cast(a * ops.cast(h, a.dtype) + b, self.compute_dtype)
        return self.show(h, context), [h]

    def parallel_scan(self, x: Any, states: list[Any], mask: Any, training: bool | None) -> tuple[Any, list[Any]]:
        (start,) = self.read(states)
        a, b, context = self.gates(self.drop_inputs(x, training))
        h = ops.cast(linear_scan(a, b, start, mask=mask), self.compute_dtype)
        return self.show(h, context), [h[:, -1]]


class ScanRNN(Recurrent, keras.layers.RNN):
    """Base of the layers that run a linear cell over a whole sequence at once.

    Arguments and results are those of `keras.layers.RNN` around the cell, with the same weights.
    """

    cell_class: ClassVar[type[LinearCell]]
    # The converter steps the cell, as it does for keras.layers.RNN.
    stream_as: ClassVar[type[keras.layers.Layer]] = keras.layers.RNN

    def __init__(
        self,
        units: int,
        *,
        return_sequences: bool = False,
        return_state: bool = False,
        go_backwards: bool = False,
        stateful: bool = False,
        unroll: bool = False,
        zero_output_for_mask: bool = False,
        recompute: bool = False,
        **kwargs: Any,
    ):
        of_layer = {name: kwargs.pop(name) for name in _OF_LAYER if name in kwargs}
        shared = {name: of_layer[name] for name in ("dtype", "trainable") if name in of_layer}
        super().__init__(
            # A name that does not depend on how many cells the process has made: weights are stored by it.
            self.cell_class(units, name=_snake_case(self.cell_class.__name__), **kwargs, **shared),
            return_sequences=return_sequences,
            return_state=return_state,
            go_backwards=go_backwards,
            stateful=stateful,
            unroll=unroll,
            zero_output_for_mask=zero_output_for_mask,
            **of_layer,
        )
        self.recompute = recompute

    def inner_loop(self, sequences: Any, initial_state: Any, mask: Any, training: bool = False) -> Any:
        if self.unroll or not self.cell.parallel:
            return super().inner_loop(sequences, initial_state, mask, training=training)
        mask = _first(mask)
        states = list(initial_state) if isinstance(initial_state, list | tuple) else [initial_state]
        if self.go_backwards:
            sequences = ops.flip(sequences, axis=1)
            mask = None if mask is None else ops.flip(mask, axis=1)

        def run(x: Any, *states: Any) -> Any:
            return self.cell.parallel_scan(x, list(states), mask, training)

        outputs, states = (keras.remat(run) if self.recompute else run)(sequences, *states)
        # Keras repeats the last output at a masked step.
        outputs = hold(outputs, mask)
        if mask is not None and self.zero_output_for_mask:
            outputs = ops.where(mask[:, :, None], outputs, ops.zeros_like(outputs))
        last = outputs[:, -1]
        return last, (outputs if self.return_sequences else last[:, None]), list(states)

    def get_config(self) -> dict[str, Any]:
        own = super().get_config()
        del own["cell"]
        cell = {k: v for k, v in self.cell.get_config().items() if k not in _OF_LAYER}
        return {**own, **cell, "recompute": self.recompute}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        return cls(**config)


_OF_LAYER = ("name", "dtype", "trainable", "autocast", "activity_regularizer", "input_shape", "batch_input_shape")


def _first(mask: Any) -> Any:
    """Keras gives a list where the initial states came as inputs of their own."""
    return mask[0] if isinstance(mask, list | tuple) else mask


def _snake_case(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()
