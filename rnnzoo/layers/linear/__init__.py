"""Recurrences that are linear in their state: cells, layers that run them as parallel scans, and the scan itself."""

from rnnzoo.layers.linear.lru import LRU, RGLRU, LRUCell, RGLRUCell
from rnnzoo.layers.linear.minimal import MinGRU, MinGRUCell, MinLSTM, MinLSTMCell
from rnnzoo.layers.linear.scan import linear_scan

__all__ = [
    "LRU",
    "RGLRU",
    "LRUCell",
    "MinGRU",
    "MinGRUCell",
    "MinLSTM",
    "MinLSTMCell",
    "RGLRUCell",
    "linear_scan",
]
