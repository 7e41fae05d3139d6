"""Whatever works on each step by itself: operations of `keras.ops`, and layers that have no rule of their own."""

from __future__ import annotations

from typing import Any

import keras
import tensorflow as tf

from streaming.conversion.builtin_forms import builtin_forms
from streaming.conversion.keras_loops import keras_loops
from streaming.conversion.layouts import to_canonical, to_offline
from streaming.conversion.reasons import described
from streaming.conversion.rules import register_role
from streaming.conversion.rules.base import Env, chunks, static_values
from streaming.conversion.rules.pointwise import PerStep
from streaming.conversion.rules.probe import Mixes, Probe, probe
from streaming.conversion.signals import Signal
from streaming.conversion.sizes import Sized
from streaming.conversion.values import Chunk, Static


@register_role("per step")
class TriedPerStep(PerStep):
    """An operation that was tried on small inputs and found to work on each step by itself (see `probe`).

    In its offline inputs and results, batch and time need not be axes 0 and 1. Results without a time axis that depend
    on the last step alone, as of `x[:, -1]`, are running values.
    """

    any_layout = True
    reason = "works along the time axis"
    remedy = "let it work along the feature axes"

    def plan(self) -> Any:
        self.refuse_variables()
        self.refuse_mixed_lengths()
        self.check()
        try:
            self._probe: Probe = probe(self.call, self.compute)
        except Mixes as mixture:
            self.refuse(f"{self.reason}: {mixture}", self.remedy)
        except Exception as error:
            self.refuse(
                f"cannot be computed for another number of steps or sequences ({described(error)})",
                "make it work for any number of them",
            )
        if any(result.dtype.startswith("complex") for result in self._probe.results):
            self.refuse("gives complex numbers, which TFLite lacks", "keep real and imaginary parts apart")
        moving = [signal for signal in self.call.signals if signal.timeline is not None]
        outputs = [
            Signal(
                self.call.name,
                result.features,
                result.dtype,
                moving[0].timeline if moving else None,
                running=bool(moving) and not result.sequence,
                layout=result.layout,
            )
            for result in self._probe.results
        ]
        return outputs if len(self.call.results) > 1 else outputs[0]

    def compute(self, *args: Any, **kwargs: Any) -> Any:
        with builtin_forms():
            return self._op(args)(*args, **kwargs)

    def _op(self, args: Any) -> Any:
        """The operation, with the sizes that it read off its first tensor in the place of unknown ones."""
        op, shape = self.call.op, vars(self.call.op).get("shape")
        if isinstance(op, keras.Layer) or not isinstance(shape, list | tuple) or None not in shape:
            return op
        sizes = next(item.shape for item in keras.tree.flatten(args) if hasattr(item, "shape"))
        sized = object.__new__(type(op))
        known = tuple(own if size is None else size for size, own in zip(shape, sizes, strict=True))
        sized.__dict__.update(vars(op), shape=known)
        return sized

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        moving = list(chunks((args, kwargs)))
        if not moving:
            values = self._compute(env, None, args, kwargs)
            return [Static(value) for value in values]
        sequence = any(signal.sequence for signal in self.call.signals)
        masked = any(chunk.mask is not None for chunk in moving)
        if not sequence or (self._probe.foldable and not masked and not any(static_values((args, kwargs)))):
            return self._folded(env, args, kwargs, moving[0])
        if moving[0].steps > 1 and not all(result.sequence for result in self._probe.results):
            return self._row_by_row(env, args, kwargs, moving[0])
        values = self._compute(env, None, args, kwargs)
        outputs = []
        for value, result in zip(values, self._probe.results, strict=True):
            leading = (env.batch, moving[0].steps) if result.sequence else (env.batch,)
            full = to_canonical(value, result.layout, (*leading, *result.features))
            outputs.append(moving[0].like(**{"full" if result.sequence else "flat": full}))
        return outputs

    def _folded(self, env: Env, args: Any, kwargs: Any, like: Chunk) -> list[Chunk]:
        """With steps in the place of streams."""

        def fold(item: Any) -> Any:
            if isinstance(item, Static):
                return Static(item.repeated(like.steps))
            return Static(item.flat) if isinstance(item, Chunk) else item

        args, kwargs = keras.tree.map_structure(fold, (args, kwargs))
        outputs = []
        for value, result in zip(self._compute(env, None, args, kwargs), self._probe.results, strict=True):
            flat = to_canonical(value, result.layout, (env.batch * like.steps, *result.features))
            outputs.append(Chunk(env.batch, like.steps, flat=flat))
        return outputs

    def _row_by_row(self, env: Env, args: Any, kwargs: Any, like: Chunk) -> list[Chunk]:
        """One call a step, for results that are those of the last step."""
        rows: list[list[Any]] = []
        for step in range(like.steps):
            values = self._compute(env, step, args, kwargs)
            row = []
            for value, result in zip(values, self._probe.results, strict=True):
                leading = (env.batch, 1) if result.sequence else (env.batch,)
                full = to_canonical(value, result.layout, (*leading, *result.features))
                row.append(full[:, 0] if result.sequence else full)
            rows.append(row)
        return [Chunk(env.batch, like.steps, rows=column) for column in zip(*rows, strict=True)]

    def _compute(self, env: Env, step: int | None, args: Any, kwargs: Any) -> list[tf.Tensor]:
        """Results in the layout of the offline model, flat."""
        first = next(chunks((args, kwargs)), None)
        steps = 1 if first is None or step is not None else first.steps

        def arranged(signal: Any, item: Any) -> Any:
            if isinstance(item, Sized):
                return item.of(env.batch, steps)
            if not isinstance(signal, Signal):
                return item
            if isinstance(item, Static):
                return to_offline(item.value, signal.layout)
            full = item.full if step is None else item.full[:, step : step + 1]
            if item.mask is None:
                return to_offline(full, signal.layout)
            full = tf.identity(full)
            full._keras_mask = item.mask if step is None else item.mask[:, step : step + 1]
            return full

        args, kwargs = keras.tree.map_structure(arranged, (self.call.args, self.call.kwargs), (args, kwargs))
        try:
            with keras_loops(env):
                results = keras.tree.flatten(self.compute(*args, **kwargs))
            if not all(value.shape.is_fully_defined() for value in results):
                raise ValueError("its results have unknown sizes")
            return results
        except (TypeError, ValueError, NotImplementedError) as error:
            self.refuse(
                f"has no form of known shapes, as TFLite needs ({described(error)})",
                "compute it before the stream, or replace it by other operations",
            )
