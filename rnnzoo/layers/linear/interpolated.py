"""h[t] = h[t-1] + sigmoid(z[t]) (g[t] - h[t-1]) for a whole sequence, in few passes over the memory.

On a CPU, the cost of a scan is that of passes over large arrays. Here step k of every chunk is one row: its gates, its
scan and, backward, its gradients are computed while it is in the cache.
"""

from __future__ import annotations

from typing import Any

from keras import ops

from rnnzoo.layers.linear.gradient import Tensors, with_gradient
from rnnzoo.layers.linear.scan import CHUNK, between, loop


def by_chunks(x: Any) -> Any:
    """(B, T, D) as (K, B, count, D): step k of every chunk of K = CHUNK, or T if less; zeros after the end."""
    steps, (batch, total, width) = x.shape[1], ops.shape(x)
    size = CHUNK if steps is None else min(CHUNK, steps)
    count = (total + size - 1) // size
    if steps is None or steps % size:
        x = ops.concatenate([x, ops.zeros((batch, count * size - total, width), x.dtype)], axis=1)
    return ops.transpose(ops.reshape(x, (batch, count, size, width)), (2, 0, 1, 3))


def in_order(rows: Any, steps: Any) -> Any:
    """(K, B, count, U) as (B, T, U), `steps` being T."""
    size, batch, count, width = ops.shape(rows)
    return ops.reshape(ops.transpose(rows, (1, 2, 0, 3)), (batch, count * size, width))[:, :steps]


def interpolated(z: Any, g: Any, start: Any) -> Any:
    """h like z: h[t] = h[t-1] + sigmoid(z[t]) (g[t] - h[t-1]), the same as gates and `linear_scan`.

    Args:
        z, g: (K, B, count, U), as `by_chunks` lays them, in float32 or wider.
        start: the state before the first step, (B, U).
    """

    def forward(z: Any, g: Any, start: Any) -> Tensors:
        size, count = z.shape[0], ops.shape(z)[2]
        z, g = ops.unstack(z, size), ops.unstack(g, size)
        # 1 - sigmoid(z), without the loss of digits near one.
        a = [(ops.sigmoid(-row),) for row in z]
        b = [(ops.sigmoid(row) * new,) for row, new in zip(z, g, strict=True)]
        rows = loop(a, b, between(a, b, (start,), False, count), False)
        return (ops.stack([row for (row,) in rows], axis=0),)

    def backward(operands: Tensors, results: Tensors, upstream: Tensors) -> Tensors:
        size, count = results[0].shape[0], ops.shape(results[0])[2]
        z, g, h, d_h = (ops.unstack(x, size) for x in (*operands[:2], *results, *upstream))
        start = operands[2]
        old = [ops.sigmoid(-row) for row in z]
        # What multiplies the last step's gradient does not matter: it starts from zero.
        after = [(row,) for row in (*old[1:], ops.concatenate([old[0][:, 1:], old[0][:, :1]], axis=1))]
        before = [ops.concatenate([start[:, None], h[-1][:, :-1]], axis=1), *h[:-1]]
        up = [(row,) for row in d_h]
        rows = loop(after, up, between(after, up, (ops.zeros_like(start),), True, count), True)
        d_g = [ops.sigmoid(row) * d for row, (d,) in zip(z, rows, strict=True)]
        d_z = [d * keep * (new - last) for d, keep, new, last in zip(d_g, old, g, before, strict=True)]
        return ops.stack(d_z, axis=0), ops.stack(d_g, axis=0), old[0][:, 0] * rows[0][0][:, 0]

    return with_gradient(forward, backward, (z, g, start))[0]
