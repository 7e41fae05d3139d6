"""A text for a picture: a convolutional encoder, and a decoder that attends to image regions before each word."""

from __future__ import annotations

from typing import Any

import keras

from rnnzoo.data.encoders.pictures import CaptionEncoder
from rnnzoo.errors import ConfigError
from rnnzoo.layers import (
    AttentionCell,
    AttentionDecoder,
    BahdanauAttention,
    PaddedEmbedding,
    TransformerDecoderBlock,
)
from rnnzoo.tasks.captioner.config import CaptionerConfig
from rnnzoo.tasks.recurrent import head_count

_CELLS = {"lstm": keras.layers.LSTMCell, "gru": keras.layers.GRUCell}
# Names of layers, by which the halves of a model are found again.
_REGIONS, _STATE, _LOOP, _SHOWN = "regions", "state_", "decoder", "shown"


def build_captioner(config: CaptionerConfig, encoder: CaptionEncoder) -> keras.Model:
    """Show, Attend and Tell (Xu et al. 2015), with soft attention: trained with the right word before each step.

    The regions are the cells of the last feature map, or the positions of given features; the first state is made of
    their mean; the next word is scored from the state, the context and the word before. With a Transformer, a block
    attends to the regions instead (as in Cornia et al. 2020).

    Args:
        config: sizes.
        encoder: vocabulary of V entries, and the shape of the picture or its features.

    Returns:
        A functional model; inputs `picture` (B, H, W, C) of float32, 0 to 255, or (B, S, D), and `target` (B, T) of
        int32; output logits (B, T, V) of what follows each word.

    Raises:
        ConfigError: the picture is too small for so many layers, or features are given and layers for pictures too.
    """
    picture = keras.Input(encoder.shape, name="picture")
    target = keras.Input((None,), dtype="int32", name="target")
    features = _look(config, picture)
    regions = keras.layers.Dropout(config.dropout, name=_REGIONS)(features)
    looking, states = _looking_layers(config), _first_states(config, regions)
    entries = len(encoder.labels)
    parts = {
        "embedding": PaddedEmbedding(entries, config.token_size, name="target_embedding"),
        "embedding_dropout": keras.layers.Dropout(config.dropout, name="embedding_dropout"),
        **looking,
        "readout": keras.layers.Dense(config.token_size, activation="tanh", name="readout"),
        "readout_dropout": keras.layers.Dropout(config.dropout, name="readout_dropout"),
        "logits": keras.layers.Dense(entries, name="logits"),
    }
    logits, *_ = _write(parts, target, regions, states)
    return keras.Model({"picture": picture, "target": target}, logits, name="captioner")


