"""The matrix memory of xLSTM, computed as attention with exponential gates within chunks, or step by step."""

from __future__ import annotations

from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from rnnzoo.layers.linear.base import LinearCell, ScanRNN
from rnnzoo.layers.linear.scan import doubling, linear_scan, shifted, wide
from rnnzoo.layers.refusals import positive, refused

# Steps that meet each other as in attention; between chunks the state is carried.
CHUNK = 64
# The logarithm of nothing: exp of it, and of differences with it, is zero.
NEVER = -1e30
# exp of more is infinite in float32.
LARGEST = 80.0
FORGET_GATES = ("sigmoid", "exponential")


@keras.saving.register_keras_serializable(package="rnnzoo")
class MLSTMCell(LinearCell):
    """Long short-term memory with a matrix for each head (Beck et al. 2024, xLSTM: Extended Long Short-Term Memory).

        q = x[t] W_q + b_q,   k = (x[t] W_k + b_k) / sqrt(d),   v = x[t] W_v + b_v
        i = exp(x[t] w_i + b_i),   f = sigmoid(x[t] w_f + b_f) or exp of it,   o = sigmoid(x[t] W_o + b_o)
        C[t] = f C[t-1] + i k v',   n[t] = f n[t-1] + i k
        h[t] = o (q C[t]) / max(|q n[t]|, 1)

    C and n are kept divided by exp(m), m[t] = max(log f + m[t-1], log i), so that no gate overflows; h is the same.

    Args:
        units: U.
        heads: H; each has gates i and f of its own, and d = U / H features.
        forget_gate: `sigmoid` or `exponential`.
        kwargs: see `LinearCell`. Columns of `kernel` (D, 4 U) and `bias` lie in the order q, k, v, o, those of
            `gate_kernel` (D, 2 H) and `gate_bias` in the order i, f; b_f starts between 3 and 6, over the heads.

    State: n (B, U), C (B, U d), m (B, H). Output: h (B, U). Cost of a step: 4 U D + 2 H D + 3 U d multiply-adds.
    Parallel form: attention within chunks of 64 steps, and a scan over their memories.

    Raises:
        ValueError: heads that do not divide the units, a forget gate that does not exist.
    """

    options: ClassVar[tuple[str, ...]] = ("heads", "forget_gate")
    # The first is as wide as the output: on JAX Keras's loop shows it for the output of a masked step.
    state_names: ClassVar[tuple[str, ...]] = ("normalizer", "memory", "stabilizer")

    def __init__(self, units: int, *, heads: int = 1, forget_gate: str = "sigmoid", **kwargs: Any):
        super().__init__(units, **kwargs)
        positive(self, heads=heads)
        if units % heads:
            raise refused(f"MLSTMCell: expected heads that divide the units. Received: units={units}, heads={heads}")
        if forget_gate not in FORGET_GATES:
            raise refused(
                f"MLSTMCell: expected forget_gate among {', '.join(FORGET_GATES)}. Received: "
                f"forget_gate={forget_gate!r}"
            )
        self.heads, self.forget_gate = heads, forget_gate

    @property
    def features(self) -> int:
        """d: of each head."""
        return self.units // self.heads

    @property
    def state_size(self) -> list[int]:
        """Sizes of n, C and m."""
        return [self.units, self.units * self.features, self.heads]

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        width, gates = input_shape[-1], 2 * self.heads
        self.kernel = self.weight("kernel", "kernel", (width, 4 * self.units))
        self.gate_kernel = self.weight("kernel", "gate_kernel", (width, gates))
        self.bias = self.gate_bias = None
        if self.use_bias:
            self.bias = self.weight("bias", "bias", (4 * self.units,))
            self.gate_bias = self.weight("bias", "gate_bias", (gates,), self._start)

    def _start(self, shape: Any, dtype: Any = None) -> Any:
        value = np.concatenate([np.zeros(self.heads), np.linspace(3.0, 6.0, self.heads)])
        return ops.convert_to_tensor(value, dtype)

    def project(self, x: Any) -> tuple[Any, Any, Any, Any, Any, Any]:
        """q, k, v (..., H, d), o (..., U), log i and log f (..., H), from x (..., D)."""
        # Gates add up over the steps: half precision has no digits for that.
        parts = ops.split(wide(self.biased(ops.matmul(x, self.kernel))), 4, axis=-1)
        heads = (*ops.shape(x)[:-1], self.heads, self.features)
        q, k, v = (ops.reshape(part, heads) for part in parts[:3])
        gates = ops.matmul(x, self.gate_kernel)
        log_i, f = ops.split(wide(gates if self.gate_bias is None else gates + self.gate_bias), 2, axis=-1)
        log_f = _log_sigmoid(f) if self.forget_gate == "sigmoid" else f
        return q, k / self.features**0.5, v, ops.sigmoid(parts[3]), log_i, log_f

    def call(self, inputs: Any, states: Any, training: bool | None = False) -> tuple[Any, list[Any]]:
        n, memory, m = (wide(state) for state in self.read(states))
        q, k, v, o, log_i, log_f = self.project(self.drop_inputs(inputs, training))
        memory = ops.reshape(memory, (-1, self.heads, self.features, self.features))
        n = ops.reshape(n, (-1, self.heads, self.features))
        new = ops.stop_gradient(ops.maximum(log_f + m, log_i))
        keep, add = ops.exp(log_f + m - new)[..., None], ops.exp(log_i - new)[..., None] * k
        memory = keep[..., None] * memory + add[..., None] * v[..., None, :]
        n = keep * n + add
        read = ops.matmul(q[..., None, :], memory)[..., 0, :]
        y = read / _divisor(ops.sum(q * n, axis=-1), new)[..., None]
        y = o * ops.reshape(y, (-1, self.units))
        states = [ops.reshape(n, (-1, self.units)), ops.reshape(memory, (-1, self.state_size[1])), new]
        return ops.cast(y, self.compute_dtype), [ops.cast(state, self.compute_dtype) for state in states]

    def parallel_scan(self, x: Any, states: list[Any], mask: Any, training: bool | None) -> tuple[Any, list[Any]]:
        n, memory, m = (wide(state) for state in self.read(states))
        q, k, v, o, log_i, log_f = self.project(self.drop_inputs(x, training))
        if mask is not None:
            log_i = ops.where(mask[..., None], log_i, NEVER)
            log_f = ops.where(mask[..., None], log_f, 0.0)
        # The normalizer is one more column of the memory, which counts instead of keeping values.
        d, v = self.features, ops.concatenate([v, ops.ones_like(v[..., :1])], axis=-1)
        memory = ops.reshape(memory, (-1, self.heads, d, d))
        memory = ops.concatenate([memory, ops.reshape(n, (-1, self.heads, d, 1))], axis=-1)
        y, m_of_steps, memory, m = chunkwise(q, k, v, log_i, log_f, memory, m)
        y = y[..., :d] / _divisor(y[..., d], m_of_steps)[..., None]
        y = o * ops.reshape(y, ops.shape(o))
        last = [
            ops.reshape(memory[..., d], (-1, self.units)),
            ops.reshape(memory[..., :d], (-1, self.state_size[1])),
            m,
        ]
        return ops.cast(y, self.compute_dtype), [ops.cast(state, self.compute_dtype) for state in last]


