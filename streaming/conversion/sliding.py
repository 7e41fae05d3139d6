"""Sliding windows: splits a model of W steps into layers computed once for each step, and layers computed per window.

The stream gives model(x[k H : k H + W]) for every k. Layers that treat each step by itself, and convolutions and
poolings without padding, give the same rows for a window as for the stream: they run once for each step, and a ring
buffer keeps their last rows. The layers after them are computed every H steps, by Keras, on the whole window. The
windows of one invoke are in the batch axis.

A window ends with the last step of a chunk. If W is not a multiple of H, the stream therefore begins with `lead` steps
that are in no window.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import layers
from numpy.typing import NDArray

from streaming._compat import Functional, inputs_of, operation_fn
from streaming.conversion.graph import drawn_inputs, nodes
from streaming.conversion.keras_loops import keras_loops
from streaming.conversion.plan import Plan, Planner
from streaming.conversion.reasons import described
from streaming.conversion.rules import find_rule, rule_for
from streaming.conversion.rules.base import Call, Env, Options, Rule
from streaming.conversion.rules.window import WindowRule
from streaming.conversion.signals import Signal, StateSpec, Timeline
from streaming.conversion.tflite import mark_layer
from streaming.conversion.unfold import can_unfold, unfold
from streaming.conversion.values import Chunk, Static
from streaming.errors import NotStreamableError, StreamingError
from streaming.runtime.facts import PlanRow


@dataclass(frozen=True)
class Split:
    """A graph of W steps in two parts.

    whole: the graph; kept: the graph, of unknown length, whose first outputs stay in ring buffers, and whose others are
    what its convolutions and poolings read; cuts: the tensors of `whole` that the first stand for; anew: the calls of
    `whole` that are computed for each window; resting: rows of the cuts for a stream of zeros, of padded windows.
    """

    whole: Functional
    kept: Functional
    cuts: list[Any]
    anew: list[Any]
    resting: list[NDArray[Any]] = field(default_factory=list)


class Window:
    """The operation that stands in the plan for everything that is computed for each window."""

    name = "window"


def lead(window: int, hop: int) -> int:
    """Steps before the first one, so that every window ends with a chunk of `hop` steps."""
    return -window % hop


def split(whole: Functional, timed: set[int], options: Options) -> Split:
    """Cut a graph of W steps before the first layers that depend on the whole window.

    timed: inputs, by place, that are sequences of W steps; the others are given whole.
    """
    splitter = _Splitter(whole, timed, options)
    anew = [node for node in nodes(whole) if not splitter.keep(node)]
    used = [tensor for node in anew for tensor in node.input_tensors] + whole.outputs
    cuts = list({id(tensor): tensor for tensor in used if id(tensor) in splitter.signals}.values())
    inputs = keras.tree.pack_sequence_as(inputs_of(whole), splitter.inputs)
    outputs = [*(splitter.twins[id(tensor)] for tensor in cuts), *splitter.slid]
    return Split(whole, keras.Model(inputs, outputs), cuts, anew)


class _Splitter:
    """Follows a graph of W steps by its twin of unknown length, as far as both give the same rows."""

    def __init__(self, whole: Functional, timed: set[int], options: Options) -> None:
        self.options = options
        self.inputs: list[Any] = []
        self.twins: dict[int, Any] = {}
        self.signals: dict[int, Signal] = {}
        self.slid: list[Any] = []
        for place, tensor in enumerate(whole.inputs):
            shape = tuple(tensor.shape)
            length = None if place in timed else shape[1:2]
            batch_shape = (shape[0], None, *shape[2:]) if length is None else shape
            self.inputs.append(keras.Input(batch_shape=batch_shape, dtype=tensor.dtype, name=tensor.name))
            if place in timed:
                dtype = keras.backend.standardize_dtype(tensor.dtype)
                self.twins[id(tensor)] = self.inputs[-1]
                self.signals[id(tensor)] = Signal(tensor.name, shape[2:], dtype, Timeline())

    def keep(self, node: Any) -> bool:
        """Whether the results of a call are kept from step to step; the call is then recorded."""
        tensors, op = node.input_tensors, node.operation
        if not tensors or any(id(tensor) not in self.signals for tensor in tensors):
            return False
        masks = [getattr(tensor, "_keras_mask", None) for tensor in (*tensors, *node.outputs)]
        if any(mask is not None for mask in masks) or node.arguments.kwargs.get("mask") is not None:
            return False
        # Rows of a table are read faster than moved; what gives ids or masks goes with them.
        if isinstance(getattr(op, "input_dim", None), int) or any(t.dtype == "bool" for t in node.outputs):
            return False
        op = _per_step(op, tensors[0])
        try:
            outputs = self._twin_call(op, node)
            signals = self._plan(op, node, outputs)
        except Exception:  # whatever stands in the way: the call is computed anew
            return False
        if signals is None:
            return False
        if find_rule(op) is not None and issubclass(find_rule(op), WindowRule):  # type: ignore[arg-type]
            self.slid.append(self.twins[id(tensors[0])])
        for tensor, twin, signal in zip(node.outputs, outputs, signals, strict=True):
            self.twins[id(tensor)], self.signals[id(tensor)] = twin, signal
        return True

    def _twin_call(self, op: Any, node: Any) -> list[Any]:
        args, kwargs = node.arguments.fill_in(self.twins)
        return keras.tree.flatten(op(*args, **kwargs))

    def _plan(self, op: Any, node: Any, outputs: list[Any]) -> list[Signal] | None:
        """Signals of the outputs, None where the rows of a window are not those of the stream."""
        for tensor, twin in zip(node.outputs, outputs, strict=True):
            if (
                tensor.shape[1] is None
                or len(twin.shape) < 2
                or twin.shape[1] is not None
                or tuple(twin.shape[2:]) != tuple(tensor.shape[2:])
            ):
                return None
        args, kwargs = node.arguments.convert(lambda tensor: self.signals.get(id(tensor), tensor))
        if find_rule(op) is None and can_unfold(op):
            return self._followed(op, node, outputs)
        call = Call(op, op.name, args, kwargs, outputs)
        rule = rule_for(call)
        signals: list[Signal] = keras.tree.flatten(rule.plan())
        lines = {signal.timeline for signal in call.signals}
        if len(lines) > 1 or rule.exact_if or rule.approximate or rule.valid_of:
            return None
        if isinstance(rule, WindowRule):
            if rule.geometry[2] != "valid" or not self._slides(rule):
                return None
        elif rule.states or {signal.timeline for signal in signals} != lines:
            return None
        return signals if all(signal.sequence for signal in signals) else None

    def _followed(self, op: Any, node: Any, outputs: list[Any]) -> list[Signal] | None:
        """The same for a layer of the user's own, every operation of which must keep to its step."""
        args, kwargs = node.arguments.fill_in(self.twins)
        inner = unfold(op, op.name, args, kwargs)
        planner = Planner(Plan(inner, inner), self.options)
        taken = [self.signals[id(tensor)] for tensor in node.input_tensors]
        signals = planner.walk(inner, taken, "")
        if any(step.rule.states for step in planner.plan.steps) or len(signals) != len(outputs):
            return None
        lines = {signal.timeline for signal in taken}
        kept = all(s.sequence and s.layout is None and not s.terms and {s.timeline} == lines for s in signals)
        return signals if kept else None

    def _slides(self, rule: WindowRule) -> bool:
        """Whether the places of a convolution are those of the stream in every window."""
        _, stride, _ = rule.geometry
        line = rule.call.signals[0].timeline
        assert line is not None
        if self.options.pad == "post" or (self.options.pad and self.options.hop > 1 and stride > 1):
            return False
        return (self.options.hop * line.rate / stride).denominator == 1


