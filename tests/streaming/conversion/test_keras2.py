"""Whole-model files of Keras 2: the outputs that Keras 2 gave, or one line that says what is in the way."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers
from keras2_models import MODELS, ZIP
from places import SHARED

import streaming
from streaming.cli import main
from streaming.conversion.loading import load_keras
from streaming.errors import InputError, NotStreamableError

REPORTS = SHARED / "reports" / "keras2"
FILES = [f"{name}.{kind}" for name in MODELS for kind in ("h5", "keras") if (name, kind) != ("functions", "keras")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The files that Keras 2 wrote."""
    path = tmp_path_factory.mktemp("keras2")
    with zipfile.ZipFile(ZIP) as archive:
        archive.extractall(path)
    return path


def assert_equals_saved(path: Path) -> None:
    """The model of a file gives the output beside it."""
    model = load_keras(path)
    with np.load(path.with_suffix(".npz")) as data:
        inputs, outputs = ([data[key] for key in sorted(data) if key[0] == side] for side in "xy")
    found = model(inputs if len(inputs) > 1 else inputs[0])
    for value, expected in zip(found if isinstance(found, list | tuple) else [found], outputs, strict=True):
        np.testing.assert_allclose(value, expected, rtol=1e-5, atol=3e-6)


@pytest.mark.parametrize("name", FILES)
def test_models_of_keras_2_give_what_they_gave(folder: Path, name: str) -> None:
    assert_equals_saved(folder / name)


@pytest.mark.parametrize(
    "name", [f"old_{kind}.{end}" for kind in ("conv", "emb", "lstm", "tfop") for end in ("h5", "keras")]
)
def test_files_of_the_report(name: str) -> None:
    if not REPORTS.exists():
        pytest.skip(f"needs {REPORTS}, which is not part of the project")
    assert_equals_saved(REPORTS / name)


