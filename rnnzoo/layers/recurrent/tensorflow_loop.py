"""The loop over time of a recurrence with a hand-derived backward pass, for the TensorFlow backend."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Protocol

import tensorflow as tf

from streaming._compat.tensorflow import GraphOrParentsInXlaContext, save_context

Tensors = tuple[tf.Tensor, ...]
# (t, what each series has at t, carry) -> carry
Step = Callable[[Any, Tensors, Any], Any]

BLOCK = 10  # Steps in one iteration of the loop: the loop's own cost is paid once for all of them.


class Recurrence(Protocol):
    """One step forward, one step back, and the gradients of the weights for all steps at once.

    z is the projection of the input, which the caller computes for all steps before the loop, an array (B, U) for each
    gate: separate gates need no splitting and joining, and their products run on several cores at once. (Narrow gates
    may be joined in one array, since fewer operations matter more for them.) The first state is the output. `saved` are
    the values of the forward step, besides the states, that the backward step needs.
    """

    def forward(self, z: Tensors, states: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        """New states and `saved`."""

    def prepare_backward(self, weights: Tensors) -> Tensors:
        """Weights in the layout that the backward steps need, computed once before the loop."""

    def factors(self, saved: Tensors, before: Tensors) -> Tensors:
        """What the backward step multiplies gradients by, from `saved` and the states before the step, elementwise.

        It does not depend on gradients: of one step (B, ...), or of all at once (T, B, ...).
        """

    def backward(self, gradients: Tensors, factors: Tensors, weights: Tensors) -> tuple[Tensors, Tensors]:
        """Gradients of the states before the step, and the terms that `collect` makes the other gradients of."""

    def collect(
        self, terms: Tensors, saved: Callable[[int], tf.Tensor], before: tf.Tensor, weights: Tensors
    ) -> tuple[Tensors, Tensors]:
        """Gradients of z (T, B, U) and of the weights, from the terms of all steps and the outputs before each step.

        saved(i) is item i of `saved` of all forward steps, (T, B, ...).
        """


def run_recurrence(
    recurrence: Recurrence,
    z: Tensors,
    states: Sequence[tf.Tensor],
    weights: Sequence[tf.Tensor],
    mask: Any,
    compiled: bool = False,
) -> tuple[tf.Tensor, Tensors]:
    """The outputs (T, B, U) and the last states; where the mask (T, B) is False a step holds all states.

    Differentiable once with respect to each z (T, B, U), the states (B, U) and the weights.

    Args:
        compiled: XLA compiles the two loops, once for each shape; in graphs only, where T is known.

    Raises:
        NotImplementedError: a second derivative is asked for.
    """
    if tf.executing_eagerly():
        # Eager loops run in Python; a function runs them in the graph's executor.
        widths = tuple(int(array.shape[-1]) for array in (*z, *states))
        return _run_function(recurrence, widths)(z, tuple(states), tuple(weights), mask)
    return _run(recurrence, z, tuple(states), tuple(weights), mask, compiled)


# One for each width: a function that meets several would forget them, and the steps need them.
_functions: dict[tuple[Recurrence, tuple[int, ...]], Callable[..., Any]] = {}


def _run_function(recurrence: Recurrence, widths: tuple[int, ...]) -> Callable[..., Any]:
    if (recurrence, widths) not in _functions:
        _functions[recurrence, widths] = tf.function(
            lambda z, states, weights, mask: _run(recurrence, z, states, weights, mask, False),
            reduce_retracing=True,
            autograph=False,
        )
    return _functions[recurrence, widths]


def _run(
    recurrence: Recurrence, z: Tensors, states: Tensors, weights: Tensors, mask: tf.Tensor | None, compiled: bool
) -> tuple[tf.Tensor, Tensors]:
    first, second = len(z), len(z) + len(states)
    inside = inside_xla()
    forward, backward = (_forward_arrays, _backward_arrays) if compiled or inside else (_forward, _backward)
    if compiled and not inside:
        forward, backward = _compiled(forward), _compiled(backward)

    @tf.custom_gradient
    def core(*operands: tf.Tensor) -> Any:
        z, states, weights = operands[:first], operands[first:second], operands[second:]
        last, histories, saved = forward(recurrence, z, states, weights, mask)
        outputs = _stacked(histories[0])

        def gradient(*upstream: tf.Tensor) -> Any:
            def compute(*_: tf.Tensor) -> Tensors:
                if save_context.in_save_context():
                    # A SavedModel cannot hold the lists of a loop: its gradient computes the steps forward again.
                    _, lists, kept = _forward(recurrence, z, states, weights, mask)
                    return _backward(recurrence, upstream, lists, kept, lists[0].stack(), weights, mask)
                return backward(recurrence, upstream, histories, saved, outputs, weights, mask)

            return _once(compute)(*upstream, outputs, *weights)

        return (outputs[1:], *last), gradient

    outputs, *last = core(*z, *states, *weights)
    return outputs, tuple(last)


def inside_xla() -> bool:
    """Whether XLA compiles the graph that is being built."""
    return bool(GraphOrParentsInXlaContext(tf.compat.v1.get_default_graph()))


# Functions by what they compute and the shapes of their arguments: equal loops are compiled once.
_compiled_functions: dict[Any, Callable[..., Any]] = {}


def _compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """The function of a recurrence and tensors, compiled by XLA."""

    def run(recurrence: Recurrence, *arguments: Any) -> Any:
        flat = tf.nest.flatten(arguments)
        shapes = tuple(None if x is None else (x.dtype, *x.shape.as_list()) for x in flat)
        key = (function, recurrence, tuple(len(x) if isinstance(x, tuple) else 0 for x in arguments), shapes)
        if key not in _compiled_functions:
            _compiled_functions[key] = tf.function(
                lambda *given: function(recurrence, *given), jit_compile=True, autograph=False
            )
        return _compiled_functions[key](*arguments)

    return run


def _stacked(history: Any) -> tf.Tensor:
    return history.stack() if isinstance(history, tf.TensorArray) else history


def _steps(series: tf.Tensor) -> Any:
    """T, of an array (T, ...)."""
    return series.shape[0] or tf.shape(series)[0]


def _forward_arrays(
    recurrence: Recurrence, z: Tensors, states: Tensors, weights: Tensors, mask: tf.Tensor | None
) -> tuple[Tensors, Tensors, Tensors]:
    """As `_forward`, with arrays in the place of lists, which the results of a compiled function cannot be."""
    last, histories, saved = _forward(recurrence, z, states, weights, mask)
    return last, tuple(a.stack() for a in histories), tuple(a.stack() for a in saved)


def _forward(
    recurrence: Recurrence, z: Tensors, states: Tensors, weights: Tensors, mask: tf.Tensor | None
) -> tuple[Tensors, tuple[tf.TensorArray, ...], tuple[tf.TensorArray, ...]]:
    """The last states, the states before each step and after the last (T + 1), what each step saves (T)."""
    steps = _steps(z[0])
    # Only the number and the shapes of what a step saves are used; the graph drops the rest.
    example = recurrence.forward(tuple(item[0] for item in z), states, weights)[1]
    histories = tuple(_array(state, steps + 1).write(0, state) for state in states)
    saved = tuple(_array(item, steps) for item in example)

    def step(t: Any, given: Tensors, carry: Any) -> Any:
        before, histories, saved = carry
        after, items = recurrence.forward(given[: len(z)], before, weights)
        if mask is not None:
            keep = given[-1][:, None]
            after = tuple(tf.where(keep, new, old) for new, old in zip(after, before, strict=True))
        histories = tuple(a.write(t + 1, state) for a, state in zip(histories, after, strict=True))
        saved = tuple(a.write(t, item) for a, item in zip(saved, items, strict=True))
        return after, histories, saved

    return _repeat(step, (states, histories, saved), steps, z if mask is None else (*z, mask))


def _backward(
    recurrence: Recurrence,
    upstream: Tensors,
    histories: tuple[tf.TensorArray, ...],
    saved: tuple[tf.TensorArray, ...],
    outputs: tf.Tensor,
    weights: Tensors,
    mask: tf.Tensor | None,
) -> Tensors:
    """Gradients of z, of the initial states and of the weights; the factors of a step are computed in that step."""

    def factors(t: Any, given: Tensors) -> Tensors:
        return recurrence.factors(*(tuple(a.read(t) for a in arrays) for arrays in (saved, histories)))

    d_states, terms = _loop_back(recurrence, upstream, factors, (), weights, mask)
    d_z, d_weights = recurrence.collect(terms, lambda i: saved[i].stack(), outputs[:-1], weights)
    return *d_z, *d_states, *d_weights


def _backward_arrays(
    recurrence: Recurrence,
    upstream: Tensors,
    histories: Tensors,
    saved: Tensors,
    outputs: tf.Tensor,
    weights: Tensors,
    mask: tf.Tensor | None,
) -> Tensors:
    """As `_backward`, for arrays; the factors of all steps are computed before the loop."""
    series = recurrence.factors(saved, tuple(history[:-1] for history in histories))
    d_states, terms = _loop_back(recurrence, upstream, lambda t, given: given, series, weights, mask)
    d_z, d_weights = recurrence.collect(terms, lambda i: saved[i], outputs[:-1], weights)
    return *d_z, *d_states, *d_weights


def _loop_back(
    recurrence: Recurrence,
    upstream: Tensors,
    factors: Callable[[Any, Tensors], Tensors],
    series: Tensors,
    weights: Tensors,
    mask: tf.Tensor | None,
) -> tuple[Tensors, Tensors]:
    """Gradients of the initial states, and the terms (T, B, ...) of all steps.

    factors(t, series[t]) are those of a step.
    """
    d_outputs, *d_states = upstream
    steps, prepared = _steps(d_outputs), recurrence.prepare_backward(weights)

    def back(t: Any, given: Tensors, d_after: Tensors) -> tuple[Tensors, Tensors]:
        d_after = (d_after[0] + given[0], *d_after[1:])
        if mask is None:
            return recurrence.backward(d_after, factors(t, given[1:]), prepared)
        keep = given[1][:, None]
        moved = tuple(tf.where(keep, d, tf.zeros_like(d)) for d in d_after)
        d_before, terms = recurrence.backward(moved, factors(t, given[2:]), prepared)
        return tuple(d + tf.where(keep, tf.zeros_like(h), h) for d, h in zip(d_before, d_after, strict=True)), terms

    def step(t: Any, given: Tensors, carry: Any) -> Any:
        d_states, *arrays = carry
        d_states, terms = back(t, given, d_states)
        return d_states, *(a.write(t, item) for a, item in zip(arrays, terms, strict=True))

    series = (d_outputs, *series) if mask is None else (d_outputs, mask, *series)
    example = back(steps - 1, tuple(item[-1] for item in series), tuple(d_states))[1]
    carry = (tuple(d_states), *(_array(item, steps) for item in example))
    d_states, *arrays = _repeat(step, carry, steps, series, reverse=True)
    return tuple(d_states), tuple(a.stack() for a in arrays)


def _array(item: tf.Tensor, size: Any) -> tf.TensorArray:
    return tf.TensorArray(item.dtype, size, element_shape=item.shape, clear_after_read=False)


def _repeat(step: Step, carry: Any, steps: Any, series: Tensors, reverse: bool = False) -> Any:
    """carry = step(t, series[t], carry) for each t from 0 to steps - 1, or in reverse.

    `steps` is a number or a scalar tensor, `series` are arrays (steps, ...).
    """
    block = _block()
    whole = steps // block * block
    spans = [(0, whole, block), (whole, steps, 1)][: min(block, 2)]
    for begin, end, stride in reversed(spans) if reverse else spans:
        if isinstance(steps, int) and end - begin <= block:
            carry = _unrolled(step, carry, begin, end - begin, [item[begin:end] for item in series], reverse)
        else:
            carry = _span(step, carry, begin, end, stride, series, reverse)
    return carry


def _block() -> int:
    """Steps in one iteration. XLA fuses several steps so that each computes again what those before it did."""
    return 1 if inside_xla() else BLOCK


def _span(step: Step, carry: Any, begin: Any, end: Any, stride: int, series: Tensors, reverse: bool) -> Any:
    blocks = [_blocks(item, stride) for item in series]

    def body(t: tf.Tensor, carry: Any) -> Any:
        carry = _unrolled(step, carry, t, stride, [item[t // stride] for item in blocks], reverse)
        return t + (-stride if reverse else stride), carry

    def go_on(t: tf.Tensor, carry: Any) -> tf.Tensor:
        return t >= begin if reverse else t < end

    first = tf.convert_to_tensor(end - stride if reverse else begin, tf.int32)
    # Stated, because XLA sizes the arrays of a loop by it.
    return tf.while_loop(go_on, body, (first, carry), maximum_iterations=(end - begin) // stride)[1]


def _unrolled(step: Step, carry: Any, begin: Any, count: int, series: Sequence[tf.Tensor], reverse: bool) -> Any:
    """carry = step(t, series[t - begin], carry) for each t of the `count` from `begin`."""
    given = [tf.unstack(item, count) for item in series]
    for offset in reversed(range(count)) if reverse else range(count):
        carry = step(begin + offset, tuple(item[offset] for item in given), carry)
    return carry


def _blocks(x: tf.Tensor, stride: int) -> tf.Tensor:
    """(T, ...) as (T // stride, stride, ...), whose blocks and their steps are views: reading them copies nothing."""
    steps, *rest = [known or tf.shape(x)[axis] for axis, known in enumerate(x.shape)]
    return tf.reshape(x[: steps // stride * stride], (steps // stride, stride, *rest))


def _once(function: Callable[..., Tensors]) -> Callable[..., Tensors]:
    """The function with a derivative that raises: what a hand-derived gradient computes has none of its own."""

    @tf.custom_gradient
    def guarded(*operands: tf.Tensor) -> Any:
        def refuse(*_: tf.Tensor) -> Any:
            raise NotImplementedError(
                "expected a first derivative of a recurrent layer of rnnzoo, a second one was asked for; "
                "use the layer of keras.layers of the same name, which has the same weights"
            )

        return function(*operands), refuse

    return guarded
