"""Models of fixed windows, and what a stream of windows has to give."""

import keras
import numpy as np
from keras import layers, ops

W = 12


def keyword_cnn(steps=W):
    x = keras.Input((steps, 6))
    y = layers.Reshape((steps, 6, 1))(x) if steps else ops.expand_dims(x, -1)
    y = layers.Conv2D(3, 3, activation="relu")(y)
    y = layers.MaxPooling2D((2, 1))(y)
    return keras.Model(x, layers.Dense(4, activation="softmax")(layers.Flatten()(y)))


def text_classifier(steps=W):
    ids = keras.Input((steps,))
    y = layers.Bidirectional(layers.GRU(3))(layers.Embedding(20, 4, mask_zero=True)(ids))
    return keras.Model(ids, layers.Dense(2)(y))


def autoencoder(steps=W):
    x = keras.Input((steps, 2))
    y = layers.RepeatVector(steps)(layers.LSTM(4)(x))
    return keras.Model(x, layers.TimeDistributed(layers.Dense(2))(layers.LSTM(3, return_sequences=True)(y)))


def transformer(steps=W):
    x = keras.Input((steps, 4))
    y = layers.LayerNormalization()(x + layers.MultiHeadAttention(2, 3)(x, x))
    return keras.Model(x, layers.Dense(2)(layers.GlobalAveragePooling1D()(layers.GroupNormalization(2)(y))))


def backwards(steps=W):
    x = keras.Input((steps, 3))
    return keras.Model(x, layers.GRU(4, go_backwards=True)(layers.Conv1D(4, 3, padding="same")(x)))


MODELS = {
    "keyword cnn": keyword_cnn,
    "text": text_classifier,
    "autoencoder": autoencoder,
    "transformer": transformer,
    "backwards": backwards,
}


def draw(model, steps, seed=0):
    generator = np.random.default_rng(seed)
    if len(model.inputs[0].shape) == 2:
        return generator.integers(0, 20, steps).astype("float32")
    return generator.normal(size=(steps, *model.inputs[0].shape[2:])).astype("float32")


def ends_of(steps, hop=1, pad=None, window=W):
    """Last steps, counted from one, of the windows of a sequence."""
    ends = [end for end in range(1, steps + 1) if (end - window) % hop == 0 and (pad or end >= window)]
    return ends + [steps] * (pad is not None and steps > 0 and steps not in ends)


def expected(model, x, hop=1, pad=None, window=W):
    rows = []
    for end in ends_of(len(x), hop, pad, window):
        part = x[max(0, end - window) : end]
        zeros = np.zeros((window - len(part), *x.shape[1:]), x.dtype)
        rows.append(np.concatenate([zeros, part] if pad == "pre" else [part, zeros]))
    shape = model.outputs[0].shape[1:]
    if not rows:
        return np.zeros((0, *(size or window for size in shape)), "float32")
    # Two rows at least: Keras takes some operands of one sequence for a bias.
    return np.asarray(model(np.stack([*rows, rows[0]]), training=False))[:-1]


def streamed(loaded, x, cuts):
    stream = loaded.create_stream()
    return np.concatenate([*(stream.feed(part) for part in np.split(x, cuts)), stream.finish()])
