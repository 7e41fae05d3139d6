"""Keras layers that train as usual and say how they stream."""

from rnnzoo.layers.attention import BahdanauAttention, LuongAttention
from rnnzoo.layers.attention_decoder import AttentionCell, AttentionDecoder
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
from rnnzoo.layers.recurrent import GRU, LSTM, LayerNormLSTM, SimpleRNN
from rnnzoo.layers.wrappers import HighwayCell, ResidualCell
from rnnzoo.layers.wrappers_noise import VariationalDropoutCell, WeightDropoutCell, ZoneoutCell

__all__ = [
    "GRU",
    "LSTM",
    "AttentionCell",
    "AttentionDecoder",
    "BahdanauAttention",
    "CharCNN",
    "Check",
    "ElmanCell",
    "FastGRNNCell",
    "FastRNNCell",
    "GRUCell",
    "HighwayCell",
    "IndRNNCell",
    "LSTMCell",
    "LayerCheckError",
    "LayerNormGRUCell",
    "LayerNormLSTM",
    "LayerNormLSTMCell",
    "LookaheadConv",
    "LuongAttention",
    "PaddedEmbedding",
    "ResidualCell",
    "SimpleRNN",
    "VariationalDropoutCell",
    "WeightDropoutCell",
    "ZoneoutCell",
    "check",
]
