"""Where each microsecond of a step goes, what `feed` costs above its invokes, and windows beside their peers."""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.timing import microseconds, table

ROOT = Path(__file__).resolve().parents[1]
INPUTS, MANY, WINDOW = 64, 100, 50
KINDS = {"float32": None, "int8": "dynamic"}
ZOO = {"spotter (digits-kws-stream)": "digits-kws-stream", "tagger (tagger-en-ewt-stream)": "tagger-en-ewt-stream"}


def main() -> None:
    """Print the tables."""
    with tempfile.TemporaryDirectory() as folder:
        models = load(Path(folder))
        print(heading())
        for name, model in models.items():
            print(row(name, *parts(model)), flush=True)
        for hop in (1, WINDOW // 2):
            print(windows(Path(folder), hop), flush=True)
    print(int8_peers(), flush=True)


def load(folder: Path) -> dict[str, Any]:
    """The models by name."""
    import keras

    import streaming

    models = {}
    cells = {"LSTM-32": (keras.layers.LSTM, 32), "LSTM-64": (keras.layers.LSTM, 64)}
    cells |= {"LSTM-256": (keras.layers.LSTM, 256), "GRU-32": (keras.layers.GRU, 32)}
    for name, (layer, units) in cells.items():
        x = keras.Input((None, INPUTS))
        model = keras.Model(x, layer(units, return_sequences=True)(x))
        for kind, quantize in KINDS.items():
            path = folder / f"{name}-{kind}.tflite"
            streaming.convert(model, path, quantize=quantize, verify=False)
            models[f"{name}, {kind}"] = streaming.load(path)
    for name, bundle in ZOO.items():
        for kind in KINDS:
            models[f"{name}, {kind}"] = streaming.load(ROOT / "pretrained" / bundle / f"{kind}.tflite")
    return models


def inputs_of(model: Any, steps: int) -> Any:
    """Some steps of input: an array, or arrays by name."""
    rng = np.random.default_rng(0)
    arrays = {
        info.name: rng.standard_normal((steps, *info.shape)).astype(info.dtype)
        if info.dtype.startswith("float")
        else np.ones((steps, *info.shape), info.dtype)
        for info in model.input_spec.values()
    }
    return arrays if len(arrays) > 1 else next(iter(arrays.values()))


def parts(model: Any) -> tuple[dict[str, float], float]:
    """Microseconds of the parts of a step by name, and of one of many steps of `feed`."""
    stream, other = model.create_stream(), model.create_stream()
    chunk = model.chunk
    one, many = inputs_of(model, chunk), inputs_of(model, MANY * chunk)
    stream.feed(many)
    other.feed(many)
    engine = model.engines.get()
    sweep = engine.sweep(chunk)
    arrays = stream.read(one, chunk)
    values = [*arrays, *stream._all_valid, *stream.states()]
    calls: dict[str, Callable[[], Any]] = {
        "invoke": sweep._invoke,
        "check": functools.partial(stream.read, one, chunk),
        "set": functools.partial(_assign, sweep._into, values),
        "get": functools.partial(_copy, sweep._out_of),
        "step": functools.partial(stream.step, one),
        "feed": functools.partial(other.feed, many),
    }
    times = microseconds(calls, rounds=25, seconds=0.01, of=min)
    return times, times.pop("feed") / MANY


def _assign(views: Any, values: Any) -> None:
    for view, value in zip(views, values, strict=True):
        view[...] = value


def _copy(views: Any) -> None:
    for view in views:
        view.copy()


def heading() -> str:
    """The head of the table of parts."""
    columns = ("invoke", "check", "set", "get", "rest", "step", "above", "feed/step", "ratio")
    title = (
        "A step through Python, microseconds: above = step - invoke; feed/step: one of many steps of `feed`, its ratio"
    )
    return f"{title}\n  {'':40}" + "".join(f"{column:>10}" for column in columns)


def row(name: str, times: dict[str, float], feed: float) -> str:
    """A row of it."""
    rest = times["step"] - sum(times[part] for part in ("invoke", "check", "set", "get"))
    above = times["step"] - times["invoke"]
    values = [times["invoke"], times["check"], times["set"], times["get"], rest, times["step"], above, feed]
    return f"  {name:40}" + "".join(f"{value:10.2f}" for value in values) + f"{feed / times['invoke']:10.2f}"


def windows(folder: Path, hop: int) -> str:
    """A step of a window beside what computes the same window in other ways."""
    import keras
    import tensorflow as tf

    import streaming

    x = keras.Input((WINDOW, 16))
    layer = keras.layers.LSTM(64)
    model = keras.Model(x, keras.layers.Dense(4)(layer(x)))
    path = folder / "window.tflite"
    streaming.convert(model, path, hop=hop, verify=False)
    stream = streaming.load(path).create_stream()
    rows = np.random.default_rng(0).standard_normal((WINDOW, 16)).astype("float32")
    stream.feed(rows)
    compiled, window = tf.function(lambda x: model(x, training=False)), tf.constant(rows[None])
    calls: dict[str, Callable[[], Any]] = {
        f"Stream.feed of {hop} steps, a row": lambda: stream.feed(rows[:hop]),
        "Keras, tf.function": lambda: compiled(window),
        "Keras, model(window)": lambda: model(window, training=False),
        "Keras, predict_on_batch": lambda: model.predict_on_batch(rows[None]),
    }
    if (onnx := onnx_window(model, rows)) is not None:
        calls["ONNX Runtime, session.run"] = onnx
    return table(f"LSTM-64 and a head in a window of {WINDOW}, hop {hop}", microseconds(calls))


def onnx_window(model: Any, rows: np.ndarray) -> Callable[[], Any] | None:
    """The same window by ONNX Runtime, checked; None where it is not installed."""
    try:
        import onnxruntime
        from onnx import TensorProto, helper, numpy_helper
    except ModuleNotFoundError:
        return None
    kernel, recurrent, bias, head, offset = (np.asarray(weight) for weight in model.get_weights())
    units = len(recurrent)

    def gates(array: np.ndarray) -> np.ndarray:
        """Keras orders gates i, f, c, o; ONNX i, o, f, c."""
        i, f, c, o = np.split(array, 4, axis=-1)
        return np.concatenate([i, o, f, c], axis=-1)

    weights = {
        "W": gates(kernel).T[None],
        "R": gates(recurrent).T[None],
        "B": np.concatenate([gates(bias), np.zeros(4 * units)])[None],
        "head": head,
        "offset": offset,
        "axes": np.array([0], "int64"),
    }
    tensors = [
        numpy_helper.from_array(array if name == "axes" else array.astype("float32"), name)
        for name, array in weights.items()
    ]
    nodes = [
        helper.make_node("LSTM", ["x", "W", "R", "B"], ["", "h"], hidden_size=units),
        helper.make_node("Squeeze", ["h", "axes"], ["last"]),
        helper.make_node("Gemm", ["last", "head", "offset"], ["y"]),
    ]
    steps, width = rows.shape
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, [steps, 1, width])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1, head.shape[1]])
    graph = helper.make_graph(nodes, "window", [x], [y], tensors)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(made.SerializeToString(), options, providers=["CPUExecutionProvider"])
    feed = {"x": rows[:, None]}
    np.testing.assert_allclose(session.run(None, feed)[0], model.predict_on_batch(rows[None]), atol=1e-5)
    return lambda: session.run(None, feed)


