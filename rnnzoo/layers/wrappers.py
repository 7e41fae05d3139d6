"""Wrappers of cells: shortcuts past the cell."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from rnnzoo.layers.refusals import fit_states, refused
from streaming._compat import DropoutRNNCell


class CellWrapper(DropoutRNNCell, keras.layers.Layer):
    """Base of the wrappers of one cell; states, and the dropout masks of the inner cell, are passed on.

    Args:
        cell: any Keras RNN cell: of Keras, of ours, of yours, or another wrapper. Wrap each cell of a stack by itself.

    Raises:
        ValueError: it is no cell, or a stack of cells.
    """

    def __init__(self, cell: Any, **kwargs: Any):
        if isinstance(cell, keras.layers.StackedRNNCells) or not hasattr(cell, "state_size"):
            raise refused(
                f"{type(self).__name__}: expected one RNN cell; wrap each cell of a stack. "
                f"Received: cell={type(cell).__name__}"
            )
        super().__init__(**kwargs)
        self.cell = cell

    @property
    def state_size(self) -> Any:
        """State size of the cell."""
        return self.cell.state_size

    @property
    def output_size(self) -> int:
        """Output size of the cell."""
        size = getattr(self.cell, "output_size", None)
        return size if size is not None else keras.tree.flatten(self.cell.state_size)[0]

    def get_initial_state(self, batch_size: Any = None) -> Any:
        """Initial state of the cell, or zeros."""
        if hasattr(self.cell, "get_initial_state"):
            return self.cell.get_initial_state(batch_size=batch_size)
        return [ops.zeros((batch_size, size), self.compute_dtype) for size in keras.tree.flatten(self.state_size)]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if not self.cell.built:
            self.cell.build(input_shape)
            self.cell.built = True

    def advance(self, x: Any, states: Any, training: bool | None) -> tuple[Any, Any]:
        """One step of the inner cell."""
        fit_states(self, states, self.cell.state_size, None)
        kwargs = {"training": training} if self.cell._call_has_training_arg else {}
        y, states = self.cell(x, states, **kwargs)
        return y, states if keras.tree.is_nested(states) else [states]

    # keras.layers.RNN calls these four around its loop.

    def get_dropout_mask(self, step_input: Any) -> Any:
        """Draws the masks that stay over a sequence."""
        if isinstance(self.cell, DropoutRNNCell):
            self.cell.get_dropout_mask(step_input)

    def get_recurrent_dropout_mask(self, step_input: Any) -> Any:
        """Draws those that have the shape of the state."""
        if isinstance(self.cell, DropoutRNNCell):
            self.cell.get_recurrent_dropout_mask(step_input)

    def reset_dropout_mask(self) -> None:
        """Forgets them: the next sequence gets others."""
        if isinstance(self.cell, DropoutRNNCell):
            self.cell.reset_dropout_mask()

    def reset_recurrent_dropout_mask(self) -> None:
        """Forgets them."""
        if isinstance(self.cell, DropoutRNNCell):
            self.cell.reset_recurrent_dropout_mask()

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "cell": keras.saving.serialize_keras_object(self.cell)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Any:
        cell = keras.saving.deserialize_keras_object(config["cell"], custom_objects=custom_objects)
        return cls(**{**config, "cell": cell})


class _Shortcut(CellWrapper):
    """Its output has as many features as its input."""

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if input_shape[-1] != self.output_size:
            raise refused(
                f"{type(self).__name__}: expected as many input features as the cell puts out, {self.output_size}. "
                f"Received: input shape {tuple(input_shape)}"
            )
        super().build(input_shape)


@keras.saving.register_keras_serializable(package="rnnzoo")
class ResidualCell(_Shortcut):
    """A shortcut past a cell (Wu et al. 2016, Google's Neural Machine Translation System; He et al. 2015).

        y[t] = x[t] + cell(x[t], s[t-1])

    Args:
        cell: a cell that puts out as many features as it takes.

    State: the cell's. Cost of a step: the cell's. Parallel form: the cell's.

    Raises:
        ValueError: it is no cell, or the input is not as wide as its output.
    """

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, Any]:
        y, states = self.advance(inputs, states, training)
        return inputs + y, states


@keras.saving.register_keras_serializable(package="rnnzoo")
class HighwayCell(_Shortcut):
    """A gated shortcut past a cell (Srivastava, Greff & Schmidhuber 2015, Highway Networks).

        g = sigmoid(x[t] W + b)
        y[t] = g cell(x[t], s[t-1]) + (1 - g) x[t]

    Args:
        cell: a cell that puts out D features, as many as it takes.
        gate_bias: b starts here; below zero, so that the input passes at first.

    State: the cell's. Cost of a step: the cell's and D D multiply-adds. Parallel form: the cell's.

    Raises:
        ValueError: it is no cell, or the input is not as wide as its output.
    """

    def __init__(self, cell: Any, gate_bias: float = -1.0, **kwargs: Any):
        super().__init__(cell, **kwargs)
        self.gate_bias = gate_bias

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        width = self.output_size
        start = keras.initializers.Constant(self.gate_bias)
        self.gate_kernel = self.add_weight(name="gate_kernel", shape=(width, width), initializer="glorot_uniform")
        self.gate_offset = self.add_weight(name="gate_bias", shape=(width,), initializer=start)

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, Any]:
        y, states = self.advance(inputs, states, training)
        g = ops.sigmoid(ops.matmul(inputs, self.gate_kernel) + self.gate_offset)
        return inputs + g * (y - inputs), states

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "gate_bias": self.gate_bias}
