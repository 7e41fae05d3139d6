"""Walks a Keras graph and decides, call by call, how it takes a step.

model -> signals of its inputs -> for each node, in topological order: align the delays of its inputs, find the rule,
let the rule declare its outputs and states -> Plan. Nested models are walked in place, under their name.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import keras

from streaming._compat import Functional, layers_of, nodes_of, outputs_of
from streaming.conversion.graph import functional, is_graph, rebuild
from streaming.conversion.masks import Frame, Masks
from streaming.conversion.positions import AlongTime
from streaming.conversion.rules import find_rule, rule_for
from streaming.conversion.rules.base import Call, Options, Rule, Validity
from streaming.conversion.rules.framing import framing
from streaming.conversion.rules.joining import JoiningRule, joins_time
from streaming.conversion.rules.over_source import over_source
from streaming.conversion.rules.over_time import over_time
from streaming.conversion.rules.positions import PositionsRule
from streaming.conversion.rules.protocol import DelayRule
from streaming.conversion.rules.separable import Builder
from streaming.conversion.rules.whole import WholeRule, whole_signal
from streaming.conversion.rules.within_step import WithinStep, within_step
from streaming.conversion.signals import Clock, Signal, StateSpec, Timeline
from streaming.conversion.unfold import can_unfold, unfold
from streaming.errors import InputError, NotStreamableError
from streaming.runtime.facts import PlanRow


@dataclass(frozen=True)
class Step:
    """One rule of the plan with its arguments (signals in place of tensors) and the signals it makes.

    masks: those on its arguments, by signal (id), if the rule uses them.
    """

    rule: Rule
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    outputs: Any
    masks: dict[int, Signal] = field(default_factory=dict)

    @property
    def reads(self) -> list[Signal]:
        """All input signals of the step."""
        taken = keras.tree.flatten((self.args, self.kwargs))
        return [*(item for item in taken if isinstance(item, Signal)), *self.masks.values()]


@dataclass(frozen=True)
class Event:
    """One event of a run of the offline graph: a call of an operation, or the begin or end of one with a graph inside.

    kind: "call", "enter" or "leave"; args, kwargs: as in the graph, signals in place of tensors; signals: the outputs,
    or at "enter" the inputs of the inner graph.
    """

    kind: str
    op: Any
    args: Any
    kwargs: dict[str, Any]
    signals: list[Signal]


@dataclass
class Plan:
    """Everything that a traced step needs to know.

    model: the graph; offline: the user's model, which it comes from and is proven equal to;
    id_limits: number of rows of the tables that integer inputs index; clocks: those whose validity some rule needs,
    and how it is remembered; marks: for outputs of another rate, the output that says which of their rows exist;
    joined: timelines that meet and must be of one length; names: all inputs, in the order of the model;
    encoded: inputs that are given whole, and `whole` the calls that depend on them alone; contexts: what of their
    results the steps read; window, hop, pad: of a stream of windows, None, 1 and None where state is carried; lead:
    steps before the first, which no window sees; compiled: the offline model on windows as a graph, once it is made;
    events: the run of the offline graph that the steps stand for.
    """

    model: Functional
    offline: keras.Model
    window: int | None = None
    hop: int = 1
    pad: str | None = None
    lead: int = 0
    compiled: Any = None
    inputs: dict[str, Signal] = field(default_factory=dict)
    steps: list[Step] = field(default_factory=list)
    outputs: dict[str, Signal] = field(default_factory=dict)
    id_limits: dict[str, int] = field(default_factory=dict)
    clocks: dict[Clock, Validity] = field(default_factory=dict)
    marks: dict[str, str] = field(default_factory=dict)
    joined: set[tuple[Timeline, Timeline]] = field(default_factory=set)
    names: list[str] = field(default_factory=list)
    encoded: dict[str, Signal] = field(default_factory=dict)
    whole: list[Step] = field(default_factory=list)
    contexts: dict[str, Signal] = field(default_factory=dict)
    max_length: int = 0
    events: list[Event] = field(default_factory=list)

    @property
    def states(self) -> dict[str, StateSpec]:
        """Every state of the stream by its full name, in the order of the graph."""
        states = {step.rule.key(name): spec for step in self.steps for name, spec in step.rule.states.items()}
        states |= {validity.state: StateSpec((validity.keep,)) for validity in self.clocks.values() if validity.keep}
        return states

    @property
    def unit(self) -> int:
        """The smallest possible chunk: every clock has a whole number of slots in it."""
        signals = [s for step in self.steps for s in keras.tree.flatten(step.outputs) if s.timeline]
        return math.lcm(1, *(signal.timeline.rate.denominator for signal in signals))

    @property
    def delay(self) -> int:
        """Input steps between an input and the output of its position; for windows those before the first output."""
        if self.window is not None:
            return 0 if self.pad else self.window - 1
        lines = [_timeline(signal) for signal in self.outputs.values()]
        return max(math.ceil(line.first / line.rate) for line in lines)

    @property
    def flush(self) -> int:
        """The most steps that must run after the end of a stream."""
        if self.window is not None:
            return 0
        unit, lines = self.unit, [_timeline(signal) for signal in self.outputs.values()]
        most = 0
        for steps in range(8 * unit, 10 * unit):
            units = max(math.ceil(line.span(steps)[1] / (unit * line.rate)) for line in lines)
            most = max(most, units * unit - steps)
        return most

    @property
    def notes(self) -> list[str]:
        """Notes for the user on lengths and, for windows, on the results that are kept from step to step."""
        notes = [note for step in self.steps for note in step.rule.notes]
        if self.window is not None:
            rows = self.table()
            kept, anew = ([row.name for row in rows if row.anew == flag] for flag in (False, True))
            every = "step" if self.hop == 1 else f"{self.hop} steps"
            notes.append(
                f"kept from step to step: {', '.join(kept) or 'the inputs alone'}; computed anew on {self.window} "
                f"steps every {every}: {', '.join(anew) or 'nothing'}"
            )
        return notes

    @property
    def unquantized(self) -> dict[str, Any]:
        """Variables that no quantization may round, by a name that no input has."""
        variables = [variable for step in self.steps for variable in step.rule.unquantized]
        unique = list({id(variable): variable for variable in variables}.values())
        return {free_name(f"unquantized_{place}", set(self.inputs)): variable for place, variable in enumerate(unique)}

    @property
    def approximate(self) -> bool:
        """Whether some layer sees less than offline, as the user allowed."""
        return any(step.rule.approximate for step in self.steps)

    @cached_property
    def lines(self) -> frozenset[Timeline]:
        """Every timeline of the graph; read it after planning."""
        signals = (signal for step in self.steps for signal in keras.tree.flatten(step.outputs))
        return frozenset(signal.timeline for signal in signals if signal.timeline)

    def long_enough(self, steps: int) -> bool:
        """Whether every sequence of the offline model has at least one element for an input of that many steps."""
        return all(line.length(steps) >= 1 for line in self.lines)

    @property
    def longest(self) -> int | None:
        """The most steps that the offline model takes, None without a limit."""
        return min((step.rule.longest for step in self.steps if step.rule.longest is not None), default=None)

    def exact(self, steps: int) -> bool:
        """Whether the offline model takes an input of that many steps and the stream equals it."""
        if self.window is not None:
            return steps > 0
        conditions = (condition for step in self.steps for condition in step.rule.exact_if)
        return (
            self.long_enough(steps)
            and steps <= (self.longest or steps)
            and all(condition(steps) for condition in conditions)
            and all(a.length(steps) == b.length(steps) for a, b in self.joined)
        )

    def table(self) -> tuple[PlanRow, ...]:
        """One row for each call, for the file and `streaming inspect`."""
        made = {id(signal): name for name, signal in [*self.inputs.items(), *self.encoded.items()]}
        for step in (*self.whole, *self.steps):
            made |= {id(signal): step.rule.call.name for signal in keras.tree.flatten(step.outputs)}
        rows: list[PlanRow] = []
        for step in (*self.whole, *self.steps):
            taken = [made.get(id(item)) for item in keras.tree.flatten((step.args, step.kwargs))]
            for signal in keras.tree.flatten(step.outputs)[:1]:
                row = PlanRow(
                    step.rule.call.name,
                    step.rule.call.kind,
                    signal.shape,
                    rate=str(signal.timeline.rate) if signal.timeline else "static",
                    delay=signal.timeline.first if signal.timeline else 0,
                    running=signal.running,
                    states={name: tuple(spec.shape) for name, spec in step.rule.states.items()},
                    inputs=tuple(dict.fromkeys(name for name in taken if name)),
                    encoded=signal.whole,
                )
                rows += step.rule.inside(row, made) or [row]
                ends = tuple(n for n, end in self.outputs.items() if end in keras.tree.flatten(step.outputs))
                rows[-1] = replace(rows[-1], outputs=ends)
        return tuple(rows)


def plan(model: Any, options: Options | None = None, function: Functional | None = None) -> Plan:
    """Plan a stream that carries its state; raises NotStreamableError or InputError that names the obstacle.

    function: the graph to plan where it is not that of the model itself, but the same for another length.
    """
    function = functional(model) if function is None else function
    _check_dtypes(function)
    planner = Planner(Plan(function, getattr(function, "offline", model)), options or Options())
    signals = planner.walk(function, planner.add_inputs(function), "")
    planner.finish(signals)
    return planner.plan


def _check_dtypes(model: keras.Model) -> None:
    for layer in layers_of(model):
        if isinstance(layer, keras.Model | keras.layers.InputLayer):
            continue  # these compute nothing: a layer that does is the one to name
        policy = layer.dtype_policy
        if policy.compute_dtype not in ("float32", "string") and not policy.compute_dtype.startswith("int"):
            raise NotStreamableError(
                f"layer {layer.name!r} ({type(layer).__name__}) computes in {policy.compute_dtype}, expected float32; "
                "build the model under the dtype policy 'float32' and load the same weights"
            )


class Planner:
    """Plans the calls of graphs one after the other, into one plan."""

    def __init__(self, plan: Plan, options: Options) -> None:
        self.plan, self.options = plan, options
        self._delayed: dict[tuple[int, int], Signal] = {}
        self._names: set[str] = set()
        self._masks = Masks(self.walk)

    def add_inputs(self, function: Functional, lead: int = 0) -> list[Signal]:
        """Signals of the inputs of a graph, in order; sequences begin after `lead` steps."""
        tensors, signals = function.inputs, []
        known = self.plan.names = identifiers(t.name for t in tensors)
        for name in self.options.encode:
            if name not in known:
                raise InputError(f"encode names {name!r}, expected inputs of the model among {', '.join(known)}")
        for name, tensor in zip(known, tensors, strict=True):
            shape = tuple(tensor.shape)
            unknown = [axis for axis, size in enumerate(shape) if size is None and axis > 0]
            if unknown and unknown != [1]:
                raise NotStreamableError(
                    f"input {name!r} of shape {shape} has unknown sizes at axes {unknown}, expected time at axis 1 "
                    "alone; fix every other size"
                )
            dtype = keras.backend.standardize_dtype(tensor.dtype)
            if dtype not in ("float32", "int32", "int64", "bool", "uint8", "int8", "int16"):
                raise NotStreamableError(
                    f"input {name!r} has dtype {dtype}, expected float32 or an integer; "
                    f"build the model on keras.Input({shape[1:]}, dtype='float32' or 'int32')"
                )
            features = shape[2:] if unknown else shape[1:]
            if name in self.options.encode:
                if unknown and self.options.max_length < 1:
                    raise InputError(f"input {name!r} is given whole and has no fixed length; give max_length")
                signal = whole_signal(name, features, dtype, self.options.max_length if unknown else 0, origin=name)
                self.plan.encoded[name] = signal
            else:
                timeline = Timeline(start=lead) if unknown else None
                quiet = timeline is not None and dtype == "float32"
                signal = Signal(name, features, dtype, timeline, quiet=quiet, origin=name)
                self.plan.inputs[name] = signal
            self._masks.add(signal, tensor)
            signals.append(signal)
        self._check_time()
        self.plan.max_length = self.options.max_length
        return signals

    def _check_time(self) -> None:
        """Refuse a model none of whose inputs comes step by step, and say what each of them is instead."""
        inputs = self.plan.inputs
        if any(signal.timeline for signal in inputs.values()):
            return
        if not inputs:
            raise InputError("encode names every input, so none is left for the steps; leave that of the stream out")
        said = ", ".join(f"{name!r} is {(None, *signal.shape)}" for name, signal in inputs.items())
        steps = next((signal.shape[0] for signal in inputs.values() if len(signal.shape) == 1), None)
        remedy = f", or convert with window={steps} where its numbers are steps" if steps else ""
        raise NotStreamableError(
            f"no input has a time axis: {said}; build the model with keras.Input((None, features)){remedy}"
        )

    def walk(self, function: Functional, inputs: list[Signal], prefix: str) -> list[Signal]:
        """Plan all nodes of a (nested) graph; returns the signals of its outputs, flat."""
        known = {id(tensor): signal for tensor, signal in zip(function.inputs, inputs, strict=True)}
        for node in nodes_of(function):
            if node.is_input or any(id(tensor) not in known for tensor in node.input_tensors):
                continue
            args, kwargs = node.arguments.convert(lambda x: known.get(id(x), x))
            outputs = self._node(node, args, kwargs, prefix)
            for tensor, signal in zip(node.outputs, outputs, strict=True):
                known[id(tensor)] = signal
        return [known[id(tensor)] for tensor in function.outputs]

    def _node(self, node: Any, args: Any, kwargs: Any, prefix: str) -> list[Signal]:
        op = node.operation
        if is_graph(op):
            inner = functional(op)
            tensors = [item for item in keras.tree.flatten(node.arguments.args) if isinstance(item, keras.KerasTensor)]
            if any(tuple(t.shape) != tuple(own.shape) for t, own in zip(tensors, inner.inputs, strict=False)):
                inner = rebuild(inner, {place: tensor.shape for place, tensor in enumerate(tensors)})
            frame = self._masks.open(op, op.name, args, kwargs)
            signals = keras.tree.flatten(args)
            self._masks.enter(frame, signals)
            return self._inside(frame, kwargs, inner, signals, self._name(f"{prefix}{op.name}"))
        name = self._name(f"{prefix}{op.name}")
        frame = self._masks.open(op, name, args, kwargs)
        if find_rule(op) is None and can_unfold(op):
            inner = unfold(op, name, node.arguments.args, {**node.arguments.kwargs, **frame.symbolic})
            signals = [item for item in keras.tree.flatten((args, frame.kwargs)) if isinstance(item, Signal)]
            return self._inside(frame, kwargs, inner, signals, name)
        outputs = keras.tree.flatten(self._call(node, name, frame))
        self._masks.close(frame, outputs, list(node.outputs))
        self.plan.events.append(Event("call", op, args, kwargs, outputs))
        return outputs

    def _inside(
        self, frame: Frame, kwargs: dict[str, Any], inner: Functional, signals: list[Signal], name: str
    ) -> list[Signal]:
        """Plan the graph inside of a call."""
        self.plan.events.append(Event("enter", frame.op, frame.args, kwargs, signals))
        outputs = self.walk(inner, signals, f"{name}/")
        self._masks.leave(frame, outputs)
        self.plan.events.append(Event("leave", frame.op, frame.args, kwargs, outputs))
        return outputs

    def _call(self, node: Any, name: str, frame: Frame) -> Any:
        """Plan one call by its rule; returns its output signals in their structure."""
        op, args, kwargs = node.operation, frame.args, frame.kwargs
        kind, taken = find_rule(op), Call(op, name, args, kwargs, []).signals
        whole = bool(taken) and all(signal.whole for signal in taken)
        if kind is not None and kind.drops_mask:
            kwargs = {key: value for key, value in kwargs.items() if key != "mask"}
        args, kwargs = self._placed(name, args, kwargs)
        args, kwargs, masks = self._with_masks(frame, args, kwargs, whole or (kind is not None and kind.heeds_masks))
        call = Call(op, name, args, kwargs, list(node.outputs), self.options)
        for dtype in (keras.backend.standardize_dtype(tensor.dtype) for tensor in node.outputs):
            if "float" in dtype and dtype != "float32":
                raise NotStreamableError(
                    f"layer {name!r} ({call.kind}) gives {dtype}, expected float32; leave out what casts to {dtype}"
                )
        build = Builder(call, self._add, self._name)
        if (planned := over_source(call, build)) is not None:
            return planned
        if any(signal.weights for signal in call.signals):
            raise NotStreamableError(
                f"layer {name!r} ({call.kind}) reads weights of attention, which are as wide as the source is long; "
                "make them an output of the model, and compute with them outside"
            )
        if not whole and (planned := framing(call, build) or over_time(call, build)):
            return planned
        _check_plain(call)
        rule: Rule
        if whole:
            rule = WholeRule(call)
        else:
            rule = _carried(call)
        outputs = rule.plan()
        (self.plan.whole if whole else self.plan.steps).append(Step(rule, args, kwargs, outputs, masks))
        origin = call.signals[0].origin if call.signals else None
        if origin and isinstance(getattr(op, "input_dim", None), int) and not call.kwargs.get("reverse"):
            limits = self.plan.id_limits
            limits[origin] = min(op.input_dim, limits.get(origin, op.input_dim))
        return outputs

    def _with_masks(self, frame: Frame, args: Any, kwargs: Any, heeded: bool) -> tuple[Any, Any, dict[int, Signal]]:
        """The arguments of a call in step with each other and with the masks on them."""
        on = self._masks.attached(frame) if heeded else {}
        places = [index for index, item in enumerate(keras.tree.flatten((args, kwargs))) if id(item) in on]
        masks = [on[id(keras.tree.flatten((args, kwargs))[index])] for index in places]
        args, kwargs = self._after_start(frame.op, frame.name, args, kwargs)
        if not joins_time(Call(frame.op, frame.name, args, kwargs, [])):
            (args, masks), kwargs = self._align((args, masks), kwargs, frame.name)
        flat = keras.tree.flatten((args, kwargs))
        return args, kwargs, {id(flat[index]): mask for index, mask in zip(places, masks, strict=True)}

    def _placed(self, name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Tables with a row for each step as sequences beside the others."""
        flat = keras.tree.flatten((args, kwargs))
        if not any(isinstance(item, AlongTime) for item in flat):
            return args, kwargs
        like = next((item for item in flat if isinstance(item, Signal) and item.sequence and item.layout is None), None)

        def placed(item: Any) -> Any:
            if not isinstance(item, AlongTime):
                return item
            table = None if like is None else item.beside(len(like.offline_shape))
            if table is None:
                raise NotStreamableError(f"layer {name!r} meets a constant along time; lay its rows along axis 1")
            return self._add(
                PositionsRule(Call(None, self._name(f"{name}/positions"), (like,), {}, []), table), (like,)
            )

        return keras.tree.map_structure(placed, (args, kwargs))

    def _add(self, rule: Rule, args: tuple[Any, ...]) -> Signal:
        """One step more, for a part of a call."""
        output: Signal = rule.plan()
        (self.plan.whole if output.whole else self.plan.steps).append(Step(rule, args, {}, output))
        return output

    def _after_start(self, op: Any, name: str, args: Any, kwargs: Any) -> tuple[Any, Any]:
        """Delay sequences that begin with zeros before the stream does, unless the rule takes them as they are."""

        def delay(item: Any) -> Any:
            if not isinstance(item, Signal) or item.timeline is None or item.timeline.first >= 0:
                return item
            return self._delay(item, -item.timeline.first)

        moving = [s for s in keras.tree.flatten((args, kwargs)) if isinstance(s, Signal) and s.timeline]
        if all(_timeline(signal).first >= 0 for signal in moving):
            return args, kwargs
        rule = find_rule(op)
        if rule is not None and rule(Call(op, name, args, kwargs, [])).starts_early():
            return args, kwargs
        return keras.tree.map_structure(delay, (args, kwargs))

    def _align(self, args: Any, kwargs: Any, name: str) -> tuple[Any, Any]:
        moving = [s for s in keras.tree.flatten((args, kwargs)) if isinstance(s, Signal) and s.timeline]
        lines = {_timeline(signal) for signal in moving}
        if len(lines) <= 1:
            return args, kwargs
        if len({line.rate for line in lines}) > 1:
            rates = dict.fromkeys(f"{_timeline(signal).rate} from {signal.name!r}" for signal in moving)
            raise NotStreamableError(
                f"layer {name!r} joins sequences of different rates ({', '.join(rates)}, per input step); all inputs "
                "take as many steps, so bring the sequences to one rate by strides or upsampling"
            )
        first = max(line.first for line in lines)

        def delay(item: Any) -> Any:
            if not isinstance(item, Signal) or item.timeline is None or item.timeline.first == first:
                return item
            return self._delay(item, first - item.timeline.first)

        args, kwargs = keras.tree.map_structure(delay, (args, kwargs))
        aligned = [s.timeline for s in keras.tree.flatten((args, kwargs)) if isinstance(s, Signal) and s.timeline]
        pairs = {(aligned[0], line) for line in aligned if line != aligned[0]}
        if any(all(a.length(steps) != b.length(steps) for steps in range(64, 256)) for a, b in pairs):
            lengths = sorted({line.length(100) for line in aligned})
            raise NotStreamableError(
                f"layer {name!r} joins sequences of different lengths ({lengths} for 100 steps); "
                "pad or crop them to one length"
            )
        self.plan.joined |= pairs
        return args, kwargs

    def _delay(self, signal: Signal, steps: int) -> Signal:
        key = (id(signal), steps)
        if signal.terms and key not in self._delayed:
            terms = tuple(t.mapped(lambda s: self._delay(s, steps) if s.timeline else s) for t in signal.terms)
            self._delayed[key] = replace(signal, timeline=_timeline(signal).delayed(steps), terms=terms)
        if key not in self._delayed:
            name = self._name(f"{signal.name}/delay")
            rule = DelayRule(Call(None, name, (signal,), {"steps": steps}, []))
            self._delayed[key] = rule.plan()
            self.plan.steps.append(Step(rule, (signal,), {"steps": steps}, self._delayed[key]))
        return self._delayed[key]

    def _name(self, name: str) -> str:
        unique, count = name, 1
        while unique in self._names:
            unique, count = f"{name}_{count}", count + 1
        self._names.add(unique)
        return unique

    def finish(self, outputs: list[Signal]) -> None:
        structure = outputs_of(self.plan.model)
        # Keras flattens a dict in the order of its sorted keys.
        names = sorted(structure) if isinstance(structure, dict) else self.plan.model.output_names
        for name, signal in zip(identifiers(names), outputs, strict=True):
            if signal.timeline is not None and signal.timeline.first < 0:
                signal = self._delay(signal, -signal.timeline.first)
            if signal.terms or signal.layout or (signal.source is not None and not signal.weights):
                where = (
                    "is known only at the end of the sequence"
                    if signal.terms
                    else f"is {signal.offline_shape}, with batch or time moved"
                )
                raise NotStreamableError(
                    f"output {name!r} {where}; leave it out of the model, or convert with window=W"
                )
            if signal.timeline is None:
                raise NotStreamableError(f"output {name!r} does not depend on the sequence; leave it out of the model")
            self.plan.outputs[name] = signal
        settle(self.plan)


