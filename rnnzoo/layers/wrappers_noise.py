"""Wrappers of cells: noise while training, and none at inference."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
from keras import ops

from rnnzoo.layers.refusals import fit_states, probability, refused
from rnnzoo.layers.wrappers import CellWrapper


def _counts_steps() -> bool:
    # A seed generator cannot move on inside of JAX's loop: what differs from step to step must be a state of it.
    return keras.backend.backend() == "jax"


# Beyond these a number and the next are one.
_LAST_WHOLE = {"bfloat16": 256, "float16": 2048, "float32": 2**24, "float64": 2**24}


class _Noise(CellWrapper):
    def __init__(self, cell: Any, seed: int | None = None, **kwargs: Any):
        super().__init__(cell, **kwargs)
        self.seed = seed
        self.seed_generator = keras.random.SeedGenerator(seed)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "seed": self.seed}


@keras.saving.register_keras_serializable(package="rnnzoo")
class ZoneoutCell(_Noise):
    """Zoneout (Krueger et al. 2016): some units keep their state of the step before.

        s[t] = d s[t-1] + (1 - d) cell(x[t], s[t-1]),   d ~ Bernoulli(rate), anew for each unit and step

    At inference d is its expectation, the rate. Where the cell's output is its first state, as that of an LSTM is,
    the output is that state after zoneout.

    Args:
        cell: any cell.
        rate: of all states, or one for each; the paper takes 0.05 for h and 0.5 for c of an LSTM.
        seed: of the noise.

    State: the cell's; on JAX also the step number, (B, 1). Cost of a step: the cell's and 2 multiply-adds a state
    value. Parallel form: none.

    Raises:
        ValueError: it is no cell, a rate is outside of [0, 1), or there are not as many rates as states.
    """

    def __init__(self, cell: Any, rate: float | Sequence[float] = 0.1, seed: int | None = None, **kwargs: Any):
        super().__init__(cell, seed, **kwargs)
        count = len(keras.tree.flatten(cell.state_size))
        self.rate = list(rate) if isinstance(rate, list | tuple) else rate
        self.rates = self.rate if isinstance(self.rate, list) else [self.rate] * count
        if len(self.rates) != count:
            raise refused(f"ZoneoutCell: expected one rate, or {count}, one for each state. Received: rate={rate}")
        for each in self.rates:
            probability(self, rate=each)
        self._key: Any = None

    @property
    def state_size(self) -> Any:
        """State size of the cell; on JAX and the step number, 1."""
        size = self.cell.state_size
        return [*keras.tree.flatten(size), 1] if _counts_steps() else size

    def get_initial_state(self, batch_size: Any = None) -> Any:
        """Initial state of the cell; on JAX and the step number, 0."""
        states = super().get_initial_state(batch_size)
        if not _counts_steps():
            return states
        return [*keras.tree.flatten(states), ops.zeros((batch_size, 1), self.compute_dtype)]

    def get_dropout_mask(self, step_input: Any) -> Any:
        super().get_dropout_mask(step_input)
        if self._key is None and _counts_steps():
            self._key = self.seed_generator.next()
        return self._key

    def reset_dropout_mask(self) -> None:
        super().reset_dropout_mask()
        self._key = None

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, Any]:
        fit_states(self, states, self.state_size, None)
        last = keras.tree.flatten(states)
        counts = [last.pop()] if _counts_steps() else []
        inner = keras.tree.pack_sequence_as(self.cell.state_size, last) if counts else states
        y, new = self.advance(inputs, inner if keras.tree.is_nested(inner) else [inner], training)
        fresh, mixed = keras.tree.flatten(new), []
        for number, pair in enumerate(zip(last, fresh, self.rates, strict=True)):
            mixed.append(self._mix(*pair, self._noise(pair[1], number, counts) if training else None))
        y = mixed[0] if y is fresh[0] else y
        return y, [*mixed, (counts[0] + 1) % _LAST_WHOLE[y.dtype.name]] if counts else keras.tree.pack_sequence_as(
            new, mixed
        )

    def _mix(self, last: Any, new: Any, rate: float, noise: Any) -> Any:
        return new + rate * (last - new) if noise is None else ops.where(noise < rate, last, new)

    def _noise(self, like: Any, number: int, counts: list[Any]) -> Any:
        """Uniform in [0, 1), other at each step and for each state."""
        if not counts:
            return keras.random.uniform(ops.shape(like), seed=self.seed_generator)
        import jax

        step = len(self.rates) * ops.cast(counts[0][0, 0], "int32") + number
        key = jax.random.fold_in(jax.random.wrap_key_data(self.get_dropout_mask(like)), step)
        return jax.random.uniform(key, like.shape)

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate}


@keras.saving.register_keras_serializable(package="rnnzoo")
class VariationalDropoutCell(_Noise):
    """Variational, or locked, dropout (Gal & Ghahramani 2016; the name "locked" is Merity's, 2017).

        y[t] = m_y cell(m_x x[t], s[t-1]),   masks m drawn once a sequence, scaled by 1 / (1 - rate)

    The third mask of the paper, of the state that the gates read, has to be inside of a cell: it is `recurrent_dropout`
    of the cells of Keras and of this package. From outside it would erase the state of a GRU.

    Args:
        cell: any cell.
        input_rate: of m_x.
        output_rate: of m_y.
        seed: of the masks.

    State: the cell's. Cost of a step: the cell's. Parallel form: the cell's.

    Raises:
        ValueError: it is no cell, or a rate is outside of [0, 1).
    """

    def __init__(
        self, cell: Any, input_rate: float = 0.0, output_rate: float = 0.0, seed: int | None = None, **kwargs: Any
    ):
        super().__init__(cell, seed, **kwargs)
        probability(self, input_rate=input_rate, output_rate=output_rate)
        self.input_rate, self.output_rate = input_rate, output_rate
        self._masks: Any = None

    def get_dropout_mask(self, step_input: Any) -> Any:
        super().get_dropout_mask(step_input)
        if self._masks is None:
            wide = ops.ones((ops.shape(step_input)[0], self.output_size), step_input.dtype)
            self._masks = tuple(
                keras.random.dropout(ones, rate, seed=self.seed_generator) if rate else None
                for ones, rate in ((ops.ones_like(step_input), self.input_rate), (wide, self.output_rate))
            )
        return self._masks

    def reset_dropout_mask(self) -> None:
        super().reset_dropout_mask()
        self._masks = None

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, Any]:
        of_x, of_y = self.get_dropout_mask(inputs) if training else (None, None)
        y, states = self.advance(inputs if of_x is None else inputs * of_x, states, training)
        return y if of_y is None else y * of_y, states

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "input_rate": self.input_rate, "output_rate": self.output_rate}


@keras.saving.register_keras_serializable(package="rnnzoo")
class WeightDropoutCell(_Noise):
    """Weight dropout (Merity, Keskar & Socher 2017, Regularizing and Optimizing LSTM Language Models).

        R' = m R,   m drawn once a sequence (one for the whole batch), scaled by 1 / (1 - rate)

    A connection that is dropped is dropped at all steps (DropConnect: Wan et al. 2013).

    Args:
        cell: any cell; one of the names below must be a weight of it.
        rate: of the connections.
        weights: names of the weights to drop from.
        seed: of the masks.

    State: the cell's. Cost of a step: the cell's. Parallel form: none.

    Raises:
        ValueError: it is no cell, the rate is outside of [0, 1), or the cell has no weight of such a name.
    """

    def __init__(
        self,
        cell: Any,
        rate: float = 0.5,
        weights: Sequence[str] = ("recurrent_kernel",),
        seed: int | None = None,
        **kwargs: Any,
    ):
        super().__init__(cell, seed, **kwargs)
        probability(self, rate=rate)
        self.rate, self.dropped = rate, list(weights)
        self._masks: Any = None

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        super().build(input_shape)
        names = {v.name for v in self.cell.trainable_variables}
        missing = [name for name in self.dropped if name not in names]
        if missing:
            raise refused(
                f"WeightDropoutCell: expected weights among {', '.join(sorted(names))}. Received: {missing[0]!r}"
            )

    def get_dropout_mask(self, step_input: Any) -> Any:
        super().get_dropout_mask(step_input)
        if self._masks is None and self.rate:
            ones = [ops.ones(v.shape, v.dtype) for v in self._targets()]
            self._masks = tuple(keras.random.dropout(one, self.rate, seed=self.seed_generator) for one in ones)
        return self._masks or ()

    def _targets(self) -> list[Any]:
        return [v for v in self.cell.trainable_variables if v.name in self.dropped]

    def reset_dropout_mask(self) -> None:
        super().reset_dropout_mask()
        self._masks = None

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, Any]:
        masks = self.get_dropout_mask(inputs) if training else ()
        if not masks:
            return self.advance(inputs, states, training)
        # All variables are mapped: what is not would be read past a scope around this one, as JAX's trainer has.
        variables = list(self.cell.variables)
        values = {id(v): v.value for v in variables}
        values |= {id(v): values[id(v)] * mask for v, mask in zip(self._targets(), masks, strict=True)}
        with keras.StatelessScope(state_mapping=[(v, values[id(v)]) for v in variables]) as scope:
            result = self.advance(inputs, states, training)
        for variable in self.cell.non_trainable_variables:
            changed = scope.get_current_value(variable)
            if changed is not values[id(variable)]:
                variable.assign(changed)
        return result

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "rate": self.rate, "weights": self.dropped}
