"""Steps of one stream in a loop, over views of a signature's tensors: no copies through the runtime's wrapper."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.runtime.failures import interpreter_failed


class Sweep:
    """A prepared signature of one stream.

    The wrapper's calls that set and get a tensor cost as much as a small model; an assignment to a view of the tensor
    costs a third. The memory of a tensor stays where it is from one allocation of its graph to the next, and a graph
    is allocated once. The caller has checked shapes and dtypes: assignments broadcast.

    Args:
        invoke: runs the signature.
        into: a view of each input, (1, ...): the model's inputs, the mask where there is one, states, the context.
        out_of: a view of each output: rows, states.
        states: how many states come out.
        timed: which of the model's inputs have a time axis.
        context: whether the last input is the context, which goes on among the states as it came.
    """

    def __init__(
        self,
        invoke: Callable[[], object],
        into: Sequence[NDArray[Any]],
        out_of: Sequence[NDArray[Any]],
        states: int,
        timed: Sequence[bool],
        context: bool,
    ) -> None:
        self._invoke, self._into, self._out_of = invoke, tuple(into), tuple(out_of)
        given = len(self._into) - states - context
        self._timed = [*timed, *[False] * (given - len(timed))]
        self._steps = [view for view, time in zip(self._into, self._timed, strict=False) if time]
        # What stays as it is from step to step.
        self._fixed = [view for view, time in zip(self._into, self._timed, strict=False) if not time]
        self._context = self._into[given + states :]
        self._rows = self._out_of[: len(self._out_of) - states]
        self._states = list(
            zip(self._into[given : given + states], self._out_of[len(self._out_of) - states :], strict=True)
        )

        if self.is_plain:
            self._first, self._row = self._steps[0][0], self._rows[0][0]
            ((self._before, self._after),) = self._states

    def step(self, values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        """One run: values in the order of the inputs to copies of the outputs."""
        try:
            for view, value in zip(self._into, values):  # noqa: B905 - strict costs time on every step
                view[...] = value
            self._invoke()
            return [view.copy() for view in self._out_of]
        except (ValueError, RuntimeError) as error:
            raise interpreter_failed(error) from error

    @property
    def is_plain(self) -> bool:
        """Whether the signature has one input and one state, and one output beside that: `step_one` takes it."""
        return len(self._steps) == len(self._rows) == len(self._states) == 1 and not self._context

    def step_one(self, value: NDArray[Any], state: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        """`step` of a plain signature: steps (n, ...) and the state (1, size) to rows (m, ...) and the next state."""
        try:
            for mask in self._fixed:
                mask.fill(1)
            self._first[...] = value
            self._before[...] = state
            self._invoke()
            return self._row.copy(), self._after.copy()
        except (ValueError, RuntimeError) as error:
            raise interpreter_failed(error) from error

    def run(
        self, values: Sequence[NDArray[Any]], states: Sequence[NDArray[Any]], count: int
    ) -> tuple[list[NDArray[Any]], list[NDArray[Any]]]:
        """`count` runs, each from the states of the one before.

        Args:
            values: inputs with their steps one after the other, (1, count * steps, ...) or (1, ...), then the mask.
            states: (1, size) each, then the context.

        Returns:
            The rows of each output (1, count * rows, ...), and the states as they were given.
        """
        pairs = list(zip(values, self._timed, strict=True))
        fixed = [*(value for value, time in pairs if not time), *states[len(self._states) :]]
        for view, value in zip([*self._fixed, *self._context], fixed, strict=True):
            view[...] = value
        for (view, _), state in zip(self._states, states, strict=False):
            view[...] = state
        timed = [value for value, time in pairs if time]
        parts = [value.reshape(count, *view.shape) for value, view in zip(timed, self._steps, strict=True)]
        rows = [np.empty((count, *view.shape), view.dtype) for view in self._rows]
        try:
            if len(parts) == len(rows) == len(self._states) == 1:
                self._run_one(parts[0], rows[0])
            else:
                self._run_all(parts, rows, count)
        except (ValueError, RuntimeError) as error:
            raise interpreter_failed(error) from error
        joined = [array.reshape(1, -1, *array.shape[3:]) for array in rows]
        return joined, [*(view.copy() for _, view in self._states), *states[len(self._states) :]]

    def _run_one(self, part: NDArray[Any], rows: NDArray[Any]) -> None:
        """`_run_all` of one input, one output and one state, which most models have."""
        invoke, into, row, ((before, after),) = self._invoke, self._steps[0], self._rows[0], self._states
        for index, value in enumerate(part):
            if index:
                before[...] = after
            into[...] = value
            invoke()
            rows[index] = row

    def _run_all(self, parts: list[NDArray[Any]], rows: list[NDArray[Any]], count: int) -> None:
        steps = list(zip(self._steps, parts, strict=True))
        results = list(zip(rows, self._rows, strict=True))
        for index in range(count):
            if index:
                for before, after in self._states:
                    before[...] = after
            for view, part in steps:
                view[...] = part[index]
            self._invoke()
            for array, view in results:
                array[index] = view
