"""Costs of a step: multiply-adds, bytes of weights, and operations, counted in the flatbuffer."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from streaming.errors import ArtifactError
from streaming.runtime import flatbuffer
from streaming.runtime.flatbuffer import Graph, Operation

_PRODUCTS = frozenset("FULLY_CONNECTED CONV_2D DEPTHWISE_CONV_2D CONV_3D TRANSPOSE_CONV BATCH_MATMUL".split())


@dataclass(frozen=True)
class Cost:
    """Cost of one invoke of a signature.

    multiply_adds: of its matrix products and convolutions; weight_bytes: bytes of the constants that it reads, each
    counted once; operations: name -> number of runs.
    """

    multiply_adds: int
    weight_bytes: int
    operations: dict[str, int]


@dataclass(frozen=True)
class Costs:
    """Costs of each signature, and the bytes of all constants in the file: signatures share theirs."""

    signatures: dict[str, Cost]
    weight_bytes: int


def count_costs(content: bytes) -> Costs:
    """The costs in a flatbuffer; raises ArtifactError where it is damaged."""
    model = flatbuffer.read_flatbuffer(content)
    signatures = {name: _cost(_unrolled(model.graphs, index)) for name, index in model.signatures.items()}
    return Costs(signatures, sum(_constants(*model.graphs).values()))


def _unrolled(graphs: Sequence[Graph], index: int) -> list[tuple[Graph, int]]:
    """The subgraphs that run, each with how often."""
    subgraphs = [(graphs[index], 1)]
    # A loop calls only what comes after it in this list; one that calls itself is refused by its depth.
    for graph, times in subgraphs:
        for condition, body in (operation.loop for operation in graph.operations if operation.loop):
            if len(subgraphs) > len(graphs):
                raise ArtifactError("the TFLite model is damaged (a loop calls itself); copy or convert it again")
            subgraphs.append((graphs[body], times * _rounds(graphs[condition])))
    return subgraphs


def _rounds(condition: Graph) -> int:
    """Number of iterations of a loop that counts from zero to a constant; 1 for any other."""
    for operation in condition.operations:
        limit = condition.tensors[operation.inputs[-1]].word if operation.inputs else None
        if operation.name == "LESS" and limit is not None:
            return max(limit, 0)
    return 1


def _cost(parts: list[tuple[Graph, int]]) -> Cost:
    counts: Counter[str] = Counter()
    adds = 0
    for graph, times in parts:
        for operation in graph.operations:
            counts[operation.name] += times
            adds += times * multiply_adds(operation, graph)
    return Cost(adds, sum(_constants(*(graph for graph, _ in parts)).values()), dict(sorted(counts.items())))


def _constants(*graphs: Graph) -> dict[int, int]:
    """Bytes by number of the buffer, so that what is shared counts once."""
    return {tensor.buffer: tensor.constant_bytes for graph in graphs for tensor in graph.tensors}


def multiply_adds(operation: Operation, graph: Graph) -> int:
    """Multiply-adds of one operation, from the shapes of its tensors; 0 for what is neither product nor convolution."""
    shapes = [graph.tensors[index].shape if index >= 0 else () for index in operation.inputs]
    if operation.name not in _PRODUCTS or len(shapes) < 2 or not operation.outputs or operation.outputs[0] < 0:
        return 0
    output = graph.tensors[operation.outputs[0]].shape
    weights = shapes[1]
    if len(weights) < 2 or any(size < 0 for size in (*output, *shapes[0], *weights)):
        return 0
    if operation.name == "FULLY_CONNECTED":  # weights (out, in)
        return math.prod(output) * weights[-1]
    if operation.name in ("CONV_2D", "DEPTHWISE_CONV_2D"):  # (out, H, W, in) and (1, H, W, out)
        depth = weights[-1] if operation.name == "CONV_2D" else 1
        return math.prod(output) * math.prod(weights[1:-1]) * depth
    if operation.name == "CONV_3D":  # (D, H, W, in, out)
        return math.prod(output) * math.prod(weights[:-1])
    if operation.name == "TRANSPOSE_CONV":  # inputs: output shape, weights (out, H, W, in), values
        values = shapes[2] if len(shapes) > 2 else ()
        return math.prod(values) * math.prod(weights[:-1])
    inner = shapes[0][-2 if operation.transposed else -1] if len(shapes[0]) > 1 else 0
    return math.prod(output) * inner
