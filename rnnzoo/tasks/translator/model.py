"""The translator: an encoder, and a decoder that uses the source as its architecture says."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import keras

from rnnzoo.data.encoders.pairs import PairEncoder
from rnnzoo.errors import ConfigError
from rnnzoo.layers import (
    GRU,
    LSTM,
    AttentionCell,
    AttentionDecoder,
    BahdanauAttention,
    Bidirectional,
    LuongAttention,
    TiedEmbedding,
    TransformerBlock,
    TransformerDecoderBlock,
)
from rnnzoo.tasks.translator.config import TranslatorConfig

_LAYERS = {"lstm": LSTM, "gru": GRU}
_CELLS = {"lstm": keras.layers.LSTMCell, "gru": keras.layers.GRUCell}
_ATTENTIVE = ("luong", "bahdanau")
# Names of layers, or how they begin: by them the halves of a model are found again.
_MEMORY, _STATE, _DECODER = "memory", "state_", "decoder_"
_LOOP, _ATTENTION, _HEADS, _CONTEXT = "decoder", "attention", "read_so_far", ("context_in", "context_out")
_SHOWN = "shown_to_"


def build_translator(config: TranslatorConfig, encoder: PairEncoder) -> keras.Model:
    """An encoder-decoder, trained with the right target before each step.

    Args:
        config: architecture and sizes.
        encoder: vocabularies, V entries of the target.

    Returns:
        A functional model; inputs `source` (B, S) and `target` (B, T) of int32, output logits (B, T, V) of what
        follows each piece of the target. With `wait_k` S is T.

    Raises:
        ConfigError: the architecture and `data.wait_k` contradict each other.
    """
    if (config.architecture == "wait_k") != (encoder.wait_k is not None):
        raise ConfigError(
            f"model.architecture={config.architecture} and data.wait_k={encoder.wait_k} contradict each other: "
            "wait_k needs a number of steps, and no other architecture has one"
        )
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    entries, masked = len(encoder.source), config.architecture != "wait_k"
    x = keras.layers.Embedding(entries, config.token_size, _start(config), mask_zero=masked, name="source_embedding")(
        source
    )
    x = keras.layers.Dropout(config.dropout, name="source_dropout")(x)
    parts = {layer.name: layer for layer in _decoder_layers(config, len(encoder.target))}
    memory, states = _encode(config, x)
    logits, _ = _decode(parts, target, memory, None, states)
    return keras.Model({"source": source, "target": target}, logits, name="translator")


def decoding_models(model: keras.Model) -> tuple[keras.Model, keras.Model]:
    """The two halves of a translator that reads its source whole, with the same weights, for a search.

    Args:
        model: what `build_translator` made.

    Returns:
        The encoder: `source` (B, S) to a list of what the decoder is given: the memory (B, S, D) of attention, or a
        context (B, D), if any; then the states that it begins with. The decoder: a list of `source` (B, S), `target`
        (B, 1) and what the encoder gave, to a list of logits (B, 1, V) and the states that follow. The state of a
        Transformer is what has been written, (B, T).
    """
    parts = {layer.name: layer for layer in model.layers}
    if _is_transformer(parts):
        return _decoding_over_past(model, parts)
    memory = parts[_MEMORY].output if _MEMORY in parts else None
    states = [parts[name].output for name in _state_names(parts)]
    given = states if memory is None else [memory, *states]
    encoder = keras.Model(model.input["source"], given, name="encoder")
    if _LOOP in parts:
        # A stream keeps the states of a loop by itself; a search has to see them.
        parts[_LOOP] = AttentionDecoder(parts[_LOOP].cell, return_state=True)
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    begun = [keras.Input(tensor.shape[1:], name=f"given_{i}") for i, tensor in enumerate(given)]
    first, rest = (None, begun) if memory is None else (begun[0], begun[1:])
    logits, new = _decode(parts, target, first, keras.ops.not_equal(source, 0), rest)
    return encoder, keras.Model([source, target, *begun], [logits, *new], name="decoder")


def _decoding_over_past(model: keras.Model, parts: Mapping[str, keras.layers.Layer]) -> tuple[keras.Model, keras.Model]:
    """The halves of a Transformer, which reads all that it has written again: for so few steps that costs little."""
    source, memory = model.input["source"], parts[_MEMORY].output
    encoder = keras.Model(source, [memory, source[:, :0]], name="encoder")
    read, target, past = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "target", "past"))
    given = keras.Input(memory.shape[1:], name="given_0")
    written = keras.layers.Concatenate()([past, target])
    x = _attend(parts, parts["target_embedding"](written), given, keras.ops.not_equal(read, 0))
    return encoder, keras.Model([read, target, given, past], [_score(parts, x[:, -1:], None), written], name="decoder")


def _encode(config: TranslatorConfig, x: Any) -> tuple[Any, list[Any]]:
    """Context of the decoder at each step, None where there is none, and its initial states."""
    if config.architecture == "transformer":
        for i in range(config.layers):
            x = TransformerBlock(config.units, config.heads, causal=False, name=f"encoder_{i}")(x)
            x = keras.layers.Dropout(config.dropout, name=f"encoder_{i}_dropout")(x)
        return keras.layers.LayerNormalization(name=_MEMORY)(x), []
    last: list[Any] = []
    for i in range(config.layers):
        both = config.architecture in _ATTENTIVE
        units = config.units // 2 if both else config.units
        layer = _LAYERS[config.cell](units, return_sequences=True, return_state=True, name=f"encoder_{i}")
        x, *states = (Bidirectional(layer, name=f"both_encoder_{i}") if both else layer)(x)
        x = keras.layers.Dropout(config.dropout, name=f"encoder_{i}_dropout")(x)
        half = len(states) // 2
        pairs = zip(states[:half], states[half:], strict=True)
        last += [keras.layers.Concatenate()(pair) for pair in pairs] if both else states
    if config.architecture == "wait_k":
        return x, []
    if config.architecture == "sutskever":
        return None, [keras.layers.Identity(name=f"{_STATE}{i}")(state) for i, state in enumerate(last)]
    begun = [
        keras.layers.Dense(config.units, activation="tanh", name=f"{_STATE}{i}")(state) for i, state in enumerate(last)
    ]
    if config.architecture == "cho":
        x = keras.layers.Reshape((1, config.units), name="context")(states[0])
    return keras.layers.Identity(name=_MEMORY)(x), begun


def _decoder_layers(config: TranslatorConfig, entries: int) -> Iterator[keras.layers.Layer]:
    """The layers of a decoder, whose names say what it is made of."""
    yield TiedEmbedding(entries, config.token_size, embeddings_initializer=_start(config), name="target_embedding")
    yield keras.layers.Dropout(config.dropout, name="target_dropout")
    if config.architecture == "bahdanau":
        # Weights are stored by the names of layers: each has one of its own.
        cells = [_CELLS[config.cell](config.units, name=f"cell_{i}") for i in range(config.layers)]
        cell = cells[0] if len(cells) == 1 else keras.layers.StackedRNNCells(cells, name="cells")
        attentive = AttentionCell(cell, BahdanauAttention(config.units, name=_ATTENTION), name="step")
        yield AttentionDecoder(attentive, name=_LOOP)
    elif config.architecture == "transformer":
        for i in range(config.layers):
            yield keras.layers.Dense(2 * config.units, use_bias=False, name=f"{_SHOWN}{_DECODER}{i}")
            yield TransformerDecoderBlock(config.units, config.heads, name=f"{_DECODER}{i}")
            yield keras.layers.Dropout(config.dropout, name=f"{_DECODER}{i}_dropout")
        yield keras.layers.LayerNormalization(name="written")
    else:
        for i in range(config.layers):
            yield _LAYERS[config.cell](config.units, return_sequences=True, return_state=True, name=f"{_DECODER}{i}")
            yield keras.layers.Dropout(config.dropout, name=f"{_DECODER}{i}_dropout")
    if config.architecture == "luong":
        yield LuongAttention("general", name=_ATTENTION)
    if config.architecture == "wait_k":
        size = config.units // config.heads
        yield keras.layers.MultiHeadAttention(config.heads, size, dropout=config.dropout, name=_HEADS)
    if config.architecture == "cho":
        for name in _CONTEXT:
            yield keras.layers.Dense(config.token_size, use_bias=False, name=name)
    yield keras.layers.Dense(config.token_size, name="readout")
    yield keras.layers.Dropout(config.dropout, name="readout_dropout")


def _start(config: TranslatorConfig) -> keras.initializers.Initializer:
    """Vectors of length 1 or so: with Keras's short ones all tokens score alike, and training stays there for long."""
    return keras.initializers.RandomNormal(stddev=config.token_size**-0.5)


