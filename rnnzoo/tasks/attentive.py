"""Attention weights of a trained model."""

from __future__ import annotations

import keras

from rnnzoo.layers import AttentionDecoder, BahdanauAttention, LuongAttention


def attention_model(model: keras.Model) -> keras.Model | None:
    """A model with the same inputs and weights that gives the weights of attention (B, T, S).

    Args:
        model: a functional model, such as `build_translator` and `build_captioner` make.

    Returns:
        None where no layer attends to a source.
    """
    for layer in model.layers:
        if isinstance(layer, BahdanauAttention | LuongAttention):
            # A copy: Keras takes each call of a layer to have as many outputs as its first.
            attention = type(layer).from_config(layer.get_config())
            _, weights = attention(*layer.input, return_attention_scores=True)
            attention.set_weights(layer.get_weights())
            return keras.Model(model.input, weights)
        if isinstance(layer, AttentionDecoder):
            inputs, memory, *states = layer.input
            decoder = AttentionDecoder(layer.cell, return_attention_scores=True)
            return keras.Model(model.input, decoder(inputs, memory, initial_state=states or None)[1])
    return None