def _per_step(op: Any, tensor: Any) -> Any:
    """A Reshape that names the length of the window, as one of each step."""
    shape: tuple[int, ...] = getattr(op, "target_shape", ())
    if type(op) is layers.Reshape and len(shape) > 1 and shape[0] == tensor.shape[1]:
        return layers.Reshape((-1, *shape[1:]), name=op.name)
    return op


class SlidingRule(Rule):
    """Computes the layers that are not kept, on each window that ends in the chunk."""

    def __init__(self, split: Split, signals: list[Signal], static: dict[int, Signal], options: Options) -> None:
        """signals: of the cuts; static: of the inputs that are given whole, by the id of their tensor."""
        super().__init__(Call(Window(), "window", (signals, list(static.values())), {}, [], options))
        self.split, self._cuts, self._static = split, signals, static
        self._window, self._hop = int(options.window or 0), options.hop

    def plan(self) -> list[Signal]:
        for index, (tensor, signal) in enumerate(zip(self.split.cuts, self._cuts, strict=True)):
            keep = self._ring(tensor.shape[1], signal)
            if keep:
                self.states[f"ring{index}"] = StateSpec((keep, *signal.shape), _stored(signal.dtype))  # type: ignore[arg-type]
        ends = Timeline().shifted(self._window - 1 + lead(self._window, self._hop), 0)
        if self.call.options.pad:
            ends = Timeline().shifted(self._hop - 1, 0)
            self._pad()
        outputs = []
        for tensor, shape in zip(self.split.whole.outputs, _output_shapes(self.split.whole), strict=True):
            dtype = keras.backend.standardize_dtype(tensor.dtype)
            outputs.append(Signal("window", shape, dtype, ends.strided(self._hop)))
        return outputs

    def _pad(self) -> None:
        """Rings begin with what the kept layers make of zeros; a part of a chunk may end the stream."""
        for place, value in enumerate(self.split.resting):
            if f"ring{place}" in self.states:
                spec = self.states[f"ring{place}"]
                self.states[f"ring{place}"] = StateSpec(spec.shape, spec.dtype, value)
        if self._hop > 1:
            self.valid_of.append(Timeline())
        if self.call.options.pad == "post":
            self.states["count"] = StateSpec((1,), initial=float(-lead(self._window, self._hop)))

    def _fresh(self, signal: Signal) -> int:
        """Rows of a cut that one hop brings."""
        assert signal.timeline is not None
        return int(self._hop * signal.timeline.rate)

    def _ring(self, length: int, signal: Signal) -> int:
        """Rows of a cut that are kept; where the last hop may be a part, a whole window."""
        return length if self._partial else max(length - self._fresh(signal), 0)

    @property
    def _partial(self) -> bool:
        return bool(self.call.options.pad) and self._hop > 1

    def step(self, env: Env, cuts: list[Chunk], static: list[Static]) -> list[Chunk]:
        count = env.chunk // self._hop
        real = self._real(env, count)
        seen = self._seen(env, count, real)
        values: dict[int, tf.Tensor] = {}
        for index, (tensor, signal, chunk) in enumerate(zip(self.split.cuts, self._cuts, cuts, strict=True)):
            rows = self._rows(env, index, tensor.shape[1], signal, chunk, real)
            if seen is not None:
                rows = _begun(rows, seen)
            values[id(tensor)] = tf.reshape(rows, (env.batch * count, *rows.shape[2:]))
        if not env.rows:
            return [cuts[0] for _ in self.split.whole.outputs]  # nobody reads them
        for key, item in zip(self._static, static, strict=True):
            values[key] = item.repeated(count)
        with keras_loops(env):
            for node in self.split.anew:
                args, kwargs = node.arguments.fill_in(values)
                outputs = _computed(node.operation, args, kwargs)
                mark_layer(node.operation.name)
                values |= dict(zip(map(id, node.outputs), keras.tree.flatten(outputs), strict=True))
        return [Chunk(env.batch, count, flat=values[id(tensor)]) for tensor in self.split.whole.outputs]

    def _rows(self, env: Env, index: int, length: int, signal: Signal, chunk: Chunk, real: Any) -> tf.Tensor:
        """The windows of a cut, (B, windows, length, ...)."""
        name, keep, fresh = self.key(f"ring{index}"), self._ring(length, signal), self._fresh(signal)
        # Rows are flat here: TFLite cuts tensors of five axes at most.
        line = tf.reshape(chunk.full, (env.batch, chunk.steps, -1))
        if keep:
            stored = tf.reshape(env.read(name), (env.batch, keep, -1))
            line = tf.concat([stored, tf.cast(line, stored.dtype)], axis=1)
            env.write(name, tf.reshape(line[:, line.shape[1] - keep :], (env.batch, keep, *signal.shape)))
        count = chunk.steps // fresh
        line, shape = tf.cast(line, signal.dtype), (env.batch, count, length, *signal.shape)
        if real is None:
            starts = [keep + fresh * (place + 1) - length for place in range(count)]
            return tf.reshape(tf.stack([line[:, start : start + length] for start in starts], axis=1), shape)
        # Each window ends with the last real row of its hop.
        begins = np.arange(count, dtype="int32")[:, None] * fresh + np.arange(length, dtype="int32")[None]
        places = tf.constant(begins)[None] + real[:, :, None]
        rows = _gathered(line, tf.reshape(places, (env.batch, count * length)), (count, length))
        return tf.reshape(rows, shape)

    def _real(self, env: Env, count: int) -> tf.Tensor | None:
        """Steps that exist in each hop, (B, windows); None where all do."""
        if not self._partial:
            return None
        exist = tf.cast(env.valid(Timeline()), tf.int32)
        return tf.reduce_sum(tf.reshape(exist, (env.batch, count, self._hop)), axis=2)

    def _seen(self, env: Env, count: int, real: tf.Tensor | None) -> tf.Tensor | None:
        """Steps that each window holds, (B, windows), for windows that are filled from the beginning."""
        if "count" not in self.states:
            return None
        before = tf.cast(env.read(self.key("count")), tf.int32)
        steps = tf.fill((env.batch, count), self._hop) if real is None else real
        total = before + tf.cumsum(steps, axis=1)
        env.write(self.key("count"), tf.cast(tf.minimum(total[:, -1:], self._window), tf.float32))
        return tf.minimum(total, self._window)

    def id_limits(self) -> dict[str, int]:
        """Rows of the tables that inputs index inside the window, by input."""
        origins = {id(tensor): s.origin for tensor, s in zip(self.split.cuts, self._cuts, strict=True)}
        origins |= {key: signal.origin for key, signal in self._static.items()}
        limits: dict[str, int] = {}
        for node in self.split.anew:
            size = getattr(node.operation, "input_dim", None)
            origin = origins.get(id(node.input_tensors[0])) if node.input_tensors else None
            if isinstance(size, int) and origin and not node.arguments.kwargs.get("reverse"):
                limits[origin] = min(size, limits.get(origin, size))
        return limits

    def inside(self, row: PlanRow, made: dict[int, str]) -> list[PlanRow]:
        names = {id(tensor): made.get(id(s), "") for tensor, s in zip(self.split.cuts, self._cuts, strict=True)}
        rows: list[PlanRow] = []
        taken = set(names.values())
        for node in self.split.anew:
            op, unique, count = node.operation, node.operation.name, 1
            while unique in taken:
                unique, count = f"{op.name}_{count}", count + 1
            taken.add(unique)
            inputs = dict.fromkeys(names.get(id(tensor), "") for tensor in node.input_tensors)
            inner = replace(
                row,
                name=unique,
                kind=type(op).__name__,
                shape=tuple(size or 0 for size in node.outputs[0].shape[1:]),
                # The ring buffers feed the first of them.
                states={} if rows else row.states,
                inputs=tuple(name for name in inputs if name),
                anew=True,
            )
            rows.append(inner)
            names |= {id(tensor): unique for tensor in node.outputs}
        return rows


