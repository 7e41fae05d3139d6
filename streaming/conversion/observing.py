"""Ranges of the values of a graph's tensors, for the calibration of graphs with loops.

TensorFlow's calibrator crashes where a graph runs a loop. Here an interpreter keeps all tensors of the graph; those
inside of the loops are not seen, so that loops stay in float32.
"""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import tensorflow as tf

from streaming._compat.tensorflow import schema
from streaming.conversion.rollout import Samples


def has_loops(flatbuffer: bytes) -> bool:
    """Whether a model has loops."""
    return any(map(_is_loop, schema.ModelT.InitFromPackedBuf(flatbuffer, 0).operatorCodes))


def observed(flatbuffer: bytes, samples: Samples) -> bytes:
    """The model with the smallest and largest value of each float32 tensor, as the calibrator notes them."""
    model = schema.ModelT.InitFromPackedBuf(flatbuffer, 0)
    interpreter = tf.lite.Interpreter(
        model_content=flatbuffer,
        experimental_preserve_all_tensors=True,
        experimental_op_resolver_type=tf.lite.experimental.OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES,
    )
    graphs = {item.signatureKey.decode(): int(item.subgraphIndex) for item in model.signatureDefs}
    kept = {place: _computed(model, model.subgraphs[place]) for place in graphs.values()}
    limits: dict[tuple[int, int], tuple[float, float]] = {}
    for name, inputs in samples():
        interpreter.get_signature_runner(name)(**inputs)
        for index in kept[graphs[name]]:
            values = interpreter.get_tensor(index, graphs[name])
            low, high = limits.get((graphs[name], index), (np.inf, -np.inf))
            limits[graphs[name], index] = min(low, float(values.min())), max(high, float(values.max()))
    for (graph, index), (low, high) in limits.items():
        tensor = model.subgraphs[graph].tensors[index]
        tensor.quantization = schema.QuantizationParametersT(min=[low], max=[high])
    builder = flatbuffers.Builder(1 << 20)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def _computed(model: Any, graph: Any) -> list[int]:
    """The float32 tensors of a graph that are inputs, or results of anything but loops, whose tensors are not kept."""
    loops = {place for place, code in enumerate(model.operatorCodes) if _is_loop(code)}
    made = {int(index) for op in graph.operators if op.opcodeIndex not in loops for index in op.outputs}
    made |= {int(index) for index in graph.inputs}
    return [index for index in sorted(made) if graph.tensors[index].type == schema.TensorType.FLOAT32]


def _is_loop(code: Any) -> bool:
    return schema.BuiltinOperator.WHILE in (code.builtinCode, code.deprecatedBuiltinCode)
