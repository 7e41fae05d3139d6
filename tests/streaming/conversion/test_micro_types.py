"""The table of the types that the operations of TensorFlow Lite for Microcontrollers take, against the library."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from tensorflow.lite.python import schema_py_generated as schema

from streaming.conversion.micro import ALLOWED
from streaming.conversion.micro_types import TYPES, misfit
from streaming.runtime.quiet import quiet

pytest.importorskip("tflite_micro", reason="tflite-micro is not installed for this Python")
from tflite_micro.python.tflite_micro import runtime

ANY = frozenset("BROADCAST_TO RESHAPE SHAPE SQUEEZE WHILE".split())
Build = Callable[[Any, Any], Any]
# Operations that TensorFlow gives for several types, of x and y (2, 4).
BUILDERS: dict[str, Build] = {
    "ABS": lambda x, y: tf.abs(x),
    "ADD": lambda x, y: x + y,
    "ADD_N": lambda x, y: tf.add_n([x, y, x]),
    "CAST": lambda x, y: tf.cast(x, tf.float32),
    "CONCATENATION": lambda x, y: tf.concat([x, y], 1),
    "CUMSUM": lambda x, y: tf.cumsum(x, axis=1),
    "DIV": lambda x, y: x / y if x.dtype == tf.float32 else tf.raw_ops.Div(x=x, y=y),
    "EQUAL": lambda x, y: tf.equal(x, y),
    "FLOOR_DIV": lambda x, y: x // y,
    "FLOOR_MOD": lambda x, y: x % y,
    "GATHER": lambda x, y: tf.gather(x, [1, 3], axis=1),
    "GREATER": lambda x, y: x > y,
    "LESS": lambda x, y: x < y,
    "LESS_EQUAL": lambda x, y: x <= y,
    "LOGICAL_AND": tf.logical_and,
    "LOGICAL_NOT": lambda x, y: tf.logical_not(x),
    "MAXIMUM": tf.maximum,
    "MINIMUM": tf.minimum,
    "MUL": lambda x, y: x * y,
    "NEG": lambda x, y: -x,
    "NOT_EQUAL": tf.not_equal,
    "PACK": lambda x, y: tf.stack([x, y], 1),
    "PAD": lambda x, y: tf.pad(x, [[0, 0], [1, 2]]),
    "REDUCE_MAX": lambda x, y: tf.reduce_max(x, axis=1),
    "REDUCE_MIN": lambda x, y: tf.reduce_min(x, axis=1),
    "SELECT_V2": lambda x, y: tf.where(tf.constant([[True, False, True, False]]), x, y),
    "SLICE": lambda x, y: tf.slice(x, [0, 1], [2, 2]),
    "SPLIT": lambda x, y: tf.split(x, 2, axis=1)[1],
    "SQUARED_DIFFERENCE": tf.math.squared_difference,
    "STRIDED_SLICE": lambda x, y: x[:, ::2],
    "SUB": lambda x, y: x - y,
    "SUM": lambda x, y: tf.reduce_sum(x, axis=1),
    "TRANSPOSE": lambda x, y: tf.transpose(x),
    "UNPACK": lambda x, y: tf.unstack(x, axis=1)[2],
}
KINDS = ("float32", "int32", "int64", "bool")


def converted(build: Build, kind: str) -> bytes | None:
    """A graph of one operation; None where TensorFlow or its converter has none of this type."""
    spec = tf.TensorSpec((2, 4), kind)
    try:
        function = tf.function(build, input_signature=[spec, spec]).get_concrete_function()
        with quiet():
            return bytes(tf.lite.TFLiteConverter.from_concrete_functions([function]).convert())
    except Exception:
        return None


def runs(content: bytes, kind: str) -> bool:
    with quiet():
        try:
            interpreter = runtime.Interpreter.from_bytes(content, arena_size=1 << 16)
            for place in range(content_inputs(content)):
                interpreter.set_input(np.ones((2, 4), kind), place)
            interpreter.invoke()
        except RuntimeError:
            return False
    return True


def content_inputs(content: bytes) -> int:
    return int(schema.Model.GetRootAs(content, 0).Subgraphs(0).InputsLength())


def test_every_operation_has_its_types() -> None:
    assert TYPES.keys() | ANY == ALLOWED


@pytest.mark.parametrize("name", BUILDERS)
def test_the_table_is_what_tflm_runs(name: str) -> None:
    tried = 0
    for kind in KINDS:
        content = converted(BUILDERS[name], kind)
        if content is None:
            continue
        model = schema.ModelT.InitFromPackedBuf(content, 0)
        operations = {value: key for key, value in vars(schema.BuiltinOperator).items()}
        if [operations[code.builtinCode] for code in model.operatorCodes] != [name]:
            continue
        tried += 1
        wrong = misfit(model, schema)
        assert (wrong is None) == runs(content, kind), (name, kind)
        assert wrong is None or (wrong.operation, wrong.type) == (name, kind)
    assert tried
