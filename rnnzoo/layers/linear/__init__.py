"""Recurrences that are linear in their state: cells, layers that run them as parallel scans, and the scan itself."""

from rnnzoo.layers.linear.minimal import MinGRU, MinGRUCell, MinLSTM, MinLSTMCell
from rnnzoo.layers.linear.scan import linear_scan

__all__ = ["MinGRU", "MinGRUCell", "MinLSTM", "MinLSTMCell", "linear_scan"]
