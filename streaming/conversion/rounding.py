"""Operations that may not be rounded to int8, beside arithmetic, so that nothing is lost on the way to it."""

from __future__ import annotations

from typing import Any

from streaming._compat.tensorflow import schema
from streaming.conversion.micro import MOVES


def unrounded(model: Any, graph: Any, constants: set[int]) -> set[int]:
    """The results of operations that take constants, of all before them, and of what only moves these values.

    Samples that were rounded to int8 on their way into a front end, or in the frame that it keeps, would be those of 8
    bits.
    """
    made = {int(index): op for op in graph.operators for index in op.outputs}
    kept: set[int] = set()
    wanted = [int(index) for op in graph.operators if constants & set(map(int, op.inputs)) for index in op.outputs]
    while wanted:
        index = wanted.pop()
        if index not in kept and index in made:
            kept.add(index)
            wanted += map(int, made[index].inputs)
    before = {int(index) for index in kept for index in made[index].inputs} | kept
    for op in graph.operators:
        if _name(model, op) in MOVES and before & set(map(int, op.inputs)):
            kept |= set(map(int, op.outputs))
            before |= set(map(int, op.outputs))
    return kept


def names_of_moved(flatbuffer: bytes, arithmetic: frozenset[str]) -> list[str]:
    """Names of the results that only arithmetic makes and reads, through operations that move values.

    The quantizer would round these, and clip them at what the calibration has: a count of steps that is reshaped on
    its way to a division would stand still where the calibration ends.
    """
    if not arithmetic:
        return []
    model, names = schema.ModelT.InitFromPackedBuf(flatbuffer, 0), []
    for place in {int(item.subgraphIndex) for item in model.signatureDefs}:
        graph = model.subgraphs[place]
        moves = [op for op in graph.operators if _name(model, op) in MOVES]
        others = [op for op in graph.operators if _name(model, op) not in MOVES | arithmetic]
        rounded = {int(index) for op in others for index in (*op.inputs, *op.outputs)}
        groups = [{int(index) for index in (*op.inputs, *op.outputs) if _is_float(model, graph, index)} for op in moves]
        while grown := {index for group in groups if group & rounded for index in group} - rounded:
            rounded |= grown
        kept = [op for op, group in zip(moves, groups, strict=True) if group and not group & rounded]
        names += [graph.tensors[int(index)].name.decode() for op in kept for index in op.outputs]
    return names


def _name(model: Any, op: Any) -> str:
    code = model.operatorCodes[op.opcodeIndex]
    return _NAMES[max(code.builtinCode, code.deprecatedBuiltinCode)]


def _is_float(model: Any, graph: Any, index: Any) -> bool:
    tensor = graph.tensors[int(index)]
    data = model.buffers[tensor.buffer].data
    return bool(tensor.type == schema.TensorType.FLOAT32 and (data is None or not len(data)))


_NAMES = {number: name for name, number in vars(schema.BuiltinOperator).items() if name.isupper()}
