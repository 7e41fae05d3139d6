"""One step of LSTM-256 (64 inputs, one thread): this project's stream against ONNX Runtime and PyTorch."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

INPUTS, UNITS, CHUNK = 64, 256, 10


def main() -> None:
    """Print the tables."""
    import keras

    import streaming
    from benchmarks.timing import microseconds, table

    x = keras.Input((None, INPUTS))
    model = keras.Model(x, keras.layers.LSTM(UNITS, return_sequences=True)(x))
    frame = np.random.default_rng(0).normal(size=(1, INPUTS)).astype("float32")
    frames = np.repeat(frame, CHUNK, axis=0)
    with tempfile.TemporaryDirectory() as folder:
        streams = {}
        for kind in (None, "dynamic"):
            for chunk in (None, CHUNK):
                path = Path(folder) / f"{kind}-{chunk}.tflite"
                streaming.convert(model, path, quantize=kind, chunk=chunk)
                streams[kind, chunk] = streaming.load(path).create_stream()
    names = {None: "float32", "dynamic": "int8"}
    calls: dict[str, Callable[[], Any]] = {"streaming float32, Stream.step": lambda: streams[None, None].step(frame)}
    calls["streaming int8, Stream.step"] = lambda: streams["dynamic", None].step(frame)
    calls |= peers(frame)
    print(table(f"LSTM-{UNITS}, one step, through Python", microseconds(calls)))
    for kind, name in names.items():
        ten = microseconds(
            {
                f"{CHUNK} steps of one": lambda k=kind: [streams[k, None].step(frame) for _ in range(CHUNK)],
                f"one chunk of {CHUNK}": lambda k=kind: streams[k, CHUNK].step(frames),
            }
        )
        print(table(f"LSTM-{UNITS} {name}, {CHUNK} steps, through Python", ten))


def peers(frame: np.ndarray) -> dict[str, Callable[[], Any]]:
    """The same network, state carried, in ONNX Runtime and PyTorch."""
    import onnxruntime
    import torch

    print(f"onnxruntime {onnxruntime.__version__}, torch {torch.__version__}, numpy {np.__version__}")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(onnx_lstm(), options, providers=["CPUExecutionProvider"])
    zeros = np.zeros((1, 1, UNITS), "float32")
    feed = {"x": frame[None], "h": zeros, "c": zeros}

    def onnx_step() -> None:
        _, feed["h"], feed["c"] = session.run(["y", "hn", "cn"], feed)

    torch.set_num_threads(1)
    cell, sample = torch.nn.LSTMCell(INPUTS, UNITS), torch.from_numpy(frame)
    state = [torch.zeros(1, UNITS), torch.zeros(1, UNITS)]

    def torch_step() -> None:
        with torch.inference_mode():
            state[:] = cell(sample, tuple(state))

    return {"ONNX Runtime LSTM, session.run": onnx_step, "PyTorch LSTMCell": torch_step}


def onnx_lstm() -> bytes:
    """An ONNX model of one LSTM whose state goes in and out."""
    from onnx import TensorProto, helper, numpy_helper

    generator = np.random.default_rng(0)
    shapes = {"W": (1, 4 * UNITS, INPUTS), "R": (1, 4 * UNITS, UNITS), "B": (1, 8 * UNITS)}
    weights = [
        numpy_helper.from_array(generator.normal(0, 0.05, shape).astype("float32"), name)
        for name, shape in shapes.items()
    ]
    node = helper.make_node("LSTM", ["x", "W", "R", "B", "", "h", "c"], ["y", "hn", "cn"], hidden_size=UNITS)

    def tensor(name: str, shape: list[int]) -> Any:
        return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)

    inputs = [tensor("x", [1, 1, INPUTS]), tensor("h", [1, 1, UNITS]), tensor("c", [1, 1, UNITS])]
    outputs = [tensor("y", [1, 1, 1, UNITS]), tensor("hn", [1, 1, UNITS]), tensor("cn", [1, 1, UNITS])]
    graph = helper.make_graph([node], "lstm", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


if __name__ == "__main__":
    main()
