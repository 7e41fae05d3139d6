"""Makes `keras2_files.zip`: small models of Keras 2 with random weights, an input and the output of each.

Run it where tf_keras is installed (`python tests/support/keras2_models.py`); the tests need the zip alone.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

ZIP = Path(__file__).with_name("keras2_files.zip")
IDS = [np.array([[1, 2, 3, 0], [4, 5, 0, 0]], "int32"), np.array([[3, 0, 4, 5, 6], [3, 0, 0, 6, 1]], "int32")]


def rows() -> np.ndarray:
    """(B, T, 8), the end of the second sequence masked."""
    found = np.random.default_rng(0).normal(size=(2, 11, 8)).astype("float32")
    found[1, 7:] = 0
    return found


def translator(keras: Any, _: Any) -> tuple[Any, Any]:
    """The common recipe: masked ids, states of one LSTM as the initial states of another, which keeps its mask."""
    layers = keras.layers
    source, target = (keras.Input((None,), dtype="int32") for _ in range(2))
    _, *states = layers.LSTM(5, return_state=True)(layers.Embedding(20, 6, mask_zero=True)(source))
    embedded = layers.Embedding(20, 6, mask_zero=True)(target)
    decoded = layers.LSTM(5, return_sequences=True)(embedded, initial_state=states)
    return keras.Model([source, target], layers.Dense(4, activation="softmax")(decoded)), IDS


def nested(keras: Any, _: Any) -> tuple[Any, Any]:
    """A Sequential and a functional model inside, one called twice; a frozen BatchNormalization."""
    layers = keras.layers
    first = [layers.Conv1D(6, 3, padding="causal"), layers.BatchNormalization(trainable=False), layers.ReLU(6.0)]
    inner, x, y = keras.Sequential(first, name="inner"), keras.Input((None, 8)), keras.Input((None, 6))
    both = layers.Bidirectional(layers.GRU(4, return_sequences=True), merge_mode="sum")(layers.Dense(5)(y))
    again = keras.Model(y, both, name="again")
    return keras.Model(x, layers.Add()([again(inner(x)), again(layers.Dense(6)(x))])), rows()


def cells(keras: Any, _: Any) -> tuple[Any, Any]:
    """hard_sigmoid of Keras 2, GRU without reset_after, stacked cells, Masking, and layers with old keywords."""
    layers = keras.layers
    stack = [layers.GRUCell(4, recurrent_activation="hard_sigmoid", reset_after=False), layers.LSTMCell(3)]
    parts = [
        layers.Masking(0.0, input_shape=(None, 8)),
        layers.LSTM(5, recurrent_activation="hard_sigmoid", return_sequences=True),
        layers.RNN(stack, return_sequences=True),
        layers.Dropout(0.2),
        layers.LayerNormalization(),
        layers.PReLU(shared_axes=[1]),
        layers.LeakyReLU(alpha=0.2),
        layers.TimeDistributed(layers.Dense(3, activation="hard_sigmoid")),
    ]
    return keras.Sequential(parts), rows()


def functions(keras: Any, tf: Any) -> tuple[Any, Any]:
    """TFOpLambda and SlicingOpLambda: constants first and last, lists, slices, ellipsis, keywords with tensors."""
    x = keras.Input((None, 8))
    y = tf.concat([x[:, :, :3] * 2.0, tf.nn.relu(x)[..., 3:5], tf.math.maximum(x, 0.1)], axis=-1)
    y = tf.clip_by_value(y, -1.0, 1.0) / (1.0 + tf.abs(y))
    y = keras.layers.GRU(4, return_sequences=True)(y + np.arange(13, dtype="float32"))
    y = tf.nn.softmax(1.0 - tf.squeeze(tf.expand_dims(y, 2), 2))
    y = tf.where(y > tf.reduce_mean(y, axis=-1, keepdims=True), y, tf.zeros_like(y)) ** 2.0
    return keras.Model(x, -tf.cast(tf.transpose(tf.transpose(y, [0, 2, 1]), [0, 2, 1]), "float32")), rows()


def attention(keras: Any, _: Any) -> tuple[Any, Any]:
    """Attention of both kinds, and a separable convolution."""
    layers, x = keras.layers, keras.Input((None, 8))
    query = layers.Dense(6)(x)
    heads = layers.MultiHeadAttention(2, 4)(query, query, use_causal_mask=True)
    parts = [heads, layers.Attention(use_scale=True)([query, query]), layers.SeparableConv1D(5, 3, padding="same")(x)]
    return keras.Model(x, layers.Concatenate()(parts)), rows()


def shared(keras: Any, _: Any) -> tuple[Any, Any]:
    """One layer called twice, two outputs, policy mixed_float16 in a layer."""
    layers, x = keras.layers, keras.Input((None, 8))
    twice = layers.LSTM(4, return_sequences=True)
    named = [layers.Dense(6, name="a")(x), layers.Dense(6, name="b", dtype="mixed_float16")(x)]
    return keras.Model(x, [twice(item) for item in named]), rows()


def adapted(keras: Any, tf: Any) -> tuple[Any, Any]:
    """Statistics that `adapt` collects, layers with words that only Keras 2 has, a mask that Concatenate joins."""
    layers, x = keras.layers, keras.Input((None, 8))
    scaled = layers.Normalization()
    scaled.adapt(3.0 * rows() + 1.0)
    y = layers.SpatialDropout1D(0.2)(layers.Masking()(scaled(x)))
    y = layers.Concatenate()([layers.Add()([y, y]), layers.GRU(4, return_sequences=True)(y)])
    left, right = tf.split(layers.LSTM(6, return_sequences=True)(y), [2, 4], axis=-1)
    return keras.Model(x, layers.Conv1DTranspose(3, 2)(tf.concat([right, left], -1))), rows()


MODELS: dict[str, Callable[[Any, Any], tuple[Any, Any]]] = {
    made.__name__: made for made in (translator, nested, cells, functions, attention, shared, adapted)
}


def save(folder: Path) -> None:
    """Write NAME.h5, NAME.keras where Keras 2 can, and NAME.npz for every model."""
    import tensorflow as tf
    import tf_keras

    generator = np.random.default_rng(0)
    for name, made in MODELS.items():
        tf_keras.backend.clear_session()
        model, inputs = made(tf_keras, tf)
        for weight in model.weights:
            if name == "adapted" and weight.name.partition(":")[0] in ("mean", "variance", "count"):
                continue
            value = 0.5 * generator.normal(size=weight.shape)
            weight.assign(abs(value) + 0.5 if "variance" in weight.name else value)
        model.save(folder / f"{name}.h5")
        if name != "functions":  # it cannot write an ellipsis
            model.save(folder / f"{name}.keras")
        outputs = model(inputs)
        sides = {"x": inputs, "y": outputs}
        arrays = {k: v if isinstance(v, list | tuple) else [v] for k, v in sides.items()}
        np.savez(folder / f"{name}.npz", **{f"{k}{i}": a for k, side in arrays.items() for i, a in enumerate(side)})


if __name__ == "__main__":
    with (
        tempfile.TemporaryDirectory() as place,
        zipfile.ZipFile(ZIP, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as file,
    ):
        save(Path(place))
        for path in sorted(Path(place).iterdir()):
            file.write(path, path.name)
