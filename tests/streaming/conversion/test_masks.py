"""Masks: which call gets one, which output carries one, and what is made of it, all as `model(x)` has it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from small_models import randomize

import rnnzoo.layers as zoo
import streaming

# Keras warns of layers that drop masks, as the stream has to, and of a softmax over a source of one position.
pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not support masking", "ignore:.*mask attached to it", "ignore:.*You are using a softmax"
)
WIDTH, VALUE = 4, 0.5


class Residual(layers.Layer):
    """A recurrent block whose mask passes where `passes` says so."""

    def __init__(self, units: int, passes: bool = True) -> None:
        super().__init__()
        self.supports_masking = passes
        self.memory, self.dense = layers.GRU(units, return_sequences=True), layers.Dense(units)

    def call(self, x: Any) -> Any:
        return x + self.dense(self.memory(x))


class Weighted(layers.Layer):
    """Reads its mask in `call` and hands it on."""

    def __init__(self) -> None:
        super().__init__()
        self.supports_masking, self.dense = True, layers.Dense(WIDTH)

    def call(self, x: Any, mask: Any = None) -> Any:
        y = self.dense(x)
        return y if mask is None else y * ops.expand_dims(ops.cast(mask, "float32"), -1) - 1.0


class MaskLast(layers.Layer):
    """Takes the last feature for a mask."""

    def call(self, x: Any) -> Any:
        return x[:, :, :-1] * 2.0

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return ops.greater(x[:, :, -1], 0.0)


class Shorter(layers.Layer):
    """A convolution without padding that cuts its mask as it cuts the sequence."""

    def __init__(self) -> None:
        super().__init__()
        self.supports_masking, self.conv = True, layers.Conv1D(WIDTH, 3)

    def call(self, x: Any) -> Any:
        return self.conv(x)

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return None if mask is None else mask[:, 2:]


class Same(layers.Layer):
    """A convolution that looks ahead and lets the mask pass: the mask has to wait for it."""

    def __init__(self) -> None:
        super().__init__()
        self.supports_masking, self.conv = True, layers.Conv1D(WIDTH, 3, padding="same")

    def call(self, x: Any) -> Any:
        return self.conv(x)


class Inverted(layers.Layer):
    """Hides what was seen."""

    def call(self, x: Any) -> Any:
        return x + 1.0

    def compute_mask(self, x: Any, mask: Any = None) -> Any:
        return None if mask is None else ops.logical_not(mask)


def lstm(x: Any, **options: Any) -> Any:
    return layers.LSTM(3, return_sequences=True, **options)(x)


def masking(x: Any, value: float = 0.0) -> Any:
    return layers.Masking(value)(x)


def nested(inner: Callable[[Any], Any], x: Any) -> Any:
    inside = keras.Input((None, x.shape[-1]))
    return keras.Model(inside, inner(inside))(x)


def sequential(*inner: Any) -> Any:
    return keras.Sequential([keras.Input((None, WIDTH)), *inner])


def stacked(x: Any) -> Any:
    return layers.RNN([layers.LSTMCell(3), layers.GRUCell(2)], return_sequences=True)(x)


CASES: dict[str, Callable[[Any], Any]] = {
    "value": lambda x: lstm(masking(x, VALUE)),
    "zero output": lambda x: lstm(masking(x), zero_output_for_mask=True),
    "last only": lambda x: layers.GRU(3)(masking(x)),
    "stacked cells": lambda x: stacked(masking(x)),
    "two layers": lambda x: lstm(lstm(masking(x))),
    "mean": lambda x: layers.GlobalAveragePooling1D()(layers.Dense(3)(masking(x))),
    "mean and mask lost": lambda x: layers.GlobalAveragePooling1D()(ops.tanh(masking(x))),
    "convolution drops": lambda x: lstm(layers.Conv1D(3, 2, padding="causal")(masking(x))),
    "activation keeps": lambda x: lstm(layers.ReLU()(layers.BatchNormalization()(masking(x)))),
    "distributed": lambda x: lstm(layers.TimeDistributed(layers.Dense(3))(masking(x))),
    "add both": lambda x: lstm(layers.Add()([masking(x), masking(x, VALUE)])),
    "add one": lambda x: lstm(layers.Add()([masking(x), x])),
    "concatenate": lambda x: lstm(layers.Concatenate()([masking(x), x])),
    "concatenate both": lambda x: lstm(layers.Concatenate()([masking(x), masking(x, VALUE)])),
    "average": lambda x: lstm(layers.Average()([masking(x), masking(x, VALUE)])),
    "multiply one": lambda x: lstm(layers.Multiply()([masking(x, VALUE), layers.Dense(WIDTH)(x)])),
    "multiply both": lambda x: lstm(layers.Multiply()([masking(x), masking(x, VALUE)])),
    "maximum": lambda x: lstm(layers.Maximum()([masking(x), masking(x, VALUE)])),
    "minimum one": lambda x: lstm(layers.Minimum()([x, masking(x, VALUE)])),
    "explicit": lambda x: layers.LSTM(3, return_sequences=True)(layers.Dense(3)(x), mask=x[:, :, 0] > 0),
    "explicit over implicit": lambda x: layers.GRU(3)(masking(x), mask=ops.any(x > 0.3, axis=-1)),
    "composites": lambda x: Residual(WIDTH)(Residual(WIDTH)(masking(x))),
    "composite that drops": lambda x: lstm(Residual(WIDTH, passes=False)(masking(x))),
    "composite reads": lambda x: lstm(Weighted()(masking(x))),
    "made by compute_mask": lambda x: lstm(MaskLast()(x)),
    "cut by compute_mask": lambda x: lstm(Shorter()(masking(x))),
    "waits for the future": lambda x: lstm(Same()(masking(x))),
    "inverted": lambda x: lstm(Inverted()(masking(x))),
    "mean of what was hidden": lambda x: layers.GlobalAveragePooling1D()(Inverted()(masking(x))),
    "nested masks": lambda x: lstm(nested(lambda y: layers.Dense(3)(masking(y)), x)),
    "nested reads": lambda x: nested(lambda y: lstm(layers.Dense(3)(y)), masking(x)),
    "sequential": lambda x: lstm(sequential(layers.Masking(), layers.Dense(3))(x)),
    "sequential reads": lambda x: sequential(layers.Dropout(0.1), layers.GRU(3))(masking(x)),
    "nested composite": lambda x: nested(lambda y: Residual(WIDTH)(Weighted()(y)), masking(x)),
    "delayed branch": lambda x: lstm(layers.Add()([masking(x), Same()(masking(x))])),
    "zoo": lambda x: zoo.GRU(3, return_sequences=True)(zoo.MinGRU(3, return_sequences=True)(masking(x))),
    "zoo, ahead": lambda x: lstm(zoo.LookaheadConv(3, 2)(layers.Dense(WIDTH)(masking(x)))),
    "pool after mask": lambda x: layers.GlobalMaxPooling1D()(masking(x)),
    "cast": lambda x: lstm(ops.cast(masking(x), "float32")),
}


def sequence(length: int, seed: int) -> np.ndarray:
    """Rows of numbers, of zeros and of the mask value, each in runs."""
    generator = np.random.default_rng(seed)
    x = generator.normal(size=(length, WIDTH)).astype("float32")
    x[generator.random(length) < 0.35] = 0.0
    x[generator.random(length) < 0.25] = VALUE
    return x


def check(path: Any, model: keras.Model, *inputs: dict[str, np.ndarray], encode: bool = False) -> None:
    """Streams equal offline, in pieces of several sizes."""
    loaded = streaming.load(path)
    for given in inputs:
        batch = [given[tensor.name][None] for tensor in model.inputs]
        expected = np.asarray(model(batch[0] if len(batch) == 1 else batch))[0]
        for size in (1, 3, 100):
            stream, pieces = loaded.create_stream(), []
            rest = dict(given)
            if encode:
                stream.encode({"source": rest.pop("source")})
            moving = [name for name in rest if loaded.input_spec[name].time]
            for begin in range(0, len(rest[moving[0]]), size):
                pieces.append(stream.feed({n: v[begin : begin + size] if n in moving else v for n, v in rest.items()}))
            found = np.concatenate([*pieces, stream.finish()])
            found = found[-1] if found.ndim > expected.ndim else found
            assert found.shape == expected.shape
            assert np.abs(found - expected).max() < 1e-5


@pytest.mark.parametrize("name", CASES)
def test_masks_as_keras_has_them(name: str, convert: Any) -> None:
    x = keras.Input((None, WIDTH), name="x")
    model = randomize(keras.Model(x, CASES[name](x)))
    _, path = convert(model)
    hidden = np.zeros((5, WIDTH), "float32")
    data = [sequence(17, 1), sequence(6, 2), np.concatenate([hidden, sequence(4, 3)])]
    check(path, model, *({"x": item} for item in data))


@pytest.mark.parametrize("positional", [False, True])
def test_a_call_with_an_initial_state_loses_the_mask_of_its_input(positional: bool, convert: Any) -> None:
    x, h = keras.Input((None, WIDTH), name="x"), keras.Input((3,), name="h")
    layer = layers.GRU(3, return_sequences=True)
    y = layer(masking(x), h) if positional else layer(masking(x), initial_state=h)
    model = randomize(keras.Model([x, h], layers.LSTM(2)(y)))  # on its output the mask is there again
    _, path = convert(model)
    check(path, model, {"x": sequence(14, 1), "h": np.ones(3, "float32")})


def test_an_explicit_mask_beside_an_initial_state_counts(convert: Any) -> None:
    x, h = keras.Input((None, WIDTH), name="x"), keras.Input((3,), name="h")
    y = layers.GRU(3, return_sequences=True)(x, initial_state=h, mask=ops.any(x != 0.0, axis=-1))
    model = randomize(keras.Model([x, h], y))
    _, path = convert(model)
    check(path, model, {"x": sequence(14, 1), "h": np.ones(3, "float32")})


def test_ids_of_zero(convert: Any) -> None:
    ids = keras.Input((None,), dtype="int32", name="ids")
    y = layers.Embedding(9, WIDTH, mask_zero=True)(ids)
    model = randomize(keras.Model(ids, Residual(WIDTH)(layers.Add()([y, Residual(WIDTH)(y)]))))
    _, path = convert(model)
    check(path, model, {"ids": np.array([0, 3, 0, 0, 5, 1, 0], "int32")}, {"ids": np.zeros(4, "int32")})


class Seq2Seq:
    """Chapter 11 of Deep Learning with Python, and the same with each kind of attention."""

    @staticmethod
    def plain(source: Any, target: Any) -> Any:
        state = layers.Bidirectional(layers.GRU(5), merge_mode="sum")(source)
        return layers.GRU(5, return_sequences=True)(target, initial_state=state)

    @staticmethod
    def states(source: Any, target: Any) -> Any:
        _, h, c = layers.LSTM(5, return_state=True)(source)
        return layers.LSTM(5, return_sequences=True)(target, initial_state=[h, c])

    @staticmethod
    def luong(source: Any, target: Any) -> Any:
        memory = layers.GRU(5, return_sequences=True)(source)
        return layers.GRU(3)(layers.Attention()([layers.GRU(5, return_sequences=True)(target), memory]))

    @staticmethod
    def additive(source: Any, target: Any) -> Any:
        memory = layers.Dense(5)(source)
        y = layers.GRU(5, return_sequences=True)(target)
        return layers.Add()([y, layers.AdditiveAttention()([y, memory])])

    @staticmethod
    def heads(source: Any, target: Any) -> Any:
        y = layers.LSTM(5, return_sequences=True)(target)
        attended = layers.MultiHeadAttention(2, 3)(y, layers.Dense(5)(source))
        return layers.GRU(3, return_sequences=True)(layers.Add()([attended, y]))

    @staticmethod
    def drops(source: Any, target: Any) -> Any:
        memory = layers.Conv1D(5, 3, padding="same")(source)
        return layers.Attention()([layers.Dense(5)(target), memory])


@pytest.mark.parametrize("kind", ["plain", "states", "luong", "additive", "heads", "drops"])
def test_encoders_with_masks(kind: str, convert: Any) -> None:
    source, target = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
    embedded = [layers.Embedding(9, 6, mask_zero=True)(ids) for ids in (source, target)]
    model = randomize(keras.Model([source, target], getattr(Seq2Seq, kind)(*embedded)))
    _, path = convert(model, encode=["source"], max_length=7)
    target_ids = np.array([4, 0, 3, 0, 0, 8], "int32")
    sources = ([3, 0, 5], [0, 0, 2, 1, 7, 0, 0], [1], [0, 0, 0])
    given = ({"source": np.array(ids, "int32"), "target": target_ids} for ids in sources)
    check(path, model, *given, encode=True)