def int8_peers() -> str:
    """LSTM-256 in int8: a step here beside ONNX Runtime's quantized LSTM."""
    import keras

    import streaming

    x = keras.Input((None, INPUTS))
    model = keras.Model(x, keras.layers.LSTM(256, return_sequences=True)(x))
    frame = np.random.default_rng(0).standard_normal((1, INPUTS)).astype("float32")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "lstm.tflite"
        streaming.convert(model, path, quantize="dynamic", verify=False)
        stream = streaming.load(path).create_stream()
        calls: dict[str, Callable[[], Any]] = {"streaming int8, Stream.step": lambda: stream.step(frame)}
        if (peer := onnx_int8(Path(folder), frame)) is not None:
            calls["ONNX Runtime DynamicQuantizeLSTM"] = peer
        return table("LSTM-256 int8, one step, through Python", microseconds(calls))


def onnx_int8(folder: Path, frame: np.ndarray) -> Callable[[], Any] | None:
    """ONNX Runtime's dynamically quantized LSTM, state carried; None where it is not installed."""
    try:
        import onnxruntime
        from onnxruntime.quantization import QuantType, quantize_dynamic

        from benchmarks.step import UNITS, onnx_lstm
    except ModuleNotFoundError:
        return None
    source, target = folder / "lstm.onnx", folder / "int8.onnx"
    source.write_bytes(onnx_lstm())
    quantize_dynamic(source, target, weight_type=QuantType.QInt8)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(str(target), options, providers=["CPUExecutionProvider"])
    zeros = np.zeros((1, 1, UNITS), "float32")
    feed = {"x": frame[None], "h": zeros, "c": zeros}

    def step() -> None:
        _, feed["h"], feed["c"] = session.run(["y", "hn", "cn"], feed)

    return step


if __name__ == "__main__":
    main()
