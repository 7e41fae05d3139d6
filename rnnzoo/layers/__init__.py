"""Keras layers that train as usual and say how they stream."""

from rnnzoo.layers.cells import (
    ElmanCell,
    FastGRNNCell,
    FastRNNCell,
    GRUCell,
    IndRNNCell,
    LayerNormGRUCell,
    LayerNormLSTMCell,
    LSTMCell,
)
from rnnzoo.layers.characters import CharCNN
from rnnzoo.layers.checking import Check, LayerCheckError, check
from rnnzoo.layers.embedding import PaddedEmbedding
from rnnzoo.layers.lookahead import LookaheadConv
from rnnzoo.layers.recurrent import LSTM, SimpleRNN

__all__ = [
    "LSTM",
    "CharCNN",
    "Check",
    "ElmanCell",
    "FastGRNNCell",
    "FastRNNCell",
    "GRUCell",
    "IndRNNCell",
    "LSTMCell",
    "LayerCheckError",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
    "LookaheadConv",
    "PaddedEmbedding",
    "SimpleRNN",
    "check",
]
