"""Wake words for ESPHome, run as its `micro_wake_word` runs them, beside the Keras model."""

from __future__ import annotations

import json
from collections import deque
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import streaming
from streaming.cli import main
from streaming.conversion.micro import DEVICES
from streaming.errors import InputError, NotStreamableError
from streaming.runtime.flatbuffer import read_flatbuffer

pytest.importorskip("tflite_micro", reason="tflite-micro is not installed for this Python")
from streaming import esphome

SCALE = 26 / 255


class Device:
    """ESPHome's `StreamingModel`: features one by one, an invoke every `stride`, a mean of the last probabilities."""

    def __init__(self, folder: Path, name: str):
        from tflite_micro.python.tflite_micro import runtime

        manifest = json.loads((folder / f"{name}.json").read_text())
        settings = manifest["micro"]
        content = (folder / manifest["model"]).read_bytes()
        self.inner = runtime.Interpreter.from_bytes(content, arena_size=settings["tensor_arena_size"])
        details, given = self.inner.get_input_details(0), self.inner.get_output_details(0)
        _, self.stride, bands = details["shape"]
        assert (bands, details["dtype"], given["dtype"], list(given["shape"])) == (40, np.int8, np.uint8, [1, 1])
        self.cutoff = settings["probability_cutoff"] * 255
        self.recent: deque[int] = deque([0] * settings["sliding_window_size"], settings["sliding_window_size"])
        self.rows: list[np.ndarray] = []

    def feed(self, features: np.ndarray) -> int | None:
        """The probability, 0 to 255, of a row of int8 features (40,) that completes an invoke."""
        self.rows.append(features)
        if len(self.rows) < self.stride:
            return None
        self.inner.set_input(np.stack(self.rows)[None], 0)
        self.inner.invoke()
        self.rows = []
        self.recent.append(int(self.inner.get_output(0)[0, 0]))
        return self.recent[-1]

    @property
    def heard(self) -> bool:
        return sum(self.recent) > self.cutoff * len(self.recent)


def quantized(features: np.ndarray) -> np.ndarray:
    """Features (T, 40) of the front end as ESPHome gives them to a model: (value * 256 + 333) // 666 - 128."""
    values = np.rint(features / 0.0390625).astype(int)
    return np.clip((values * 256 + 333) // 666 - 128, -128, 127).astype(np.int8)


def sounds(seed: int, steps: int) -> np.ndarray:
    """Features (T, 40) that rise and fall as those of speech do, 0 to 26."""
    rng = np.random.default_rng(seed)
    level = np.convolve(rng.uniform(-6, 14, steps + 20), np.ones(20) / 20, "valid")[:steps]
    shape = np.convolve(rng.uniform(0, 10, 60), np.ones(5) / 5, "valid")[:40]
    return np.clip(level[:, None] + shape + rng.normal(0, 2, (steps, 40)), 0, 26).astype("float32")


def wake_word() -> keras.Model:
    """A model like those of microWakeWord: a strided convolution, separable ones, dense over the last frames."""
    keras.utils.set_random_seed(4)
    x = keras.Input((None, 40))
    y = layers.Conv1D(16, 5, strides=3, padding="causal", activation="relu")(x)
    for size in (5, 9):
        y = layers.DepthwiseConv1D(size, padding="valid")(layers.ZeroPadding1D((size - 1, 0))(y))
        y = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(16, 1)(y)))
    y = layers.Conv1D(1, 4, padding="causal", activation="sigmoid")(y)
    model = keras.Model(x, y)
    # The last layer decides about half of the frames.
    logits = keras.Model(x, keras.ops.log(y / (1 - y))).predict(sounds(0, 600)[None], verbose=0)
    kernel, bias = model.layers[-1].get_weights()
    spread = logits.std() / 3
    model.layers[-1].set_weights([kernel / spread, (bias - np.median(logits)) / spread])
    return model


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> tuple[Any, Any, Path]:
    """The Keras model, the report, and the folder that ESPHome would read."""
    folder = tmp_path_factory.mktemp("esphome")
    offline = wake_word()
    data = [sounds(seed, 300) for seed in range(4)]
    report = streaming.convert(offline, folder / "m.tflite", target="esphome", calibration=data)
    command = ["esphome", str(folder / "m.tflite"), str(folder), "--wake-word", "Hey Robot", "--cutoff", "0.6"]
    assert main(command) == 0
    return offline, report, folder