def _decode(
    parts: Mapping[str, keras.layers.Layer], target: Any, memory: Any, mask: Any, states: list[Any]
) -> tuple[Any, list[Any]]:
    """Logits of what follows each piece of the target, and the states after the last.

    mask (B, S): of the memory; None: the one that Keras knows.
    """
    x = parts["target_dropout"](parts["target_embedding"](target))
    if _LOOP in parts:
        y = parts[_LOOP](x, memory, initial_state=states, memory_mask=mask)
        x, *new = y if isinstance(y, list) else [y]
        return _score(parts, x, None), new
    if _is_transformer(parts):
        return _score(parts, _attend(parts, x, memory, mask), None), []
    read, wrote = (parts[name](memory) for name in _CONTEXT) if _CONTEXT[0] in parts else (None, None)
    if read is not None:
        x = keras.layers.Add()([x, read])
    if _HEADS in parts:
        x = keras.layers.Concatenate()([x, memory])
    x, new = _advance(parts, x, states)
    if _ATTENTION in parts:
        x = keras.layers.Concatenate()([x, parts[_ATTENTION](x, memory, memory_mask=mask)])
    if _HEADS in parts:
        # Attention within one sequence, which a stream can keep: each step is what was read and written there.
        both = keras.layers.Concatenate()([x, memory])
        x = keras.layers.Concatenate()([both, parts[_HEADS](both, both, use_causal_mask=True)])
    return _score(parts, x, wrote), new


