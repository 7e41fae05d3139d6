"""Blocks of layers from which random graphs are composed, and a stream that is fed in pieces."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops
from small_models import Decay, randomize

FEATURES = 5
WIDTH = 4

BLOCKS = {
    "dense": lambda x: layers.Dense(WIDTH, activation="tanh")(x),
    "conv": lambda x: layers.Conv1D(WIDTH, 3, padding="causal", activation="relu")(x),
    "dilated": lambda x: layers.Conv1D(WIDTH, 2, padding="causal", dilation_rate=3)(x),
    "simple_rnn": lambda x: layers.SimpleRNN(WIDTH, return_sequences=True)(x),
    "lstm": lambda x: layers.LSTM(WIDTH, return_sequences=True)(x),
    "gru": lambda x: layers.GRU(WIDTH, return_sequences=True)(x),
    "gru_before": lambda x: layers.GRU(WIDTH, reset_after=False, return_sequences=True)(x),
    "cells": lambda x: layers.RNN([layers.GRUCell(3), layers.LSTMCell(WIDTH)], return_sequences=True)(x),
    "own_cell": lambda x: layers.RNN(Decay(WIDTH), return_sequences=True)(layers.Dense(WIDTH)(x)),
    "batch_norm": lambda x: layers.BatchNormalization()(x),
    "layer_norm": lambda x: layers.LayerNormalization()(x),
    "dropout": lambda x: layers.Dropout(0.5)(x),
    "softmax": lambda x: layers.Softmax()(x),
    "arithmetic": lambda x: ops.tanh(x * 0.5) + 1.0,
    "residual": lambda x: layers.Add()([x, layers.Dense(x.shape[-1])(x)]),
    "concatenate": lambda x: layers.Concatenate()([x, layers.GRU(2, return_sequences=True)(x)]),
}

HEADS = {
    "sequence": lambda x: layers.Dense(3)(x),
    "last": lambda x: layers.Dense(3)(layers.LSTM(WIDTH)(x)),
    "both": lambda x: [layers.Dense(2)(x), layers.GRU(3)(x)],
}


def build(blocks: list[str], head: str, embedded: bool) -> keras.Model:
    keras.utils.clear_session()
    source = keras.Input((None,), dtype="int32") if embedded else keras.Input((None, FEATURES))
    x = layers.Embedding(13, WIDTH, mask_zero=True)(source) if embedded else source
    for name in blocks:
        x = BLOCKS[name](x)
    return randomize(keras.Model(source, HEADS[head](x)), seed=len(blocks))


def run(stream: Any, x: np.ndarray, cuts: list[int]) -> list[np.ndarray]:
    pieces = [stream.feed(part) for part in np.split(x, sorted(cuts))] + [stream.finish()]
    if not isinstance(pieces[0], dict):
        return [np.concatenate(pieces)]
    return [np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]]
