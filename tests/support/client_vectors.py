"""Test vectors of the published models and of converted ones, made once a process, for the tests of all clients."""

from __future__ import annotations

import functools
import json
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
import runtime_models
from places import ROOT
from scripts import load_script

import streaming
from streaming import vectors

BUNDLES = sorted(path.parent.name for path in (ROOT / "pretrained").glob("*/float32.tflite"))
# Others of the same tasks stand for these in the quick tests.
ALIKE = {"translate-de-en", "translate-en-de", "charlm-mingru", "caption-emoji", "emotion-goemotions"}
ALIKE |= {"sentiment-lines", "names-language", "activity-motion", "lyrics-shakespeare"}
# Clients have no events of these.
STREAMED = {"say-digits"}
FORMS = ["delay", "rate", "two", "window", "padded", "padded after", "internal", "internal window", "encode", "kept"]
# Models that begin with a table of strings.
STRINGS = ["words", "hashed", "salted", "tokens", "texts"]
# Tasks of small models: what no published one has.
TASKS = ["hold", "drop", "interpolate", "intervals", "chain", "endpoints", "samples", "ctc beam"]
# In int8, which browsers do not take; the last with a state inside that no signature resets.
INTEGERS = ["int8 rows", "int8 samples", "wake word"]

command_input, wav = load_script("command_input").command_input, load_script("command_input").wav

_folder = tempfile.TemporaryDirectory()


def bundles(quick: set[str], events: bool = False) -> list[Any]:
    """All published models as parameters of a test, those that are not among the quick ones marked slow.

    events: without those of a task that clients only stream.
    """
    names = [name for name in BUNDLES if not events or name not in STREAMED]
    return [name if name in quick else pytest.param(name, marks=pytest.mark.slow) for name in names]


def bundle_path(bundle: str) -> Path:
    return ROOT / "pretrained" / bundle / "float32.tflite"


@functools.cache
def bundle_vectors(bundle: str) -> Path:
    """The vectors of a published model, as a file: those that it comes with, or new ones."""
    published = ROOT / "pretrained" / bundle / "vectors.json"
    return published if published.is_file() else _written(bundle_path(bundle), bundle)


def _written(path: Path, name: str) -> Path:
    out = Path(_folder.name) / f"{name}.json"
    found = vectors.make_vectors(streaming.load(path))
    out.write_text(json.dumps(found, ensure_ascii=False, allow_nan=False), encoding="utf-8")
    return out


@functools.cache
def form(name: str) -> tuple[Path, Path]:
    """A converted model of each form of file, and its vectors."""
    path = Path(_folder.name) / f"{name}.tflite"
    if name == "kept":  # a state inside that no signature resets
        runtime_models.write(path, runtime_models.internal_model(reset=False))
        return path, _written(path, name)
    make = _task if name in TASKS + INTEGERS[:-1] else _strings if name in STRINGS else _layers
    model, options = make(name)
    # The vectors are compared with: that the stream equals its model is proven by the tests of the converter.
    streaming.convert(model, path, verify=False, **options)
    return path, _written(path, name)


_MEL = {"sample_rate": 8000, "frame_length": 200, "frame_step": 80, "fft_length": 200, "num_mels": 8, "high_hz": 4000.0}
_MEL |= {"center": True, "scale": "slaney", "norm": "slaney", "power": 1.0}
_SOUND = {"kind": "keyword_spotter", "sample_rate": 8000, "background": ["a"], "threshold": 0.34, "refractory": 0.05}
_ROWS = {"kind": "sequence_tagger", "columns": ["u", "v"], "sample_rate": 50.0}


def _task(name: str) -> tuple[keras.Model, dict[str, Any]]:
    """A small model with a task, of labels a, b and c."""
    task, width, outputs, files = dict(_ROWS), 2, 3, {"labels.txt": b"a\nb\nc\n"}
    if name in ("hold", "drop", "interpolate"):
        masked = name != "drop"
        width *= 1 + masked
        scale = {"mean": [0.1, -0.2, 0.0, 0.0][:width], "scale": [1.5, 0.5, 1.0, 1.0][:width]}
        task |= {"missing": name, "mask": masked, "scaler": scale}
    elif name == "intervals":
        scale = {"mean": [0.1, -0.2], "scale": [1.5, 0.5]}
        task = {"kind": "forecaster", "columns": ["u", "v"], "targets": ["v"], "horizon": 3, "scaler": scale}
        task |= {"quantiles": [0.1, 0.4, 0.9], "missing": "hold", "intervals": {"coverage": 0.8, "rate": 0.3}}
        outputs = 9
    elif name == "chain":
        chain = {
            "transitions": [[0.5, -1, None], [0, 1, 0.25], [-0.5, 0.75, 0]],
            "start": [0, None, 0.5],
            "end": [1, 0, 0],
        }
        task |= {"viterbi_delay": 3}
        files["transitions.json"] = json.dumps(chain).encode()
    elif name in ("samples", "int8 samples"):
        task, width = {**_SOUND, "smoothing": 0.02, "lead": 0.1, "multi_label": True}, 100
        task |= {"frame_length": 240, "zeros": 650}
    elif name == "endpoints":
        end = {"silence": 0.06, "level": -35.0}
        task, width = {**_SOUND, "features": _MEL, "endpoint": end, "lead": 0.031}, 8
    else:
        task, width = {"kind": "transcriber", "sample_rate": 8000, "features": _MEL, "width": 3, "joiner": ""}, 8
    keras.utils.set_random_seed(3)
    x = keras.Input((None, width), name="x")
    hidden = keras.layers.GRU(6, return_sequences=True, kernel_initializer=keras.initializers.RandomNormal(stddev=0.7))(
        x
    )
    logits = keras.layers.Dense(outputs, kernel_initializer=keras.initializers.RandomNormal(stddev=2.0))(hidden)
    options: dict[str, Any] = {"metadata": {"task": task, "files": files}}
    if name in INTEGERS:
        real = np.random.default_rng(0).normal(size=(40, width)).astype("float32")
        options |= {"target": "micro", "quantize": "int8", "calibration": [real]}
    return keras.Model(x, logits), options


