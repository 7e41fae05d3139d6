"""Pretrained models in Python: the guide runs; what is loaded trains, saves and says what it cannot take."""

import re

import keras
import numpy as np
import pytest
from places import DOCS

import rnnzoo
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.training.diagnostics import spectral_radii

GUIDE = DOCS / "fine-tuning.md"
BLOCK = re.compile(r"^```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    for name in ("RNNZOO_URL", "RNNZOO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.slow
def test_the_guide_runs(capsys):
    namespace = {"__name__": "guide"}
    for text in BLOCK.findall(GUIDE.read_text(encoding="utf-8")):
        exec(compile(text, str(GUIDE), "exec"), namespace)
    shown = capsys.readouterr().out
    # The first time, a line says that data are prepared.
    lines = [line for line in shown.splitlines() if not line.startswith("preparing ")]
    assert lines[:3] == ["uber", "3", "True"]
    assert "gradients" in shown


def test_a_saved_model_is_the_same_model():
    pretrained = rnnzoo.load_pretrained("speaker-vowels")
    rows = np.random.default_rng(0).normal(size=(9, 12)).astype("float32")
    pretrained.model.save("a.keras")
    expected = pretrained.model.predict(pretrained.encode(rows), verbose=0)
    again = keras.models.load_model("a.keras")
    np.testing.assert_array_equal(again.predict(pretrained.encode(rows), verbose=0), expected)
    assert again.compiled


def test_batches_are_what_the_task_was_trained_on():
    pretrained = rnnzoo.load_pretrained("speaker-vowels")
    rows = np.ones((5, 12), "float32")
    batches = pretrained.batches([(rows, "2"), (rows, "9"), (rows, "nobody")], batch_size=3, training=False)
    inputs, targets, weights = batches[0]
    assert len(batches) == 1
    assert inputs["rows"].shape == (3, 5, 12)
    assert sorted(zip(targets.tolist(), weights.tolist(), strict=True)) == [(0, 0.0), (1, 1.0), (8, 1.0)]


@pytest.mark.parametrize("examples", [[], [np.ones((3, 12))], [("words", "label")], [(None, "1")]])
def test_what_is_no_example_is_refused(examples):
    with pytest.raises(DataError, match="pairs of raw input and raw target"):
        rnnzoo.load_pretrained("speaker-vowels").batches(examples)


def test_a_folder_that_is_no_run_is_refused(tmp_path):
    with pytest.raises(ConfigError, match="is no saved run"):
        rnnzoo.load(tmp_path)
    with pytest.raises(ConfigError, match="is no saved run"):
        rnnzoo.load("runs/absent")


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.recurrent, self.head = keras.layers.SimpleRNN(5), keras.layers.Dense(2)

    def call(self, inputs):
        return self.head(self.recurrent(inputs))


X = np.random.default_rng(0).normal(size=(4, 12, 3)).astype("float32")


def test_any_model_is_diagnosed():
    inputs = keras.Input((None, 3), name="x")
    steps = keras.layers.SimpleRNN(5, return_sequences=True, name="recurrent")(inputs)
    functional = keras.Model(inputs, keras.layers.Dense(2, name="head")(steps))
    sequential = keras.Sequential([keras.Input((None, 3)), keras.layers.SimpleRNN(5), keras.layers.Dense(2)])
    subclassed = Subclassed()
    subclassed(X)
    for model, shape in ((functional, (4, 12, 2)), (sequential, (4, 2)), (subclassed, (4, 2))):
        found = rnnzoo.diagnose(model, X, np.zeros(shape, "float32"), loss="mse")
        (recurrent,) = (layer for layer in model.layers if isinstance(layer, keras.layers.RNN))
        assert set(found.by_layer) == {layer.name for layer in model.layers if layer.weights}
        assert found.radii[recurrent.name] == spectral_radii(recurrent.cell)
        if model is not subclassed:
            assert found.by_time[recurrent.name].shape == (12,)
        assert "spectral radius" in str(found)


def test_the_loss_is_that_of_the_compiled_model():
    sequential = keras.Sequential([keras.Input((None, 3)), keras.layers.GRU(5), keras.layers.Dense(2)])
    y = np.ones((4, 2), "float32")
    with pytest.raises(ConfigError, match="not compiled: give loss="):
        rnnzoo.diagnose(sequential, X, y)
    given = rnnzoo.diagnose(sequential, X, y, loss=keras.losses.MeanSquaredError())
    sequential.compile(loss="mse", jit_compile=False)
    taken = rnnzoo.diagnose(sequential, X, y)
    for name, value in given.by_layer.items():
        assert taken.by_layer[name] == pytest.approx(value, rel=1e-5)
    with pytest.raises(ConfigError, match="not built"):
        rnnzoo.diagnose(keras.Sequential([keras.layers.LSTM(3)]), X, y, loss="mse")
