"""Reads tables: text of any encoding, separators, headers, numbers, times, missing values.

Training and the device read tables by the same code.
"""

from streaming.runtime.tables.cells import Clock, NumberReader, is_missing, is_number, parse_time, split_cells
from streaming.runtime.tables.filling import POLICIES, Filled, Filler, fill_rows
from streaming.runtime.tables.header import Header, choose_columns, in_order, read_header
from streaming.runtime.tables.lines import records, text_lines
from streaming.runtime.tables.resampling import Resampler, parse_step, shown_time

__all__ = [
    "POLICIES",
    "Clock",
    "Filled",
    "Filler",
    "Header",
    "NumberReader",
    "Resampler",
    "choose_columns",
    "fill_rows",
    "in_order",
    "is_missing",
    "is_number",
    "parse_step",
    "parse_time",
    "read_header",
    "records",
    "shown_time",
    "split_cells",
    "text_lines",
]