def settle(plan: Plan) -> None:
    """Determine the outputs of `encode` and the clocks to remember, from the steps and outputs of a plan."""
    for signal in (signal for step in plan.steps for signal in step.reads):
        if signal.whole and signal not in plan.contexts.values():
            plan.contexts[free_name(f"context/{signal.name}", set(plan.contexts))] = signal
    if plan.encoded and not plan.contexts:
        raise NotStreamableError("no step reads what encode computes; leave encode out")
    taken = {*plan.inputs, *plan.outputs}
    for name, signal in plan.outputs.items():
        if plan.window is None and (_timeline(signal).rate != 1 or _timeline(signal).clock.parent is not None):
            plan.marks[name] = free_name(f"{name}_valid", taken)
    for step in plan.steps:
        for timeline in step.rule.valid_of:
            _need(plan, timeline)
    for name in plan.marks:
        _need(plan, _timeline(plan.outputs[name]))
    if plan.flush and not plan.clocks:
        _need(plan, Timeline())


def _need(plan: Plan, timeline: Timeline) -> None:
    """Remember enough of a clock, and of those that it derives from, to tell which slots of a timeline exist."""
    clock = timeline.clock
    known = plan.clocks.get(clock)
    state = known.state if known else f"stream/validity{len(plan.clocks)}"
    keep = max(known.keep if known else 0, timeline.start, timeline.end)
    plan.clocks[clock] = Validity(keep, state)
    if clock.parent is not None:
        _need(plan, clock.parent)


def free_name(name: str, taken: set[str]) -> str:
    """A new name, which is then reserved."""
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _carried(call: Call) -> Rule:
    """The rule of a call that has a sequence, or something else of each step."""
    if joins_time(call):
        return JoiningRule(call)
    return WithinStep(call) if within_step(call, find_rule(call.op)) else rule_for(call)


def _check_plain(call: Call) -> None:
    """Refuse a call without a rule for sequences that are known only at their end."""
    if any(signal.terms or signal.source is not None for signal in call.signals):
        raise NotStreamableError(
            f"layer {call.name!r} ({call.kind}) takes a sequence that is known only at its end; sum or average it over "
            "time first"
        )


def _timeline(signal: Signal) -> Timeline:
    assert signal.timeline is not None
    return signal.timeline


def identifiers(names: Iterable[str]) -> list[str]:
    """TFLite signature names: letters, digits and underscores, unique."""
    unique_names: list[str] = []
    for name in names:
        base = re.sub(r"\W", "_", name)
        unique, count = base, 1
        while unique in unique_names:
            unique, count = f"{base}_{count}", count + 1
        unique_names.append(unique)
    return unique_names
