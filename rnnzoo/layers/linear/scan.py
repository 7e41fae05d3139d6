"""Parallel scans for linear recurrences, h[t] = a[t] h[t-1] + b[t], of any length.

Reduce, then scan (Blelloch 1990): a sequence is cut into chunks of `CHUNK` steps. Each chunk is first reduced to what
it does to the state before it, h -> P h + H, all chunks at once; these pairs are scanned by doubling (Hillis & Steele
1986), in log2(T / CHUNK) rounds; then all chunks run at once from the state before each. That is about three times the
work of the plain loop, in 2 CHUNK + log2(T / CHUNK) dependent steps of large tensors. Nothing is divided and no
logarithm is taken: where a product of gates underflows, it is zero, as it is in the loop.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from rnnzoo.layers.linear.gradient import with_gradient
from rnnzoo.layers.refusals import refused

CHUNK = 32
# A number of the recurrence: (x,), or (real part, imaginary part).
Number = tuple[Any, ...]


def linear_scan(a: Any, b: Any, initial: Any = None, *, mask: Any = None, reverse: bool = False) -> Any:
    """h[t] = a[t] h[t-1] + b[t] for all t; in reverse, h[t] = a[t] h[t+1] + b[t].

    Args:
        a: (B, T, ...), of the rank of b; axes of size one are broadcast against it. T may be unknown.
        b: (B, T, ...).
        initial: the state before the first step, (B, ...) like b without time; None for zeros.
        mask: boolean (B, T); where it is False a step holds the state.
        reverse: from the end to the start.

    Complex numbers are pairs (real part, imaginary part) of such tensors, for a, b and initial alike: the arithmetic
    is real throughout. Half precision is scanned in float32. The gradient is another scan, in the other direction; it
    keeps a and h.

    Returns:
        h like b, in float32 or float64; a pair where a and b are pairs.

    Raises:
        ValueError: no step, shapes that do not fit, a mask that is not boolean.
    """
    pair = isinstance(a, list | tuple)
    a, b = (tuple(wide(x) for x in (value if pair else (value,))) for value in (a, b))
    start = None if initial is None else tuple(wide(x) for x in (initial if pair else (initial,)))
    _check(a, b, start or (), mask)
    start = start or tuple(ops.zeros_like(x[:, 0]) for x in b)
    if mask is not None:
        keep = ops.reshape(mask, (*ops.shape(mask), *[1] * (len(b[0].shape) - 2)))
        a = tuple(ops.where(keep, x, unit) for x, unit in zip(a, _units(a), strict=True))
        b = tuple(ops.where(keep, x, ops.zeros_like(x)) for x in b)
    h = _scan(a, b, start, reverse)
    return h if pair else h[0]


def hold(x: Any, mask: Any, initial: Any = None) -> Any:
    """x (B, T, ...) where the mask (B, T) is True, elsewhere its last such value, at first `initial` (B, ...).

    Half precision is kept.
    """
    if mask is None:
        return x
    keep = ops.reshape(mask, (*ops.shape(mask), *[1] * (len(x.shape) - 2)))
    full = wide(x)
    decay = ops.cast(ops.logical_not(keep), full.dtype)
    held = linear_scan(decay, ops.where(keep, full, ops.zeros_like(full)), initial)
    return ops.cast(held, x.dtype)


def wide(x: Any) -> Any:
    """x in float32, or in float64 where it is that already."""
    x = ops.convert_to_tensor(x)
    return x if keras.backend.standardize_dtype(x.dtype) == "float64" else ops.cast(x, "float32")


def _check(a: Number, b: Number, start: Number, mask: Any) -> None:
    shape = tuple(b[0].shape)
    if len(shape) < 2 or shape[1] == 0:
        raise refused(f"linear_scan: expected b (B, T, ...) of one step or more. Received: shape {shape}")
    for x in (*a, *b):
        other = tuple(x.shape)
        if len(other) != len(shape) or not all(map(_agree, other, shape)) or not _agree(other[1], shape[1], one=False):
            raise refused(f"linear_scan: expected a that broadcasts to b {shape}, T included. Received: {other}")
    for x in start:
        other, without = tuple(x.shape), (shape[0], *shape[2:])
        if len(other) != len(without) or not all(_agree(s, w, one=False) for s, w in zip(other, without, strict=True)):
            raise refused(f"linear_scan: expected an initial state {without} for b {shape}. Received: {other}")
    if mask is not None and keras.backend.standardize_dtype(mask.dtype) != "bool":
        raise refused(
            f"linear_scan: expected a boolean mask (B, T). Received: dtype {mask.dtype}; cast it with keras.ops.cast"
        )


def _agree(size: int | None, wanted: int | None, one: bool = True) -> bool:
    return size is None or wanted is None or size == wanted or (one and size == 1)


def _units(a: Number) -> list[Any]:
    """1, or 1 + 0i."""
    return [ops.ones_like(x) if place == 0 else ops.zeros_like(x) for place, x in enumerate(a)]


def times(a: Number, b: Number) -> Number:
    """a b."""
    if len(a) == 1:
        return (a[0] * b[0],)
    return a[0] * b[0] - a[1] * b[1], a[0] * b[1] + a[1] * b[0]


def plus(a: Number, b: Number) -> Number:
    """a + b."""
    return tuple(x + y for x, y in zip(a, b, strict=True))


def _conjugate(a: Number) -> Number:
    return (a[0], *(-x for x in a[1:]))


def _scan(a: Number, b: Number, start: Number, reverse: bool) -> Number:
    """The scan with its own gradient."""
    size = len(a)

    def split(operands: Number) -> tuple[Number, Number, Number]:
        return operands[:size], operands[size : 2 * size], operands[2 * size :]

    def forward(*operands: Any) -> Number:
        return run(*split(operands), reverse)

    def backward(operands: Number, h: Number, upstream: Number) -> Number:
        """d_b[t] = d_h[t] + a[t+1]* d_b[t+1], d_a[t] = d_b[t] h[t-1]*, with * the conjugate."""
        a, _, start = split(operands)
        edge, rest = (slice(-1, None), slice(None, -1)) if reverse else (slice(0, 1), slice(1, None))
        # What multiplies the last step's gradient does not matter: it starts from zero.
        after = tuple(_beside(x[:, rest], x[:, edge], reverse) for x in a)
        d_b = _scan(_conjugate(after), upstream, tuple(ops.zeros_like(x) for x in start), not reverse)
        before = tuple(
            _beside(x[:, 1:] if reverse else x[:, :-1], first[:, None], not reverse)
            for x, first in zip(h, start, strict=True)
        )
        d_a = tuple(_reduced(x, like) for x, like in zip(times(d_b, _conjugate(before)), a, strict=True))
        d_start = times(tuple(x[:, edge][:, 0] for x in _conjugate(a)), tuple(x[:, edge][:, 0] for x in d_b))
        return *d_a, *d_b, *d_start

    return with_gradient(forward, backward, (*a, *b, *start))


def _beside(x: Any, edge: Any, front: bool) -> Any:
    return ops.concatenate([edge, x] if front else [x, edge], axis=1)


def _reduced(x: Any, like: Any) -> Any:
    """The gradient of what was broadcast: the sum over its axes of size one."""
    axes = [axis for axis, (n, m) in enumerate(zip(like.shape, x.shape, strict=True)) if n == 1 and m != 1]
    return ops.sum(x, axis=axes, keepdims=True) if axes else x


def run(a: Number, b: Number, start: Number, reverse: bool) -> Number:
    """The scan itself, without a gradient."""
    steps = b[0].shape[1]
    if steps is not None and steps <= CHUNK:
        rows = loop([_row(a, t) for t in range(steps)], [_row(b, t) for t in range(steps)], start, reverse)
        return tuple(ops.stack(parts, axis=1) for parts in zip(*rows, strict=True))
    total = ops.shape(b[0])[1]
    count = (total + CHUNK - 1) // CHUNK
    # Steps beyond the end hold the state.
    parts_a, parts_b = _chunks(a, count, steps, 1.0), _chunks(b, count, steps, 0.0)
    before = between(parts_a, parts_b, start, reverse, count)
    rows = loop(parts_a, parts_b, before, reverse)
    joined = []
    for parts in zip(*rows, strict=True):
        x = ops.stack(parts, axis=2)
        x = ops.reshape(x, (ops.shape(x)[0], count * CHUNK, *x.shape[3:]))
        joined.append(x if steps is not None and steps % CHUNK == 0 else x[:, :total])
    return tuple(joined)


def _row(x: Number, t: int) -> Number:
    return tuple(part[:, t] for part in x)


def _chunks(x: Number, count: Any, steps: int | None, unit: float) -> list[Number]:
    """Step k of every chunk, (B, count, ...), for each k; after the end a real part is `unit`."""
    chunks = []
    for place, part in enumerate(x):
        shape = ops.shape(part)
        if steps is None or steps % CHUNK:
            fill = ops.full((shape[0], count * CHUNK - shape[1], *shape[2:]), unit if place == 0 else 0.0, part.dtype)
            part = ops.concatenate([part, fill], axis=1)
        chunks.append(ops.unstack(ops.reshape(part, (shape[0], count, CHUNK, *shape[2:])), CHUNK, axis=2))
    return list(zip(*chunks, strict=True))


def loop(a: list[Number], b: list[Number], state: Number, reverse: bool) -> list[Number]:
    """The states after each step of a list of them, all chunks at once."""
    order = range(len(a) - 1, -1, -1) if reverse else range(len(a))
    rows: list[Number] = [()] * len(a)
    for t in order:
        state = rows[t] = plus(times(a[t], state), b[t])
    return rows


def between(a: list[Number], b: list[Number], start: Number, reverse: bool, count: Any) -> Number:
    """The state before each chunk, (B, count, ...), from step k of every chunk, (B, count, ...), for each k."""
    order = range(len(a) - 1, -1, -1) if reverse else range(len(a))
    first, *others = order
    product, end = a[first], b[first]
    for k in others:
        product, end = times(a[k], product), plus(times(a[k], end), b[k])
    # The initial state is a chunk of its own, before all others.
    start = tuple(x[:, None] for x in start)
    unit = _units(tuple(x[:, :1] for x in product))
    rest = slice(1, None) if reverse else slice(None, -1)
    product = tuple(_beside(x[:, rest], u, not reverse) for x, u in zip(product, unit, strict=True))
    end = tuple(_beside(x[:, rest], s, not reverse) for x, s in zip(end, start, strict=True))
    return _double(product, end, reverse, count)


def _double(product: Number, end: Number, reverse: bool, count: Any) -> Number:
    """The inclusive scan of the pairs (product, end) along axis 1, by doubling."""
    size = len(product)

    def body(stride: Any, *pairs: Any) -> Any:
        a, h = pairs[:size], pairs[size:]
        far = shifted((*a, *h), stride, count, reverse, [*_units(a), *(ops.zeros_like(x) for x in h)])
        return stride * 2, *times(a, tuple(far[:size])), *plus(times(a, tuple(far[size:])), h)

    return doubling(body, (*product, *end), count)[size:]


def doubling(body: Callable[..., Any], values: Any, count: Any) -> Number:
    """body(stride, *values) -> (2 stride, *values) for strides 1, 2, 4 ... below `count`, a number or a scalar."""
    if isinstance(count, int):
        stride = 1
        while stride < count:
            stride, *values = body(stride, *values)
        return tuple(values)
    carry = (ops.ones((), "int32"), *values)
    return tuple(ops.while_loop(lambda stride, *_: stride < count, body, carry)[1:])


def shifted(values: Number, stride: Any, count: Any, reverse: bool, fill: list[Any]) -> list[Any]:
    """Each value shifted by `stride` along axis 1 (backwards in reverse), filled with `fill`."""
    places = ops.arange(count, dtype="int32")
    source = places + stride if reverse else places - stride
    exists = ops.logical_and(source >= 0, source < count)
    source = ops.clip(source, 0, count - 1)
    return [
        ops.where(ops.reshape(exists, (1, -1, *[1] * (len(x.shape) - 2))), ops.take(x, source, axis=1), unit)
        for x, unit in zip(values, fill, strict=True)
    ]