@pytest.mark.slow
def test_the_command_line_converts_them(folder: Path, tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "out.tflite"
    assert main(["convert", str(folder / "cells.h5"), str(out)]) == 0
    assert "max error" in capsys.readouterr().out
    with np.load(folder / "cells.npz") as data:
        stream = streaming.load(out).create_stream()
        found = np.concatenate([stream.feed(data["x0"][0]), stream.finish()])
        np.testing.assert_allclose(found, data["y0"][0], atol=1e-5)


def test_whole_models_of_keras_3_in_h5(tmp_path: Path) -> None:
    x = keras.Input((None, 3))
    model = keras.Model(x, layers.Dense(2)(layers.LSTM(4, return_sequences=True)(x)))
    model.save(tmp_path / "new.h5")
    rows = np.random.default_rng(0).normal(size=(1, 5, 3)).astype("float32")
    np.testing.assert_allclose(load_keras(tmp_path / "new.h5")(rows), model(rows), atol=1e-6)


def test_h5_files_of_keras_3_with_operations(tmp_path: Path) -> None:
    """The mask of a Masking is an operation, which Keras does not find again in a .h5; some share a layer's name."""
    x = keras.Input((None, 3))
    y = layers.GRU(3, return_sequences=True)(layers.Masking()(x))
    y = keras.ops.softmax(layers.Multiply()([y, x]) * x) + layers.Softmax()(layers.Add()([x, y]))
    model = keras.Model(x, y)
    model.save(tmp_path / "new.h5")
    rows = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    rows[:, 2:4] = 0
    np.testing.assert_allclose(load_keras(tmp_path / "new.h5")(rows), model(rows), atol=1e-6)


def test_the_remedy_for_a_h5_that_keras_cannot_read(tmp_path: Path) -> None:
    model = keras.Model(x := keras.Input((None, 3)), layers.Dense(2)(x[..., :2]))
    model.save(tmp_path / "new.h5")
    with pytest.raises(InputError, match="build the model with its code, load_weights"):
        load_keras(tmp_path / "new.h5")
    again = keras.models.clone_model(model)
    again.load_weights(tmp_path / "new.h5")
    again.save(tmp_path / "new.keras")
    rows = np.ones((1, 4, 3), "float32")
    np.testing.assert_allclose(load_keras(tmp_path / "new.keras")(rows), model(rows), atol=1e-6)


# A file by hand, for what no Keras writes.


def old_file(path: Path, entries: list[dict[str, Any]], weights: dict[str, dict[str, np.ndarray]]) -> Path:
    """A Sequential of Keras 2 as .h5."""
    config = {"class_name": "Sequential", "config": {"name": "old", "layers": entries}}
    with h5py.File(path, "w") as file:
        file.attrs["keras_version"], file.attrs["backend"] = "2.4.0", "tensorflow"
        file.attrs["model_config"] = json.dumps(config)
        group = file.create_group("model_weights")
        group.attrs["layer_names"] = [entry["config"]["name"].encode() for entry in entries]
        for entry in entries:
            name = entry["config"]["name"]
            inner, arrays = group.create_group(name), weights.get(name, {})
            inner.attrs["weight_names"] = [f"{name}/{key}:0".encode() for key in arrays]
            for key, value in arrays.items():
                inner[f"{name}/{key}:0"] = value
    return path


def entry(kind: str, name: str, **config: Any) -> dict[str, Any]:
    return {"class_name": kind, "config": {"name": name, "trainable": True, "dtype": "float32", **config}}


KERNEL, BIAS = np.ones((3, 2), "float32"), np.array([0.5, -0.5], "float32")
DENSE = entry("Dense", "dense", units=2, batch_input_shape=[None, None, 3], kernel_initializer={"class_name": "Gone"})
WEIGHTS = {"dense": {"kernel": KERNEL, "bias": BIAS}}


def test_the_oldest_forms(tmp_path: Path) -> None:
    """batch_input_shape, a policy as an object, initializers and regularizers that are gone, hard_sigmoid."""
    policy = {"class_name": "Policy", "config": {"name": "float32", "loss_scale": None}}
    gru = entry("GRU", "gru", units=1, return_sequences=True, recurrent_activation="hard_sigmoid", time_major=False)
    gru["config"] |= {"dtype": policy, "implementation": 1, "kernel_regularizer": {"class_name": "L1L2", "config": {}}}
    kernel, recurrent = (
        np.array([[0.3, -0.2, 0.5], [0.1, 0.4, -0.6]], "float32"),
        np.array([[0.2, 0.1, -0.7]], "float32"),
    )
    arrays = {"kernel": kernel, "recurrent_kernel": recurrent, "bias": np.zeros(3, "float32")}
    path = old_file(tmp_path / "old.h5", [DENSE, gru], {**WEIGHTS, "gru": arrays})
    x, h, rows = np.random.default_rng(1).normal(size=(4, 3)).astype("float32"), np.zeros(1), []
    for row in x @ KERNEL + BIAS:
        z, r = np.clip(0.2 * (row @ kernel[:, :2] + h @ recurrent[:, :2]) + 0.5, 0, 1)
        candidate = np.tanh(row @ kernel[:, 2:] + (r * h) @ recurrent[:, 2:])
        h = z * h + (1 - z) * candidate
        rows.append(h)
    np.testing.assert_allclose(load_keras(path)(x[None])[0], rows, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ({}, "0 weights|has weights|weights in the file"),
        ({"dense": {"kernel": KERNEL}}, "1 weights in the file and 2"),
        ({"dense": {"kernel": KERNEL.T, "bias": BIAS}}, r"\(2, 3\).*expects \(3, 2\)"),
        ({"dense": {"bias": BIAS, "kernel": KERNEL}}, "where Keras 3 has"),
        ({"dense": {"kernel": KERNEL.astype("S8"), "bias": BIAS}}, "Keras 3 expects"),
    ],
)
def test_weights_are_never_left_out(tmp_path: Path, weights: Any, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        load_keras(old_file(tmp_path / "old.h5", [DENSE], weights))
    assert "\n" not in str(caught.value)


def test_weights_that_belong_nowhere_are_refused(tmp_path: Path) -> None:
    path = old_file(tmp_path / "old.h5", [DENSE], WEIGHTS)
    with h5py.File(path, "r+") as file:
        file["model_weights"].create_group("top_level_model_weights")["scale:0"] = 2.0
    with pytest.raises(InputError, match="belong to no layer"):
        load_keras(path)


class Trap:
    """Writes a file where it is unpickled."""

    def __reduce__(self) -> Any:
        return os.mkdir, ("trapped",)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (entry("Lambda", "code", function=["4wEAAAA=", None, None]), "is a Lambda"),
        (entry("Dense", "odd", units=2, activation="<lambda>"), "lambda as its activation"),
        (entry("Dense", "odd", units=2, activation="swirl"), "activation 'swirl'"),
        (entry("Peephole", "own", units=2), "class Peephole, which Keras 3 does not know"),
        (entry("os.system", "own", command="touch trapped"), "which Keras 3 does not know"),
        (entry("LSTM", "odd", units=2, time_major=True), "time_major=True"),
        (entry("Dense", "odd", units="many"), "cannot be made in Keras 3"),
        (entry("Dense", "odd", units=2, wings=3), "cannot be made in Keras 3"),
        ({"class_name": "Dense", "config": {"name": "odd"}}, "cannot be made in Keras 3"),
        ({"class_name": "Dense", "config": 3}, "damaged|no configuration"),
        (entry("TFOpLambda", "op", function="io.read_file"), "no layer"),
    ],
)
def test_layers_without_a_counterpart_are_named(tmp_path: Path, layer: Any, message: str, monkeypatch: Any) -> None:
    monkeypatch.chdir(tmp_path)
    path = old_file(tmp_path / "old.h5", [DENSE], WEIGHTS)
    with h5py.File(path, "r+") as file:
        config = json.loads(file.attrs["model_config"])
        config["config"]["layers"].append(layer)
        file.attrs["model_config"] = json.dumps(config)
        file.attrs["training_config"] = np.void(pickle.dumps(Trap()))
    with pytest.raises((InputError, NotStreamableError), match=message) as caught:
        load_keras(path)
    assert "\n" not in str(caught.value)
    assert not Path("trapped").exists()