@keras.saving.register_keras_serializable(package="rnnzoo")
class MLSTM(ScanRNN):
    """`keras.layers.RNN(MLSTMCell(units))` with the same weights and results, in chunks of steps (Beck et al. 2024).

    Arguments, inputs and outputs are those of `MinGRU`; the state is n, C and m.
    """

    cell_class = MLSTMCell
    stream_as = keras.layers.RNN


def chunkwise(q: Any, k: Any, v: Any, log_i: Any, log_f: Any, memory: Any, m: Any) -> tuple[Any, Any, Any, Any]:
    """q[t] C[t] / exp(m[t]) for all t, where C[t] = f[t] C[t-1] + i[t] k[t] v[t]'.

    Args:
        q, k: (B, T, H, d). v: (B, T, H, e). log_i, log_f: (B, T, H).
        memory: C / exp(m) before the first step, (B, H, d, e). m: (B, H).

    Returns:
        The result (B, T, H, e), m (B, T, H), and memory and m after the last step. m has no gradient: it is only a
        scale, which cancels.
    """
    total, size = ops.shape(q)[1], CHUNK
    if isinstance(total, int):
        size = min(size, total)
    count = (total + size - 1) // size
    q, k, v = (_cut(x, total, count, size, 0.0) for x in (q, k, v))
    # Steps after the end add nothing and forget nothing.
    log_i, log_f = (_cut(x, total, count, size, fill)[..., 0] for x, fill in ((log_i, NEVER), (log_f, 0.0)))
    kept = ops.cumsum(log_f, axis=-1)
    whole = kept[..., -1:]
    # log of what a step leaves in the memory at the end of its chunk.
    left = whole - kept + log_i
    before, after = _stabilizers(whole[..., 0], ops.max(left, axis=-1), m, count)
    # One, with the gradient of the m given: those found have none.
    memory = memory * ops.exp(m - ops.stop_gradient(m))[..., None, None]
    decay = ops.exp(whole[..., 0] + before - after)[..., None, None]
    added = ops.matmul(ops.transpose(ops.exp(left - after[..., None])[..., None] * k, (0, 1, 2, 4, 3)), v)
    memories = linear_scan(decay, added, memory)
    earlier = ops.concatenate([memory[:, None], memories[:, :-1]], axis=1)
    y, m_of_steps = _within(q, k, v, kept, log_i, earlier, before, size)
    y, m_of_steps = (_join(x, total) for x in (y, m_of_steps[..., None]))
    return y, m_of_steps[..., 0], memories[:, -1], after[:, -1]


