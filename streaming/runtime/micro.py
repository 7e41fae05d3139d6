"""An interpreter of TensorFlow Lite for Microcontrollers (PyPI's `tflite-micro`), with signatures by name.

It runs only the first subgraph: signature `step` of a file made by `convert(..., target="micro")`.
"""

from __future__ import annotations

import contextlib
import os
import re
import tempfile
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.runtime.flatbuffer import Graph, read_flatbuffer
from streaming.runtime.quiet import quiet

# Bytes of arena at least: the library's own guess, ten times the model, is too small for small models with wide states.
_LEAST_ARENA = 1 << 20
_ALIGNMENT = 16
# How it says which operation failed.
_NODE = re.compile(r"Node (\w+) \(number (\d+)\w*\) failed to (\w+)")
_ABSENT = re.compile(r"Didn't find op for builtin opcode '(\w+)'")
# Numbers of the schema's TensorType.
_DTYPES = {0: "float32", 1: "float16", 2: "int32", 3: "uint8", 4: "int64", 6: "bool", 7: "int16", 9: "int8"}


class Interpreter:
    """The part of LiteRT's `Interpreter` that a stream needs.

    model_content: the flatbuffer; arena_size: bytes for tensors, None for more than enough.

    Raises RuntimeError where the library refuses the model: an operation that it lacks, or an arena that is too small.
    """

    def __init__(self, model_content: bytes, num_threads: int = 1, arena_size: int | None = None) -> None:
        from tflite_micro.python.tflite_micro import runtime

        content = read_flatbuffer(model_content)
        self._names = _signature_tensors(content.model)
        self._graph: Graph = content.graphs[0]
        size = arena_size or max(_LEAST_ARENA, 10 * len(model_content))
        self._inner = _explained(partial(runtime.Interpreter.from_bytes, model_content, arena_size=size))

    def places(self) -> tuple[dict[str, int], dict[str, int]]:
        """Places of the inputs and of the outputs in the order of the subgraph, by name."""
        inputs, outputs = self._names
        return (
            {name: self._graph.inputs.index(number) for name, number in inputs.items()},
            {name: self._graph.outputs.index(number) for name, number in outputs.items()},
        )

    def get_signature_list(self) -> dict[str, Any]:
        """The names of the inputs and outputs of `step`."""
        return {"step": {"inputs": list(self._names[0]), "outputs": list(self._names[1])}}

    def get_signature_runner(self, name: str) -> Runner:
        """The runner of `step`."""
        return Runner(self._inner, self._graph, self.places())


def least_arena(model_content: bytes) -> int:
    """Bytes of the smallest arena, a multiple of 16, in which the library can allocate and run a model.

    Raises RuntimeError where no arena is large enough.
    """
    # With less than it takes for good, some of the library's operations crash.
    low = _allocated(Interpreter(model_content)) // _ALIGNMENT - 1
    high = max(_LEAST_ARENA, 10 * len(model_content)) // _ALIGNMENT
    while low + 1 < high:
        middle = (low + high) // 2
        try:
            Interpreter(model_content, arena_size=middle * _ALIGNMENT)
            high = middle
        except RuntimeError:
            low = middle
    return high * _ALIGNMENT


def _allocated(interpreter: Interpreter) -> int:
    """Bytes that tensors and operations take of the arena once all is allocated; 0 where the library does not say."""
    said = re.search(r"Arena allocation total (\d+) bytes", _heard(interpreter._inner.print_allocations))
    return int(said[1]) if said else 0


def _explained(call: Callable[[], Any]) -> Any:
    """What a call of the library gives; it says on standard error why it fails, which its exception leaves out."""
    try:
        with quiet():
            return call()
    except RuntimeError as error:
        said = [line.strip() for line in _heard(call).splitlines()]
        if absent := next((match for line in said if (match := _ABSENT.match(line))), None):
            raise RuntimeError(f"TFLM has no operation {absent[1]}") from error
        node = next((match for line in said if (match := _NODE.match(line))), None)
        if node is None:
            raise
        before = said[: said.index(node.string)]
        why = f": {before[-1].rstrip('.')}" if before and before[-1] else ""
        raise RuntimeError(f"operation {node[2]} of the graph, {node[1]}, failed to {node[3]}{why}") from error


def _heard(call: Callable[[], Any]) -> str:
    """What a call says on standard error, whether it fails or not."""
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as file:
            os.dup2(file.fileno(), 2)
            with contextlib.suppress(RuntimeError):
                call()
            file.seek(0)
            return file.read().decode("utf-8", "replace")
    finally:
        os.dup2(saved, 2)
        os.close(saved)


class Runner:
    """Runs the first subgraph: `runner(name=array, ...)` gives a dict of arrays."""

    def __init__(self, inner: Any, graph: Graph, places: tuple[dict[str, int], dict[str, int]]) -> None:
        self._inner, self._graph = inner, graph
        self._into, self._out_of = places

    def get_input_details(self) -> dict[str, dict[str, Any]]:
        """Shape and dtype of each input, by name."""
        return {name: self._details(self._graph.inputs[place]) for name, place in self._into.items()}

    def get_output_details(self) -> dict[str, dict[str, Any]]:
        """Shape and dtype of each output, by name."""
        return {name: self._details(self._graph.outputs[place]) for name, place in self._out_of.items()}

    def _details(self, number: int) -> dict[str, Any]:
        tensor = self._graph.tensors[number]
        if tensor.kind not in _DTYPES:
            raise RuntimeError(f"a tensor at the boundary has type {tensor.kind} of the schema")
        return {"index": number, "shape": np.array(tensor.shape), "dtype": np.dtype(_DTYPES[tensor.kind])}

    def __call__(self, **values: NDArray[Any]) -> dict[str, NDArray[Any]]:
        for name, place in self._into.items():
            self._inner.set_input(values[name], place)
        _explained(self._inner.invoke)
        return {name: self._inner.get_output(place) for name, place in self._out_of.items()}


def _signature_tensors(model: Any) -> tuple[dict[str, int], dict[str, int]]:
    """Numbers of the tensors of signature `step`, by name: inputs, outputs."""
    signature = next(table for table in model.tables(7) if table.text(2) == "step")
    inputs, outputs = ({item.text(0): item.integer(1, "<I") for item in signature.tables(field)} for field in (0, 1))
    return inputs, outputs
