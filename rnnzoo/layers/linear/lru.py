"""Linear recurrent units: a diagonal recurrence, complex and fixed, or real and gated by the input."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from rnnzoo.layers.linear.base import DiagonalCell, LinearCell, ScanRNN
from rnnzoo.layers.linear.minimal import log_sigmoid
from rnnzoo.layers.linear.scan import linear_scan, wide
from rnnzoo.layers.refusals import positive, refused

# Where every decay starts, its absolute value: both papers keep it near one.
SLOWEST, FASTEST = 0.999, 0.9
# The power that the gate scales, c in De et al.
POWER = 8.0


@keras.saving.register_keras_serializable(package="rnnzoo")
class LRUCell(LinearCell):
    """Linear recurrent unit (Orvieto et al. 2023, Resurrecting Recurrent Neural Networks for Long Sequences).

        lambda = exp(-exp(nu) + i exp(theta))        complex, one for each of N places
        h[t] = lambda h[t-1] + exp(gamma) (x[t] B)
        y[t] = Re(h[t] C) + x[t] D + b

    Args:
        units: U, the width of the output.
        state_units: N, the width of the complex state; None for U.
        kwargs: see `LinearCell`.

    State: real and imaginary part of h, (B, N) each. Output: y (B, U). Cost of a step: 2 N (D + U + 2) + D U
    multiply-adds. Parallel form: a scan of complex numbers, as pairs of real ones.
    """

    options: ClassVar[tuple[str, ...]] = ("state_units",)
    state_names: ClassVar[tuple[str, ...]] = ("real", "imaginary")

    def __init__(self, units: int, *, state_units: int | None = None, **kwargs: Any):
        super().__init__(units, **kwargs)
        if state_units is not None:
            positive(self, state_units=state_units)
        self.state_units = state_units

    @property
    def state_size(self) -> list[int]:
        """N twice."""
        return [self.state_units or self.units] * 2

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        size, width = self.state_size[0], input_shape[-1]
        nu, theta, gamma = _ring(size, self.seed)
        self.nu = self.weight("recurrent", "nu", (size,), nu)
        self.theta = self.weight("recurrent", "theta", (size,), theta)
        self.gamma = self.weight("recurrent", "gamma", (size,), gamma)
        self.kernel = self.weight("kernel", "kernel", (width, 2 * size))
        self.output_kernel = self.weight("kernel", "output_kernel", (2 * size, self.units))
        self.skip_kernel = self.weight("kernel", "skip_kernel", (width, self.units))
        self.bias = self.weight("bias", "bias", (self.units,)) if self.use_bias else None

    def decay(self) -> tuple[Any, Any]:
        """The real and the imaginary part of lambda, (N,)."""
        size, angle = ops.exp(-ops.exp(self.nu)), ops.exp(self.theta)
        return size * ops.cos(angle), size * ops.sin(angle)

    def enter(self, x: Any) -> tuple[Any, Any]:
        """Terms that x (..., D) adds to the state, (..., N) twice."""
        real, imaginary = ops.split(ops.matmul(x, self.kernel), 2, axis=-1)
        scale = ops.exp(self.gamma)
        return scale * real, scale * imaginary

    def show(self, real: Any, imaginary: Any, x: Any) -> Any:
        """The output (..., U)."""
        # C's imaginary part has its sign turned, so that Re(h C) is one product.
        both = ops.concatenate([real, imaginary], axis=-1)
        return self.biased(ops.matmul(both, self.output_kernel) + ops.matmul(x, self.skip_kernel))

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        before, before_i = self.read(states)
        x = self.drop_inputs(inputs, training)
        (a, a_i), (b, b_i) = self.decay(), self.enter(x)
        real, imaginary = a * before - a_i * before_i + b, a * before_i + a_i * before + b_i
        return self.show(real, imaginary, x), [real, imaginary]

    def parallel_scan(self, x: Any, states: list[Any], mask: Any, training: bool | None) -> tuple[Any, list[Any]]:
        start = self.read(states)
        x = self.drop_inputs(x, training)
        b = self.enter(x)
        a = tuple(ops.broadcast_to(part, ops.shape(b[0])) for part in self.decay())
        h = [ops.cast(part, self.compute_dtype) for part in linear_scan(a, b, tuple(start), mask=mask)]
        return self.show(h[0], h[1], x), [part[:, -1] for part in h]


@keras.saving.register_keras_serializable(package="rnnzoo")
class RGLRUCell(DiagonalCell):
    """Real-gated linear recurrent unit (De et al. 2024, Griffin).

        r = sigmoid(x[t] W_r + b_r),   i = sigmoid(x[t] W_i + b_i)
        log a = 8 r log sigmoid(L)
        h[t] = a h[t-1] + sqrt((1 - a) (1 + a)) i x[t]

    Args:
        units: U, which must be D: the state holds the features of the input.
        kwargs: see `LinearCell`. Columns of the weights lie in the order r, i.

    State: h (B, U). Output: h. Cost of a step: 2 U U multiply-adds. Parallel form: a scan.
    """

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        if input_shape[-1] != self.units:
            raise refused(
                f"RGLRUCell: expected inputs of {self.units} features, as many as units. Received: shape "
                f"{tuple(input_shape)}; put a Dense layer before it"
            )
        self.kernel = self.weight("kernel", "kernel", (self.units, 2 * self.units))
        self.decay = self.weight("recurrent", "decay", (self.units,), _uniform_decay(self.seed))
        self.bias = self.weight("bias", "bias", (2 * self.units,)) if self.use_bias else None

    def gates(self, x: Any) -> tuple[Any, Any, Any]:
        # In half precision 1 - a has no digits left where a is near one.
        r, i = ops.split(ops.sigmoid(wide(self.biased(ops.matmul(x, self.kernel)))), 2, axis=-1)
        a = ops.exp(POWER * r * log_sigmoid(wide(self.decay)))
        # The root has no slope at zero, where a rounds to one.
        left = ops.maximum((1.0 - a) * (1.0 + a), 1e-7)
        return a, ops.sqrt(left) * i * wide(x), None


def _ring(size: int, seed: int | None) -> list[Any]:
    """Initializers of nu, theta and gamma: lambda is uniform on the ring between FASTEST and SLOWEST, of any angle.

    gamma is log sqrt(1 - |lambda|^2), which keeps the state at the size of the inputs: so all come from one draw.
    """
    # Keras's seed for a whole program sets NumPy's global generator.
    rng = np.random.default_rng(np.random.randint(2**31) if seed is None else seed)
    length = np.sqrt(rng.uniform(FASTEST**2, SLOWEST**2, size))
    angle = 2 * np.pi * (1 - rng.random(size))
    values = np.log(-np.log(length)), np.log(angle), 0.5 * np.log(1 - length**2)
    return [lambda shape, dtype=None, value=value: ops.convert_to_tensor(value, dtype) for value in values]


def _uniform_decay(seed: int | None) -> Any:
    """L, such that sigmoid(L)^8 is uniform between FASTEST and SLOWEST."""

    def start(shape: Any, dtype: Any = None) -> Any:
        a = keras.random.uniform(shape, FASTEST, SLOWEST, dtype=dtype, seed=seed) ** (1 / POWER)
        return ops.log(a) - ops.log(1.0 - a)

    return start


@keras.saving.register_keras_serializable(package="rnnzoo")
class LRU(ScanRNN):
    """`keras.layers.RNN(LRUCell(units))` with the same weights and results, all steps at once (Orvieto et al. 2023).

    Arguments, inputs and outputs are those of `MinGRU`; the state is a pair, real and imaginary.
    """

    cell_class = LRUCell
    stream_as = keras.layers.RNN


@keras.saving.register_keras_serializable(package="rnnzoo")
class RGLRU(ScanRNN):
    """`keras.layers.RNN(RGLRUCell(units))` with the same weights and results, all steps at once (De et al. 2024).

    Arguments, inputs and outputs are those of `MinGRU`; units is the number of features of the input.
    """

    cell_class = RGLRUCell
    stream_as = keras.layers.RNN
