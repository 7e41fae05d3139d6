"""Decides whether a model streams with carried state or as a sliding window, and plans it.

A model of unknown length is carried. One of a fixed number of steps W is carried where it holds state between calls, or
where all its outputs have the time axis and it can be carried exactly; else a stream of it is a window of W steps.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import keras
import numpy as np

from streaming._compat import Functional, inputs_of, layers_of
from streaming.conversion import sliding
from streaming.conversion.arguments import required_arguments
from streaming.conversion.graph import drawn_inputs, functional, is_graph, rebuild, steps_of
from streaming.conversion.offline import fresh_states
from streaming.conversion.plan import Plan, Planner, Step, plan
from streaming.conversion.reasons import described
from streaming.conversion.rules.base import Options
from streaming.conversion.rules.window import WindowRule
from streaming.conversion.signals import Signal, StateSpec
from streaming.conversion.sources import plan_source, plan_with_sources
from streaming.conversion.step_model import likely_states, step_model, table_limits
from streaming.errors import InputError, NotStreamableError


def plan_model(model: Any, options: Options) -> Plan:
    """Decide and plan; raises NotStreamableError or InputError naming the layer or option that prevents it."""
    if options.states:
        wrapped = step_model(model, dict(options.states))
        planned = plan(wrapped, options, wrapped)
        planned.id_limits |= table_limits(wrapped)
        return planned
    if isinstance(options.window, int):
        return plan_window(model, options)
    function = functional(model)
    with _offering_states(function):
        return _decide(model, function, options)


def _decide(model: Any, function: Functional, options: Options) -> Plan:
    lengths = steps_of(function, set(options.encode))
    sliding_wanted = options.hop > 1 or options.pad is not None
    if not lengths or None in lengths.values():
        if sliding_wanted:
            raise InputError("hop and pad are those of windows; give window=W with them, or leave them out")
        with _offering("W"):
            return plan_with_sources(model, options, function)
    if sliding_wanted:
        return plan_window(model, replace(options, window=_one_length(function, lengths)))
    granted = options.lookahead is not None or options.attention_window is not None or options.encode
    held = any(getattr(layer, "stateful", False) for layer in layers_of(function))
    if options.window == "carry" or granted or held:
        with _offering(" or ".join(str(steps) for steps in sorted({*lengths.values()}))):  # type: ignore[type-var]
            return _carry(model, function, lengths, options)
    try:
        steps = _one_length(function, lengths)
    except NotStreamableError as refusal:
        planned = plan_source(function, options, lambda tried: _carry_rest(model, function, tried), refusal)
        if planned is None:
            raise
        return planned
    try:
        return _carry(model, function, lengths, options, timed_outputs=True)
    except NotStreamableError:
        planned = plan_window(model, replace(options, window=steps))
    if steps == 1 and (pairs := likely_states(function)):
        planned.steps[-1].rule.notes.append(f"one call a step: convert with states={pairs} where these are states")
    return planned


@contextlib.contextmanager
def _offering(steps: str) -> Iterator[None]:
    """Name windows as a remedy where a layer cannot be carried."""
    try:
        yield
    except NotStreamableError as error:
        placeholder, remedy = (f"window={count} for windows of {count} steps" for count in ("W", steps))
        message = str(error).replace(placeholder, remedy)
        if message.startswith("layer ") and "window=" not in message.replace("attention_window=", ""):
            message += f", or convert with {remedy}"
        raise NotStreamableError(message) from error


@contextlib.contextmanager
def _offering_states(function: Functional) -> Iterator[None]:
    """Name `states` as a remedy where a model looks like one of a single step."""
    try:
        yield
    except NotStreamableError as error:
        pairs = likely_states(function)
        if not pairs:
            raise
        raise NotStreamableError(f"{error}; or, if this is a model of one step, with states={pairs}") from error


def _one_length(function: Functional, lengths: dict[int, int | None]) -> int:
    fixed = sorted({steps for steps in lengths.values() if steps is not None})
    if len(fixed) == 1:
        return fixed[0]
    said = ", ".join(f"{function.inputs[place].name!r} {steps}" for place, steps in lengths.items())
    raise NotStreamableError(
        f"the inputs have different fixed numbers of steps ({said}); convert with "
        f"{' or '.join(f'window={steps}' for steps in fixed)}: inputs of that length come step by step, others whole"
    )


def _carry_rest(model: Any, function: Functional, options: Options) -> Plan:
    """The plan of a model of fixed lengths whose inputs come step by step, but for those of `encode`."""
    lengths = steps_of(function, set(options.encode))
    _one_length(function, lengths)
    return _carry(model, function, lengths, options, timed_outputs=True)


def _carry(
    model: Any,
    function: Functional,
    lengths: dict[int, int | None],
    options: Options,
    timed_outputs: bool = False,
) -> Plan:
    """The plan of a model of fixed length as one of unknown length.

    timed_outputs: refuse a model that has an output without a time axis, whose last row alone it would give.
    """
    shapes = {place: (tensor.shape[0], None, *tensor.shape[2:]) for place, tensor in enumerate(function.inputs)}
    carried = rebuild(function, {place: shapes[place] for place in lengths})
    if timed_outputs and any(len(output.shape) < 2 or output.shape[1] is not None for output in carried.outputs):
        raise NotStreamableError("an output has no time axis; convert with window=W")
    planned = plan(carried, options, carried)
    if is_graph(model):
        _compare(function, carried)
    return planned


def _compare(function: Functional, carried: Functional) -> None:
    """Refuse a graph that knows its length in another way than by its shapes."""
    values = drawn_inputs(function)
    results = []
    for graph in (function, carried):
        with fresh_states(graph):
            outputs = keras.tree.flatten(graph(keras.tree.pack_sequence_as(inputs_of(graph), values), training=False))
        results.append([keras.ops.convert_to_numpy(output) for output in outputs])
    for wanted, got in zip(*results, strict=True):
        if wanted.shape != got.shape or not np.allclose(wanted, got, 1e-4, 1e-4, equal_nan=True):
            raise NotStreamableError(
                "the model gives other values when its length is unknown; convert with window=W for windows of W steps"
            )


def plan_window(model: Any, options: Options) -> Plan:
    """The plan of a stream of windows."""
    window, hop, pad = options.window, options.hop, options.pad
    assert isinstance(window, int)
    function = _graph_of(model, window)
    timed = _timed(function, window)
    shapes = {place: (tensor.shape[0], window, *tensor.shape[2:]) for place, tensor in enumerate(function.inputs)}
    try:
        whole = rebuild(function, {place: shapes[place] for place in timed}, flat=True)
    except NotStreamableError as error:
        reason = described(error.__cause__) if error.__cause__ else str(error)[:160]
        raise NotStreamableError(
            f"the model takes no window of {window} steps ({reason}); give window another number of steps"
        ) from error
    parts = sliding.split(whole, timed, options)
    offline = getattr(function, "offline", model)
    planner = Planner(Plan(whole, offline, window, hop, pad, sliding.lead(window, hop)), options)
    inputs = planner.add_inputs(parts.kept, planner.plan.lead)
    signals = planner.walk(parts.kept, inputs, "")
    if pad:
        _rest(planner.plan, parts, signals)
    static = {id(whole.inputs[place]): s for place, s in enumerate(inputs) if place not in timed}
    rule = sliding.SlidingRule(parts, signals[: len(parts.cuts)], static, options)
    outputs = rule.plan()
    planner.plan.steps.append(Step(rule, rule.call.args, {}, outputs))
    planner.plan.id_limits |= rule.id_limits()
    planner.finish(outputs)
    return planner.plan


def _graph_of(model: Any, window: int) -> Functional:
    """The graph of a model; a subclassed one is a single call of itself."""
    if not isinstance(model, keras.Model) or isinstance(model, keras.Sequential) or is_graph(model):
        return functional(model)
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    if len(required_arguments(model)) > 1:
        return functional(model)
    if not model.built or not shapes:
        raise InputError(f"model {model.name!r} is not built; call it on data first")
    shape = next(iter(shapes.values()))
    if len(shapes) > 1 or not all(size is None or isinstance(size, int) for size in shape):
        return functional(model)
    steps = window if len(shape) < 2 or shape[1] is None else shape[1]
    x = keras.Input((steps, *shape[2:]), name=next(iter(shapes)).removesuffix("_shape"))
    return keras.Model(x, model(x))


def _timed(function: Functional, window: int) -> set[int]:
    """Inputs that come step by step, by place: those of unknown length, or of as many steps as the window."""
    lengths = steps_of(function)
    timed = {place for place, steps in lengths.items() if steps in (None, window)}
    if not timed:
        timed = {place for place, tensor in enumerate(function.inputs) if tuple(tensor.shape[1:]) == (window,)}
    if not timed:
        said = ", ".join(f"input {function.inputs[p].name!r} is built for {n} steps" for p, n in lengths.items())
        numbers = " or ".join(f"window={n}" for n in sorted({n for n in lengths.values() if n}))
        raise InputError(
            f"window is {window}, but {said or 'no input is a sequence'}; give {numbers or 'no window'}, or build the "
            "model for sequences of unknown length"
        )
    return timed


def _rest(planned: Plan, parts: sliding.Split, signals: list[Signal]) -> None:
    """Let what is kept begin as after zeros without end."""
    values = dict(zip(map(id, signals), sliding.resting_values(parts.kept, int(planned.window or 0)), strict=True))
    parts.resting.extend(values[id(signal)] for signal in signals[: len(parts.cuts)])
    for step in planned.steps:
        if isinstance(step.rule, WindowRule) and "past" in step.rule.states:
            spec = step.rule.states["past"]
            value = values[id(step.rule.call.signals[0])]
            step.rule.states["past"] = StateSpec(spec.shape, spec.dtype, value)