def test_esphome_hears_what_the_model_hears(written: Any) -> None:
    offline, report, folder = written
    assert report.verification.runtime == "tflite_micro"
    device, features = Device(folder, "hey_robot"), sounds(9, 900)
    integers = quantized(features)
    real = SCALE * (integers.astype("float32") + 128)
    expected = offline.predict(real[None], verbose=0)[0, :, 0]
    found, heard = [], []
    for row in integers:
        if (probability := device.feed(row)) is not None:
            found.append(probability / 256)
            heard.append(device.heard)
    assert len(found) == 300
    assert expected.std() > 0.2
    assert np.abs(np.array(found) - expected).max() < 0.15
    means = np.convolve(np.concatenate([np.zeros(4), expected]), np.ones(5) / 5, "valid")
    clear = np.abs(means - 0.6) > 0.05
    np.testing.assert_array_equal(np.array(heard)[clear], (means > 0.6)[clear])
    assert 0.1 < np.mean(heard) < 0.9


def test_the_form_is_that_of_micro_wake_word(written: Any) -> None:
    _, report, folder = written
    content = read_flatbuffer((folder / "hey_robot.tflite").read_bytes())
    names = {operation.name for graph in content.graphs for operation in graph.operations}
    assert names <= DEVICES["esphome"].allowed
    assert {"CALL_ONCE", "VAR_HANDLE", "READ_VARIABLE", "ASSIGN_VARIABLE"} <= names
    graph = content.graphs[0]
    kinds = [graph.tensors[index].kind for index in (*graph.inputs, *graph.outputs)]
    assert kinds == [9, 3]  # int8, uint8
    manifest = json.loads((folder / "hey_robot.json").read_text())
    assert list(manifest) == [
        *("type", "wake_word", "author", "website", "model", "trained_languages", "version", "micro"),
    ]
    assert (manifest["type"], manifest["version"], manifest["model"]) == ("micro", 2, "hey_robot.tflite")
    assert manifest["micro"]["probability_cutoff"] == 0.6
    assert report.signatures == {"step": (1, 3)}


def test_the_file_streams_here_too(written: Any) -> None:
    _, _, folder = written
    features = sounds(7, 300)
    rows = []
    for runtime in ("auto", "tflite_micro"):
        model = streaming.load(folder / "m.tflite", runtime=runtime)
        stream = model.create_stream()
        first = stream.feed(features)
        stream.reset()
        np.testing.assert_array_equal(stream.feed(features), first)
        rows.append(first.astype(int))
    assert np.abs(rows[0] - rows[1]).max() <= 8
    info = model.metadata.inputs[0]
    assert (info.scale, info.zero_point) == (pytest.approx(SCALE), -128)


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: layers.Dense(1, activation="sigmoid")(layers.GRU(4, return_sequences=True)(x)), r"needs .*TANH"),
        (lambda x: layers.Dense(1)(x), "end it with Dense"),
        (lambda x: layers.Dense(2, activation="sigmoid")(x), "gives one probability a step"),
        (lambda x: layers.Conv1D(1, 3, padding="same", activation="sigmoid")(x), "nothing ahead"),
    ],
    ids=["operations", "no probability", "two", "ahead"],
)
def test_models_that_esphome_does_not_run(build: Any, message: str, tmp_path: Path) -> None:
    x = keras.Input((None, 40))
    with pytest.raises((InputError, NotStreamableError), match=message):
        streaming.convert(
            keras.Model(x, build(x)), tmp_path / "m.tflite", target="esphome", calibration=[sounds(0, 60)], verify=False
        )
    assert not list(tmp_path.iterdir())


def test_bad_input(written: Any, tmp_path: Path, capsys: Any) -> None:
    _, _, folder = written
    x = keras.Input((None, 40))
    model = keras.Model(x, layers.Dense(1, activation="sigmoid")(x))
    streaming.convert(model, tmp_path / "plain.tflite", verify=False)
    with pytest.raises(InputError, match="no wake word for ESPHome; convert the model with target='esphome'"):
        esphome.write(tmp_path / "plain.tflite", tmp_path / "out", "hey")
    for options, message in (
        ({"wake_word": "?!"}, "expected some words"),
        ({"wake_word": "hey", "cutoff": 1.5}, "cutoff is 1.5"),
        ({"wake_word": "hey", "window": 0}, "window is 0"),
    ):
        with pytest.raises(InputError, match=message):
            esphome.write(folder / "m.tflite", tmp_path / "out", **options)
    with pytest.raises(InputError, match="quantize='dynamic' does not go with target='esphome'"):
        streaming.convert(model, tmp_path / "m.tflite", target="esphome", quantize="dynamic")
    assert not (tmp_path / "out").exists()
    capsys.readouterr()
