"""Stateful TFLite models as other tools make them: no streaming.json, signatures or none, states of every kind."""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import flatbuffers
import numpy as np
import runtime_models
from runtime_models import noise, tflite
from tensorflow.lite.python import schema_py_generated as schema

TAPS = noise(4, 6, 3, seed=3)
SVDF_FEATURES, SVDF_MEMORY, SVDF_UNITS = 5, 4, 3


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Without what TensorFlow says while it quantizes."""
    with runtime_models.silent(), warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def signed(**functions: tuple[Callable[..., Any], Mapping[str, tuple[tuple[int, ...], str]]]) -> bytes:
    """Functions with their inputs as signatures by name."""
    import tensorflow as tf

    made = {}
    for name, (function, inputs) in functions.items():
        specs = {key: tf.TensorSpec(shape, dtype, name=key) for key, (shape, dtype) in inputs.items()}
        made[name] = tf.function(function, autograph=False).get_concrete_function(**specs)
    return tflite(tf.Module(), made)


def edited(content: bytes, change: Callable[[Any], None]) -> bytes:
    """The flatbuffer after a change of its object."""
    model = schema.ModelT.InitFromPackedBuf(content, 0)
    change(model)
    builder = flatbuffers.Builder(1 << 16)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def unsigned(content: bytes) -> bytes:
    """The flatbuffer without signatures: tensors have their own names alone."""

    def change(model: Any) -> None:
        model.signatureDefs = []

    return edited(content, change)


def lstm(x: Any, h: Any, c: Any) -> Any:
    """One step of a small LSTM whose states have one shape: shapes do not tell which is which."""
    import tensorflow as tf

    gates = tf.concat([x[:, 0], h], axis=1) @ tf.constant(noise(9, 16, seed=1))
    i, f, g, o = tf.split(gates, 4, axis=1)
    c = tf.sigmoid(f) * c + tf.sigmoid(i) * tf.tanh(g)
    h = tf.sigmoid(o) * tf.tanh(c)
    return {"y": (h @ tf.constant(noise(4, 2, seed=2)))[:, None], "h_next": h, "c_next": c}


LSTM_INPUTS = {"x": ((1, 1, 5), "float32"), "h": ((1, 4), "float32"), "c": ((1, 4), "float32")}


@functools.cache
def lstm_model() -> bytes:
    """Float32, two states of one shape."""
    return signed(serving_default=(lstm, LSTM_INPUTS))


@functools.cache
def mixed_model() -> bytes:
    """A chunk of three steps, an input without time, a state (2, 1, 6) without a batch axis in front, two outputs."""
    import tensorflow as tf

    def step(x: Any, gain: Any, past: Any) -> Any:
        line = tf.concat([tf.reshape(past, (2, 6)), x[0]], axis=0)
        rows = tf.stack([line[t] + line[t + 1] - line[t + 2] for t in range(3)]) * gain[0]
        return {"rows": rows[None, :, None], "best": tf.argmax(rows, 1)[None, -1:], "later": line[3:, None]}

    inputs = {"x": ((1, 3, 6), "float32"), "gain": ((1, 6), "float32"), "past": ((2, 1, 6), "float32")}
    return signed(run=(step, inputs), other=(lambda x: {"z": -x}, {"x": ((1, 2), "float32")}))


@functools.cache
def quantized_model() -> bytes:
    """y_t = TAPS over the last four rows, int8 at the boundary; the state is a line of three rows."""
    import tensorflow as tf

    def step(x: Any, line: Any) -> Any:
        rows = tf.concat([line, x], axis=1)
        return {"y": tf.tanh(tf.einsum("bti,tio->bo", rows, tf.constant(TAPS)))[:, None], "moved": rows[:, 1:]}

    specs = [tf.TensorSpec((1, 1, 6), name="x"), tf.TensorSpec((1, 3, 6), name="line")]
    concrete = tf.function(step, autograph=False).get_concrete_function(*specs)
    with silent():
        converter = tf.lite.TFLiteConverter.from_concrete_functions([concrete])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        rows = 2 * noise(40, 4, 6, seed=9) + 0.5
        converter.representative_dataset = lambda: ([row[None, :1], row[None, 1:]] for row in rows)
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        converter.inference_input_type = converter.inference_output_type = tf.int8
        return converter.convert()


@functools.cache
def variable_model(reset: str | None = None) -> bytes:
    """level_t = 0.9 level_(t-1) + the mean of a chunk (1, 2, 3), from 0.5 on, in a variable."""
    import tensorflow as tf

    class Level(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level = tf.Variable(tf.fill((1, 3), 0.5), name="level")
            self.offset = tf.Variable(tf.fill((3,), 0.25), name="offset")

        @tf.function(autograph=False)
        def step(self, x: Any) -> Any:
            self.level.assign(0.9 * self.level + tf.reduce_mean(x, axis=1))
            return {"level": self.level.read_value() + self.offset}

        @tf.function(autograph=False)
        def begin(self) -> Any:
            self.level.assign(tf.fill((1, 3), 0.5))
            return {"done": tf.constant(1)}

    module = Level()
    functions = {"serving_default": module.step.get_concrete_function(x=tf.TensorSpec((1, 2, 3), name="x"))}
    if reset is not None:
        functions[reset] = module.begin.get_concrete_function()
    return tflite(module, functions)


def level_oracle(x: np.ndarray) -> np.ndarray:
    """What `variable_model` computes from (T, 3)."""
    level, rows = np.full(3, 0.5), []
    for chunk in x.reshape(-1, 2, 3):
        level = 0.9 * level + chunk.mean(axis=0)
        rows.append(level + 0.25)
    return np.array(rows)


def svdf_weights() -> tuple[np.ndarray, np.ndarray]:
    """Feature weights (units, features) and time weights (units, memory)."""
    return noise(SVDF_UNITS, SVDF_FEATURES, seed=5), noise(SVDF_UNITS, SVDF_MEMORY, seed=6)


@functools.cache
def svdf_model() -> bytes:
    """An SVDF operation, whose state is a tensor that keeps its values: no variables, no CALL_ONCE, no reset."""
    features, time = svdf_weights()

    def tensor(name: str, shape: tuple[int, ...], data: np.ndarray | None = None, variable: bool = False) -> int:
        found = schema.TensorT()
        found.name, found.shape, found.isVariable, found.buffer = name.encode(), np.array(shape, np.int32), variable, 0
        if data is not None:
            buffer = schema.BufferT()
            buffer.data = np.frombuffer(data.astype("<f4").tobytes(), np.uint8)
            model.buffers.append(buffer)
            found.buffer = len(model.buffers) - 1
        graph.tensors.append(found)
        return len(graph.tensors) - 1

    model, graph, operator, code = schema.ModelT(), schema.SubGraphT(), schema.OperatorT(), schema.OperatorCodeT()
    model.version, model.buffers, model.subgraphs, model.operatorCodes = 3, [schema.BufferT()], [graph], [code]
    code.builtinCode = code.deprecatedBuiltinCode = schema.BuiltinOperator.SVDF
    code.version = 1
    graph.tensors, graph.operators = [], [operator]
    x = tensor("x", (1, SVDF_FEATURES))
    weights = [tensor("features", features.shape, features), tensor("time", time.shape, time)]
    memory = tensor("memory", (1, SVDF_MEMORY * SVDF_UNITS), variable=True)
    y = tensor("y", (1, SVDF_UNITS))
    operator.opcodeIndex, operator.inputs, operator.outputs = 0, [x, *weights, -1, memory], [y]
    operator.builtinOptionsType, operator.builtinOptions = schema.BuiltinOptions.SVDFOptions, schema.SVDFOptionsT()
    operator.builtinOptions.rank = 1
    graph.inputs, graph.outputs = [x], [y]
    builder = flatbuffers.Builder(1 << 12)
    builder.Finish(model.Pack(builder), b"TFL3")
    return bytes(builder.Output())


def svdf_oracle(x: np.ndarray) -> np.ndarray:
    """y_t[u] = sum_k time[u, k] (features[u] . x_(t - memory + 1 + k)), zeros before the start."""
    features, time = svdf_weights()
    past = np.concatenate([np.zeros((SVDF_MEMORY - 1, SVDF_UNITS)), x.astype(np.float64) @ features.T])
    return np.array([(time.T * past[t : t + SVDF_MEMORY]).sum(axis=0) for t in range(len(x))])
