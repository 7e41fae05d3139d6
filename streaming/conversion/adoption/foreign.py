"""A TFLite model of another tool, opened for the few edits that make a streaming file of it.

Inputs and outputs are reshaped by a RESHAPE before the first or after the last operation, and signatures are replaced;
the operations in between do not change. Needs LiteRT's schema and no TensorFlow.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError, StreamingError
from streaming.runtime import verifier

_SUBGRAPHS = {
    "WHILE": ("condSubgraphIndex", "bodySubgraphIndex"),
    "IF": ("thenSubgraphIndex", "elseSubgraphIndex"),
    "CALL": ("subgraph",),
}


@dataclass(frozen=True)
class TensorInfo:
    """An input or output tensor: its name, number, shape and dtype, and scale and zero point where it is quantized."""

    name: str
    index: int
    shape: tuple[int, ...]
    dtype: str
    scale: float | None = None
    zero_point: int | None = None

    @property
    def sizes(self) -> tuple[int, ...]:
        """The shape without axes of one."""
        return tuple(size for size in self.shape if size != 1)

    def __str__(self) -> str:
        return f"{self.name} {self.dtype} {list(self.shape)}"


@dataclass(frozen=True)
class Variable:
    """A state that the model itself keeps between two invokes."""

    name: str
    shape: tuple[int, ...]
    dtype: str


class ForeignModel:
    """The parts of a TFLite model that adopting looks at and changes.

    Args:
        content: the bytes of the file.
        name: of the file, for errors.
        signature: whose inputs and outputs are a step; None for the only one, or the whole first subgraph.
        trust: as `streaming.load` takes it.

    Raises:
        ArtifactError: the bytes are no sound TFLite model.
        InputError: there is no such signature, or several to choose from.
    """

    def __init__(self, content: bytes, name: str, signature: str | None = None, *, trust: bool = False) -> None:
        self._schema = _tools()
        try:
            verifier.verify(content, trust=trust)
        except ArtifactError as error:
            raise ArtifactError(f"{name}: {error}") from error
        self._model = self._schema.ModelT.InitFromPackedBuf(content, 0)
        self._model.signatureDefs = self._model.signatureDefs or []
        self._operations = [self._operation_name(code) for code in self._model.operatorCodes]
        chosen = self._choose(signature, name)
        self.place = chosen.subgraphIndex if chosen is not None else 0
        self.signature = _text(chosen.signatureKey) if chosen is not None else None
        graph = self._graph = self._model.subgraphs[self.place]
        self.inputs = self._boundary(_entries(graph.inputs), chosen and chosen.inputs)
        self.outputs = self._boundary(_entries(graph.outputs), chosen and chosen.outputs)

    @property
    def variables(self) -> list[Variable]:
        """States inside the model: resource variables, and tensors that keep their values."""
        variables: dict[str, Variable] = {}
        for graph in self._reachable(self.place):
            for tensor in graph.tensors:
                if tensor.isVariable:
                    info = self._info(graph, tensor, _text(tensor.name))
                    variables[info.name] = Variable(info.name, info.shape, info.dtype)
        for key, (graph, index) in self._assigned(self.place).items():
            info = self._info(graph, graph.tensors[index], key)
            variables[key] = Variable(key, info.shape, info.dtype)
        return list(variables.values())

    def reset_place(self, name: str | None) -> int | None:
        """The subgraph that gives every state inside the model its initial value; None where there is none.

        It is the subgraph of the signature `name`, by default of "reset", or otherwise the subgraph that CALL_ONCE runs
        at the start, if it sets all the variables and does nothing else.

        Raises InputError where `name` is no signature without inputs.
        """
        signatures = {_text(item.signatureKey): item for item in self._model.signatureDefs}
        if name is not None and name not in signatures:
            raise InputError(f"there is no signature {name!r} to reset by; known: {', '.join(signatures) or 'none'}")
        chosen = signatures.get("reset" if name is None else name)
        if chosen is not None and not chosen.inputs:
            return chosen.subgraphIndex
        if name is not None:
            raise InputError(f"signature {name!r} takes inputs, a reset takes none; give another, or leave it out")
        return self._init_place()

    def reshape(self, info: TensorInfo, shape: Sequence[int], into: bool) -> int:
        """Reshape an input (`into`) or output of the model; returns the number of the new tensor."""
        if tuple(shape) == info.shape:
            return info.index
        schema, graph = self._schema, self._graph
        old = graph.tensors[info.index]
        outside, target = schema.TensorT(), schema.TensorT()
        outside.shape, outside.type, outside.quantization = np.array(shape, np.int32), old.type, old.quantization
        outside.name, outside.hasRank = f"{info.name}/{'taken' if into else 'given'}".encode(), True
        result = np.array(info.shape if into else shape, np.int32)
        target.shape, target.type = np.array([len(result)], np.int32), schema.TensorType.INT32
        target.buffer, target.name = self._constant(result), f"{info.name}/shape".encode()
        if into:
            old.shapeSignature = None  # the sizes are those of the new input
        new, constant = len(graph.tensors), len(graph.tensors) + 1
        graph.tensors += [outside, target]
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(schema.BuiltinOperator.RESHAPE)
        operator.inputs = [new if into else info.index, constant]
        operator.outputs = [info.index if into else new]
        operator.builtinOptionsType = schema.BuiltinOptions.ReshapeOptions
        operator.builtinOptions = schema.ReshapeOptionsT()
        operator.builtinOptions.newShape = result
        graph.operators.insert(0 if into else len(graph.operators), operator)
        return new

    def cast(self, info: TensorInfo, index: int, into: bool) -> int:
        """Replace bool input (`into`) or output `index` of the model by int32; returns the number of the new tensor."""
        schema, graph = self._schema, self._graph
        old, outside = graph.tensors[index], schema.TensorT()
        outside.shape, outside.type, outside.hasRank = old.shape, schema.TensorType.INT32, True
        outside.name = f"{info.name}/{'flags' if into else 'as_flags'}".encode()
        new = len(graph.tensors)
        graph.tensors.append(outside)
        operator = schema.OperatorT()
        operator.opcodeIndex = self._code(schema.BuiltinOperator.CAST)
        operator.inputs, operator.outputs = [new if into else index], [index if into else new]
        operator.builtinOptionsType = schema.BuiltinOptions.CastOptions
        operator.builtinOptions = schema.CastOptionsT()
        kinds = schema.TensorType.INT32, schema.TensorType.BOOL
        operator.builtinOptions.inDataType, operator.builtinOptions.outDataType = kinds if into else kinds[::-1]
        graph.operators.insert(0 if into else len(graph.operators), operator)
        return new

    def write(
        self,
        inputs: Mapping[str, int],
        outputs: Mapping[str, int],
        reset: int | None,
        name: str = "",
        files: Iterable[str] = (),
    ) -> bytes:
        """The flatbuffer with the signatures `step`, of tensors by name, and `reset`, a subgraph.

        name, files: of the model and of what comes with it.
        """
        self._graph.inputs, self._graph.outputs = list(inputs.values()), list(outputs.values())
        signatures = [self._signature("step", self.place, inputs, outputs)]
        if reset is not None:
            graph = self._model.subgraphs[reset]
            names = {f"output_{place}": index for place, index in enumerate(_entries(graph.outputs))}
            signatures.append(self._signature("reset", reset, {}, names))
        self._model.signatureDefs = signatures
        from streaming.conversion.finishing import finish  # needs flatbuffers, as the schema does

        return finish(self._model, self._schema, name, files)

    def _choose(self, signature: str | None, name: str) -> Any:
        signatures = {_text(item.signatureKey): item for item in self._model.signatureDefs}
        if signature is not None:
            if signature not in signatures:
                raise InputError(f"{name} has no signature {signature!r}; known: {', '.join(signatures) or 'none'}")
            return signatures[signature]
        steps = [key for key, item in signatures.items() if item.inputs]
        preferred = [key for key in ("step", "serving_default") if key in steps]
        if len(steps) > 1 and not preferred:
            raise InputError(f"{name} has the signatures {', '.join(steps)}; give signature= the one that is a step")
        chosen = preferred[:1] or steps
        return signatures[chosen[0]] if chosen else None

    def _boundary(self, indexes: list[int], entries: Any) -> dict[str, TensorInfo]:
        """Tensors by the names of a signature, or else by their own."""
        graph = self._graph
        if entries:
            named = {_text(entry.name): entry.tensorIndex for entry in entries}
        else:
            named = {}
            for index in indexes:
                name = _text(graph.tensors[index].name) or f"tensor_{index}"
                named[f"{name}_{index}" if name in named else name] = index
        return {name: self._info(graph, graph.tensors[index], name, index) for name, index in named.items()}

    def _info(self, graph: Any, tensor: Any, name: str, index: int = -1) -> TensorInfo:
        kind = _dtypes(self._schema).get(tensor.type)
        if kind is None:
            names = {value: key for key, value in vars(self._schema.TensorType).items() if key.isupper()}
            raise InputError(
                f"tensor {name!r} is {names.get(tensor.type, tensor.type)}, which a stream cannot carry; "
                "make it a number in the model"
            )
        scale, zero = _quantization(tensor)
        return TensorInfo(name, index, tuple(map(int, _entries(tensor.shape))), kind, scale, zero)

    def _named(self, graph: Any) -> Iterator[tuple[str, Any]]:
        for operator in graph.operators or ():
            yield self._operations[operator.opcodeIndex], operator

    def _operation_name(self, code: Any) -> str:
        number = max(code.builtinCode, code.deprecatedBuiltinCode)
        return next((key for key, value in vars(self._schema.BuiltinOperator).items() if value == number), "")

    def _reachable(self, place: int) -> list[Any]:
        """A subgraph and those that it runs at every invoke."""
        graphs, waiting = {}, [place]
        while waiting:
            number = waiting.pop()
            graph = graphs[number] = self._model.subgraphs[number]
            for name, operator in self._named(graph):
                called = [getattr(operator.builtinOptions, field) for field in _SUBGRAPHS.get(name, ())]
                waiting += [item for item in called if item not in graphs]
        return list(graphs.values())

    def _assigned(self, place: int) -> dict[str, tuple[Any, int]]:
        """Resource variables that a subgraph sets, with the tensor that goes in; others are constants."""
        assigned: dict[str, tuple[Any, int]] = {}
        for graph in self._reachable(place):
            handles: dict[int, str] = {}
            for name, operator in self._named(graph):
                if name == "VAR_HANDLE":
                    options = operator.builtinOptions
                    handles[operator.outputs[0]] = "/".join(
                        filter(None, (_text(options.container), _text(options.sharedName)))
                    )
                elif name == "ASSIGN_VARIABLE":
                    assigned[handles.get(operator.inputs[0], "variable")] = graph, operator.inputs[1]
        return assigned

    def _init_place(self) -> int | None:
        graphs = self._reachable(self.place)
        if any(tensor.isVariable for graph in graphs for tensor in graph.tensors):
            return None
        places = {
            operator.builtinOptions.initSubgraphIndex
            for graph in graphs
            for name, operator in self._named(graph)
            if name == "CALL_ONCE"
        }
        for place in places if len(places) == 1 else ():
            graph = self._model.subgraphs[place]
            names = {name for name, _ in self._named(graph)}
            sets = {key for key, (_, index) in self._assigned(place).items() if self._is_constant(graph, index)}
            if names == {"VAR_HANDLE", "ASSIGN_VARIABLE"} and sets >= set(self._assigned(self.place)):
                return place
        return None

    def _is_constant(self, graph: Any, index: int) -> bool:
        data = self._model.buffers[graph.tensors[index].buffer].data
        return data is not None and len(data) > 0

    def _constant(self, values: NDArray[Any]) -> int:
        buffer = self._schema.BufferT()
        buffer.data = np.frombuffer(values.astype("<i4").tobytes(), np.uint8)
        self._model.buffers.append(buffer)
        return len(self._model.buffers) - 1

    def _code(self, number: int) -> int:
        for place, code in enumerate(self._model.operatorCodes):
            if max(code.builtinCode, code.deprecatedBuiltinCode) == number and not code.customCode:
                return place
        code = self._schema.OperatorCodeT()
        code.builtinCode = code.deprecatedBuiltinCode = number
        code.version = 1
        self._model.operatorCodes.append(code)
        self._operations.append(self._operation_name(code))
        return len(self._model.operatorCodes) - 1

    def _signature(self, key: str, place: int, inputs: Mapping[str, int], outputs: Mapping[str, int]) -> Any:
        entry = self._schema.SignatureDefT()
        entry.signatureKey, entry.subgraphIndex = key.encode(), place
        entry.inputs, entry.outputs = self._maps(inputs), self._maps(outputs)
        return entry

    def _maps(self, tensors: Mapping[str, int]) -> list[Any]:
        entries = []
        for name, index in tensors.items():
            item = self._schema.TensorMapT()
            item.name, item.tensorIndex = name.encode(), index
            entries.append(item)
        return entries


def _tools() -> Any:
    try:
        from ai_edge_litert import schema_py_generated
    except ImportError as error:
        raise StreamingError(
            f"adopting a model needs ai-edge-litert, which is not installed ({error}); pip install ai-edge-litert"
        ) from error
    return schema_py_generated


def _dtypes(schema: Any) -> dict[int, str]:
    kinds = schema.TensorType
    return {
        kinds.FLOAT32: "float32",
        kinds.INT32: "int32",
        kinds.UINT8: "uint8",
        kinds.INT64: "int64",
        kinds.BOOL: "bool",
        kinds.INT16: "int16",
        kinds.INT8: "int8",
    }


def _quantization(tensor: Any) -> tuple[float | None, int | None]:
    quantization = tensor.quantization
    scales = _entries(quantization.scale) if quantization is not None else []
    if len(scales) != 1 or not math.isfinite(scales[0]) or scales[0] <= 0:
        return None, None
    zeros = _entries(quantization.zeroPoint)
    return float(scales[0]), int(zeros[0]) if zeros else 0


def _entries(values: Any) -> list[Any]:
    return [] if values is None else list(values)


def _text(value: Any) -> str:
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value or "")
