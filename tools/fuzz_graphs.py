"""The graphs that the fuzzer of the verifier starts from: every operation of the allow-list, in small TFLite models."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

Signature = tuple[Callable[..., Any], dict[str, tuple[tuple[int, ...], str]]]
FLOAT, WHOLE, BOOL = "float32", "int32", "bool"


def _constant(*shape: int) -> np.ndarray:
    return np.random.default_rng(len(shape)).standard_normal(shape).astype(np.float32)


def _unary(*names: str) -> Signature:
    import tensorflow as tf

    def run(x: Any) -> Any:
        values = [getattr(tf.math, name, None) or getattr(tf.nn, name) for name in names]
        return {name: value(x) for name, value in zip(names, values, strict=True)}

    return run, {"x": ((2, 3), FLOAT)}


def _binary(kind: str, *names: str) -> Signature:
    import tensorflow as tf

    def run(x: Any, y: Any) -> Any:
        return {name: getattr(tf.math, name)(x, y) for name in names}

    return run, {"x": ((2, 3), kind), "y": ((2, 1), kind)}


def _loop(x: Any) -> Any:
    import tensorflow as tf

    def body(i: Any, h: Any, rows: Any) -> Any:
        h = tf.tanh(h + x[:, i])
        return i + 1, h, tf.tensor_scatter_nd_update(rows, [[i]], [h])

    looped = tf.while_loop(lambda i, h, rows: i < 4, body, (0, tf.zeros((2, 3)), tf.zeros((4, 2, 3))))
    return {"h": looped[1], "rows": looped[2]}


def signatures() -> dict[str, dict[str, Signature]]:
    """Model -> signature -> its function and inputs: those of one family together."""
    import tensorflow as tf

    raw = tf.raw_ops
    return {
        "elements": {
            "unary": _unary("abs", "ceil", "cos", "elu", "exp", "floor", "log", "negative", "relu", "relu6", "round"),
            "more": _unary(
                "rsqrt", "sigmoid", "sign", "sin", "sqrt", "square", "tanh", "leaky_relu", "gelu", "softmax"
            ),
            "binary": _binary(
                FLOAT, "add", "subtract", "multiply", "divide", "maximum", "minimum", "pow", "less", "equal"
            ),
            "whole": _binary(
                WHOLE, "add", "multiply", "maximum", "less_equal", "greater", "greater_equal", "not_equal"
            ),
            "logic": (
                lambda x, y: {"a": x & y, "o": x | y, "n": ~x, "all": tf.reduce_all(x, 1), "any": tf.reduce_any(y, 0)},
                {"x": ((2, 3), BOOL), "y": ((2, 3), BOOL)},
            ),
            "division": (lambda x: {"d": x // 3, "m": x % 3, "c": tf.cast(x, FLOAT)}, {"x": ((2, 3), WHOLE)}),
            "where": (
                lambda c, x, y: {"v2": tf.where(c, x, y), "v1": raw.Select(condition=c, x=x, y=x * 2.0)},
                {"c": ((2, 3), BOOL), "x": ((2, 3), FLOAT), "y": ((1, 3), FLOAT)},
            ),
            "sums": (
                lambda x: {
                    "mean": tf.reduce_mean(x, 1),
                    "sum": tf.reduce_sum(x, [0, 2], keepdims=True),
                    "max": tf.reduce_max(x, -1),
                    "min": tf.reduce_min(x, 0),
                    "prod": tf.reduce_prod(x, 1),
                    "cum": tf.cumsum(x, 1),
                    "arg": tf.argmax(x, 1),
                    "low": tf.argmin(x, 2, output_type=tf.int32),
                    "top": tf.math.top_k(x, 2)[0],
                    "bucket": raw.Bucketize(input=x, boundaries=[-1.0, 0.0, 1.0]),
                    "log": tf.nn.log_softmax(x),
                    "l2": tf.math.l2_normalize(x, -1),
                },
                {"x": ((2, 3, 4), FLOAT)},
            ),
        },
        "places": {
            "reshape": (
                lambda x: {
                    "r": tf.reshape(x, (3, 8)),
                    "s": tf.squeeze(x[:, :1], 1),
                    "e": tf.expand_dims(x, 2),
                    "t": tf.transpose(x, (2, 0, 1)),
                    "p": tf.pad(x, ((0, 0), (1, 2), (0, 0))),
                    "v": tf.pad(x, ((0, 0), (1, 2), (0, 0)), constant_values=2.0),
                    "m": tf.pad(x, ((0, 0), (1, 1), (0, 0)), "REFLECT"),
                    "tile": tf.tile(x, (1, 2, 1)),
                    "rev": tf.reverse(x, [1]),
                    "b": tf.broadcast_to(x[:, :1], (2, 5, 4)),
                },
                {"x": ((2, 3, 4), FLOAT)},
            ),
            "cut": (
                lambda x: {
                    "slice": tf.slice(x, (0, 1, 0), (2, 2, -1)),
                    "strided": x[:, ::2, 1:3],
                    "shrink": x[0, ..., tf.newaxis, -1],
                    "back": x[:, ::-1],
                    **dict(zip(("a", "b", "c"), tf.split(x, 3, 1), strict=True)),
                    **dict(zip(("d", "e"), tf.split(x, (1, 3), 2), strict=True)),
                    **dict(zip(("f", "g"), tf.unstack(x, axis=0), strict=True)),
                },
                {"x": ((2, 3, 4), FLOAT)},
            ),
            "join": (
                lambda x, y: {"c": tf.concat([x, y], 1), "p": tf.stack([x, y], 1), "n": tf.add_n([x, y, x])},
                {"x": ((2, 3), FLOAT), "y": ((2, 3), FLOAT)},
            ),
            "look": (
                lambda i: {
                    "g": tf.gather(_constant(8, 3), i),
                    "n": tf.gather_nd(_constant(8, 3), i[:, None]),
                    "h": tf.one_hot(i, 5),
                },
                {"i": ((2,), WHOLE)},
            ),
            "counts": (
                lambda x: {
                    "r": tf.cast(tf.range(5), FLOAT) + tf.reduce_sum(x),
                    "s": tf.reshape(x, tf.stack([tf.shape(x)[1], tf.shape(x)[0]])),
                    "f": tf.fill((2, 2), x[0, 0]),
                    "z": tf.zeros_like(x),
                },
                {"x": ((2, 3), FLOAT)},
            ),
        },
        "products": {
            "dense": (
                lambda x: {"y": x @ _constant(3, 4) + _constant(4), "z": tf.nn.relu(x @ _constant(3, 4))},
                {"x": ((2, 3), FLOAT)},
            ),
            "matmul": (
                lambda x, y: {"y": tf.matmul(x, y, transpose_b=True)},
                {"x": ((2, 3, 4), FLOAT), "y": ((2, 5, 4), FLOAT)},
            ),
            "conv": (
                lambda x: {
                    "c": tf.nn.conv2d(x, _constant(3, 3, 2, 4), 1, "SAME") + _constant(4),
                    "v": tf.nn.conv2d(x, _constant(3, 2, 2, 4), 2, "VALID"),
                    "d": tf.nn.depthwise_conv2d(x, _constant(3, 3, 2, 1), (1, 1, 1, 1), "SAME"),
                    "t": tf.nn.conv2d_transpose(x, _constant(3, 3, 4, 2), (1, 12, 10, 4), 2, "SAME"),
                    "a": tf.nn.avg_pool2d(x, 2, 2, "SAME"),
                    "m": tf.nn.max_pool2d(x, 2, 1, "VALID"),
                    "n": tf.image.resize(x, (9, 7), "nearest"),
                    "dil": tf.nn.conv2d(x, _constant(3, 3, 2, 2), 1, "VALID", dilations=2),
                    "s": raw.SpaceToBatchND(input=x, block_shape=[2, 1], paddings=[[0, 0], [0, 0]]),
                },
                {"x": ((1, 6, 5, 2), FLOAT)},
            ),
            "batches": (
                lambda x: {"b": raw.BatchToSpaceND(input=x, block_shape=[2, 2], crops=[[0, 1], [0, 0]])},
                {"x": ((4, 3, 3, 2), FLOAT)},
            ),
            "conv3d": (
                lambda x: {"c": tf.nn.conv3d(x, _constant(2, 2, 2, 2, 3), (1, 1, 1, 1, 1), "SAME")},
                {"x": ((1, 4, 4, 4, 2), FLOAT)},
            ),
        },
        "loops": {"step": (_loop, {"x": ((2, 4, 3), FLOAT)})},
    }


def _quantized(name: str) -> bytes:
    """Convolutions and products: "int8" all in int8, "dynamic" with int8 weights and float32 between."""
    import tensorflow as tf

    def run(x: Any) -> Any:
        y = tf.nn.relu(tf.nn.conv2d(x, _constant(3, 3, 4, 8), 1, "SAME") + _constant(8))
        y = tf.nn.depthwise_conv2d(y, _constant(3, 3, 8, 1), (1, 1, 1, 1), "SAME")
        y = tf.concat([tf.nn.avg_pool2d(y, 2, 2, "SAME"), tf.nn.max_pool2d(y, 2, 2, "SAME")], -1)
        y = tf.reshape(tf.pad(y, ((0, 0), (1, 1), (0, 0), (0, 0))), (1, -1)) @ _constant(5 * 3 * 16, 40)
        a, b = tf.split(tf.sigmoid(y) * tf.tanh(y) + y, 2, 1)
        return {"y": tf.nn.softmax(a - b), "m": tf.reduce_mean(a, 1)}

    shape = (1, 6, 6, 4)
    concrete = tf.function(run, autograph=False).get_concrete_function(x=tf.TensorSpec(shape, FLOAT, name="x"))
    generator = np.random.default_rng(0)

    def samples() -> Iterator[dict[str, np.ndarray]]:
        for _ in range(4):
            yield {"x": generator.standard_normal(shape).astype(np.float32)}

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(tf.Module(), folder, signatures={"step": concrete})
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=["step"])
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
        converter._experimental_disable_per_channel_quantization_for_dense_layers = True
        if name == "int8":
            converter.representative_dataset = samples
        return converter.convert()


def _variables() -> bytes:
    """State in variables, set by a graph that is called once."""
    import tensorflow as tf

    class Level(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level = tf.Variable(tf.zeros((2, 3)), name="level")
            self.count = tf.Variable(0, name="count")

        @tf.function(autograph=False)
        def step(self, x: Any) -> Any:
            self.level.assign(0.9 * self.level + x)
            self.count.assign_add(1)
            return {"level": self.level.read_value(), "count": self.count.read_value()}

    module = Level()
    concrete = module.step.get_concrete_function(x=tf.TensorSpec((2, 3), FLOAT, name="x"))
    return _converted(module, {"step": concrete})


def _converted(module: Any, functions: dict[str, Any]) -> bytes:
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        tf.saved_model.save(module, folder, signatures=functions)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        converter.experimental_enable_resource_variables = True
        return converter.convert()


def _foreign() -> bytes:
    """A step whose state is an input, as another tool makes it: axes of one, a bool, a chunk of two steps."""
    import tensorflow as tf

    def step(x: Any, gate: Any, line: Any) -> Any:
        rows = tf.concat([line, tf.where(gate, x, 0.0)], axis=1)
        return {"y": tf.tanh(rows[:, 1:3] @ _constant(3, 4))[:, None], "moved": rows[:, 2:]}

    shapes = {"x": ((1, 2, 3), FLOAT), "gate": ((1, 2, 1), BOOL), "line": ((1, 2, 3), FLOAT)}
    specs = {name: tf.TensorSpec(shape, kind, name=name) for name, (shape, kind) in shapes.items()}
    return _converted(
        tf.Module(), {"serving_default": tf.function(step, autograph=False).get_concrete_function(**specs)}
    )


def _stream(name: str) -> bytes:
    """What `streaming.convert` and `streaming.adopt` make, without what is appended."""
    import keras
    from keras import layers

    import streaming
    from streaming.runtime import artifact

    keras.utils.set_random_seed(0)
    rows = keras.Input((12 if name == "window" else None, 6))
    samples = [np.random.default_rng(seed).standard_normal((30, 6)).astype(FLOAT) for seed in range(3)]
    options: dict[str, Any] = {"micro": {"target": "micro"}, "stream_int8": {"quantize": "int8"}}.get(name, {})
    if name == "window":
        y = layers.Flatten()(layers.MaxPooling1D(2)(layers.Conv1D(4, 3, activation="relu")(rows)))
        model = keras.Model(rows, layers.Dense(3, activation="softmax")(layers.Dense(4)(y)))
    elif name == "strings":
        words = keras.Input((None,), dtype="string")
        lookup = layers.StringLookup(vocabulary=["a", "b", "c"], mask_token="")
        y = layers.Embedding(lookup.vocabulary_size(), 4, mask_zero=True)(lookup(words))
        model = keras.Model(words, layers.Dense(3)(layers.LSTM(4, return_sequences=True)(y)))
        options = {"batch_sizes": (1, 2)}
    else:
        y = layers.GRU(5, return_sequences=True)(layers.Conv1D(4, 3, padding="same", activation="relu")(rows))
        model = keras.Model(rows, layers.Dense(3)(y))
    if name == "stream_int8":
        options["calibration"] = samples
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        if name == "adopted":
            foreign = Path(folder) / "foreign.tflite"
            foreign.write_bytes(_foreign())
            streaming.adopt(foreign, path, states={"line": "moved"})
        else:
            streaming.convert(model, path, **options)
        return artifact.read(path).flatbuffer


STREAMS = ("adopted", "micro", "stream_int8", "strings", "window")
NAMES = ("dynamic", "elements", "int8", "loops", "places", "products", "variables", *STREAMS)


def build(folder: Path, names: Sequence[str] = NAMES) -> list[Path]:
    """Write graphs as .tflite files into a folder; those that are there already stay as they are."""
    if found := sorted(folder.glob("*.tflite")):
        return found
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / f"{name}.tflite").write_bytes(graph(name))
    return sorted(folder.glob("*.tflite"))


def graph(name: str) -> bytes:
    """One of the models, as a flatbuffer."""
    import tensorflow as tf

    if name == "variables":
        return _variables()
    if name in STREAMS:
        return _stream(name)
    if name in ("dynamic", "int8"):
        return _quantized(name)
    functions = {
        key: tf.function(run, autograph=False).get_concrete_function(
            **{item: tf.TensorSpec(shape, kind, name=item) for item, (shape, kind) in inputs.items()}
        )
        for key, (run, inputs) in signatures()[name].items()
    }
    return _converted(tf.Module(), functions)