def _computed(op: Any, args: Any, kwargs: Any) -> Any:
    """Outputs of an operation at inference; raises NotStreamableError where its own code fails."""
    try:
        return operation_fn(op, training=False)(*args, **kwargs)
    except StreamingError:
        raise
    except Exception as error:
        raise NotStreamableError(
            f"layer {op.name!r} ({type(op).__name__}) fails on a window ({described(error)}); "
            "make the model run on sequences of that length as a tf.function first"
        ) from error


def _output_shapes(whole: Functional) -> list[tuple[int, ...]]:
    """Shapes of the outputs on a window, without the batch axis."""
    shapes = [tuple(tensor.shape[1:]) for tensor in whole.outputs]
    if any(size is None for shape in shapes for size in shape):
        # Some layers leave sizes open that only a value shows.
        inputs = keras.tree.pack_sequence_as(inputs_of(whole), drawn_inputs(whole))
        shapes = [tuple(value.shape[1:]) for value in keras.tree.flatten(whole(inputs, training=False))]
    return shapes


def _stored(dtype: str) -> str:
    return dtype if dtype.startswith("int") else "float32"


def _begun(rows: tf.Tensor, seen: tf.Tensor) -> tf.Tensor:
    """Windows (B, windows, W, ...) whose last `seen` rows come first, and those that fill them after."""
    batch, count, length = rows.shape[:3]
    places = (np.arange(length, dtype="int32")[None, None] + length - seen[:, :, None]) % length
    flat = tf.reshape(rows, (batch * count, length, *rows.shape[3:]))
    return tf.reshape(_gathered(flat, tf.reshape(places, (batch * count, length)), (length,)), rows.shape)


