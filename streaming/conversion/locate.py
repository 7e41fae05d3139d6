"""Finds the first layer whose stream differs from the offline model, by comparing the outputs of all layers."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from streaming._compat import inputs_of, operation_fn, set_keras_mask
from streaming.conversion.decide import plan_model, plan_window
from streaming.conversion.driving import length_of, run_together
from streaming.conversion.graph import nodes
from streaming.conversion.job import Conversion
from streaming.conversion.lengths import Lengths
from streaming.conversion.masks import masks_of_call
from streaming.conversion.offline import Inputs, fresh_states, run_offline
from streaming.conversion.options import options_of
from streaming.conversion.plan import Plan, Step, settle
from streaming.conversion.precision import in_float32
from streaming.conversion.signals import Signal
from streaming.conversion.trials import KINDS, Trials
from streaming.conversion.verify import DEFAULT_TOLERANCE, difference
from streaming.errors import ParityError
from streaming.runtime.driving import run_whole

# Signals that are compared in one converted model.
PROBES = 200


@dataclass(frozen=True)
class Difference:
    """The first layer whose stream differs from the offline model.

    layer: the name of the call in the model, its inner layers after a slash; kind: its class; max_abs_error: on `steps`
    steps, where the offline values are up to `scale`.
    """

    layer: str
    kind: str
    max_abs_error: float
    scale: float
    steps: int

    def __str__(self) -> str:
        return (
            f"layer {self.layer!r} ({self.kind}) differs by {self.max_abs_error:.3g} on {self.steps} steps "
            f"(values up to {self.scale:.3g})"
        )


def locate(model: Any, **options: Any) -> Difference | None:
    """The first layer of a model whose stream differs from its offline output; None where none does.

    Args:
        model: as `streaming.convert` takes it.
        **options: `chunk`, `batch_sizes`, `window`, `hop`, `pad`, `lookahead`, `attention_window`, `encode` and
            `max_length` as of `convert`.

    Raises:
        NotStreamableError, InputError: as `convert`.
    """
    chunk, batches = options.pop("chunk", None), options.pop("batch_sizes", (1,))
    with in_float32(model) as (changed, _):
        plan = plan_model(changed, options_of(**options))
        conversion = Conversion(plan, chunk or plan.unit, sorted({1, *batches}), {})
        trials, lengths, probe = Trials(plan), Lengths(plan), _probe(conversion)
        for length in lengths.chosen(conversion.chunk, lambda length: length < 2**12):
            for kind in KINDS:
                if (difference := probe.first(trials.draw(length, kind))) is not None:
                    return difference
    return None


def describe_difference(conversion: Conversion, inputs: Inputs) -> str:
    """The part of an error that names the first layer that differs on an input; empty if none can be named."""
    with contextlib.suppress(Exception):  # whatever stands in the way, the difference itself is what is to be reported
        difference = _probe(conversion).first(inputs)
        return "" if difference is None else f", first in layer {difference.layer!r} ({difference.kind})"
    return ""


def _probe(conversion: Conversion) -> _Probe:
    return _Probe(conversion) if conversion.plan.window is None else _WindowProbe(conversion)


class _Probe:
    """A conversion whose outputs are what every layer gives.

    conversion: the conversion that differs.
    """

    def __init__(self, conversion: Conversion) -> None:
        self._steps = [(step, signal) for step, signal in _signals(conversion.plan) if _can_be_output(signal)][:PROBES]
        self.plan = replace(
            conversion.plan,
            outputs={f"probe_{index}": signal for index, (_, signal) in enumerate(self._steps)},
            clocks={},
            marks={},
            contexts=dict(conversion.plan.contexts),
        )
        settle(self.plan)
        self._model = Conversion(self.plan, conversion.chunk, conversion.batches, {}).model()
        self._calls = [(signal, step.rule.call.name, step.rule.call.kind) for step, signal in self._steps]

    def _offline(self, inputs: Inputs) -> Iterator[NDArray[Any] | None]:
        """Values that each layer gives offline, in the order of the outputs."""
        values = _offline_values(self.plan, inputs)
        return (values.get(id(signal)) for signal in self.plan.outputs.values())

    def first(self, inputs: Inputs) -> Difference | None:
        """The first layer that differs on an input: fed whole, step by step, and twice in a batch."""
        offline = list(self._offline(inputs))
        for streamed in self._runs(inputs):
            for name, expected, (signal, layer, kind) in zip(self.plan.outputs, offline, self._calls, strict=True):
                if expected is None or not np.isfinite(expected).all():
                    continue
                try:
                    error, scale = difference(name, expected, streamed[name], signal.running)
                except ParityError:
                    error, scale = float("inf"), 1.0
                if not error <= DEFAULT_TOLERANCE[None] * scale:
                    return Difference(layer, kind, error, scale, length_of(self.plan, inputs))
        return None

    def _runs(self, inputs: Inputs) -> Iterator[Inputs]:
        stream, length = self._model.create_stream(), length_of(self.plan, inputs)
        for cuts in ([], list(range(1, length))):
            yield run_whole(stream, inputs, cuts)
        other = {name: value[::-1] if value.ndim else value for name, value in inputs.items()}
        for size, batches in self._model.batches.items():
            for batch in (batch for batch in batches if batch > 1):
                rows = [inputs, *[other] * (batch - 1)]
                yield run_together(self.plan, self._model, rows, size)[0]


class _WindowProbe(_Probe):
    """The same for a stream of windows: its outputs are what every layer gives on each whole window."""

    def __init__(self, conversion: Conversion) -> None:
        whole = conversion.plan.model
        calls = [(node.operation, tensor) for node in nodes(whole) for tensor in node.outputs]
        calls = [(op, tensor) for op, tensor in calls if _is_output_of_windows(tensor)][:PROBES]
        model = keras.Model(inputs_of(whole), [tensor for _, tensor in calls], name=whole.name)
        options = options_of(window=conversion.plan.window, hop=conversion.plan.hop, pad=conversion.plan.pad)
        self.plan = plan_window(model, options)
        self._model = Conversion(self.plan, conversion.chunk, conversion.batches, {}).model()
        signals = self.plan.outputs.values()
        self._calls = [(s, op.name, type(op).__name__) for s, (op, _) in zip(signals, calls, strict=True)]

    def _offline(self, inputs: Inputs) -> Iterator[NDArray[Any] | None]:
        return iter(run_offline(self.plan, inputs).values())


def _is_output_of_windows(tensor: Any) -> bool:
    return None not in tensor.shape[1:] and keras.backend.standardize_dtype(tensor.dtype) in ("float32", "int32")


def _signals(plan: Plan) -> Iterator[tuple[Step, Signal]]:
    for step in plan.steps:
        for signal in keras.tree.flatten(step.outputs):
            yield step, signal


def _can_be_output(signal: Signal) -> bool:
    return signal.timeline is not None and signal.timeline.first >= 0 and signal.dtype in ("float32", "int32")


def _offline_values(plan: Plan, inputs: Inputs) -> dict[int, NDArray[Any]]:
    """Values of the offline model at every signal, without the batch axis, by signal (id)."""
    values: dict[int, Any] = {}
    for name, signal in (plan.inputs | plan.encoded).items():
        values[id(signal)] = keras.ops.convert_to_tensor(np.repeat(inputs[name][None], 2, axis=0))
    with fresh_states(plan.model):
        _replay(plan, values)
    for step in plan.steps:
        if step.rule.call.op is None and id(step.args[0]) in values:  # an alignment gives what it is given
            values[id(step.outputs)] = values[id(step.args[0])]
    return {key: keras.ops.convert_to_numpy(value)[0] for key, value in values.items()}


def _replay(plan: Plan, values: dict[int, Any]) -> None:
    """Run the events of the offline graph by Keras, masks included, as far as they can be run one by one."""
    inside: list[tuple[Any, Any]] = []
    for event in plan.events:
        signals = [item for item in keras.tree.flatten((event.args, event.kwargs)) if isinstance(item, Signal)]
        known = all(id(signal) in values for signal in signals)
        args, kwargs = keras.tree.map_structure(lambda item: _value(item, values), (event.args, event.kwargs))
        if event.kind == "enter":
            inside.append(masks_of_call(event.op, args, kwargs)[1:] if known else (None, None))
            for signal, mask in zip(event.signals, keras.tree.flatten(kwargs.get("mask")), strict=False):
                if keras.ops.is_tensor(mask) and id(signal) in values:
                    set_keras_mask(values[id(signal)], mask)
        elif event.kind == "leave":
            first, previous = inside.pop()
            outputs = [values.get(id(signal)) for signal in event.signals]
            if first is not None and event.op.supports_masking and all(value is not None for value in outputs):
                event.op._set_mask_metadata(first, outputs, previous)
        elif known:
            with contextlib.suppress(Exception):  # what cannot be run alone is not compared
                outputs = keras.tree.flatten(operation_fn(event.op, training=False)(*args, **kwargs))
                values.update((id(signal), value) for signal, value in zip(event.signals, outputs, strict=True))


def _value(item: Any, values: dict[int, Any]) -> Any:
    if isinstance(item, Signal):
        return values.get(id(item))
    return None if isinstance(item, keras.KerasTensor) else item
