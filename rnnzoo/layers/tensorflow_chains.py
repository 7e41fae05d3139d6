"""Sums over all paths by TensorFlow, with hand-derived gradients: CTC and the normalizer of a linear chain.

One loop over time goes through the sequences and through the same sequences reversed, so that it gives the forward and
the backward variables (Rabiner 1989) together: the loss and its gradient need no second loop, and autodiff keeps
nothing of this one. All sums are of logarithms.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import tensorflow as tf

# Of what is impossible: below every sum of scores, and finite.
NEVER = -1e30
# The loss of labels that no alignment gives; it has no gradient.
IMPOSSIBLE = 1e4


def ctc(labels: tf.Tensor, logits: tf.Tensor, counts: tf.Tensor, steps: tf.Tensor, blank: int) -> tf.Tensor:
    """Negative log probability (B,) of labels, summed over their alignments (Graves et al. 2006).

    labels (B, L) at the left, `counts` (B,) of them; logits (B, T, K), `steps` (B,) of them.
    """

    @tf.custom_gradient
    def core(logits: tf.Tensor) -> Any:
        scores = tf.nn.log_softmax(logits)
        # A blank before and after each label.
        states = tf.reshape(tf.stack([tf.fill(tf.shape(labels), blank), labels], axis=2), [tf.shape(labels)[0], -1])
        states = tf.pad(states, [[0, 0], [0, 1]], constant_values=blank)
        width = 2 * counts + 1
        emitted = tf.maximum(tf.gather(scores, states, axis=2, batch_dims=1), NEVER)
        both = tf.concat([states, tf.reverse_sequence(states, width, seq_axis=1)], axis=0)
        turned = _turned(emitted, steps, width)
        forward, backward = tf.split(
            _rolled(_advance(both, blank), _begin(tf.shape(both)), tf.concat([emitted, turned], axis=0)), 2
        )
        last = tf.gather(forward, tf.maximum(steps - 1, 0), axis=1, batch_dims=1)
        ends = tf.stack([2 * counts, tf.maximum(2 * counts - 1, 0)], axis=1)
        ending = tf.gather(last, ends, axis=1, batch_dims=1)
        # Without labels the only end is the first blank.
        total = tf.where(counts > 0, tf.reduce_logsumexp(ending, axis=1), ending[:, 0])
        total = tf.where(steps > 0, total, tf.where(counts > 0, NEVER, 0.0))
        possible = total > NEVER / 2

        def gradient(upstream: tf.Tensor) -> tf.Tensor:
            inside = tf.sequence_mask(steps, tf.shape(logits)[1])[:, :, None]
            here = inside & tf.sequence_mask(width, tf.shape(states)[1])[:, None, :] & possible[:, None, None]
            through = tf.where(here, forward + _turned(backward, steps, width) - emitted, 2 * NEVER)
            # Each step is in one state: what rounding has added over many steps goes out.
            occupied = tf.where(here, tf.nn.softmax(through), 0.0)
            named = tf.one_hot(states, tf.shape(logits)[2], dtype=logits.dtype)
            slope = tf.where(inside & possible[:, None, None], tf.exp(scores), 0.0) - tf.matmul(occupied, named)
            return upstream[:, None, None] * slope

        return tf.where(possible, -total, IMPOSSIBLE), gradient

    result: tf.Tensor = core(logits)
    return result


def log_likelihood(
    scores: tf.Tensor, chosen: tf.Tensor, transitions: tf.Tensor, start: tf.Tensor, end: tf.Tensor, mask: Any
) -> tf.Tensor:
    """As `chain.log_likelihood`, of labels as ones among zeros (B, T, K)."""
    if mask is None:
        steps = tf.fill(tf.shape(scores)[:1], tf.shape(scores)[1])
    else:
        # What is hidden goes behind the rest, and is no step there.
        mask = tf.cast(mask, tf.bool)
        order = tf.argsort(tf.cast(~mask, tf.int32), stable=True)
        scores, chosen = (tf.gather(x, order, batch_dims=1) for x in (scores, chosen))
        steps = tf.reduce_sum(tf.cast(mask, tf.int32), axis=1)
    inside = tf.sequence_mask(steps, tf.shape(scores)[1], scores.dtype)[:, :, None]
    moves = tf.matmul(chosen[:, :-1], transitions) * chosen[:, 1:] * inside[:, 1:]
    last = tf.gather(chosen, tf.maximum(steps - 1, 0), axis=1, batch_dims=1)
    ends = tf.reduce_sum(chosen[:, 0] * start + last * end, axis=1)
    path = tf.reduce_sum(scores * chosen * inside, axis=[1, 2]) + tf.reduce_sum(moves, axis=[1, 2])
    path += tf.where(steps > 0, ends, 0.0)
    return path - normalizer(scores, transitions, start, end, steps)


def normalizer(
    scores: tf.Tensor, transitions: tf.Tensor, start: tf.Tensor, end: tf.Tensor, steps: tf.Tensor
) -> tf.Tensor:
    """log sum over all paths of exp score, (B,), of the first `steps` (B,) of scores (B, T, K); 0 of no step.

    transitions (K, K) of label j after i at [i, j], start and end (K,), as in `chain.log_likelihood`.
    """

    @tf.custom_gradient
    def core(scores: tf.Tensor, transitions: tf.Tensor, start: tf.Tensor, end: tf.Tensor) -> Any:
        batch, size = tf.shape(scores)[0], tf.shape(scores)[2]
        turned = tf.reverse_sequence(scores, steps, seq_axis=1)
        moves = tf.reshape(tf.repeat(tf.stack([transitions, tf.transpose(transitions)]), batch, 0), [-1, size, size])
        first = tf.repeat(tf.stack([start, end]), batch, 0)

        def advance(before: tf.Tensor) -> tf.Tensor:
            return _log_sum(before[:, :, None] + moves, 1)

        forward, backward = tf.split(_rolled(advance, first, tf.concat([scores, turned], axis=0)), 2)
        last = tf.gather(forward, tf.maximum(steps - 1, 0), axis=1, batch_dims=1)
        total = tf.reduce_logsumexp(last + end, axis=1)
        some = steps > 0

        def gradient(upstream: tf.Tensor) -> Any:
            weight = tf.where(some, upstream, 0.0)
            inside = tf.sequence_mask(steps, tf.shape(scores)[1])
            behind = tf.reverse_sequence(backward, steps, seq_axis=1)
            # Each step has one label, and between two steps is one move: what rounding has added goes out.
            labels = tf.where(inside, weight[:, None], 0.0)[:, :, None] * tf.nn.softmax(forward + behind - scores)
            pairs = forward[:, :-1, :, None] + transitions + behind[:, 1:, None, :]
            pairs = tf.reshape(tf.nn.softmax(tf.reshape(pairs, [batch, -1, size * size])), tf.shape(pairs))
            moved = tf.einsum("btij,bt->ij", pairs, tf.where(inside[:, 1:], weight[:, None], 0.0))
            closing = tf.gather(labels, tf.maximum(steps - 1, 0), axis=1, batch_dims=1)
            return labels, moved, tf.reduce_sum(labels[:, 0], axis=0), tf.reduce_sum(closing, axis=0)

        return tf.where(some, total, 0.0), gradient

    result: tf.Tensor = core(scores, transitions, start, end)
    return result


def _rolled(advance: Callable[[tf.Tensor], tf.Tensor], first: tf.Tensor, emitted: tf.Tensor) -> tf.Tensor:
    """v[0] = first + e[0], v[t] = advance(v[t - 1]) + e[t], of e (N, T, S), as (N, T, S)."""
    series = tf.transpose(emitted, [1, 0, 2])
    begun = first + series[0]
    rest = tf.scan(lambda before, now: advance(before) + now, series[1:], initializer=begun, parallel_iterations=1)
    return tf.transpose(tf.concat([begun[None], rest], axis=0), [1, 0, 2])


def _turned(series: tf.Tensor, steps: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """(B, T, S) from the last of the steps to the first, and from the last of the states to the first."""
    return tf.reverse_sequence(tf.reverse_sequence(series, steps, seq_axis=1), width, seq_axis=2)


def _begin(shape: tf.Tensor) -> tf.Tensor:
    """A path begins with the first blank or the first label, (N, S)."""
    return tf.where(tf.range(shape[1]) < 2, tf.zeros(shape), NEVER)


def _advance(states: tf.Tensor, blank: int) -> Callable[[tf.Tensor], tf.Tensor]:
    """A path stays, goes on by one, or by two to a label that is not the one before."""
    skips = (states != blank) & (states != tf.pad(states, [[0, 0], [2, 0]], constant_values=blank)[:, :-2])
    two = tf.where(skips, 0.0, NEVER)

    def advance(before: tf.Tensor) -> tf.Tensor:
        past = tf.pad(before, [[0, 0], [2, 0]], constant_values=NEVER)
        return _log_sum(tf.stack([before, past[:, 1:-1], past[:, :-2] + two]), 0)

    return advance


def _log_sum(x: tf.Tensor, axis: int) -> tf.Tensor:
    """log sum exp along an axis, of what is finite."""
    most = tf.reduce_max(x, axis=axis)
    return most + tf.math.log(tf.reduce_sum(tf.exp(x - tf.expand_dims(most, axis)), axis=axis))
