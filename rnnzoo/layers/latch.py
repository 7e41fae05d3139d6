"""What was said last, at every step after it."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import ops

from rnnzoo.layers.linear.scan import hold
from rnnzoo.layers.refusals import OverSequences, refused


@keras.saving.register_keras_serializable(package="rnnzoo")
class Latch(OverSequences, keras.layers.Layer):
    """The latest of the ids from `first` on, held until the next of them: an instruction that is not forgotten.

        y[t] = x[t] - first + 1  where x[t] >= first;  0  where x[t] = clear;  else y[t-1];   y[-1] = 0

    So a token that asks for a style or a language stands beside every step after it, where a recurrent state would
    have to remember it (Keskar et al. 2019, CTRL, has such tokens).

    Args:
        first: the lowest of the ids that are held.
        clear: an id below `first` after which nothing is held; None: there is none.
        stateful: hold from batch to batch, row by row, until `reset_state`; needs a fixed batch.

    Input: ids (B, T). Output: int32 (B, T), from 0, where nothing is held yet.

    Raises:
        ValueError: `first` below 1, `clear` that is not below it, or a stateful layer without a fixed batch.
    """

    sequence_shape = "(B, T)"

    def __init__(self, first: int, clear: int | None = None, stateful: bool = False, **kwargs: Any):
        super().__init__(**kwargs)
        if first < 1:
            raise refused(f"Latch: expected the lowest of the ids that are held, 1 or more. Received: first={first}")
        if clear is not None and not 0 <= clear < first:
            raise refused(f"Latch: expected an id below first={first} that clears, or None. Received: clear={clear}")
        self.first, self.clear, self.stateful = first, clear, stateful
        self.states: list[keras.Variable] = []

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        if self.stateful:
            if input_shape[0] is None:
                raise refused(
                    "Latch: expected a fixed batch for stateful=True, such as "
                    f"keras.Input(batch_shape=(8, None)). Received: input shape {tuple(input_shape)}"
                )
            held = keras.Variable(np.zeros((input_shape[0],), "float32"), trainable=False, name="held")
            # Past Keras's tracking: it is no weight, as the states of keras.layers.RNN are none.
            object.__setattr__(self, "states", [held])

    def reset_state(self) -> None:
        """Hold nothing."""
        for state in self.states:
            state.assign(ops.zeros_like(state))

    def compute_output_shape(self, input_shape: tuple[int | None, ...]) -> tuple[int | None, ...]:
        return tuple(input_shape)

    def compute_output_spec(self, x: Any) -> keras.KerasTensor:
        return keras.KerasTensor(x.shape, dtype="int32")

    def call(self, x: Any) -> Any:
        ids, told = self._told(x)
        if not self.states:
            return ops.cast(hold(ids, told), "int32")
        (state,) = self.states
        held = hold(ids, told, state)
        state.assign(held[:, -1])
        return ops.cast(held, "int32")

    def _told(self, x: Any) -> tuple[Any, Any]:
        """What each step says, (B, T) of float32, and whether it says something."""
        held = x >= self.first
        told = held if self.clear is None else ops.logical_or(held, x == self.clear)
        return ops.cast(ops.where(held, x - self.first + 1, 0), "float32"), told

    def stream_spec(self, input_shape: tuple[int | None, ...]) -> dict[str, Any]:
        """The id that is held."""
        return {"states": {"held": {"shape": ()}}, "delay": 0}

    def stream_step(self, x: Any, valid: Any, states: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """The same with the loop over the chunk unrolled."""
        ids, told = self._told(x)
        if valid is not None:
            told = ops.logical_and(told, valid)
        held, rows = states["held"], []
        for step in range(x.shape[1]):
            held = ops.where(told[:, step], ids[:, step], held)
            rows.append(held)
        return ops.cast(ops.stack(rows, axis=1), "int32"), valid, {"held": held}

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "first": self.first, "clear": self.clear, "stateful": self.stateful}
