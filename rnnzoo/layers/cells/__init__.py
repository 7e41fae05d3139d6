"""Recurrent cells, one family a file."""

from rnnzoo.layers.cells.elman import ElmanCell
from rnnzoo.layers.cells.fast import FastGRNNCell, FastRNNCell
from rnnzoo.layers.cells.gru import GRUCell
from rnnzoo.layers.cells.indrnn import IndRNNCell
from rnnzoo.layers.cells.lstm import LSTMCell
from rnnzoo.layers.cells.normalized import LayerNormGRUCell, LayerNormLSTMCell
from rnnzoo.layers.cells.rnn import RNN

__all__ = [
    "RNN",
    "ElmanCell",
    "FastGRNNCell",
    "FastRNNCell",
    "GRUCell",
    "IndRNNCell",
    "LSTMCell",
    "LayerNormGRUCell",
    "LayerNormLSTMCell",
]
