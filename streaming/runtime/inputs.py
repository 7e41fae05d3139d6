"""Checks what a caller gives as an input, and makes it what the graph takes."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from streaming.errors import InputError
from streaming.runtime.metadata import InputInfo


class InputReader:
    """Reads one input: (n, *features) for a sequence, (*features) for one that is given whole at every call."""

    def __init__(self, info: InputInfo) -> None:
        self.info = info
        self._dtype = np.dtype(info.dtype)
        self._shape = tuple(info.shape)
        self._float = self._dtype.kind == "f"
        self._bounded = self._dtype.kind in "iu" or info.high is not None

    def read(self, value: Any, steps: int | None, finite: bool) -> np.ndarray:
        """A contiguous array of the input's dtype with a batch axis of 1 in front.

        Args:
            value: array-like.
            steps: the number of steps that it must have, None for any.
            finite: refuse NaN and infinity.

        Raises:
            InputError: shape, dtype or values are wrong.
        """
        array = value if type(value) is np.ndarray else self._array(value)
        if array.dtype != self._dtype:
            array = self._cast(array)
        self._check_shape(array, steps)
        if not array.flags.c_contiguous:
            array = np.ascontiguousarray(array)
        if array.size:
            # The squares add up to a finite number in one fast call, unless something is wrong or huge.
            if self._float and finite and not math.isfinite(np.vdot(array, array)):
                self._check_finite(array)
            if self._bounded:
                self._check_range(array)
        return array[None]

    def zeros(self, steps: int) -> np.ndarray:
        """Padding: (1, steps, *features), or (1, *features)."""
        shape = (1, steps, *self._shape) if self.info.time else (1, *self._shape)
        return np.zeros(shape, self._dtype)

    def _array(self, value: Any) -> np.ndarray:
        try:
            array = np.asarray(value)
        except (ValueError, TypeError) as error:
            raise InputError(f"input {self.info.name!r} is no array ({error}); give {self._expected()}") from error
        # An empty list has no dtype of its own.
        return array.astype(self._dtype) if array.size == 0 and isinstance(value, list) else array

    def _cast(self, array: np.ndarray) -> np.ndarray:
        kind = array.dtype.kind
        allowed = {"f": "fiu", "i": "iu", "u": "iu", "b": "b"}[self._dtype.kind]
        if kind not in allowed:
            raise InputError(
                f"input {self.info.name!r} is {array.dtype}, expected {self._dtype}; give {self._expected()}"
            )
        if kind in "iu" and self._dtype.kind in "iu" and array.size:
            limits = np.iinfo(self._dtype)
            if array.min() < limits.min or array.max() > limits.max:
                raise InputError(
                    f"input {self.info.name!r} has values from {array.min()} to {array.max()}, "
                    f"beyond {self._dtype}; give values within {limits.min} to {limits.max}"
                )
        with np.errstate(over="ignore"):
            return array.astype(self._dtype)

    def _check_shape(self, array: np.ndarray, steps: int | None) -> None:
        shape = array.shape
        if not self.info.time:
            good = shape == self._shape
        elif steps is None:
            good = len(shape) > 0 and shape[1:] == self._shape
        else:
            good = shape == (steps, *self._shape)
        if not good:
            raise InputError(
                f"input {self.info.name!r} has shape {shape}, expected {self._expected(steps)}; "
                "give one stream without a batch axis"
            )

    def _expected(self, steps: int | None = None) -> str:
        sizes = [str(size) for size in self._shape]
        if self.info.time:
            sizes = ["steps" if steps is None else str(steps), *sizes]
        return f"{self._dtype} ({', '.join(sizes)}{',' if len(sizes) == 1 else ''})"

    def _check_finite(self, array: np.ndarray) -> None:
        bad = np.argwhere(~np.isfinite(array))
        if len(bad):
            place = tuple(int(i) for i in bad[0])
            raise InputError(
                f"input {self.info.name!r} holds {array[place]} at {place}, expected finite numbers; "
                "clean it, or create the stream with nan='pass'"
            )

    def _check_range(self, array: np.ndarray) -> None:
        low, high = self.info.low, self.info.high
        if (low is not None and array.min() < low) or (high is not None and array.max() >= high):
            bad = array.min() if low is not None and array.min() < low else array.max()
            raise InputError(
                f"input {self.info.name!r} holds the id {bad}, expected {low} to {high - 1 if high else 'any'}; "
                "map what is unknown to the unknown id"
            )
