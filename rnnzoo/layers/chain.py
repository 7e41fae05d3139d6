"""A linear chain of labels: its normalizer, the score of a path, the best path, and marginals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import ops

from streaming._compat import loop_over_time


def log_likelihood(scores: Any, labels: Any, transitions: Any, start: Any, end: Any, mask: Any = None) -> Any:
    """Log probability of a path of labels (Lafferty, McCallum & Pereira 2001).

        score(y) = start[y_1] + sum_t scores[t, y_t] + sum_t transitions[y_(t-1), y_t] + end[y_T]
        log p(y) = score(y) - log sum_y' exp score(y')

    scores (B, T, K), labels (B, T), transitions (K, K) of label j after i at [i, j], start and end (K,); what the
    mask (B, T) hides is left out of the chain. Returns (B,); 0 for a chain without positions.
    """
    size = scores.shape[-1]
    chosen = ops.one_hot(labels, size, dtype=scores.dtype)
    if keras.backend.backend() == "tensorflow":
        from rnnzoo.layers.tensorflow_chains import log_likelihood as by_one_loop

        return by_one_loop(scores, chosen, transitions, start, end, mask)

    def step(x: Any, keep: Any, states: list[Any]) -> list[Any]:
        alpha, last, path, begun = states
        emission, here = x[:, :size], x[:, size:]
        new = ops.where(begun > 0.5, log_sum_exp(alpha[:, :, None] + transitions, 1), start) + emission
        move = ops.where(begun > 0.5, ops.matmul(last, transitions), start)
        return [new, here, path + ops.sum((move + emission) * here, axis=-1, keepdims=True), ops.ones_like(begun)]

    zeros = ops.zeros_like(scores[:, 0])
    states = [zeros, zeros, zeros[:, :1], zeros[:, :1]]
    _, (alpha, last, path, begun) = scan(step, ops.concatenate([scores, chosen], axis=-1), mask, states)
    total = path[:, 0] + ops.sum(last * end, axis=-1) - log_sum_exp(alpha + end, -1)
    return ops.where(begun[:, 0] > 0.5, total, ops.zeros_like(total))


def marginals(scores: Any, transitions: Any, start: Any, end: Any, mask: Any = None) -> Any:
    """p(y_t = k) by forward-backward, (B, T, K); 0 where the mask hides a position."""

    def forward(x: Any, keep: Any, states: list[Any]) -> list[Any]:
        alpha, begun = states
        return [
            ops.where(begun > 0.5, log_sum_exp(alpha[:, :, None] + transitions, 1), start) + x,
            ops.ones_like(begun),
        ]

    def backward(x: Any, keep: Any, states: list[Any]) -> list[Any]:
        beta, after, begun = states
        # beta is of this position; the emission of the next one is kept until it is known where that is.
        new = ops.where(begun > 0.5, log_sum_exp((beta + after)[:, None, :] + transitions, 2), end)
        return [new, x, ops.ones_like(begun)]

    zeros = ops.zeros_like(scores[:, 0])
    alpha, _ = scan(forward, scores, mask, [zeros, zeros[:, :1]])
    beta, _ = scan(backward, scores, mask, [zeros, zeros, zeros[:, :1]], backwards=True)
    probabilities = ops.softmax(alpha + beta, axis=-1)
    return probabilities if mask is None else probabilities * ops.cast(mask, probabilities.dtype)[:, :, None]


def viterbi(scores: Any, transitions: Any, start: Any, end: Any, mask: Any = None) -> Any:
    """The most probable path (Viterbi 1967), int32 (B, T); 0 where the mask hides a position."""
    size = scores.shape[-1]

    def forward(x: Any, keep: Any, states: list[Any]) -> list[Any]:
        best, begun = states[1], states[2]
        paths = best[:, :, None] + transitions
        new = ops.where(begun > 0.5, ops.max(paths, axis=1), start) + x
        return [ops.cast(ops.argmax(paths, axis=1), x.dtype), new, ops.ones_like(begun)]

    zeros = ops.zeros_like(scores[:, 0])
    pointers, (_, best, _) = scan(forward, scores, mask, [zeros, zeros, zeros[:, :1]])
    last = ops.cast(ops.argmax(best + end, axis=-1), scores.dtype)[:, None]

    def backward(x: Any, keep: Any, states: list[Any]) -> list[Any]:
        now, coming = states[1], states[1]
        before = ops.take_along_axis(x, ops.cast(now, "int32"), axis=1)
        return [coming, before]

    path, _ = scan(backward, pointers, mask, [last, last], backwards=True)
    path = ops.cast(path[:, :, 0], "int32")
    path = ops.clip(path, 0, size - 1)
    return path if mask is None else path * ops.cast(mask, "int32")


def log_sum_exp(x: Any, axis: int) -> Any:
    """log sum exp along an axis."""
    return ops.logsumexp(x, axis=axis)


def scan(
    step: Callable[[Any, Any, list[Any]], list[Any]], x: Any, mask: Any, states: list[Any], backwards: bool = False
) -> tuple[Any, list[Any]]:
    """Runs `step(x_t, keep_t, states) -> states` along time: the first state at every position, and the last states.

    Where the mask hides a position, all states stay.
    """
    keep = ops.ones_like(x[:, :, :1]) if mask is None else ops.cast(mask, x.dtype)[:, :, None]

    def inner(row: Any, states: Any) -> tuple[Any, list[Any]]:
        here = row[:, -1:] > 0.5
        new = step(row[:, :-1], here, list(states))
        held = [ops.where(here, n, o) for n, o in zip(new, states, strict=True)]
        return held[0], held

    _, outputs, last = loop_over_time(inner, ops.concatenate([x, keep], axis=-1), states, go_backwards=backwards)
    return (ops.flip(outputs, axis=1) if backwards else outputs), list(last)
