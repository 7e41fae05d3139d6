"""Calls in which time is summed over, normalized over or moved to another axis, as steps of a stream.

`over_time` is asked before the rules of single layers. It takes
- reductions whose axes hold time, and positions counted from the first step (`x[:, 0]`): running values;
- softmax, division and subtraction by running values: sequences known only at their end, as sums of `Term`s;
- products and sums of those, until a sum or mean over time makes running values of them;
- layouts with time at another axis, (B, D, T), for as long as every operation leaves time to itself.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import reduce
from typing import Any, NoReturn

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from streaming.conversion.rules.base import Call, axes_of
from streaming.conversion.rules.contraction import Contraction, equation_of, operands_of
from streaming.conversion.rules.edges import SlicingRule
from streaming.conversion.rules.separable import Algebra, Builder, Terms
from streaming.conversion.rules.tracing import destination, of_one
from streaming.conversion.signals import Signal, Term
from streaming.errors import NotStreamableError

_REDUCTIONS = set(
    "Sum Mean Max Min Prod Any All Amax Amin Var Std Argmax Argmin Norm Logsumexp CountNonzero Average".split()
)
_LAYOUTS = set(
    (
        "Transpose Permute Swapaxes Moveaxis ExpandDims Squeeze Reshape Flatten RepeatVector Repeat Tile BroadcastTo"
    ).split()
)
_IDENTITIES = set("Identity Dropout SpatialDropout1D GaussianDropout GaussianNoise AlphaDropout Cast".split())
_ARITHMETIC = set("Multiply Divide TrueDivide DivideNoNan Add Subtract Negative Square Power Exp Where Average".split())


def over_time(call: Call, build: Builder) -> list[Signal] | None:
    """The signals of the outputs of a call that this module takes, None for any other."""
    signals = call.signals
    sequences = [signal for signal in signals if signal.sequence]
    if not all(s.time_axis for s in sequences) or any(s.spread or s.weights or s.source for s in signals):
        return None
    if not sequences:
        return None
    output = _OverTime(call, build).signal()
    return None if output is None else [output]


def _is_place(index: Any) -> bool:
    return isinstance(index, int | np.integer) and not isinstance(index, bool) and bool(index >= 0)


class _OverTime:
    def __init__(self, call: Call, build: Builder) -> None:
        self.call, self.build, self.kind = call, build, call.kind
        self.first = call.signals[0]
        self.algebra = Algebra(build, self.refuse)
        self.pending = any(signal.terms for signal in call.signals)
        self.moved = any(signal.sequence and signal.time_axis != 1 for signal in call.signals)
        self.mixed = any(signal.running for signal in call.signals)

    def refuse(self) -> NoReturn:
        """Refuse a result that is known only at the end."""
        raise NotStreamableError(
            f"layer {self.call.name!r} ({self.kind}) needs at every step what is known only at the end of the "
            "sequence; sum or average its input over time first"
        )

    def refuse_axis(self) -> NoReturn:
        """Refuse an operation that mixes steps at the place of the time axis."""
        places = sorted({signal.time_axis for signal in self.call.signals if signal.sequence})
        raise NotStreamableError(
            f"layer {self.call.name!r} ({self.kind}) works along time, which it has at axis {places[0]}; "
            "bring time back to axis 1 before it"
        )

    def signal(self) -> Signal | None:
        """The output, None where another rule takes the call."""
        if self.kind in _REDUCTIONS and not isinstance(self.call.op, layers.Layer):
            return self._reduction(axes_of(self.call.op))
        if self.kind.startswith("Global") and self._pools_elsewhere():
            return self._global_pooling()
        if (axes := self._softmax_axes()) is not None and self._has_time(axes):
            return self._softmax(axes)
        if self.kind in ("Normalize", "UnitNormalization") and self._has_time(axes_of(self.call.op)):
            return self._normalize()
        if self.kind in ("Cumsum", "Cumprod") and axes_of(self.call.op) is not None:
            return self._cumulative()
        if (position := self._position()) is not None:
            return self._held(*position)
        if self.kind in _LAYOUTS:
            return self._layout()
        equation = equation_of(self.call)
        if equation is not None:
            product = Contraction(self.call, equation, self.build, self.algebra)
            static = any(signal.timeline is None for signal in self.call.signals)
            if self.pending or self.moved or self.mixed or static or product.sums_time:
                return product.signal()
            return None
        if self.pending or self.mixed:
            return self._arithmetic()
        return None

    # Reductions.

    def _axes(self, axes: list[int], signal: Signal) -> list[int]:
        rank = len(signal.offline_shape)
        return sorted({axis % rank for axis in axes})

    def _has_time(self, axes: list[int] | None) -> bool:
        return axes is not None and self.first.time_axis in self._axes(axes, self.first) and self.first.sequence

    def _pools_elsewhere(self) -> bool:
        """Whether a global pooling layer has something else before it than a plain sequence with channels last."""
        return self.pending or self.moved or self.call.op.data_format == "channels_first"

    def _global_pooling(self) -> Signal | None:
        rank = len(self.first.offline_shape)
        first = self.call.op.data_format == "channels_first"
        if self.call.mask is not None:
            self.refuse_axis()
        self.kind = "Mean" if "Average" in self.kind else "Max"
        return self._reduction(list(range(2, rank)) if first else list(range(1, rank - 1)))

    def _reduction(self, axes: list[int] | None) -> Signal | None:
        if axes is None or not self.first.sequence:
            return self.refuse() if self.pending else None
        places = self._axes(axes, self.first)
        if 0 in places:
            return None
        if not self._has_time(axes):
            return self._reduce_features(places)
        kept = self._kept(places)
        return self._finished(kept, places)

    def _finished(self, kept: Signal, places: list[int]) -> Signal:
        """The value in the shape and dtype that Keras gives it."""
        symbolic = self.call.results[0]
        shape, dtype = tuple(symbolic.shape[1:]), keras.backend.standardize_dtype(symbolic.dtype)
        if kept.shape == shape and kept.dtype == dtype:
            return kept
        return self.build.compute("value", lambda x: tf.cast(tf.reshape(x, (x.shape[0], *shape)), dtype), kept)

    def _kept(self, places: list[int]) -> Signal:
        """The running value with every reduced axis of size 1."""
        kind, features = self.kind, [axis for axis in places if axis != self.first.time_axis]
        if kind == "Average":
            return self._average(features)
        if self.pending:
            if kind not in ("Sum", "Mean"):
                self.refuse()
            total = self.algebra.total(self.first.terms, self.first, mean=kind == "Mean")
            return self._along(features, tf.reduce_sum if kind == "Sum" else tf.reduce_mean, total)
        x = self.first
        run, along = self.build.run, self._along
        if kind in ("Any", "All"):
            flags = self.build.compute("flags", lambda v: tf.cast(tf.cast(v, tf.bool), tf.int32), x)
            extreme = "max" if kind == "Any" else "min"
            return run(extreme, along(features, tf.reduce_max if kind == "Any" else tf.reduce_min, flags))
        if kind == "CountNonzero":
            counts = self.build.compute("counts", lambda v: tf.cast(tf.not_equal(v, tf.zeros_like(v)), tf.int32), x)
            return run("sum", along(features, tf.reduce_sum, counts))
        if kind in ("Argmax", "Argmin"):
            return run(kind.lower(), x)
        if kind == "Norm":
            return self._norm(features)
        if x.dtype == "bool":
            x = self.build.compute("cast", lambda v: tf.cast(v, tf.int32), x)
        if kind in ("Mean", "Var", "Std", "Logsumexp"):
            x = self.algebra.floating(x)
        if kind in ("Var", "Std"):
            mean = along(features, tf.reduce_mean, x)
            inner = self.build.compute("inner", lambda v: tf.math.reduce_variance(v, features, keepdims=True), x)
            variance = run("variance", mean, inner)
            return variance if kind == "Var" else self.build.compute("std", tf.sqrt, variance)
        table: dict[str, tuple[str, Callable[..., Any]]] = {
            "Sum": ("sum", tf.reduce_sum),
            "Mean": ("mean", tf.reduce_mean),
            "Max": ("max", tf.reduce_max),
            "Amax": ("max", tf.reduce_max),
            "Min": ("min", tf.reduce_min),
            "Amin": ("min", tf.reduce_min),
            "Prod": ("prod", tf.reduce_prod),
            "Logsumexp": ("logsumexp", tf.reduce_logsumexp),
        }
        name, function = table[kind]
        reduced = run(name, along(features, function, x))
        initial = getattr(self.call.op, "initial", None)
        if initial is None:
            return reduced
        extreme = tf.maximum if name == "max" else tf.minimum
        return self.build.compute("initial", lambda v: extreme(v, tf.cast(initial, v.dtype)), reduced)

    def _along(self, features: list[int], function: Callable[..., Any], x: Signal) -> Signal:
        """A reduction over axes behind the batch, time not among them, that keeps them with size 1."""
        if not features:
            return x
        return self.build.compute("features", lambda v: function(v, features, keepdims=True), x)

    def _norm(self, features: list[int]) -> Signal:
        order, x = self.call.op.ord, self.algebra.floating(self.first)
        size = len(features) + 1
        run, along = self.build.run, self._along
        if order in (None, 2, "euclidean", "fro") and (size == 1 or order in (None, "fro")):
            squares = self.build.compute("squares", tf.square, x)
            return self.build.compute("root", tf.sqrt, run("sum", along(features, tf.reduce_sum, squares)))
        if size > 1 or order not in (1, math.inf, -math.inf, "inf"):
            raise NotStreamableError(
                f"layer {self.call.name!r} (Norm) takes the norm of order {order!r} over time; use order 1, 2 or inf "
                "along time alone"
            )
        sizes = self.build.compute("sizes", tf.abs, x)
        return run({1: "sum", -math.inf: "min"}.get(order, "max"), sizes)

    def _average(self, features: list[int]) -> Signal:
        """sum(w x) / sum(w)."""
        operands = operands_of(self.call)
        weights = operands[1] if len(operands) > 1 else None
        if weights is None:
            return self._along(features, tf.reduce_mean, self.build.run("mean", self.algebra.floating(self.first)))
        if not isinstance(weights, Signal) or not weights.sequence or weights.time_axis != self.first.time_axis:
            self.refuse()
        terms = self.algebra.multiply(self.algebra.terms(self.first), self.algebra.terms(weights))
        parts = [self.algebra.total(terms, self.first), self.algebra.total(self.algebra.terms(weights), weights)]
        parts = [self._along(features, tf.reduce_sum, part) for part in parts]
        return self.build.compute("ratio", tf.divide, *parts)

    def _reduce_features(self, places: list[int]) -> Signal | None:
        """A reduction that leaves time alone; of terms, a sum over an axis along which only locals differ."""
        if not self.pending and not self.moved and not isinstance(self.call.op, layers.Layer):
            return None
        op, keep = self.call.op, bool(getattr(self.call.op, "keepdims", False))
        axis = self.first.time_axis - (0 if keep else sum(place < self.first.time_axis for place in places))
        if not self.pending:
            return self.build.compute("value", op, self.first, time_axis=axis)
        if self.kind not in ("Sum", "Mean"):
            self.refuse()

        def squeezed(part: Signal) -> Signal:
            if any(part.offline_shape[place] != 1 for place in places):
                self.refuse()
            return (
                part if keep else self.build.compute("squeeze", lambda x: tf.squeeze(x, places), part, time_axis=axis)
            )

        terms = []
        sizes = [self.first.offline_shape[place] for place in places]
        for term in self.first.terms:
            others = replace(term, local=None).mapped(squeezed)
            local = term.local
            if local is None or [local.offline_shape[place] for place in places] != sizes:
                self.refuse()
            terms.append(replace(others, local=self.build.compute("features", op, local, time_axis=axis)))
        return self.build.pending(tuple(terms), self.first, axis)

    def _cumulative(self) -> Signal | None:
        if not self._has_time(axes_of(self.call.op)):
            return None
        if self.pending:
            self.refuse()
        dtype = keras.backend.standardize_dtype(self.call.results[0].dtype)
        x = self.first
        if x.dtype != dtype:
            x = self.build.compute("cast", lambda v: tf.cast(v, dtype), x)
        return self.build.cumulate("sum" if self.kind == "Cumsum" else "prod", x)

    # Positions counted from the first step.

    def _position(self) -> tuple[int, tuple[Any, ...]] | None:
        """k and the index behind the batch of x[:, k] or x[:, k : k + 1]; None for other indices and operations."""
        if self.pending or not self.first.sequence or self.first.layout is not None:
            return None
        operands = [*self.call.args, *self.call.kwargs.values()]
        if self.kind == "Take":
            return (operands[1], (0,)) if axes_of(self.call.op) == [1] and _is_place(operands[1]) else None
        key = operands[1] if self.kind == "GetItem" else None
        if not isinstance(key, tuple) or len(key) < 2 or key[0] != slice(None):
            return None
        _, index, *rest = key
        if _is_place(index):
            return index, (0, *rest)
        single = isinstance(index, slice) and _is_place(index.stop) and index.stop == (index.start or 0) + 1
        return (index.stop - 1, (slice(0, 1), *rest)) if single and index.step in (None, 1) else None

    def _held(self, place: int, index: tuple[Any, ...]) -> Signal:
        """The value of one step, from that step on."""
        x = self.first
        if place:
            args = (x, (slice(None), slice(place, None)))
            rows = keras.KerasTensor((None, None, *x.shape), dtype=x.dtype)
            x = self.build.add(SlicingRule(replace(self.build.part("from", args), results=[rows])), args)
        return self.build.compute("value", lambda v: v[(slice(None), *index)], self.build.run("first", x))

    # Softmax and other normalizations over time.

    def _softmax_axes(self) -> list[int] | None:
        op = self.call.op
        if self.kind in ("Softmax", "LogSoftmax"):
            return axes_of(op)
        if isinstance(op, layers.Activation) and getattr(op.activation, "__name__", "") in ("softmax", "log_softmax"):
            return [-1]
        return None

    def _softmax(self, axes: list[int]) -> Signal:
        places = self._axes(axes, self.first)
        logits = self.first
        if self.pending:
            # A running summand is the same at all steps, so that softmax over time alone takes no notice of it.
            plain = [term for term in self.first.terms if term.local is not None]
            if any(t.logits is not None or (t.local is not None and t.factor is not None) for t in self.first.terms):
                self.refuse()
            if len(places) > 1 or len(plain) != 1 or plain[0].local is None:
                self.refuse()
            logits = plain[0].local
        mask = self._mask()
        if mask is not None:
            lowest = -3e4 if logits.dtype == "float16" else -1e9
            logits = self.build.compute("masked", lambda m, x: tf.where(m, x, lowest), mask, logits)
        features = [place for place in places if place != logits.time_axis]
        if features or self._logarithmic():
            # Over several axes Keras, too, takes exp(x - logsumexp(x)).
            total = self.build.run("logsumexp", self._along(features, tf.reduce_logsumexp, logits))
            terms = self.algebra.add((Term(local=logits),), self.algebra.negative((Term(factor=total),)))
            terms = terms if self._logarithmic() else self.algebra.exp(terms)
        else:
            # Beside scores of -1e9 the logarithm of a sum would be lost: exp(peak) / sum(exp(logits)) it is.
            total = self.build.run("weighted", logits, self.build.compute("ones", tf.ones_like, logits))
            terms = (Term(logits=logits, factor=self.build.compute("ratio", lambda t: 1.0 / t, total)),)
        if mask is not None:
            flags = self.build.compute("flags", lambda m: tf.cast(m, tf.float32), mask)
            terms = self.algebra.multiply(terms, (Term(local=flags),))
        return self.build.pending(terms, logits, logits.time_axis)

    def _logarithmic(self) -> bool:
        return "log" in (self.kind + getattr(getattr(self.call.op, "activation", None), "__name__", "")).lower()

    def _mask(self) -> Signal | None:
        """The mask of a Softmax layer, in the rank of its input."""
        mask = self.call.mask or next((s for s in self.call.signals[1:] if self.kind == "Softmax"), None)
        if mask is None or not isinstance(self.call.op, layers.Softmax):
            return None
        if len(mask.offline_shape) != len(self.first.offline_shape) or mask.time_axis != self.first.time_axis:
            raise NotStreamableError(
                f"layer {self.call.name!r} (Softmax) gets a mask of {len(mask.offline_shape)} axes for an input of "
                f"{len(self.first.offline_shape)}, which Keras does not compute either; give it mask= with the axes "
                "of its input, or take ops.softmax, which has no mask"
            )
        return self.build.compute("mask", lambda m: tf.cast(m, tf.bool), mask) if mask.dtype != "bool" else mask

    def _normalize(self) -> Signal:
        """x / max(norm, epsilon), over time."""
        op = self.call.op
        if self.pending or getattr(op, "order", 2) != 2 or len(axes_of(op) or []) != 1:
            self.refuse()
        epsilon = getattr(op, "epsilon", 1e-12)
        least = 1 / (keras.backend.epsilon() if epsilon is None else epsilon)
        squares = self.build.compute("squares", tf.square, self.first)
        total = self.build.run("sum", squares)
        scale = self.build.compute("scale", lambda v: tf.minimum(tf.math.rsqrt(v), least), total)
        return self.build.pending((Term(local=self.first, factor=scale),), self.first, self.first.time_axis)

    # Layouts.

    def _layout(self) -> Signal | None:
        if not self.first.sequence or len(self.call.signals) > 1:
            return None
        axis = self._destination()
        if axis is None:
            return self.refuse_axis() if self.pending else None
        if axis == 1 and not self.pending and not self.moved:
            return None
        function = of_one(self.call)
        if not self.pending:
            return self.build.compute("layout", function, self.first, time_axis=axis)

        def moved(part: Signal) -> Signal:
            sequence = part.sequence
            shape = [
                size if i not in (0, self.first.time_axis) else None for i, size in enumerate(self.first.offline_shape)
            ]

            def laid(x: tf.Tensor) -> tf.Tensor:
                full: list[Any] = [x.shape[i] if size is None else size for i, size in enumerate(shape)]
                return function(tf.broadcast_to(x, full))

            return self.build.compute("layout", laid, part, time_axis=axis if sequence else None)

        return self.build.pending(tuple(term.mapped(moved) for term in self.first.terms), self.first, axis)

    def _destination(self) -> int | None:
        """Axis of time in a layout, None where it is not one axis behind the batch."""
        places = set()
        for steps in (3, 5):
            shape: list[Any] = [*self.first.offline_shape]
            shape[0], shape[self.first.time_axis] = 2, steps
            places.add(destination(of_one(self.call), shape, self.first.time_axis, self.first.dtype))
        return places.pop() if len(places) == 1 else None

    # Arithmetic of terms.

    def _arithmetic(self) -> Signal | None:
        if self.kind in _IDENTITIES and self.pending:
            if self.kind == "Cast" and self.call.results[0].dtype != "float32":
                self.refuse()
            return self.first
        if self.kind not in _ARITHMETIC:
            return self.refuse() if self.pending else None
        operands = self._lifted(operands_of(self.call))
        if operands is None:
            return self.refuse() if self.pending else None
        sequences = [item for item in operands if isinstance(item, Signal) and item.sequence]
        terms = self._combined(operands)
        if all(t.logits is None and t.factor is None for t in terms):
            local = terms[0].local
            assert local is not None
            return local
        return self.build.pending(terms, sequences[0], sequences[0].time_axis)

    def _lifted(self, operands: list[Any]) -> list[Any] | None:
        """Operands of one rank; merging layers give those of lower rank axes of size 1 behind the batch."""
        signals = [item for item in operands if isinstance(item, Signal)]
        rank = max(len(signal.offline_shape) for signal in signals)
        axes = {signal.time_axis for signal in signals if signal.sequence}
        lower = [s for s in signals if len(s.offline_shape) < rank]
        if len(axes) > 1 or any(s.sequence for s in lower) or (lower and not isinstance(self.call.op, layers.Layer)):
            return None
        axis = axes.pop()

        def lifted(item: Any) -> Any:
            if isinstance(item, Signal) and len(item.offline_shape) < rank:
                new = [1] * (rank - len(item.offline_shape))
                item = self.build.compute("lift", lambda x: tf.reshape(x, (x.shape[0], *new, *x.shape[1:])), item)
            if isinstance(item, Signal):
                return item if item.sequence or item.offline_shape[axis] == 1 else None
            if item is not None and np.ndim(item) == rank - axis and np.shape(item)[0] != 1:
                return None
            return item if np.ndim(item) <= rank - axis or np.shape(item)[axis - rank] == 1 else None

        results = [lifted(item) for item in operands]
        return None if any(item is None for item in results) else results

    def _combined(self, operands: list[Any]) -> Terms:
        algebra = self.algebra
        if self.kind == "Where":
            condition, *rest = operands
            flags = algebra.terms(condition)
            yes = algebra.multiply(algebra.terms(rest[0]), flags)
            others = algebra.add((Term(factor=1.0),), algebra.negative(flags))
            if not isinstance(rest[1], Signal) and not np.any(rest[1]):
                return yes
            return algebra.add(yes, algebra.multiply(algebra.terms(rest[1]), others))
        if self.kind == "Power":
            return algebra.power(algebra.terms(operands[0]), operands[1])
        terms = [algebra.terms(item) for item in operands]
        if self.kind in ("Multiply", "Add"):
            return reduce(algebra.multiply if self.kind == "Multiply" else algebra.add, terms)
        if self.kind == "Average":
            return algebra.multiply(reduce(algebra.add, terms), (Term(factor=1.0 / len(terms)),))
        if self.kind == "Subtract":
            return algebra.add(terms[0], algebra.negative(terms[1]))
        if self.kind == "Negative":
            return algebra.negative(terms[0])
        if self.kind == "Square":
            return algebra.power(terms[0], 2)
        if self.kind == "Exp":
            return algebra.exp(terms[0])
        function = tf.math.divide_no_nan if self.kind == "DivideNoNan" else tf.divide
        return algebra.divide(terms[0], terms[1], function)
