"""Recurrent layers in the place of Keras's own, with hand-derived backward passes."""

from rnnzoo.layers.recurrent.layers import LSTM, SimpleRNN

__all__ = ["LSTM", "SimpleRNN"]