def test_functions_without_a_counterpart_are_named(folder: Path, tmp_path: Path) -> None:
    for old, new, message in (
        ('"nn.relu"', '"io.read_file"', "tf.io.read_file, which has no counterpart"),
        ('"nn.relu"', '"nn.softsign"', ""),
        ('"clip_value_max"', '"clip_value_mid"', "clip_value_mid=1.0, which is not known"),
    ):
        path = shutil.copy(folder / "functions.h5", tmp_path / "old.h5")
        with h5py.File(path, "r+") as file:
            text = file.attrs["model_config"]
            assert old in text
            file.attrs["model_config"] = text.replace(old, new)
        if message:
            with pytest.raises(NotStreamableError, match=message):
                load_keras(Path(path))
        else:
            load_keras(Path(path))


def test_names_of_layers_and_of_operations_differ(folder: Path) -> None:
    """Concatenate joins masks by an operation that Keras would also call "concatenate"."""
    keras.backend.clear_session()
    assert "concatenate" in [layer.name for layer in load_keras(folder / "adapted.h5").layers]


def test_registered_layers_are_found(tmp_path: Path) -> None:
    @keras.saving.register_keras_serializable("Custom", name="Halved")
    class Halved(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x / 2

    path = old_file(tmp_path / "old.h5", [DENSE, entry("Halved", "own")], WEIGHTS)
    x = np.ones((1, 2, 3), "float32")
    np.testing.assert_allclose(load_keras(path)(x), (x @ KERNEL + BIAS) / 2)


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-3000])


def without_model(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file.attrs["model_config"]


def no_json(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = "{"


def subclassed(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        file.attrs["model_config"] = json.dumps({"class_name": "MyModel", "config": {}})


def linked(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["model_weights/dense/dense/kernel:0"]
        file["model_weights/dense/dense/kernel:0"] = h5py.ExternalLink("/etc/passwd", "/x")


def elsewhere(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["model_weights/dense/dense/kernel:0"]
        where = [("secret.bin", 0, 24)]
        file["model_weights/dense/dense"].create_dataset("kernel:0", (3, 2), "float32", external=where)


def absent(path: Path) -> None:
    with h5py.File(path, "r+") as file:
        del file["model_weights/dense/dense/kernel:0"]


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (cut, "damaged"),
        (without_model, "build the model in Keras 3, load weights"),
        (no_json, "is not JSON"),
        (subclassed, "MyModel, a subclassed model"),
        (linked, "is a link"),
        (elsewhere, "in another file"),
        (absent, "has none there"),
    ],
)
def test_damaged_files_end_in_one_line(tmp_path: Path, damage: Callable[[Path], None], message: str) -> None:
    path = old_file(tmp_path / "old.h5", [DENSE], WEIGHTS)
    damage(path)
    with pytest.raises((InputError, NotStreamableError), match=message) as caught:
        load_keras(path)
    assert "\n" not in str(caught.value)


def test_folders_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="is a folder"):
        load_keras(tmp_path)
    (tmp_path / "saved_model.pb").write_bytes(b"")
    with pytest.raises(InputError, match=r"save the model itself with model.save\('name.keras'\)"):
        load_keras(tmp_path)
    (tmp_path / "keras_metadata.pb").write_bytes(b"")
    with pytest.raises(InputError, match=r"tf_keras.models.load_model\(.*\).save\('model.h5'\)"):
        load_keras(tmp_path)


def test_models_of_keras_2_in_memory_say_what_to_do(tmp_path: Path) -> None:
    made = type("Sequential", (), {"__module__": "tf_keras.src.engine.sequential"})()
    with pytest.raises(InputError, match=r"model.save\('model.h5'\) and run `streaming convert model.h5"):
        streaming.convert(made, tmp_path / "o.tflite")
    with pytest.raises(InputError, match="is the path"):
        streaming.convert("model.h5", tmp_path / "o.tflite")


def test_the_remedies_work(tmp_path: Path, capsys: Any) -> None:
    """Followed where tf_keras is there: what the messages advise ends in a stream that equals the model."""
    old = pytest.importorskip("tf_keras")
    model = old.Sequential([old.layers.GRU(3, return_sequences=True, input_shape=(None, 2))])
    with pytest.raises(InputError, match=r"model.save\('model.h5'\)"):
        streaming.convert(model, tmp_path / "o.tflite")
    model.save(tmp_path / "saved")
    with pytest.raises(InputError, match=r"tf_keras\.models\.load_model"):
        load_keras(tmp_path / "saved")
    old.models.load_model(tmp_path / "saved").save(tmp_path / "model.h5")
    assert main(["convert", str(tmp_path / "model.h5"), str(tmp_path / "o.tflite")]) == 0
    x = np.random.default_rng(0).normal(size=(7, 2)).astype("float32")
    found = streaming.load(tmp_path / "o.tflite").create_stream().feed(x)
    np.testing.assert_allclose(found, model(x[None])[0], atol=1e-5)
