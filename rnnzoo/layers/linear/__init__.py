"""Recurrences that are linear in their state: cells, layers that run them as parallel scans, and the scan itself."""

from rnnzoo.layers.linear.lru import LRU, RGLRU, LRUCell, RGLRUCell
from rnnzoo.layers.linear.minimal import MinGRU, MinGRUCell, MinLSTM, MinLSTMCell
from rnnzoo.layers.linear.mlstm import MLSTM, MLSTMCell
from rnnzoo.layers.linear.qrnn import QRNN, QRNNCell
from rnnzoo.layers.linear.scan import linear_scan
from rnnzoo.layers.linear.sru import SRU, SRUCell

__all__ = [
    "LRU",
    "MLSTM",
    "QRNN",
    "RGLRU",
    "SRU",
    "LRUCell",
    "MLSTMCell",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "QRNNCell",
    "RGLRUCell",
    "SRUCell",
    "linear_scan",
]
