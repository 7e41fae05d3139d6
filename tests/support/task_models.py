"""Tiny Keras models converted with a task, for the tests of task objects and of the command line."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

import streaming
from streaming.runtime import artifact
from streaming.runtime.codec import TextCodec

RATE, LABELS = 8000, ("quiet", "yes", "no")
FEATURES = {
    "sample_rate": RATE,
    "frame_length": 200,
    "frame_step": 80,
    "fft_length": 256,
    "num_mels": 6,
    "low_hz": 50.0,
    "high_hz": 4000.0,
}
COLUMNS = ("heat", "load")
SCALER = {"mean": [1.0, -2.0], "scale": [2.0, 4.0]}


def labels_file(labels: tuple[str, ...] = LABELS) -> bytes:
    """`labels.txt`."""
    return "".join(f"{label}\n" for label in labels).encode()


_CONVERTED: dict[int, tuple[keras.Model, bytes]] = {}


def save(model: keras.Model, folder: Path, task: dict[str, Any], files: dict[str, bytes], **options: Any) -> Path:
    """The file of a model with a task; a model is converted once."""
    path = folder / f"{len(list(folder.iterdir()))}-{task['kind']}.tflite"
    if id(model) not in _CONVERTED:
        streaming.convert(model, path, **options)
        _CONVERTED[id(model)] = model, path.read_bytes()
    path.write_bytes(_CONVERTED[id(model)][1])
    content = artifact.read(path)
    metadata = dataclasses.replace(content.metadata, task=task)
    artifact.write(path, artifact.pack(content.flatbuffer, metadata, {**content.files, **files}))
    return path


def loud(model: keras.Model, factor: float = 3.0) -> keras.Model:
    """The model with larger weights, so that its outputs are far apart."""
    model.set_weights([factor * value for value in model.get_weights()])
    return model


def tagger_of_rows(features: int, labels: int, running: bool = False, seed: int = 0) -> keras.Model:
    """Rows to logits, one row each, or one for the sequence."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((None, features), name="rows")
    x = layers.Conv1D(6, 3, padding="causal" if running else "same", activation="tanh")(inputs)
    x = layers.GRU(5, return_sequences=not running)(x)
    return loud(keras.Model(inputs, layers.Dense(labels)(x)))


def language_model(tokens: int, seed: int = 0) -> keras.Model:
    """A number a step to the logits of the next."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((None,), dtype="int32", name="tokens")
    x = layers.LSTM(8, return_sequences=True)(layers.Embedding(tokens, 6)(inputs))
    return loud(keras.Model(inputs, layers.Dense(tokens)(x)))


def translation_model(source: int, target: int, seed: int = 0) -> keras.Model:
    """A source given whole, and a number a step, to the logits of the next."""
    keras.utils.set_random_seed(seed)
    given = keras.Input((None,), dtype="int32", name="source")
    taken = keras.Input((None,), dtype="int32", name="target")
    _, *final = layers.LSTM(8, return_state=True)(layers.Embedding(source, 6)(given))
    x = layers.LSTM(8, return_sequences=True)(layers.Embedding(target, 6)(taken), initial_state=final)
    return loud(keras.Model([given, taken], layers.Dense(target)(x)))


def lockstep_model(source: int, target: int) -> keras.Model:
    """A piece of the source and one of the target a step to the logits of the next."""
    keras.utils.set_random_seed(5)
    given = keras.Input((None,), dtype="int32", name="source")
    taken = keras.Input((None,), dtype="int32", name="target")
    read = layers.GRU(6, return_sequences=True)(layers.Embedding(source, 6)(given))
    both = layers.Concatenate()([read, layers.Embedding(target, 6)(taken)])
    return loud(keras.Model([given, taken], layers.Dense(target)(layers.GRU(8, return_sequences=True)(both))))


def picture_model(target: int) -> keras.Model:
    """A picture (4, 6, 3) given whole, and a number a step, to the logits of the next."""
    keras.utils.set_random_seed(7)
    image = keras.Input((4, 6, 3), name="image")
    taken = keras.Input((None,), dtype="int32", name="target")
    seen = layers.Dense(8, activation="tanh")(layers.Flatten()(layers.Conv2D(4, 3)(image)))
    x = layers.GRU(8, return_sequences=True)(layers.Embedding(target, 6)(taken), initial_state=seen)
    return loud(keras.Model([image, taken], layers.Dense(target)(x)))


def forecaster_model(outputs: int) -> keras.Model:
    """Rows of two columns to so many numbers a row."""
    keras.utils.set_random_seed(3)
    inputs = keras.Input((None, 2), name="rows")
    return loud(keras.Model(inputs, layers.Dense(outputs)(layers.GRU(6, return_sequences=True)(inputs))), 2.0)


def codecs() -> tuple[TextCodec, TextCodec]:
    """Of a source and a target language."""
    return (
        TextCodec.fit(["the dog sees a cat", "a cat sleeps now"], "words", lower=True),
        TextCodec.fit(["der Hund sieht eine Katze", "eine Katze schlaeft, jetzt"], "words"),
    )


def tone(seconds: float, hz: float = 700.0) -> np.ndarray:
    """A sine of half the full scale."""
    return 0.5 * np.sin(2 * np.pi * hz * np.arange(int(seconds * RATE)) / RATE)
