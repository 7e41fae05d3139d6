"""Base of the rules: a rule defines how one call of one layer processes a chunk of steps."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any, ClassVar, NoReturn

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from streaming.conversion.signals import Clock, Signal, StateSpec, Timeline
from streaming.conversion.values import Chunk, Static
from streaming.errors import NotStreamableError
from streaming.runtime.facts import PlanRow


@dataclass(frozen=True)
class Options:
    """Bounds set by the user: right context of bidirectional layers, past of attention, in steps.

    encode: names of inputs that are given whole before the stream starts, of up to `max_length` positions.
    window: steps of a sliding window, "carry" for carried state, None to decide by the model; hop: steps between two
    windows; pad: "pre" or "post", where zeros fill windows that are not full yet.
    states: pairs (input, output) of a model of one step.
    """

    lookahead: int | None = None
    attention_window: int | None = None
    encode: tuple[str, ...] = ()
    max_length: int = 0
    window: int | str | None = None
    hop: int = 1
    pad: str | None = None
    states: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Call:
    """One call of an operation in the graph: its arguments, with signals in place of tensors.

    results: the symbolic outputs of the call, for their shapes and dtypes.
    """

    op: Any
    name: str
    args: tuple[Any, ...]
    kwargs: dict[str, Any]
    results: list[keras.KerasTensor]
    options: Options = Options()

    @property
    def signals(self) -> list[Signal]:
        """The signals among the arguments, in order, without the Keras mask."""
        kwargs = {name: value for name, value in self.kwargs.items() if name != "mask"}
        return [item for item in keras.tree.flatten((self.args, kwargs)) if isinstance(item, Signal)]

    @property
    def mask(self) -> Signal | None:
        """The mask given as an argument, by the user or by Keras."""
        mask = self.kwargs.get("mask")
        return mask if isinstance(mask, Signal) else None

    @property
    def kind(self) -> str:
        """The class name of the operation; that of a delay which the planner inserted is Alignment."""
        return "Alignment" if self.op is None else type(self.op).__name__


@dataclass(frozen=True)
class Validity:
    """Validity of the slots of a clock: which of them hold an element.

    keep: number of slots before the chunk that are remembered; state: the state that holds them, if any.
    """

    keep: int
    state: str


class Constants:
    """The weights of the model in one traced graph, each made once, wherever it is used.

    values: numbers by the id of their variable; given: tensors that stand for variables instead.
    """

    def __init__(self, values: dict[int, NDArray[Any]], given: Mapping[int, tf.Tensor] | None = None) -> None:
        self.values, self._graph = values, tf.compat.v1.get_default_graph()
        self._tensors: dict[tuple[int, str], tf.Tensor] = {(key, ""): tensor for key, tensor in (given or {}).items()}

    def get(self, variable: Any, name: str = "", make: Callable[[], NDArray[Any]] | None = None) -> tf.Tensor:
        """The value of a variable, or under a name what `make` computes from it."""
        key = id(variable), name
        if key not in self._tensors:
            # In the outermost graph, so that loops read the same constant.
            with self._graph.as_default():
                self._tensors[key] = tf.constant(self.values[key[0]] if make is None else make())
        return self._tensors[key]


class Env:
    """One trace: reads and writes states, reads weights, and knows which positions exist.

    fused: no other signature has another chunk size, so weights may be laid out for single steps;
    loop_bytes: recurrent weights from which a loop is better than copies of them, times the steps of the chunk;
    constants: the model's weights;
    now: boolean (B, chunk), which steps of the input exist, or None where the plan needs none;
    rows: whether the outputs of windows are computed, or their states alone.
    """

    def __init__(
        self,
        batch: int,
        chunk: int,
        fused: bool,
        loop_bytes: float,
        states: dict[str, tf.Tensor],
        constants: Constants,
        now: tf.Tensor | None = None,
        clocks: dict[Clock, Validity] | None = None,
        rows: bool = True,
    ) -> None:
        self.batch, self.chunk, self.fused, self.loop_bytes, self.now = batch, chunk, fused, loop_bytes, now
        self.rows = rows
        self._states, self.constants, self._clocks = states, constants, clocks or {}
        self.updates: dict[str, tf.Tensor] = {}
        self._lines: dict[Clock, tf.Tensor] = {}
        self._valid: dict[Timeline, tf.Tensor] = {}

    def slots(self, rate: Fraction) -> int:
        """Slots of a clock of that rate in one chunk."""
        return int(self.chunk * rate)

    def weight(self, variable: Any) -> NDArray[Any]:
        """The value of a Keras variable of the model."""
        return self.constants.values[id(variable)]

    def constant(self, variable: Any) -> tf.Tensor:
        """The same as a constant of the graph."""
        return self.constants.get(variable)

    def derived(self, variable: Any, name: str, make: Callable[[], NDArray[Any]]) -> tf.Tensor:
        """A constant that `make` computes from a variable, known by a name."""
        return self.constants.get(variable, name, make)

    def read(self, name: str) -> tf.Tensor:
        """The state as it was before this chunk, (B, *shape)."""
        return self._states[name]

    def write(self, name: str, value: tf.Tensor) -> None:
        """The state after this chunk."""
        if name in self.updates:
            raise RuntimeError(f"state {name} is written twice")
        self.updates[name] = value

    def valid(self, timeline: Timeline) -> tf.Tensor:
        """Which slots of a timeline hold an element, in this chunk: boolean (B, slots)."""
        if timeline not in self._valid:
            start, end = timeline.start, timeline.end
            if start >= end:
                exists = self._shifted(timeline.clock, start)
                if end != start:
                    exists = tf.logical_and(exists, self._shifted(timeline.clock, end))
            else:
                exists = self._shifted(timeline.clock, start)
                for shift in range(start + 1, end + 1):
                    exists = tf.logical_or(exists, self._shifted(timeline.clock, shift))
            self._valid[timeline] = exists
        return self._valid[timeline]

    def _shifted(self, clock: Clock, shift: int) -> tf.Tensor:
        if clock not in self._lines:
            self._lines[clock] = self._line(clock)
        line, slots = self._lines[clock], self.slots(clock.rate)
        begin = line.shape[1] - slots - shift
        return line[:, begin : begin + slots]

    def _line(self, clock: Clock) -> tf.Tensor:
        """Boolean (B, keep + slots): the slots of the clock that hold an element, up to this chunk."""
        if clock.parent is None:
            if self.now is None:
                raise RuntimeError("validity was not planned")
            base = self.now
        elif clock.repeat > 1:
            parent = self.valid(clock.parent)
            tiled = tf.tile(parent[:, :, None], [1, 1, clock.repeat])
            base = tf.reshape(tiled, (self.batch, parent.shape[1] * clock.repeat))
        else:
            base = self.valid(clock.parent)[:, clock.phase :: clock.stride]
        kept = self._clocks[clock]
        if not kept.keep:
            return base
        line = tf.concat([self.read(kept.state), tf.cast(base, tf.float32)], axis=1)
        self.write(kept.state, line[:, line.shape[1] - kept.keep :])
        return line > 0.5


@dataclass
class Rule:
    """Streaming rule of one call. `plan` gives its output signals and states, `step` computes a chunk.

    states: by name within the call; valid_of: timelines whose validity `step` reads;
    exact_if: conditions on the length of the input, in steps, under which the stream is exact; approximate: whether
    it goes on beyond them with an error that is to be measured; longest: steps beyond which the model does not go;
    notes: what to tell the user about these; unquantized: variables that no quantization may round;
    heeds_masks: whether the operation uses the Keras masks on its arguments, besides masks given as arguments;
    drops_mask: whether an argument `mask` changes nothing at inference;
    any_layout: whether it takes signals whose batch and time are not at the first two axes.
    """

    heeds_masks: ClassVar[bool] = False
    drops_mask: ClassVar[bool] = False

    call: Call
    states: dict[str, StateSpec] = field(default_factory=dict)
    valid_of: list[Timeline] = field(default_factory=list)
    exact_if: list[Callable[[int], bool]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    unquantized: list[Any] = field(default_factory=list)
    approximate: bool = False
    longest: int | None = None
    any_layout: ClassVar[bool] = False

    def plan(self) -> Any:
        """Signals in the structure of the outputs of the call. Raises NotStreamableError."""
        raise NotImplementedError

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        """Values in the structure of the outputs, from Chunk and Static arguments."""
        raise NotImplementedError

    def inside(self, row: PlanRow, made: dict[int, str]) -> list[PlanRow]:
        """Rows of the plan for the calls that one rule stands for, none where it stands for one.

        row: that of the rule; made: names of calls by the id of their signals.
        """
        return []

    def key(self, state: str) -> str:
        """The name of a state within the whole model."""
        return f"{self.call.name}/{state}"

    def refuse(self, reason: str, remedy: str) -> NoReturn:
        """Raise the error that names this layer, the reason and the remedy."""
        raise NotStreamableError(f"layer {self.call.name!r} ({self.call.kind}) {reason}; {remedy}")

    def result(self, index: int = 0, **changes: Any) -> Signal:
        """The output signal with the shape of the symbolic output, on the timeline of the time-carrying inputs.

        Raises NotStreamableError if the symbolic shape shows that the time axis has moved.
        """
        symbolic = self.call.results[index]
        moving = [signal for signal in self.call.signals if signal.timeline is not None]
        sequence = any(signal.sequence for signal in moving)
        shape = tuple(symbolic.shape)
        if sequence and (len(shape) < 2 or shape[1] is not None):
            self.refuse("moves or fixes the time axis", "keep time at axis 1 with unknown length")
        features = shape[2:] if sequence else shape[1:]
        if any(size is None for size in features):
            self.refuse(
                f"has an output of shape {shape}, with an unknown size beside batch and time",
                "give every other axis a fixed size",
            )
        values: dict[str, Any] = {
            "name": self.call.name,
            "shape": features,
            "dtype": keras.backend.standardize_dtype(symbolic.dtype),
            "timeline": moving[0].timeline if moving else None,
            "running": bool(moving) and not sequence,
        }
        return Signal(**{**values, **changes})

    def weights(self, index: int, source: Signal) -> Signal:
        """An output (B, T, S) of weights over the positions of a source, zeros past its end."""
        dtype = keras.backend.standardize_dtype(self.call.results[index].dtype)
        return Signal(self.call.name, source.shape[:1], dtype, self.call.signals[0].timeline, weights=True)

    def sequence(self) -> Signal:
        """The one sequence that the call takes; refuses anything else."""
        signals = self.call.signals
        if len(signals) != 1 or not signals[0].sequence:
            self.refuse("works along time and its input is no sequence of the stream", "give it one input (B, T, ...)")
        return signals[0]

    def refuse_channels_first(self) -> None:
        """Refuse a layer whose time axis would not be axis 1."""
        if getattr(self.call.op, "data_format", "channels_last") != "channels_last":
            self.refuse("has its channels before time", "build it with data_format='channels_last'")

    def starts_early(self) -> bool:
        """Whether the call takes an input that begins with zeros before the stream does, without waiting for them."""
        return False

    def hold(self, state: str, steps: int, signal: Signal) -> None:
        """Plan a state that holds a signal back by some steps."""
        dtype = signal.dtype if signal.dtype.startswith("int") else "float32"
        self.states[state] = StateSpec((steps, *signal.shape), dtype)  # type: ignore[arg-type]

    def held_back(self, env: Env, state: str, value: tf.Tensor) -> tf.Tensor:
        """Rows (B, T, ...) of as many steps ago as the state holds."""
        stored, steps = env.read(self.key(state)), value.shape[1]
        line = tf.concat([stored, tf.cast(value, stored.dtype)], axis=1)
        env.write(self.key(state), line[:, steps:])
        return tf.cast(line[:, :steps], value.dtype)

    def zeroed(self, env: Env, chunk: Chunk, signal: Signal) -> tf.Tensor:
        """The full form with zeros wherever the position does not exist, for timelines in `valid_of`."""
        if signal.timeline not in self.valid_of:
            return chunk.full
        assert signal.timeline is not None
        valid = env.valid(signal.timeline)
        full = chunk.full
        return tf.where(expand_to(valid, full), full, tf.zeros_like(full))


def expand_to(mask: tf.Tensor, value: tf.Tensor) -> tf.Tensor:
    """Append axes of size 1 to a mask until it broadcasts over a value."""
    return tf.reshape(mask, (*mask.shape, *[1] * (len(value.shape) - len(mask.shape))))


def hold_states(keep: tf.Tensor, new: list[tf.Tensor], old: list[tf.Tensor]) -> list[tf.Tensor]:
    """The new states where `keep` (B) is true, the old ones elsewhere."""
    return [tf.where(expand_to(keep, n), n, o) for n, o in zip(new, old, strict=True)]


def axes_of(op: Any, name: str = "axis") -> list[int] | None:
    """An axis argument of an operation as a list; None where it means all axes."""
    axis = getattr(op, name, None)
    if axis is None:
        return None
    return [int(item) for item in np.atleast_1d(axis)]


def chunks(structure: Any) -> Iterator[Chunk]:
    """The chunks among arguments."""
    for item in keras.tree.flatten(structure):
        if isinstance(item, Chunk):
            yield item


def static_values(structure: Any) -> Iterator[Static]:
    """The static inputs among arguments."""
    for item in keras.tree.flatten(structure):
        if isinstance(item, Static):
            yield item
