"""Recurrent layers in the place of Keras's own, with hand-derived backward passes."""

from rnnzoo.layers.recurrent.layers import GRU, LSTM, LayerNormLSTM, SimpleRNN

__all__ = ["GRU", "LSTM", "LayerNormLSTM", "SimpleRNN"]