def _gathered(line: tf.Tensor, places: tf.Tensor, shape: tuple[int, ...]) -> tf.Tensor:
    """Rows of (B, n, ...) by their places (B, m), as (B, *shape, ...): one gather over the rows of all streams."""
    batch, length, *features = line.shape
    offset = np.arange(batch, dtype="int32")[:, None] * length
    flat = tf.gather(tf.reshape(line, (batch * length, *features)), tf.reshape(places + offset, (-1,)))
    return tf.reshape(flat, (batch, *shape, *features))


def resting_values(kept: Functional, window: int) -> list[NDArray[Any]]:
    """Rows of each output of a graph without padding for a stream of zeros; `window`: steps that all layers take."""
    # Never fewer: below the size of a kernel TensorFlow raises an error on one processor and gives rows on another.
    inputs = [
        np.zeros([2 if axis == 0 else window if size is None else size for axis, size in enumerate(tensor.shape)])
        for tensor in kept.inputs
    ]
    tensors = [
        keras.ops.convert_to_tensor(value, tensor.dtype) for value, tensor in zip(inputs, kept.inputs, strict=True)
    ]
    outputs = keras.tree.flatten(kept(keras.tree.pack_sequence_as(inputs_of(kept), tensors), training=False))
    return [keras.ops.convert_to_numpy(output)[0, -1] for output in outputs]