def decoding_models(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """The two halves of a captioner, with the same weights, for a search.

    Args:
        model: what `build_captioner` made.

    Returns:
        The encoder: `picture` to a list of the regions (B, S, D) and the states that the decoder begins with. The
        decoder: a list of the regions, `target` (B, 1) and states, to a list of logits (B, 1, V) and the states that
        follow. The state of a Transformer is what has been written, (B, T).
    """
    parts = {layer.name: layer for layer in model.layers}
    named = {**parts, "embedding": parts["target_embedding"]}
    if _SHOWN in parts:
        return _decoding_over_past(model, named)
    # The same cell, by a layer that tells its states.
    named[_LOOP] = AttentionDecoder(parts[_LOOP].cell, return_state=True, name=_LOOP)
    given = [parts[_REGIONS].output]
    given += [parts[f"{_STATE}{i}"].output for i in range(2) if f"{_STATE}{i}" in parts]
    encoder = keras.Model(model.input["picture"], given, name="encoder")
    target = keras.Input((None,), dtype="int32", name="target")
    begun = [keras.Input(tensor.shape[1:], name=f"given_{i}") for i, tensor in enumerate(given)]
    logits, *new = _write(named, target, begun[0], begun[1:])
    return encoder, keras.Model([begun[0], target, *begun[1:]], [logits, *new], name="decoder")


def _decoding_over_past(model: keras.Model, parts: dict[str, Any]) -> tuple[keras.Model, keras.Model]:
    """The halves of a Transformer, which reads all that it has written again: for so few steps that costs little."""
    picture, regions = model.input["picture"], parts[_REGIONS].output
    nothing = keras.ops.cast(keras.layers.Flatten()(picture)[:, :0], "int32")
    encoder = keras.Model(picture, [regions, nothing], name="encoder")
    target, past = (keras.Input((None,), dtype="int32", name=name) for name in ("target", "past"))
    given = keras.Input(regions.shape[1:], name="given_0")
    written = keras.layers.Concatenate()([past, target])
    (logits,) = _write(parts, written, given, [])
    return encoder, keras.Model([given, target, past], [logits[:, -1:], written], name="decoder")


def _looking_layers(config: CaptionerConfig) -> dict[str, keras.layers.Layer]:
    """Decoder: attends to regions of the picture given the words before."""
    if config.cell == "transformer":
        return {
            _SHOWN: keras.layers.Dense(2 * config.units, use_bias=False, name=_SHOWN),
            _LOOP: TransformerDecoderBlock(config.units, head_count(config.units), name=_LOOP),
        }
    # Weights are stored by the names of layers: each has one of its own.
    cell = _CELLS[config.cell](config.units, name="cell")
    attention = BahdanauAttention(config.attention_units, name="attention")
    return {_LOOP: AttentionDecoder(AttentionCell(cell, attention, name="step"), name=_LOOP)}


def _first_states(config: CaptionerConfig, regions: Any) -> list[Any]:
    """The initial states of a recurrent decoder."""
    if config.cell == "transformer":
        return []
    mean = keras.layers.GlobalAveragePooling1D(name="gist")(regions)
    return [
        keras.layers.Dense(config.units, activation="tanh", name=f"{_STATE}{i}")(mean)
        for i in range(2 if config.cell == "lstm" else 1)
    ]


def _look(config: CaptionerConfig, picture: Any) -> Any:
    """The regions (B, S, D) of a picture, or of given features."""
    if len(picture.shape) == 3:
        if config.filters:
            raise ConfigError(
                f"model.filters={list(config.filters)} are for pictures, and the data are features of shape "
                f"{picture.shape[1:]}: set it to []"
            )
        return keras.layers.Dense(config.units, activation="relu", name="features")(picture)
    if not config.filters:
        raise ConfigError("model.filters is empty, and the data are pictures: name the width of a layer or more")
    x = keras.layers.Rescaling(1 / 127.5, -1.0, name="scaled")(picture)
    for i, filters in enumerate(config.filters):
        first = i == 0
        options: dict[str, Any] = {"padding": "same", "use_bias": False, "strides": config.stride if first else 1}
        if i and min(x.shape[1:3]) < 2:
            raise ConfigError(
                f"model.filters has {len(config.filters)} layers, more than a picture of {picture.shape[1:3]} pixels "
                "can be halved: take fewer"
            )
        if i:
            x = keras.layers.MaxPooling2D(name=f"pool_{i}")(x)
        x = keras.layers.Conv2D(filters, 5 if first else 3, name=f"conv_{i}", **options)(x)
        x = keras.layers.BatchNormalization(name=f"norm_{i}")(x)
        x = keras.layers.Activation("relu", name=f"relu_{i}")(x)
    return keras.layers.Reshape((x.shape[1] * x.shape[2], x.shape[3]), name="cells")(x)


def _write(parts: dict[str, Any], target: Any, regions: Any, states: list[Any]) -> list[Any]:
    """Logits of what follows each word, and the states after the last where the decoder tells them."""
    x = parts["embedding_dropout"](parts["embedding"](target))
    if _SHOWN in parts:
        decoded = parts[_LOOP](x, parts[_SHOWN](regions))
    else:
        decoded = parts[_LOOP](x, regions, initial_state=states)
    y, *new = decoded if isinstance(decoded, list) else [decoded]
    y = parts["readout"](keras.layers.Concatenate()([y, x]))
    return [parts["logits"](parts["readout_dropout"](y)), *new]
