"""The recurrent and temporal examples of keras.io, said again in small: layers, order and shapes of inputs as there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
from keras import layers, ops

EXAMPLES: dict[str, Callable[[], keras.Model]] = {}


def example(build: Callable[[], keras.Model]) -> Callable[[], keras.Model]:
    """Register an example under the name of its page."""
    EXAMPLES[build.__name__] = build
    return build


def transformer_block(x: Any, causal: bool = False) -> Any:
    y = layers.MultiHeadAttention(2, 4)(x, x, use_causal_mask=causal)
    x = layers.LayerNormalization(epsilon=1e-6)(x + layers.Dropout(0.1)(y))
    y = layers.Dense(x.shape[-1])(layers.Dense(8, "relu")(x))
    return layers.LayerNormalization(epsilon=1e-6)(x + layers.Dropout(0.1)(y))


class Positions(layers.Layer):
    """Token and position embeddings."""

    def __init__(self, length: int, words: int, width: int) -> None:
        super().__init__()
        self.tokens, self.places = layers.Embedding(words, width), layers.Embedding(length, width)

    def call(self, x: Any) -> Any:
        return self.tokens(x) + self.places(ops.arange(0, ops.shape(x)[-1], 1))


@example
def timeseries_classification_from_scratch() -> keras.Model:
    y = x = keras.Input((50, 1))
    for _ in range(3):
        y = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(8, 3, padding="same")(y)))
    return keras.Model(x, layers.Dense(2, "softmax")(layers.GlobalAveragePooling1D()(y)))


@example
def timeseries_classification_transformer() -> keras.Model:
    y = x = keras.Input((30, 1))
    for _ in range(2):
        y = y + layers.MultiHeadAttention(2, 4)(layers.LayerNormalization()(y), layers.LayerNormalization()(y))
        y = y + layers.Conv1D(1, 1)(layers.Conv1D(4, 1, activation="relu")(layers.LayerNormalization()(y)))
    y = layers.GlobalAveragePooling1D(data_format="channels_last")(y)
    return keras.Model(x, layers.Dense(2, "softmax")(layers.Dense(8, "relu")(y)))


@example
def timeseries_weather_forecasting() -> keras.Model:
    x = keras.Input((24, 7))
    return keras.Model(x, layers.Dense(1)(layers.LSTM(8)(x)))


@example
def timeseries_anomaly_detection() -> keras.Model:
    same = {"padding": "same", "strides": 2, "activation": "relu"}
    y = x = keras.Input((32, 1))
    y = layers.Conv1D(4, 7, **same)(layers.Dropout(0.2)(layers.Conv1D(8, 7, **same)(y)))
    y = layers.Conv1DTranspose(8, 7, **same)(layers.Dropout(0.2)(layers.Conv1DTranspose(4, 7, **same)(y)))
    return keras.Model(x, layers.Conv1DTranspose(1, 7, padding="same")(y))


@example
def eeg_signal_classification() -> keras.Model:
    y = x = keras.Input((64, 1))
    for width in (8, 8, 4):
        y = layers.Conv1D(width, 3, strides=2, activation="relu", padding="same")(y)
        y = layers.BatchNormalization()(y)
    y = layers.Dense(8, "relu")(layers.Dropout(0.2)(layers.Flatten()(y)))
    return keras.Model(x, layers.Dense(3, "softmax")(y))


@example
def conv_lstm() -> keras.Model:
    y = x = keras.Input((None, 8, 8, 1))
    for size in (5, 3, 1):
        y = layers.ConvLSTM2D(2, size, padding="same", return_sequences=True, activation="relu")(y)
    return keras.Model(x, layers.Conv3D(1, 3, activation="sigmoid", padding="same")(y))


@example
def video_classification() -> keras.Model:
    frames, mask = keras.Input((10, 6), name="frames"), keras.Input((10,), dtype="bool", name="mask")
    y = layers.GRU(4)(layers.GRU(6, return_sequences=True)(frames, mask=mask))
    return keras.Model([frames, mask], layers.Dense(3, "softmax")(layers.Dense(4, "relu")(layers.Dropout(0.4)(y))))


@example
def lstm_seq2seq() -> keras.Model:
    source, target = keras.Input((None, 9), name="source"), keras.Input((None, 8), name="target")
    _, *states = layers.LSTM(6, return_state=True)(source)
    y, *_ = layers.LSTM(6, return_sequences=True, return_state=True)(target, initial_state=states)
    return keras.Model([source, target], layers.Dense(8, "softmax")(y))


@example
def lstm_character_level_text_generation() -> keras.Model:
    x = keras.Input((20, 12))
    return keras.Model(x, layers.Dense(12, "softmax")(layers.LSTM(8)(x)))


@example
def addition_rnn() -> keras.Model:
    x = keras.Input((7, 12))
    y = layers.RepeatVector(4)(layers.LSTM(8)(x))
    return keras.Model(x, layers.Dense(12, "softmax")(layers.LSTM(8, return_sequences=True)(y)))


@example
def bidirectional_lstm_imdb() -> keras.Model:
    x = keras.Input((None,), dtype="int32")
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True))(layers.Embedding(50, 6)(x))
    return keras.Model(x, layers.Dense(1, "sigmoid")(layers.Bidirectional(layers.LSTM(4))(y)))


@example
def text_classification_from_scratch() -> keras.Model:
    x = keras.Input((None,), dtype="int64")
    y = layers.Dropout(0.5)(layers.Embedding(50, 6)(x))
    for _ in range(2):
        y = layers.Conv1D(8, 7, padding="valid", activation="relu", strides=3)(y)
    y = layers.Dropout(0.5)(layers.Dense(8, "relu")(layers.GlobalMaxPooling1D()(y)))
    return keras.Model(x, layers.Dense(1, "sigmoid")(y))


@example
def text_classification_with_transformer() -> keras.Model:
    x = keras.Input((20,))
    y = layers.GlobalAveragePooling1D()(transformer_block(Positions(20, 50, 8)(x)))
    return keras.Model(x, layers.Dense(2, "softmax")(layers.Dense(8, "relu")(y)))


@example
def ner_transformers() -> keras.Model:
    x = keras.Input((20,), dtype="int64")
    return keras.Model(x, layers.Dense(5, "softmax")(transformer_block(Positions(20, 50, 8)(x))))


@example
def text_generation_with_miniature_gpt() -> keras.Model:
    x = keras.Input((20,), dtype="int32")
    return keras.Model(x, layers.Dense(50)(transformer_block(Positions(20, 50, 8)(x), causal=True)))


@example
def speaker_recognition_using_cnn() -> keras.Model:
    y = x = keras.Input((128, 1))
    for width in (4, 8):
        skip = layers.Conv1D(width, 1, padding="same")(y)
        y = layers.Conv1D(width, 3, padding="same")(layers.ReLU()(layers.Conv1D(width, 3, padding="same")(y)))
        y = layers.MaxPooling1D(2, 2)(layers.ReLU()(layers.Add()([y, skip])))
    y = layers.Flatten()(layers.AveragePooling1D(3, 3)(y))
    return keras.Model(x, layers.Dense(5, "softmax")(layers.Dense(8, "relu")(y)))


@example
def ctc_asr() -> keras.Model:
    x = keras.Input((None, 12))
    y = layers.Reshape((-1, 12, 1))(x)
    for strides in ([2, 2], [1, 2]):
        y = layers.Conv2D(2, (5, 3), strides, padding="same", use_bias=False)(y)
        y = layers.ReLU()(layers.BatchNormalization()(y))
    y = layers.Reshape((-1, y.shape[-2] * y.shape[-1]))(y)
    for _ in range(2):
        y = layers.Bidirectional(layers.GRU(4, return_sequences=True))(y)
    return keras.Model(x, layers.Dense(6, "softmax")(layers.Dropout(0.5)(layers.Dense(8, "relu")(y))))


@example
def captcha_ocr() -> keras.Model:
    x = keras.Input((40, 8, 1))
    y = layers.MaxPooling2D((2, 2))(layers.Conv2D(4, 3, activation="relu", padding="same")(x))
    y = layers.Dense(8, "relu")(layers.Reshape((20, 16))(y))
    y = layers.Bidirectional(layers.LSTM(4, return_sequences=True, dropout=0.25))(y)
    return keras.Model(x, layers.Dense(6, "softmax")(y))
