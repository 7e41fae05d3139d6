"""`keras.ops` in a functional graph: element-wise arithmetic, and what works along feature axes only."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.src.ops import core, nn
from keras.src.ops import numpy as knp

from streaming.conversion.rules import register
from streaming.conversion.rules.base import axes_of
from streaming.conversion.rules.edges import SlicingRule
from streaming.conversion.rules.pointwise import PerStep
from streaming.conversion.signals import Signal
from streaming.conversion.values import Chunk

_ELEMENTWISE = (
    "Absolute Abs Subtract Multiply Divide DivideNoNan TrueDivide FloorDivide Mod Power Maximum Minimum Negative "
    "Square Sqrt Reciprocal Exp Expm1 Log Log1p Log2 Log10 Logaddexp Sin Cos Tan Tanh Sinh Cosh Arctan Floor Ceil "
    "Round Sign Clip Equal NotEqual Less LessEqual Greater GreaterEqual LogicalAnd LogicalOr LogicalNot LogicalXor "
    "Where Isfinite Isnan Isinf NanToNum ZerosLike OnesLike"
).split()
_ACTIVATIONS = (
    "Relu Relu6 Sigmoid Softplus Softsign Silu LogSigmoid LeakyRelu HardSigmoid HardSilu Elu Selu Gelu HardTanh "
    "TanhShrink SoftShrink HardShrink Threshold Celu SquarePlus"
).split()
_REDUCTIONS = "Mean Sum Max Min Prod Var Std Amax Amin Any All Argmax Argmin".split()


def _classes(module: Any, names: list[str]) -> list[type]:
    return [getattr(module, name) for name in names if hasattr(module, name)]


@register(*_classes(knp, _ELEMENTWISE), *_classes(nn, _ACTIVATIONS), core.Cast)
class ElementwiseOperation(PerStep):
    """Element by element; constants of the graph must not be laid along time."""

    @property
    def flat_sequences(self) -> bool:  # type: ignore[override]
        return all(isinstance(item, Signal) or np.ndim(item) == 0 for item in self._operands())

    def _operands(self) -> list[Any]:
        return [item for item in keras.tree.flatten((self.call.args, self.call.kwargs)) if _is_array(item)]

    def check(self) -> None:
        sequences = [s for s in self.call.signals if s.sequence]
        if not sequences:
            return
        rank = len(sequences[0].offline_shape)
        for item in self._operands():
            if isinstance(item, Signal):
                continue
            shape = tuple(item.shape)
            if (len(shape) == rank and shape[1] != 1) or (len(shape) == rank - 1 and shape[0] != 1):
                self.refuse(f"meets a constant of shape {shape} along the time axis", "use a constant without time")


@register(knp.Add)
class AddOperation(ElementwiseOperation):
    """As the layer `Add`."""

    def compute(self, x1: Any, x2: Any) -> Any:
        dtype = keras.backend.result_type(*(getattr(x, "dtype", type(x)) for x in (x1, x2)))
        return tf.add(*(keras.ops.cast(x, dtype) for x in (x1, x2)))


def _is_array(item: Any) -> bool:
    return isinstance(item, Signal) or hasattr(item, "shape")


@register(*_classes(nn, ["Softmax", "LogSoftmax", "Glu"]))
class AxisOperation(PerStep):
    """Softmax and gated linear units along feature axes."""

    def check(self) -> None:
        self.refuse_time_axis(axes_of(self.call.op))


@register(*_classes(knp, _REDUCTIONS))
class ReductionOperation(AxisOperation):
    """Reductions along feature axes; those along time are running values (`over_time`)."""


@register(knp.Concatenate, knp.Stack)
class JoinOperation(PerStep):
    """Joining along a feature axis."""

    def check(self) -> None:
        signal = self.call.signals[0]
        rank = len(signal.offline_shape) + (self.call.kind == "Stack")
        if self.call.op.axis % rank < (2 if signal.sequence else 1):
            self.refuse(f"joins along the time axis (axis {self.call.op.axis})", "join along a feature axis")


@register(knp.ExpandDims)
class ExpandDimsOperation(PerStep):
    """A new feature axis."""

    def check(self) -> None:
        signal = self.call.signals[0]
        rank = len(signal.offline_shape) + 1
        axes = axes_of(self.call.op) or []
        if any(axis % rank < (2 if signal.sequence else 1) for axis in axes):
            self.refuse("inserts an axis before time", "insert it behind the time axis")


@register(knp.Squeeze, knp.Split)
class SqueezeOperation(PerStep):
    """Without a feature axis of size 1; or cut in parts along a feature axis, as gated linear units are."""

    def check(self) -> None:
        self.refuse_time_axis(axes_of(self.call.op))


@register(knp.Matmul)
class MatmulOperation(PerStep):
    """x @ W for a constant W; a product of two sequences would mix time."""

    def check(self) -> None:
        signals = self.call.signals
        if any(s.sequence for s in signals) and (len(signals) > 1 or not isinstance(self.call.args[0], Signal)):
            self.refuse("multiplies over the time axis", "multiply features by a constant from the right")
        if signals[0].sequence and not signals[0].shape:
            self.refuse("multiplies over the time axis", "give its input a feature axis, (B, T, D)")


@register(knp.GetItem)
class GetItemOperation(PerStep):
    """x[:, :, ...] selects features; x[:, a:-b:s] crops and strides; x[:, -1] is the value after the last step."""

    _slicing: SlicingRule | None = None

    def check(self) -> None:
        signal, key = self.call.signals[0], self._key()
        if any(isinstance(item, Signal) for item in key):
            self.refuse("indexes with a tensor", "index with constants")
        if not signal.sequence:
            if key and key[0] != slice(None):
                self.refuse("indexes the batch axis", "use x[:, ...]")
            return
        if key[0] is Ellipsis:
            key = (slice(None), slice(None))
        elif Ellipsis in key[1:2]:
            key = (key[0], slice(None))
        if key[0] != slice(None) or (len(key) > 1 and key[1] != slice(None) and not self._last()):
            self.refuse(f"selects positions in time ({self._key()})", "use x[:, :, ...], x[:, a:-b:s] or x[:, -1]")

    def _key(self) -> tuple[Any, ...]:
        key = self.call.args[1] if len(self.call.args) > 1 else self.call.kwargs["key"]
        return key if isinstance(key, tuple) else (key,)

    def _last(self) -> bool:
        key = self._key()
        return self.call.signals[0].sequence and len(key) > 1 and isinstance(key[1], int) and key[1] == -1

    def _slices(self) -> bool:
        key = self._key()
        moving = self.call.signals[0].sequence and len(key) > 1 and key[0] == slice(None)
        return moving and key[1] != slice(None) and SlicingRule.takes(key[1])

    def starts_early(self) -> bool:
        return self._slices() and SlicingRule(self.call).starts_early()

    def plan(self) -> Any:
        if self._slices():
            self._slicing = SlicingRule(self.call)
            outputs = self._slicing.plan()
            self.states = self._slicing.states
            return outputs
        if not self._last():
            return super().plan()
        self.check()
        signal, symbolic = self.call.signals[0], self.call.results[0]
        shape = tuple(symbolic.shape[1:])
        return Signal(self.call.name, shape, signal.dtype, signal.timeline, running=True)

    def step(self, env: Any, *args: Any, **kwargs: Any) -> Any:
        if self._slicing is not None:
            return self._slicing.step(env, *args, **kwargs)
        if not self._last():
            return super().step(env, *args, **kwargs)
        rest = self._key()[2:]
        chunk = args[0]
        assert isinstance(chunk, Chunk)
        return chunk.like(keep_mask=False, flat=chunk.flat[(slice(None), *rest)] if rest else chunk.flat)