def _within(q: Any, k: Any, v: Any, kept: Any, log_i: Any, earlier: Any, before: Any, size: int) -> tuple[Any, Any]:
    """Reads of each chunk's steps from the memory before it, (B, count, H, size, e), and m of each."""
    causal = ops.convert_to_tensor(np.tri(size, dtype="bool"))
    pairs = ops.where(causal, kept[..., :, None] + (log_i - kept)[..., None, :], NEVER)
    from_before = kept + before[..., None]
    m = ops.stop_gradient(ops.maximum(from_before, ops.max(pairs, axis=-1)))
    scores = ops.exp(pairs - m[..., None]) * ops.matmul(q, ops.transpose(k, (0, 1, 2, 4, 3)))
    carried = ops.exp(from_before - m)[..., None] * ops.matmul(q, earlier)
    return carried + ops.matmul(scores, v), m


def _stabilizers(whole: Any, left: Any, m: Any, count: Any) -> tuple[Any, Any]:
    """m before and after each chunk, (B, count, H): m' = max(whole + m, left), by doubling."""
    whole, left, m = (ops.stop_gradient(x) for x in (whole, left, m))
    # The state before the first chunk is a chunk of its own.
    whole = ops.concatenate([ops.zeros_like(m)[:, None], whole], axis=1)
    left = ops.concatenate([m[:, None], left], axis=1)

    def body(stride: Any, whole: Any, left: Any) -> Any:
        fill = [ops.zeros_like(whole), ops.full_like(left, NEVER)]
        far_whole, far_left = shifted((whole, left), stride, count + 1, False, fill)
        return stride * 2, whole + far_whole, ops.maximum(whole + far_left, left)

    stabilizers = ops.stop_gradient(doubling(body, (whole, left), count + 1)[1])
    return stabilizers[:, :-1], stabilizers[:, 1:]


def _cut(x: Any, total: Any, count: Any, size: int, fill: float) -> Any:
    """(B, T, H, ...) as chunks (B, count, H, size, e), with e = 1 where x has no such axis."""
    x = x if len(x.shape) == 4 else x[..., None]
    shape = ops.shape(x)
    if not isinstance(total, int) or total % size:
        rest = ops.full((shape[0], count * size - total, *shape[2:]), fill, x.dtype)
        x = ops.concatenate([x, rest], axis=1)
    return ops.transpose(ops.reshape(x, (shape[0], count, size, *shape[2:])), (0, 1, 3, 2, 4))


def _join(x: Any, total: Any) -> Any:
    """Chunks as (B, T, H, e) again."""
    x = ops.transpose(x, (0, 1, 3, 2, 4))
    shape = ops.shape(x)
    return ops.reshape(x, (shape[0], shape[1] * shape[2], *shape[3:]))[:, :total]


def _divisor(counted: Any, m: Any) -> Any:
    """max(|q n|, 1) in units of exp(m)."""
    return ops.maximum(ops.abs(counted), ops.exp(ops.minimum(-m, LARGEST)))


def _log_sigmoid(x: Any) -> Any:
    """log(sigmoid(x)) for all x, of operations that TFLite has."""
    # Far below zero it is x, where sigmoid has no digits left.
    return ops.where(x < -LARGEST / 4, x, ops.log(ops.sigmoid(ops.maximum(x, -LARGEST / 4))))
