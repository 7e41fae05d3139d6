"""Decides by trial whether an operation works on each step by itself, and where batch and time are in its results.

The operation is run on a few small random inputs: whole, for each stream and for each step. It works step by step if
the whole results equal the concatenated results of the steps. This needs no knowledge of the operation; the
verification at the end of a conversion confirms the decision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from streaming.conversion.layouts import Layout, candidates, standard, to_canonical, to_offline
from streaming.conversion.rules.base import Call
from streaming.conversion.signals import Signal
from streaming.conversion.sizes import Sized

BATCH, STEPS, MAX_STEPS = 2, 5, 4096
# Steps of a trial of a layer, whose `call` may hold numbers of its own, as `x[:, -6:]` does.
HIDDEN_STEPS = 67
# Floats (lowest, highest) and integers (first, last): numbers of both signs, of (0, 1), above 1, where logarithms,
# square roots and inverse functions are defined; divisors of the last are not 0.
_DRAWS = ((-2.0, 2.0, 0, 1), (0.1, 0.9, 0, 3), (1.1, 3.0, 1, 2))


class Mixes(Exception):
    """The results of a step depend on other steps or streams. The message says how that shows."""


@dataclass(frozen=True)
class Result:
    """One result of the operation.

    Canonical features, layout (None: the standard one), dtype, and whether it is a sequence or, for inputs with time,
    the value after the last step.
    """

    features: tuple[int, ...]
    layout: Layout | None
    dtype: str
    sequence: bool


@dataclass(frozen=True)
class Probe:
    """Result of probing an operation.

    results: of each result of the call, flat; foldable: steps may be given as a batch, (B * T, ...), alike.
    """

    results: list[Result]
    foldable: bool


def probe(call: Call, compute: Callable[..., Any]) -> Probe:
    """Try the operation of a call.

    Args:
        call: its arguments are signals in place of tensors.
        compute: the function of a step in the stream; compared with the operation itself.

    Raises:
        Mixes: it does not work step by step.
        Exception: whatever the operation raises on every input that was tried.
    """
    agreed: Probe | None = None
    long = min(max([STEPS, *(number + 3 for number in _numbers(call))]), MAX_STEPS)
    failure: Exception | None = None
    for index, draw in enumerate(_DRAWS):
        trial = _Trial(call, compute, np.random.default_rng(index), STEPS if index else long, draw)
        try:
            whole = trial.run(compute if _unsized(call.op) else call.op)
        except Exception as error:  # a domain error of the operation, or ids outside of a table
            failure = failure or error
            continue
        if agreed is not None and not all(_finite(value) for value in whole):
            continue
        checked = trial.check(whole)
        if agreed is None:
            agreed = checked
        else:
            agreed = Probe(_common(agreed, checked), agreed.foldable and checked.foldable)
    if agreed is None:
        assert failure is not None
        raise failure
    return agreed


def _common(first: Probe, second: Probe) -> list[Result]:
    if first.results != second.results:
        raise Mixes("gives results of another form for other values")
    return first.results


class _Trial:
    """One set of random inputs, in canonical form."""

    def __init__(
        self,
        call: Call,
        compute: Callable[..., Any],
        generator: np.random.Generator,
        steps: int,
        draw: tuple[float, float, int, int],
    ) -> None:
        self.call, self.compute, self.steps = call, compute, steps
        self.places = sorted({*range(3), *range(steps - 2, steps)})
        self.sequence = any(signal.sequence for signal in call.signals)
        self.values: dict[int, NDArray[Any]] = {}
        for signal in self._signals():
            shape = (BATCH, steps, *_sizes(signal)) if signal.sequence else (BATCH, *_sizes(signal))
            low, high, first, last = draw if signal.dtype != "bool" else (*draw[:2], 0, 1)
            floats = signal.dtype.startswith("float")
            value: Any = generator.uniform(low, high, shape) if floats else generator.integers(first, last + 1, shape)
            self.values[id(signal)] = value.astype(signal.dtype)

    def _signals(self) -> Iterator[Signal]:
        for item in keras.tree.flatten((self.call.args, self.call.kwargs)):
            if isinstance(item, Signal):
                yield item

    def run(self, function: Callable[..., Any], part: Callable[[Signal, Any], Any] | None = None) -> list[NDArray[Any]]:
        """Results, flat, of a part of the inputs; None: of all."""
        arrays = {id(s): part(s, self.values[id(s)]) if part else self.values[id(s)] for s in self._signals()}
        batch = next(len(array) for array in arrays.values())
        steps = next((arrays[id(s)].shape[1] for s in self._signals() if s.sequence), 1)

        def value(item: Any) -> Any:
            if isinstance(item, Sized):
                return item.of(batch, steps)
            return to_offline(tf.constant(arrays[id(item)]), item.layout) if isinstance(item, Signal) else item

        args, kwargs = keras.tree.map_structure(value, (self.call.args, self.call.kwargs))
        _check_windows(self.call.op, args)
        return [np.asarray(keras.ops.convert_to_numpy(item)) for item in keras.tree.flatten(function(*args, **kwargs))]

    def check(self, whole: list[NDArray[Any]]) -> Probe:
        """Compare with the results of each stream and of each step."""
        try:
            streams = [self.run(self.compute, self._stream(b)) for b in range(BATCH)]
            steps = [self.run(self.compute, self._step(t)) for t in self.places] if self.sequence else []
        except Exception as error:
            raise Mixes(f"cannot be computed for one step ({type(error).__name__})") from error
        results = [
            self._result(value, [s[index] for s in streams], [s[index] for s in steps])
            for index, value in enumerate(whole)
        ]
        return Probe(results, self._foldable(whole, results))

    def _stream(self, stream: int) -> Callable[[Signal, Any], Any]:
        return lambda signal, value: value[stream : stream + 1]

    def _step(self, step: int) -> Callable[[Signal, Any], Any]:
        return lambda signal, value: value[:, step : step + 1] if signal.sequence else value

    def _result(self, whole: NDArray[Any], streams: list[NDArray[Any]], steps: list[NDArray[Any]]) -> Result:
        dtype = keras.backend.standardize_dtype(whole.dtype)
        ranks = {value.ndim for value in (whole, *streams, *steps)}
        if len(ranks) > 1:
            raise Mixes("gives results whose rank depends on the number of steps")
        if steps and steps[0].shape != whole.shape:
            for layout, features in candidates(whole.shape, streams[0].shape, steps[0].shape, BATCH, self.steps):
                together = to_canonical(whole, layout, (BATCH, self.steps, *features))
                apart = [to_canonical(value, layout, (BATCH, 1, *features)) for value in steps]
                alone = [to_canonical(value, layout, (1, self.steps, *features)) for value in streams]
                chosen = np.take(together, self.places, axis=1)
                if _same(chosen, np.concatenate(apart, 1)) and _same(together, np.concatenate(alone, 0)):
                    return Result(features, _unless_standard(layout, 2 + len(features)), dtype, True)
            raise Mixes("gives for a step what depends on other steps")
        if steps and not _same(whole, steps[-1]):
            raise Mixes("gives one value for all steps")
        for layout, features in candidates(whole.shape, streams[0].shape, None, BATCH, 1):
            alone = [to_canonical(value, layout, (1, *features)) for value in streams]
            if _same(to_canonical(whole, layout, (BATCH, *features)), np.concatenate(alone, 0)):
                return Result(features, _unless_standard(layout, 1 + len(features)), dtype, False)
        raise Mixes("mixes the sequences of a batch")

    def _foldable(self, whole: list[NDArray[Any]], results: list[Result]) -> bool:
        """Whether steps may be taken for streams: then a chunk needs no time axis."""
        layouts = [signal.layout for signal in self._signals()] + [result.layout for result in results]
        sized = any(isinstance(item, Sized) for item in keras.tree.flatten((self.call.args, self.call.kwargs)))
        if sized or any(layout is not None for layout in layouts):
            return not self.sequence and not sized
        if not self.sequence:
            return True
        if not all(result.sequence for result in results):
            return False

        def folded(signal: Signal, value: NDArray[Any]) -> NDArray[Any]:
            if not signal.sequence:
                return np.repeat(value, self.steps, axis=0)
            return value.reshape(BATCH * self.steps, *value.shape[2:])

        try:
            values = self.run(self.compute, folded)
        except Exception:
            return False
        return all(_same(a.reshape(BATCH * self.steps, *a.shape[2:]), b) for a, b in zip(whole, values, strict=True))


def _numbers(call: Call) -> Iterator[int]:
    """Numbers that an operation was given: a trial has more steps, so that none can stand for all of them."""
    hidden = isinstance(call.op, keras.Layer) or hasattr(call.op, "layer")
    settings = [HIDDEN_STEPS - 3] if hidden else list(vars(call.op).values())
    for item in keras.tree.flatten((call.args, call.kwargs, settings)):
        for part in (item.start, item.stop, item.step) if isinstance(item, slice) else (item,):
            if isinstance(part, int) and not isinstance(part, bool):
                yield abs(part)


def _check_windows(op: Any, args: Any) -> None:
    """Raise ValueError for an adaptive pooling of fewer values than it has windows.

    Some builds of TensorFlow divide by the size of a window of no values, which ends the process.
    """
    if "Adaptive" not in type(op).__name__ or not hasattr(op, "output_size"):
        return
    sizes = args[0].shape[2:] if op.data_format == "channels_first" else args[0].shape[1:-1]
    if any(size < count for size, count in zip(sizes, op.output_size, strict=True)):
        raise ValueError(f"{op.output_size} windows of {tuple(sizes)} values")


def _unsized(op: Any) -> bool:
    """Whether an operation cannot be run as it is, since it read sizes off symbolic tensors."""
    shape = vars(op).get("shape")
    return isinstance(shape, list | tuple) and None in shape


def _sizes(signal: Signal) -> tuple[int, ...]:
    return tuple(3 if size is None else size for size in signal.shape)


def _unless_standard(layout: Layout, rank: int) -> Layout | None:
    return None if layout == standard(rank) else layout


def _finite(value: NDArray[Any]) -> bool:
    return value.dtype.kind != "f" or bool(np.isfinite(value).all())


def _same(first: Any, second: Any) -> bool:
    first, second = np.asarray(first), np.asarray(second)
    if first.shape != second.shape:
        return False
    if first.dtype.kind not in "fc":
        return bool(np.array_equal(first, second))
    return bool(np.allclose(first, second, rtol=1e-4, atol=1e-5, equal_nan=True))
