"""The tensors of a foreign step as inputs, outputs and states of a streaming file."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.conversion.adoption.foreign import ForeignModel, TensorInfo
from streaming.errors import InputError
from streaming.runtime.metadata import FLAGS, InputInfo, OutputInfo, StatePack, StateSlot


class Layout:
    """Which axis of which tensor is time, and the shapes of a step: those of the tensors without axes of one.

    Args:
        foreign: the model.
        pairs: {input: output} of its states.
        chunk: steps an invoke takes; None finds it.
        static: names of inputs without a time axis.
        rows: {output: rows an invoke gives}, where that is not found.

    Raises:
        InputError: a name is unknown, an input has no axis of so many steps, or an output none of so many rows.
    """

    def __init__(
        self,
        foreign: ForeignModel,
        pairs: Mapping[str, str],
        chunk: int | None,
        static: Sequence[str],
        rows: Mapping[str, int],
    ) -> None:
        self._foreign, self._pairs = foreign, pairs
        taken = {name: info for name, info in foreign.inputs.items() if name not in pairs}
        given = {name: info for name, info in foreign.outputs.items() if name not in pairs.values()}
        static = [static] if isinstance(static, str) else list(static)
        _check_names("static", static, taken)
        _check_names("rows", rows, given)
        moving = {name: info for name, info in taken.items() if name not in static}
        if not moving:
            raise InputError(f"no input is left that has a time axis, static is {static}; leave one of them out")
        self.chunk = _chunk(moving.values()) if chunk is None else chunk
        self.inputs = {name: self._input(info, name in moving) for name, info in taken.items()}
        shapes = {info.shape for info in moving.values()}
        self.outputs = {name: self._output(info, rows.get(name), shapes) for name, info in given.items()}

    def write(self, reset: int | None, name: str, files: Iterable[str]) -> bytes:
        """The flatbuffer with these tensors in signature `step`, and the subgraph of `reset`."""
        inputs, outputs = {}, {}
        for key, info in self._foreign.inputs.items():
            inputs[key] = self._foreign.reshape(info, self._taken(info), True)
            if info.dtype == "bool":
                inputs[key] = self._foreign.cast(info, inputs[key], True)
        for key, info in self._foreign.outputs.items():
            outputs[key] = self._foreign.reshape(info, self._given(info), False)
            if info.dtype == "bool":
                outputs[key] = self._foreign.cast(info, outputs[key], False)
        return self._foreign.write(inputs, outputs, reset, name, files)

    def states(
        self, initial: Mapping[str, Any]
    ) -> tuple[tuple[StatePack, ...], tuple[StateSlot, ...], dict[str, bytes]]:
        """A pack and a slot for each state, and the files of initial values by name."""
        _check_names("initial", initial, self._pairs)
        packs, slots, files = [], [], {}
        for place, (name, output) in enumerate(self._pairs.items()):
            info = self._foreign.inputs[name]
            row = _initial(info, initial.get(name))
            row = row.astype(FLAGS) if info.dtype == "bool" else row
            file = f"initial/{place}.bin" if row.any() else None
            if file is not None:
                files[file] = row.astype(row.dtype.newbyteorder("<")).tobytes()
            packs.append(StatePack(name, output, str(row.dtype), row.size, file))
            shape = info.shape[1:] if info.shape[:1] == (1,) else info.shape
            slots.append(StateSlot(name, shape, str(row.dtype), place, 0, info.scale, info.zero_point))
        return tuple(packs), tuple(slots), files

    def _input(self, info: TensorInfo, moving: bool) -> InputInfo:
        features = info.sizes
        if moving and self.chunk > 1:
            if features[:1] != (self.chunk,):
                raise InputError(
                    f"input {info} has no axis of {self.chunk} steps in front; give another chunk, or name it in static"
                )
            features = features[1:]
        return InputInfo(info.name, features, info.dtype, moving, None, None, info.scale, info.zero_point)

    def _output(self, info: TensorInfo, rows: int | None, shapes: set[tuple[int, ...]]) -> OutputInfo:
        count = rows
        if count is None:
            in_front = len(info.shape) > 2 and info.shape[:2] == (1, self.chunk)
            count = self.chunk if in_front or info.shape in shapes else 1
        if count > 1 and info.sizes[:1] != (count,):
            raise InputError(f"output {info} has no axis of {count} rows in front; give rows={{{info.name!r}: ...}}")
        rate = Fraction(count, self.chunk)
        return OutputInfo(
            info.name,
            info.sizes[1:] if count > 1 else info.sizes,
            info.dtype,
            (rate.numerator, rate.denominator),
            scale=info.scale,
            zero_point=info.zero_point,
        )

    def _taken(self, info: TensorInfo) -> tuple[int, ...]:
        if info.name in self._pairs:
            return (1, math.prod(info.shape))
        spec = self.inputs[info.name]
        return (1, self.chunk, *spec.shape) if spec.time else (1, *spec.shape)

    def _given(self, info: TensorInfo) -> tuple[int, ...]:
        if info.name in self._pairs.values():
            return (1, math.prod(info.shape))
        spec = self.outputs[info.name]
        return (1, self.chunk * spec.rate[0] // spec.rate[1], *spec.shape)


def _chunk(infos: Iterable[TensorInfo]) -> int:
    sizes = {info.name: info.shape[1] for info in infos if len(info.shape) > 2 and info.shape[0] == 1}
    if len(set(sizes.values())) > 1:
        raise InputError(f"the inputs have different numbers of steps, {sizes}; give chunk=, and the others as static=")
    return next(iter(sizes.values()), 1)


def _initial(info: TensorInfo, value: Any) -> NDArray[Any]:
    """The values of a state before the first step, (1, size)."""
    shapes = {info.shape, info.shape[1:] if info.shape[:1] == (1,) else info.shape, info.sizes}
    if value is None:
        return np.full((1, math.prod(info.shape)), info.zero_point or 0, info.dtype)
    array = np.asarray(value)
    if array.dtype.kind in "fiub" and array.shape in shapes and np.isfinite(array).all():
        with np.errstate(all="ignore"):
            cast = array.astype(info.dtype)
        if cast.dtype.kind == "f" or np.array_equal(cast, array):
            return cast.reshape(1, -1)
    raise InputError(f"initial {info.name!r} is {array.dtype} {list(array.shape)}, expected numbers of {info}")


def _check_names(option: str, names: Iterable[str], known: Mapping[str, Any]) -> None:
    unknown = next((name for name in names if name not in known), None)
    if unknown is not None:
        raise InputError(f"{option} names {unknown!r}, expected one of {', '.join(known) or 'none'}")
