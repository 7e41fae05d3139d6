"""Determines, by Keras's own code, which mask each call of a graph gets and which masks its outputs carry.

Keras attaches masks to tensors, and decides at each call, by the signature of `call` and by `supports_masking`, which
of them the call gets and which its outputs carry. So TensorFlow placeholders go through the graph beside the planner's
signals: Keras's own code attaches masks to them and removes them, and the result is translated to signals. No value is
computed, and a graph without masks is not traced at all.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import keras
import tensorflow as tf
from keras import layers

from streaming._compat import CallSpec, Merge, get_keras_mask, set_keras_mask
from streaming.conversion.positions import AlongTime
from streaming.conversion.signals import Signal
from streaming.errors import NotStreamableError

# walk(graph, signals of its inputs, name) -> signals of its outputs
Walk = Callable[[Any, list[Signal], str], list[Signal]]

# Keras's own layers whose `call` puts masks on tensors or takes them off; the others leave that to `compute_mask`.
_MARKING = (Merge, layers.MultiHeadAttention, layers.ReversibleEmbedding)


@dataclass
class Frame:
    """One call: its arguments as signals and as placeholders, and the masks on them before it.

    first: the argument that `compute_mask` is given, previous: the masks; attached: mask by placeholder (id), where
    there is one; given: the masks that Keras puts in, by argument.
    """

    op: Any
    name: str
    args: Any
    kwargs: dict[str, Any]
    live: tuple[Any, dict[str, Any]]
    first: Any = None
    previous: Any = None
    attached: dict[int, Any] = field(default_factory=dict)
    given: dict[str, Any] = field(default_factory=dict)

    @property
    def symbolic(self) -> dict[str, Any]:
        """The masks that Keras gives the call beside its arguments, as symbolic tensors."""

        def symbol(item: Any) -> Any:
            return keras.KerasTensor(tuple(item.shape), item.dtype.name) if isinstance(item, tf.Tensor) else item

        return keras.tree.map_structure(symbol, self.given)


@dataclass(frozen=True)
class _Origin:
    """A mask that a call made: `index` of the output that carries it, and whether `call` itself put it there."""

    frame: Frame
    index: int
    by_call: bool


class Masks:
    """The masks of one plan.

    walk: plans the graph of a mask that is computed from the inputs of a call.
    """

    def __init__(self, walk: Walk) -> None:
        self._walk = walk
        self._graph = tf.__internal__.FuncGraph("masks")
        self._live: dict[int, Any] = {}  # by signal
        self._signals: dict[int, Signal] = {}  # by placeholder
        self._origins: dict[int, _Origin] = {}  # by placeholder of a mask
        self._kept: list[Any] = []  # so that no id is given away anew

    def add(self, signal: Signal, symbolic: Any) -> None:
        """A signal whose tensor carries no mask."""
        self._register(signal, self._placeholder(symbolic))

    def open(self, op: Any, name: str, args: Any, kwargs: dict[str, Any]) -> Frame:
        """Begin a call; `kwargs` of the frame then have every mask that it is given."""
        frame = Frame(op, name, args, dict(kwargs), self._tensors((args, kwargs)))
        live_args, live_kwargs = frame.live
        for tensor in _placeholders(frame.live):
            if (mask := get_keras_mask(tensor)) is not None:
                frame.attached[id(tensor)] = mask
        if not isinstance(op, keras.Layer):
            return frame
        frame.given, frame.first, frame.previous = masks_of_call(op, live_args, live_kwargs)
        live_kwargs |= frame.given
        if _placeholders(frame.given):
            frame.kwargs |= keras.tree.map_structure(self._signal_or_none, frame.given)
        return frame

    def attached(self, frame: Frame) -> dict[int, Signal]:
        """The masks on the arguments of a call, by signal (id)."""
        masks = {}
        for item in keras.tree.flatten((frame.args, frame.kwargs)):
            if isinstance(item, Signal) and (mask := frame.attached.get(id(self._live.get(id(item))))) is not None:
                masks[id(item)] = self.signal(mask)
        return masks

    def enter(self, frame: Frame, inputs: list[Signal]) -> None:
        """Pass the mask of a nested model on to its inputs."""
        masks = keras.tree.flatten(frame.live[1].get("mask"))
        for signal, mask in zip(inputs, masks, strict=False):
            if isinstance(mask, tf.Tensor):
                set_keras_mask(self._live[id(signal)], mask)

    def leave(self, frame: Frame, outputs: list[Signal]) -> None:
        """End a call whose inner graph has been planned; sets the masks of its outputs."""
        self._finish(frame, [self._live[id(signal)] for signal in outputs], by_call=())

    def close(self, frame: Frame, outputs: list[Signal], symbolic: list[Any]) -> None:
        """End a call that a rule steps; sets the masks of its outputs."""
        live = self._call(frame) or [self._placeholder(tensor) for tensor in symbolic]
        for signal, tensor in zip(outputs, live, strict=True):
            self._register(signal, tensor)
        marked = [index for index, tensor in enumerate(live) if get_keras_mask(tensor) is not None]
        self._finish(frame, live, marked)

    def signal(self, mask: Any) -> Signal:
        """The signal of a mask, planned on first use."""
        if id(mask) not in self._signals:
            self._register(self._plan(self._origins[id(mask)]), mask)
        return self._signals[id(mask)]

    def _signal_or_none(self, mask: Any) -> Signal | None:
        return self.signal(mask) if isinstance(mask, tf.Tensor) else None

    def _register(self, signal: Signal, tensor: Any) -> None:
        self._kept.append((signal, tensor))
        self._live[id(signal)] = tensor
        self._signals.setdefault(id(tensor), signal)

    def _placeholder(self, symbolic: Any) -> Any:
        with self._graph.as_default():
            return tf.compat.v1.placeholder(symbolic.dtype, symbolic.shape)

    def _tensors(self, structure: Any) -> Any:
        """Placeholders in place of signals; a tensor that the graph does not compute is None, as in Keras."""

        def tensor(item: Any) -> Any:
            if isinstance(item, keras.KerasTensor | AlongTime):
                return None
            return self._live[id(item)] if isinstance(item, Signal) else item

        return keras.tree.map_structure(tensor, structure)

    def _call(self, frame: Frame) -> list[Any] | None:
        """Outputs of `call` for placeholders, where it may touch masks; None where it does not, or cannot run."""
        op, (args, kwargs) = frame.op, frame.live
        if not isinstance(op, layers.ReversibleEmbedding) and not frame.attached and not _given_any(frame):
            return None
        if isinstance(op, keras.Layer) and type(op).__module__.startswith("keras.") and not isinstance(op, _MARKING):
            return None
        if "training" in getattr(op, "_call_context_args", ()):
            kwargs = {**kwargs, "training": False}
        try:
            with self._graph.as_default():
                return keras.tree.flatten(op.call(*args, **kwargs))
        except Exception:  # of whatever kind: the rule, not this call, computes the stream
            return None

    def _finish(self, frame: Frame, outputs: list[Any], by_call: Any) -> None:
        """Applies what `Layer.__call__` does with masks after `call` has returned."""
        if isinstance(frame.op, keras.Layer) and frame.op.supports_masking:
            with self._graph.as_default():
                frame.op._set_mask_metadata(frame.first, outputs, frame.previous)
        for index, tensor in enumerate(outputs):
            mask = get_keras_mask(tensor)
            if mask is not None and id(mask) not in self._signals and id(mask) not in self._origins:
                self._kept.append(mask)
                self._origins[id(mask)] = _Origin(frame, index, index in by_call)

    def _plan(self, origin: _Origin) -> Signal:
        """Plan what makes a mask, from the graph of `compute_mask` or of `call`."""
        frame, inputs = origin.frame, {}

        def symbol(item: Any, marked: bool = True) -> Any:
            if not isinstance(item, tf.Tensor):
                return item
            if id(item) not in inputs:
                inputs[id(item)] = item, keras.Input(batch_shape=tuple(item.shape), dtype=item.dtype.name)
                if marked and (mask := frame.attached.get(id(item))) is not None:
                    set_keras_mask(inputs[id(item)][1], symbol(mask, False))
            return inputs[id(item)][1]

        try:
            if origin.by_call:
                args, kwargs = keras.tree.map_structure(symbol, frame.live)
                mask = get_keras_mask(keras.tree.flatten(frame.op.call(*args, **kwargs))[origin.index])
            else:
                first, previous = keras.tree.map_structure(symbol, (frame.first, frame.previous))
                mask = keras.tree.flatten(frame.op.compute_mask(first, previous))[origin.index]
            graph = keras.Model([tensor for _, tensor in inputs.values()], mask)
        except Exception as error:
            raise NotStreamableError(
                f"layer {frame.name!r} ({type(frame.op).__name__}) makes a mask that cannot be followed "
                f"({type(error).__name__}); write its compute_mask with keras.ops"
            ) from error
        signals = [self.signal(live) for live, _ in inputs.values()]
        return self._walk(graph, signals, f"{frame.name}/mask/")[0]


def masks_of_call(layer: keras.Layer, args: Any, kwargs: dict[str, Any]) -> tuple[dict[str, Any], Any, Any]:
    """Applies step 6 of `Layer.__call__`, which sets masks.

    Returns the masks that Keras puts into the call beside the arguments it has, and what `compute_mask` will be given:
    the first argument and its masks.
    """
    spec = CallSpec(layer._call_signature, layer._call_context_args, args, dict(kwargs))
    tensors: dict[str, Any] = spec.tensor_arguments_dict
    given: dict[str, Any] = {}
    if len(tensors) == 1:
        if "mask" in spec.argument_names and spec.arguments_dict["mask"] is None:
            given["mask"] = keras.tree.map_structure(get_keras_mask, next(iter(tensors.values())))
    else:
        for name, value in tensors.items():
            mask = f"{name}_mask"
            if mask in spec.argument_names and spec.arguments_dict[mask] is None:
                given[mask] = keras.tree.map_structure(get_keras_mask, value)
    previous = {**kwargs, **given}.get("mask")
    if previous is None:
        previous = keras.tree.map_structure(get_keras_mask, spec.first_arg)
    return given, spec.first_arg, previous


def _given_any(frame: Frame) -> bool:
    return bool(_placeholders(frame.live[1].get("mask")))


def _placeholders(structure: Any) -> list[Any]:
    return [item for item in keras.tree.flatten(structure) if isinstance(item, tf.Tensor)]
