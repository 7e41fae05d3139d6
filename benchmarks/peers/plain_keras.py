"""The tagger, the spotter and the translator of the zoo in plain layers of Keras."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops


class WordDropout(keras.layers.Layer):
    """In training, ids become the unknown one, 1, at this rate; padding stays."""

    def __init__(self, rate: float):
        super().__init__()
        self.rate, self.seed = rate, keras.random.SeedGenerator()

    def call(self, ids: Any, training: bool = False) -> Any:
        if not training or not self.rate:
            return ids
        hidden = (keras.random.uniform(ops.shape(ids), seed=self.seed) < self.rate) & (ids != 0)
        return ops.where(hidden, ops.ones_like(ids), ids)


class TiedScores(keras.layers.Embedding):
    """An embedding whose table also scores its ids."""

    def build(self, input_shape: Any = None) -> None:
        super().build(input_shape)
        self.bias = self.add_weight((self.input_dim,), "zeros", name="bias")

    def call(self, x: Any, reverse: bool = False) -> Any:
        return ops.matmul(x, ops.transpose(self.embeddings)) + self.bias if reverse else super().call(x)

    def compute_output_spec(self, x: Any, reverse: bool = False) -> Any:
        return keras.KerasTensor((*x.shape[:2], self.input_dim if reverse else self.output_dim))


def padded(layer: Any, ids: Any, read: Any = None) -> Any:
    """The vectors of ids, zeros where there is padding."""
    there = ops.expand_dims(ops.cast(ops.not_equal(ids, 0), "float32"), -1)
    return layer(ids if read is None else read) * there


def tagger(config: Any, encoder: Any, batch_size: int) -> keras.Model:
    """As `build_tagger`."""
    words = keras.Input((None,), dtype="int32", name="words")
    chars = keras.Input((None, encoder.max_word_length), dtype="int32", name="chars")
    affixes = keras.Input((None, 8), dtype="int32", name="affixes")
    embed, parts = keras.layers.Embedding, []
    layer = embed(len(encoder.words), config.word_size, name="word_embedding")
    parts.append(padded(layer, words, WordDropout(config.word_dropout)(words)))
    vectors = padded(embed(len(encoder.chars), config.char_size, name="char_embedding"), chars)
    for width in config.char_widths:
        convolution = keras.layers.Conv2D(
            config.char_filters, (1, width), padding="same", activation="relu", bias_constraint=not_above_zero,
            name=f"characters_{width}",
        )  # fmt: skip
        parts.append(ops.max(convolution(vectors), axis=2))
    layer = embed(len(encoder.affixes), config.affix_size, name="affix_embedding")
    parts.append(
        keras.layers.Reshape((-1, 8 * config.affix_size))(
            padded(layer, affixes, WordDropout(config.affix_dropout)(affixes))
        )
    )
    x = keras.layers.Dropout(config.input_dropout)(keras.layers.Concatenate()(parts))
    x = keras.layers.ZeroPadding1D((config.context, config.lookahead))(x)
    taps = config.context + 1 + config.lookahead
    x = keras.layers.Conv1D(config.conv_units, taps, activation="relu", name="neighbours")(x)
    x = keras.layers.Dropout(config.dropout)(x)
    y = keras.layers.LSTM(
        config.units, return_sequences=True, recurrent_dropout=config.recurrent_dropout, name="recurrent_0"
    )(x)
    x = keras.layers.Add()([x, keras.layers.Dropout(config.dropout)(y)])
    logits = keras.layers.Dense(len(encoder.labels), name="logits")(x)
    return keras.Model({"words": words, "chars": chars, "affixes": affixes}, logits)


def not_above_zero(bias: Any) -> Any:
    """Padding, which is zeros, stays zeros."""
    return ops.minimum(bias, 0)


def spotter(config: Any, encoder: Any, batch_size: int) -> keras.Model:
    """As `build_keyword_spotter`, its states carried from batch to batch."""
    features = keras.Input(batch_shape=(batch_size, None, encoder.definition.num_mels), name="features")
    x = keras.layers.Normalization(mean=encoder.mean, variance=np.square(encoder.scale))(features)
    x = keras.layers.Conv1D(config.conv_units, config.conv_width, padding="causal", activation="relu", name="conv")(x)
    x = keras.layers.Dropout(config.dropout)(x)
    for i in range(config.layers):
        x = keras.layers.GRU(config.units, return_sequences=True, stateful=True, name=f"recurrent_{i}")(x)
        x = keras.layers.Dropout(config.dropout)(x)
    return keras.Model({"features": features}, keras.layers.Dense(len(encoder.labels), name="logits")(x))


def translator(config: Any, encoder: Any, batch_size: int) -> keras.Model:
    """As `build_translator` with attention by Luong, one layer of GRU."""
    source, target = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
    x = keras.layers.Embedding(len(encoder.source), config.token_size, mask_zero=True, name="source_embedding")(source)
    x = keras.layers.Dropout(config.dropout)(x)
    layer = keras.layers.GRU(config.units // 2, return_sequences=True, return_state=True, name="encoder_0")
    memory, ahead, back = keras.layers.Bidirectional(layer, name="both_encoder_0")(x)
    memory = keras.layers.Dropout(config.dropout)(memory)
    state = keras.layers.Dense(config.units, "tanh", name="state_0")(keras.layers.Concatenate()([ahead, back]))
    table = TiedScores(len(encoder.target), config.token_size, name="target_embedding")
    y = keras.layers.Dropout(config.dropout)(table(target))
    y = keras.layers.GRU(config.units, return_sequences=True, name="decoder_0")(y, initial_state=state)
    y = keras.layers.Dropout(config.dropout)(y)
    keys = keras.layers.Dense(config.units, use_bias=False, name="keys")(memory)
    y = keras.layers.Concatenate()([y, keras.layers.Attention()([y, memory, keys])])
    y = keras.layers.Dense(config.token_size, "tanh", name="readout")(y)
    logits = table(keras.layers.Dropout(config.dropout)(y), reverse=True)
    return keras.Model({"source": source, "target": target}, logits)


BUILDERS: dict[str, Callable[..., keras.Model]] = {
    "tagger": tagger,
    "keyword_spotter": spotter,
    "translator": translator,
}


def load(model: keras.Model, weights: Mapping[str, np.ndarray]) -> None:
    """Give a model the weights of the zoo's, by their names there."""
    named = dict(weights)
    if "char_cnn/thresholds" in named:
        widths = [int(name.rpartition("_")[2]) for name in named if name.startswith("char_cnn/kernel")]
        for width, part in zip(widths, np.split(named["char_cnn/thresholds"], len(widths)), strict=True):
            named[f"characters_{width}/kernel"] = named[f"char_cnn/kernel_{width}"]
            named[f"characters_{width}/bias"] = -part
    if "attention/keys/kernel" in named:
        named["keys/kernel"] = named["attention/keys/kernel"]
    for variable in model.trainable_variables:
        # Windows of neighbours are one row there.
        variable.assign(np.reshape(named[variable.path], variable.shape))