def _attend(parts: Mapping[str, keras.layers.Layer], x: Any, memory: Any, mask: Any) -> Any:
    """Output of the blocks of a Transformer for vectors x (B, T, E)."""
    for layer in _steps(parts):
        x = layer(x, parts[f"{_SHOWN}{layer.name}"](memory), source_mask=mask)
        x = parts[f"{layer.name}_dropout"](x)
    return parts["written"](x)


def _is_transformer(parts: Mapping[str, keras.layers.Layer]) -> bool:
    return f"{_SHOWN}{_DECODER}0" in parts


def _steps(parts: Mapping[str, keras.layers.Layer]) -> list[keras.layers.Layer]:
    """The layers of a decoder that know what was before, in order."""
    return [parts[name] for name in parts if name.startswith(_DECODER) and name[len(_DECODER) :].isdigit()]


def _advance(parts: Mapping[str, keras.layers.Layer], x: Any, states: list[Any]) -> tuple[Any, list[Any]]:
    """The recurrent layers of the decoder, and their states after the last step."""
    layers = _steps(parts)
    size, new = len(states) // len(layers), []
    for i, layer in enumerate(layers):
        x, *after = layer(x, initial_state=states[i * size : (i + 1) * size] or None)
        x = parts[f"{layer.name}_dropout"](x)
        new += after
    return x, new


def _score(parts: Mapping[str, keras.layers.Layer], x: Any, context: Any) -> Any:
    """Logits, by the vectors of the target's tokens."""
    y = parts["readout"](x)
    y = keras.layers.Activation("tanh")(y if context is None else keras.layers.Add()([y, context]))
    return parts["target_embedding"](parts["readout_dropout"](y), reverse=True)


def _state_names(parts: Mapping[str, keras.layers.Layer]) -> list[str]:
    return [name for name in parts if name.startswith(_STATE) and name[len(_STATE) :].isdigit()]
