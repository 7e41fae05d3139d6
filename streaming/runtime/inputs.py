"""Checks the inputs of a caller, and converts them to the tensors of the graph."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
from numpy import vdot
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.lookup import Table, TextTable, read_table
from streaming.runtime.metadata import EncodeInfo, InputInfo

# Values of an array that Python compares sooner than NumPy.
_FEW = 64
# Casts that keep what the caller meant: kind of the graph's dtype -> kinds that are taken for it.
_CASTS = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}


class InputReader:
    """Reads one input: (n, *features) for a sequence, (*features) for one that is given whole at every call."""

    def __init__(
        self, info: InputInfo, chunk: int, files: Mapping[str, bytes] | None = None, flags: str = "bool"
    ) -> None:
        self.info = info
        tensor = info.graph
        # Truth values are zeros and ones of another dtype in the graph, and are taken as either.
        self._flag = tensor.dtype == "bool" != flags
        if self._flag:
            self.info = info = dataclasses.replace(info, dtype=flags, low=0, high=2)
        self.shape, self.dtype = tuple(tensor.shape), np.dtype(flags if self._flag else tensor.dtype)
        self.chunk_shape = (chunk, *self.shape) if info.time else self.shape
        self._float = self.dtype.kind == "f"
        self._bounded = info.low is not None or info.high is not None
        self._table: Table | None = None
        if info.table is not None:
            self._table = read_table((files or {}).get(info.table, b""), info.table)

    def read_chunk(self, value: Any, finite: bool) -> NDArray[Any]:
        """`read` for exactly one chunk, without the batch axis; fast where nothing needs to be changed."""
        if value.dtype is self.dtype and value.shape == self.chunk_shape:
            # As `_check_values`, without a call.
            if self._float and finite and not isfinite(vdot(value, value)):
                self._check_finite(value)
            if self._bounded:
                self._check_range(value)
            return value
        return self.read(value, self.chunk_shape[0] if self.info.time else None, finite)[0]

    def read(self, value: Any, steps: int | None, finite: bool) -> NDArray[Any]:
        """An array of the input's dtype with a batch axis of 1 in front.

        Args:
            value: array-like.
            steps: the number of steps that it must have, None for any.
            finite: refuse NaN and infinity.

        Raises:
            InputError: shape, dtype or values are wrong.
        """
        array = value if isinstance(value, np.ndarray) else self._array(value)
        if self._table is not None and array.dtype.kind in "OUS":
            array = self._ids(array, self._table)
        self._check_shape(array, steps)
        if array.dtype != self.dtype:
            array = self._cast(array)
        self._check_values(array, finite)
        return array[None]

    def is_sound(self, array: NDArray[Any]) -> bool:
        """Whether all values are finite and in range."""
        try:
            self._check_values(array, True)
        except InputError:
            return False
        return True

    def zeros(self, steps: int) -> NDArray[Any]:
        """Padding: (1, steps, *features), or (1, *features)."""
        shape = (1, steps, *self.shape) if self.info.time else (1, *self.shape)
        return np.full(shape, self.info.zero_point or 0, self.dtype)

    def _array(self, value: Any) -> NDArray[Any]:
        try:
            array = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise InputError(f"input {self.info.name!r} is no array ({error}); give {self._expected(None)}") from error
        if array.shape == (0,) and isinstance(value, list | tuple):
            return np.zeros((0, *self.shape), self.dtype)  # an empty list has no dtype or width of its own
        return array

    def _ids(self, strings: NDArray[Any], table: Table) -> NDArray[Any]:
        text = isinstance(table, TextTable) and strings.ndim == 0
        return table.ids(strings.reshape(1) if text else strings, self.info.name, np.int64)

    def _cast(self, array: NDArray[Any]) -> NDArray[Any]:
        if self._flag and array.dtype.kind == "b":
            return array.astype(self.dtype)
        if array.dtype.kind == "f" and self.info.scale is not None:
            self._check_finite(array, "clean it")
            return self.info.quantize(array)
        if array.dtype.kind not in _CASTS[self.dtype.kind]:
            raise InputError(
                f"input {self.info.name!r} is {array.dtype}, expected {'bool' if self._flag else self.dtype}; "
                f"give {self._expected(None)}"
            )
        if self.dtype.kind in "iu" and array.size:
            limits, low, high = np.iinfo(self.dtype), array.min(), array.max()
            if low < limits.min or high > limits.max:
                raise InputError(
                    f"input {self.info.name!r} has values from {low} to {high}, expected {self.dtype}; "
                    f"give values from {limits.min} to {limits.max}"
                )
        with np.errstate(over="ignore"):
            return array.astype(self.dtype)

    def _check_shape(self, array: NDArray[Any], steps: int | None) -> None:
        shape, features = array.shape, self.shape
        if not self.info.time:
            good = shape == features
        elif steps is None:
            good = len(shape) > 0 and shape[1:] == features
        else:
            good = shape == (steps, *features)
        if not good:
            raise InputError(
                f"input {self.info.name!r} has shape {shape}, expected {self._expected(steps)}; "
                "give one stream without a batch axis"
            )

    def _check_values(self, array: NDArray[Any], finite: bool) -> None:
        # One fast call: the sum of squares is finite unless something is wrong, or huge.
        if self._float and finite and not isfinite(vdot(array, array)):
            self._check_finite(array)
        if self._bounded and array.size:
            self._check_range(array)

    def _check_finite(
        self, array: NDArray[Any], remedy: str = "clean it, or create the stream with nan='pass'"
    ) -> None:
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            place = tuple(int(i) for i in bad[0])
            raise InputError(
                f"input {self.info.name!r} holds {array[place]} at {place}, expected finite numbers; {remedy}"
            )

    def _check_range(self, array: NDArray[Any]) -> None:
        if array.size == 1:
            smallest = largest = array.item()
        elif array.size <= _FEW and not self._float:
            values = array.ravel().tolist()
            smallest, largest = min(values), max(values)
        else:
            smallest, largest = np.minimum.reduce(array, axis=None), np.maximum.reduce(array, axis=None)
        low, high = self.info.low, self.info.high
        # Written so that NaN is out of any range.
        below, above = low is not None and not smallest >= low, high is not None and not largest < high
        if below or above:
            span = f"{low} or more" if high is None else f"{low if low is not None else ''} to {high - 1}"
            raise InputError(
                f"input {self.info.name!r} holds {smallest if below else largest}, expected {span.strip()}; "
                "map what is unknown to the unknown id"
            )

    def _expected(self, steps: int | None) -> str:
        sizes = [str(size) for size in self.shape]
        if self.info.time:
            sizes = ["steps" if steps is None else str(steps), *sizes]
        kind = "bool" if self._flag else self.dtype
        strings = "strings or " if self._table is not None else ""
        return f"{strings}{kind} ({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"


class Inputs:
    """All inputs of a model in the order of its metadata, as lists of arrays (1, T, *shape) or (1, *shape)."""

    def __init__(
        self,
        infos: Sequence[InputInfo],
        chunk: int,
        files: Mapping[str, bytes] | None = None,
        flags: str = "bool",
    ) -> None:
        self.readers = [InputReader(info, chunk, files, flags) for info in infos]
        self.single = self.readers[0] if len(self.readers) == 1 else None
        self.static = any(not info.time for info in infos)
        self._chunk = chunk
        self._names = [info.name for info in infos]
        self._times = [info.time for info in infos]
        self._clock = self._times.index(True)

    def read(self, x: Any, steps: int | None, finite: bool) -> list[NDArray[Any]]:
        """One array an input, checked; raises InputError."""
        if self.single is not None and not isinstance(x, Mapping):
            return [self.single.read(x, steps, finite)]
        if not isinstance(x, Mapping) or set(x) != set(self._names):
            came = sorted(map(str, x)) if isinstance(x, Mapping) else type(x).__name__
            raise InputError(f"expected a dict of the inputs {self._names}, got {came}; give each by its name")
        arrays = [reader.read(x[reader.info.name], steps, finite) for reader in self.readers]
        counts = {n: a.shape[1] for n, a, time in zip(self._names, arrays, self._times, strict=True) if time}
        if len(set(counts.values())) > 1:
            raise InputError(f"the inputs have different numbers of steps ({counts}); give them equal lengths")
        return arrays

    def read_chunks(self, x: Any, finite: bool) -> list[NDArray[Any]]:
        """`read` for exactly one chunk, fast where nothing needs to be changed."""
        if type(x) is dict and len(x) == len(self._names):
            values = [x.get(name) for name in self._names]
            if all(type(value) is np.ndarray for value in values):
                return [
                    reader.read_chunk(value, finite)[None] for reader, value in zip(self.readers, values, strict=True)
                ]
        return self.read(x, self._chunk, finite)

    def steps(self, arrays: Sequence[NDArray[Any]]) -> int:
        """The number of steps that the arrays hold."""
        return int(arrays[self._clock].shape[1])

    def cut(self, arrays: Sequence[NDArray[Any]], begin: int, end: int) -> list[NDArray[Any]]:
        """The steps from `begin` to `end`; inputs without a time axis whole."""
        return [a[:, begin:end] if time else a for a, time in zip(arrays, self._times, strict=True)]

    def join(self, old: Sequence[NDArray[Any]], new: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """The steps of both; inputs without a time axis from the new ones."""
        pairs = zip(old, new, self._times, strict=True)
        return [np.concatenate([a, b], axis=1) if time else b for a, b, time in pairs]

    def padded(self, held: Sequence[NDArray[Any]] | None, begin: int, steps: int) -> list[NDArray[Any]]:
        """`steps` steps of `held` from `begin` on, zeros after its end; inputs without a time axis unchanged."""
        arrays = self.zeros(steps)
        for index, array in enumerate(held or ()):
            if self._times[index]:
                rest = array[:, begin : begin + steps]
                arrays[index][:, : rest.shape[1]] = rest
            else:
                arrays[index] = array
        return arrays

    def zeros(self, steps: int) -> list[NDArray[Any]]:
        """Arrays of `steps` steps, all zero."""
        return [reader.zeros(steps) for reader in self.readers]


class SourceReader:
    """Reads what `Stream.encode` takes: sources of up to `max_length` positions, and inputs of fixed shape."""

    def __init__(self, info: EncodeInfo, flags: str = "bool") -> None:
        self.info = info
        self._flags = np.dtype(flags)
        self._readers = [InputReader(item, info.max_length, flags=flags) for item in info.inputs]
        self.names = frozenset(item.name for item in info.inputs)

    def read(self, given: Any, finite: bool) -> list[NDArray[Any]]:
        """Padded arrays with a batch axis of 1, then their masks; raises InputError where something is wrong."""
        names = [reader.info.name for reader in self._readers]
        if not isinstance(given, Mapping):
            given = {names[0]: given} if len(names) == 1 else {}
        if set(given) != set(names):
            raise InputError(f"encode takes {names}, got {sorted(map(str, given))}; give a dict of them by name")
        arrays, masks = [], []
        for reader in self._readers:
            array = reader.read(given[reader.info.name], None, finite)
            if reader.info.time:
                array, mask = self._padded(array, reader.info.name)
                masks.append(mask)
            arrays.append(array)
        return [*arrays, *masks]

    def _padded(self, array: NDArray[Any], name: str) -> tuple[NDArray[Any], NDArray[Any]]:
        length, longest = array.shape[1], self.info.max_length
        if not 0 < length <= longest:
            raise InputError(
                f"source {name!r} has {length} positions, expected 1 to {longest}; shorten it, or convert the model "
                "with a larger max_length"
            )
        pad = [(0, 0), (0, longest - length)] + [(0, 0)] * (array.ndim - 2)
        return np.pad(array, pad), (np.arange(longest)[None] < length).astype(self._flags)
