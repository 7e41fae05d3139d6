"""Long short-term memory and its variants."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
from keras import ops

from rnnzoo.layers.cells.base import RecurrentCell
from rnnzoo.layers.refusals import positive


@keras.saving.register_keras_serializable(package="rnnzoo")
class LSTMCell(RecurrentCell):
    """Long short-term memory (Hochreiter & Schmidhuber 1997; forget gate: Gers, Schmidhuber & Cummins 2000).

        i = gate(x[t] W_i + h[t-1] R_i + b_i)         input gate
        f = gate(x[t] W_f + h[t-1] R_f + b_f)         forget gate
        g = act(x[t] W_g + h[t-1] R_g + b_g)          candidate
        o = gate(x[t] W_o + h[t-1] R_o + b_o)         output gate
        c[t] = f c[t-1] + i g,   h[t] = o act(c[t])

    Weights lie in the order i, f, g, o; names and results are those of `keras.layers.LSTMCell`.

    Args:
        units: U.
        recurrent_activation: gate.
        unit_forget_bias: b_f starts at 1, so that the cell initially keeps its state (Jozefowicz et al. 2015).
        peepholes: the gates see the cell: + p_i c[t-1] and + p_f c[t-1], and o sees c[t] (Gers & Schmidhuber 2000).
            Weight `peephole` (3, U) for i, f, o.
        projection: P; h[t] becomes h[t] W_p (B, P) (Sak, Senior & Beaufays 2014). Weight `projection_kernel` (U, P).
        coupled: i = 1 - f (Greff et al. 2015, LSTM: A Search Space Odyssey); the weights of i are not there, and
            peepholes are those of f, o.
        kwargs: see `RecurrentCell`.

    State: h (B, U) or (B, P), c (B, U). Output: h. Cost of a step: 4 U (D + U) multiply-adds, 4 U (D + P) + U P with
    a projection, three quarters of the first term where coupled. Parallel form: none.
    """

    options: ClassVar[tuple[str, ...]] = (
        "recurrent_activation",
        "unit_forget_bias",
        "peepholes",
        "projection",
        "coupled",
    )
    state_names: ClassVar[tuple[str, ...]] = ("h", "c")

    def __init__(
        self,
        units: int,
        *,
        recurrent_activation: Any = "sigmoid",
        unit_forget_bias: bool = True,
        peepholes: bool = False,
        projection: int | None = None,
        coupled: bool = False,
        **kwargs: Any,
    ):
        super().__init__(units, **kwargs)
        if projection is not None:
            positive(self, projection=projection)
        self.recurrent_activation = keras.activations.get(recurrent_activation)
        self.unit_forget_bias, self.peepholes = unit_forget_bias, peepholes
        self.projection, self.coupled = projection, coupled

    @property
    def state_size(self) -> list[int]:
        """[width of h, U]."""
        return [self.projection or self.units, self.units]

    @property
    def output_size(self) -> int:
        """Features of h."""
        return self.projection or self.units

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        gates = 3 if self.coupled else 4
        self.kernel = self.weight("kernel", "kernel", (input_shape[-1], gates * self.units))
        self.recurrent_kernel = self.weight("recurrent", "recurrent_kernel", (self.output_size, gates * self.units))
        self.bias = self.peephole = self.projection_kernel = None
        if self.use_bias:
            start = self._remember if self.unit_forget_bias else None
            self.bias = self.weight("bias", "bias", (gates * self.units,), start)
        if self.peepholes:
            self.peephole = self.weight("recurrent", "peephole", (gates - 1, self.units), "glorot_uniform")
        if self.projection:
            self.projection_kernel = self.weight("recurrent", "projection_kernel", (self.units, self.projection))

    def _remember(self, shape: tuple[int, ...], dtype: Any = None) -> Any:
        """The biases' own start, but ones for the forget gate."""
        before = 0 if self.coupled else self.units
        after = shape[0] - before - self.units
        return ops.concatenate(
            [
                self.bias_initializer((before,), dtype=dtype),
                ops.ones((self.units,), dtype=dtype),
                self.bias_initializer((after,), dtype=dtype),
            ]
        )

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        h, c = self.read(states)
        x, h = self.drop(inputs, h, training)
        h, c = self.advance(self.biased(ops.matmul(x, self.kernel)) + ops.matmul(h, self.recurrent_kernel), c)
        return h, [h, c]

    def advance(self, gates: Any, c: Any) -> tuple[Any, Any]:
        """(h, c) from what the gates read, (B, 4 U), and the last cell."""
        gate = self.recurrent_activation
        # Peepholes in the order of the gates: i and f, or f alone, then o.
        see = iter(range(3))

        def look(pre: Any, cell: Any) -> Any:
            return pre if self.peephole is None else pre + self.peephole[next(see)] * cell

        if self.coupled:
            f, g, o = ops.split(gates, 3, axis=-1)
            f = gate(look(f, c))
            i = 1 - f
        else:
            i, f, g, o = ops.split(gates, 4, axis=-1)
            i, f = gate(look(i, c)), gate(look(f, c))
        c = f * c + i * self.activation(g)
        h = gate(look(o, c)) * self.activation(c)
        return (h if self.projection_kernel is None else ops.matmul(h, self.projection_kernel)), c
