"""Keras layers that train as usual and define how they stream."""

from rnnzoo.layers.attention import BahdanauAttention, LuongAttention
from rnnzoo.layers.attention_decoder import AttentionCell, AttentionDecoder
from rnnzoo.layers.bidirectional import Bidirectional
from rnnzoo.layers.cells import (
    RNN,
    ElmanCell,
    FastGRNNCell,
    FastRNNCell,
    GRUCell,
    IndRNNCell,
    LayerNormGRUCell,
    LayerNormLSTMCell,
    LSTMCell,
)
from rnnzoo.layers.char_rnn import CharRNN
from rnnzoo.layers.characters import CharCNN
from rnnzoo.layers.checking import Check, LayerCheckError, check
from rnnzoo.layers.crf import CRF, CRFLoss
from rnnzoo.layers.ctc import CTCLoss, ctc_greedy_decode
from rnnzoo.layers.embedding import PaddedEmbedding
from rnnzoo.layers.front_end import LogMelFrontEnd
from rnnzoo.layers.latch import Latch
from rnnzoo.layers.linear import (
    LRU,
    MLSTM,
    QRNN,
    RGLRU,
    SRU,
    LRUCell,
    MinGRU,
    MinGRUCell,
    MinLSTM,
    MinLSTMCell,
    MLSTMCell,
    QRNNCell,
    RGLRUCell,
    SRUCell,
    linear_scan,
)
from rnnzoo.layers.logmel import LogMel
from rnnzoo.layers.lookahead import LookaheadConv
from rnnzoo.layers.pooling import AttentionPooling
from rnnzoo.layers.recurrent import GRU, LSTM, LayerNormLSTM, SimpleRNN
from rnnzoo.layers.sampled import AdaptiveSoftmax, MeanOutput, SampledSoftmax
from rnnzoo.layers.story import StoryMemory
from rnnzoo.layers.tied import TiedEmbedding
from rnnzoo.layers.transformer import TransformerBlock, TransformerDecoderBlock
from rnnzoo.layers.wrappers import HighwayCell, ResidualCell
from rnnzoo.layers.wrappers_noise import VariationalDropoutCell, WeightDropoutCell, ZoneoutCell

__all__ = [
    "CRF",
    "GRU",
    "LRU",
    "LSTM",
    "MLSTM",
    "QRNN",
    "RGLRU",
    "RNN",
    "SRU",
    "AdaptiveSoftmax",
    "AttentionCell",
    "AttentionDecoder",
    "AttentionPooling",
    "BahdanauAttention",
    "Bidirectional",
    "CRFLoss",
    "CTCLoss",
    "CharCNN",
    "CharRNN",
    "Check",
    "ElmanCell",
    "FastGRNNCell",
    "FastRNNCell",
    "GRUCell",
    "HighwayCell",
    "IndRNNCell",
    "LRUCell",
    "LSTMCell",
    "Latch",
    "LayerCheckError",
    "LayerNormGRUCell",
    "LayerNormLSTM",
    "LayerNormLSTMCell",
    "LogMel",
    "LogMelFrontEnd",
    "LookaheadConv",
    "LuongAttention",
    "MLSTMCell",
    "MeanOutput",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "PaddedEmbedding",
    "QRNNCell",
    "RGLRUCell",
    "ResidualCell",
    "SRUCell",
    "SampledSoftmax",
    "SimpleRNN",
    "StoryMemory",
    "TiedEmbedding",
    "TransformerBlock",
    "TransformerDecoderBlock",
    "VariationalDropoutCell",
    "WeightDropoutCell",
    "ZoneoutCell",
    "check",
    "ctc_greedy_decode",
    "linear_scan",
]