def _strings(name: str) -> tuple[keras.Model, dict[str, Any]]:
    """A small model behind a table of strings."""
    layers = keras.layers
    if name in ("tokens", "texts"):
        how: dict[str, Any] = {"output_sequence_length": 5, "ngrams": 2} if name == "texts" else {"split": "character"}
        table = layers.TextVectorization(30, **how)
        table.adapt(["the quick brown fox", "time flies like an arrow", "caf\u00e9 \u4f60\u597d"])
        x = keras.Input((1,), dtype="string", name="text")
    else:
        tables = {
            "words": lambda: layers.StringLookup(vocabulary=["the", "caf\u00e9"], num_oov_indices=4, mask_token=""),
            "hashed": lambda: layers.Hashing(20),
            "salted": lambda: layers.Hashing(20, mask_value="the", salt=[2**53 + 1, 5]),
        }
        table, x = tables[name](), keras.Input((None,), dtype="string", name="words")
    keras.utils.set_random_seed(0)
    y = layers.Embedding(40, 4, mask_zero=True)(table(x))
    layer = layers.GRU(3, return_sequences=x.shape[1] is None)
    return keras.Model(x, layers.Bidirectional(layer)(y) if name == "texts" else layer(y)), {}


def _layers(name: str) -> tuple[keras.Model, dict[str, Any]]:
    if name == "wake word":
        x = keras.Input((None, 40), name="x")
        y = keras.layers.Conv1D(4, 3, strides=2, padding="causal", activation="relu")(x)
        features = np.random.default_rng(0).uniform(0, 26, (60, 40)).astype("float32")
        model = keras.Model(x, keras.layers.Conv1D(1, 2, padding="causal", activation="sigmoid")(y))
        return model, {"target": "esphome", "calibration": [features]}
    x = keras.Input((None, 4), name="x")
    if name == "delay":
        hidden = keras.layers.Conv1D(6, 5, padding="same")(x)
        return keras.Model(x, keras.layers.GRU(5, return_sequences=True)(hidden)), {"chunk": 4}
    if name == "rate":
        return keras.Model(x, keras.layers.AveragePooling1D(3, padding="same")(x)), {"chunk": 6}
    if name == "two":
        flag = keras.Input((2,), name="flag")
        hidden = keras.layers.LSTM(4, return_sequences=True)(x)
        outputs = {"sum": hidden + flag[:, None, :1], "late": keras.layers.Conv1D(2, 3, padding="same")(hidden)}
        return keras.Model({"x": x, "flag": flag}, outputs), {}
    if name == "encode":
        source = keras.Input((None,), dtype="int32", name="source")
        state = keras.layers.GRU(5)(keras.layers.Embedding(7, 4, mask_zero=True)(source))
        layer = keras.layers.GRU(5, return_sequences=True)
        return keras.Model([source, x], layer(x, initial_state=state)), {"encode": ("source",), "max_length": 6}
    options: dict[str, Any] = {
        "window": {"window": 7, "hop": 3},
        "padded": {"window": 7, "hop": 3, "pad": "pre"},
        "padded after": {"window": 6, "pad": "post"},
        "internal": {"state": "internal"},
        "internal window": {"window": 6, "hop": 2, "state": "internal"},
    }
    hidden = keras.layers.Conv1D(6, 2, padding="causal")(x)
    return keras.Model(x, keras.layers.GRU(5)(hidden)), options[name]


def check_command(output: bytes, found: dict[str, Any]) -> None:
    """JSON lines of a client's command against the events of vectors; quantiles are none of theirs."""
    records, events = [json.loads(line) for line in output.decode().splitlines()], found["task"]["events"]
    assert len(records) == len(events)
    for record, event in zip(records, events, strict=True):
        for key, value in event.items():
            if key == "quantiles" or (key == "event" and key not in record):
                continue
            where = f"{key} of {event}"
            if key == "values":
                np.testing.assert_allclose(record[key], value, rtol=1e-4, atol=2e-5)
            elif isinstance(value, float):
                assert abs(record[key] - value) <= 2e-5 + 1e-4 * abs(value), where
            else:
                assert record[key] == value, where
