"""Table of the builtin operations: operands, options and result of each, one line an operation.

A rule reads the operation through a `Call` and names its outputs by `Call.give`; whatever it does not allow is refused.
To let a further operation in, write its rule beside its like and add its line here: the number of its options in the
schema's `BuiltinOptions` (0: none), and whether it cannot run without them.
"""

from __future__ import annotations

from typing import NamedTuple

from streaming.runtime.operations import arithmetic as a
from streaming.runtime.operations import control as c
from streaming.runtime.operations import products as p
from streaming.runtime.operations import shapes as s
from streaming.runtime.operations.arithmetic import NUMBERS, Rule, binary, reduction, unary
from streaming.runtime.operations.call import BOOL, FLOAT32, INT32, INT64


class Entry(NamedTuple):
    """A rule, the number of the operation's options, and whether it has to have them."""

    rule: Rule
    options: int = 0
    needs_options: bool = False


_SIGNED = (FLOAT32, INT32, INT64)
_ANY = (*_SIGNED, BOOL)

OPERATIONS = {
    "ABS": Entry(unary(*_SIGNED, quantized=True), 78),
    "ADD": Entry(binary(*NUMBERS, rank=6, activation=True, quantized=a.sum_of_quantized), 11),
    "ADD_N": Entry(a.add_n, 82),
    "ARG_MAX": Entry(a.extreme_place, 40, True),
    "ARG_MIN": Entry(a.extreme_place, 57, True),
    "ASSIGN_VARIABLE": Entry(c.assign_variable, 113),
    "AVERAGE_POOL_2D": Entry(p.pool, 5, True),
    "BATCH_MATMUL": Entry(p.batch_matmul, 101),
    "BATCH_TO_SPACE_ND": Entry(s.from_batch, 24),
    "BROADCAST_ARGS": Entry(s.broadcast_args),
    "BROADCAST_TO": Entry(s.broadcast_to, 104),
    "BUCKETIZE": Entry(a.bucketize, 115, True),
    "CALL_ONCE": Entry(c.call_once, 103, True),
    "CAST": Entry(a.cast, 37),
    "CEIL": Entry(unary(FLOAT32)),
    "CONCATENATION": Entry(s.concatenate, 10, True),
    "CONV_2D": Entry(p.conv_2d, 1, True),
    "CONV_3D": Entry(p.conv_3d, 106, True),
    "CONV_3D_TRANSPOSE": Entry(p.transpose_conv_3d, 106, True),
    "COS": Entry(unary(FLOAT32), 84),
    "CUMSUM": Entry(a.cumulate, 102),
    "DEPTHWISE_CONV_2D": Entry(p.depthwise_conv_2d, 2, True),
    "DEQUANTIZE": Entry(a.dequantize, 38),
    "DIV": Entry(binary(FLOAT32, rank=5, activation=True), 29),
    "DYNAMIC_UPDATE_SLICE": Entry(s.update, 117),
    "ELU": Entry(a.leaky),
    "EQUAL": Entry(binary(*_ANY, compare=True, quantized=a.compared_scales), 53),
    "EXP": Entry(unary(FLOAT32), 33),
    "EXPAND_DIMS": Entry(s.expand, 52),
    "FILL": Entry(s.fill, 68),
    "FLOOR": Entry(unary(FLOAT32)),
    "FLOOR_DIV": Entry(a.division(*NUMBERS), 65),
    "FLOOR_MOD": Entry(a.division(*NUMBERS), 72),
    "FULLY_CONNECTED": Entry(p.fully_connected, 8, True),
    "GATHER": Entry(s.gather, 23),
    "GATHER_ND": Entry(s.gather_nd, 83),
    "GELU": Entry(a.leaky, 116),
    "GREATER": Entry(binary(*_SIGNED, compare=True, quantized=a.compared_scales), 44),
    "GREATER_EQUAL": Entry(binary(*_SIGNED, compare=True, quantized=a.compared_scales), 45),
    "HARD_SWISH": Entry(a.leaky, 91),
    "IF": Entry(c.branch, 92, True),
    "L2_NORMALIZATION": Entry(a.normalize, 12),
    "LEAKY_RELU": Entry(a.leaky, 75, True),
    "LESS": Entry(binary(*_SIGNED, compare=True, quantized=a.compared_scales), 41),
    "LESS_EQUAL": Entry(binary(*_SIGNED, compare=True, quantized=a.compared_scales), 46),
    "LOG": Entry(unary(FLOAT32)),
    "LOGICAL_AND": Entry(binary(BOOL), 62),
    "LOGICAL_NOT": Entry(unary(BOOL), 63),
    "LOGICAL_OR": Entry(binary(BOOL), 60),
    "LOGISTIC": Entry(unary(FLOAT32, quantized=True)),
    "LOG_SOFTMAX": Entry(a.softmax, 36),
    "MAXIMUM": Entry(binary(*NUMBERS, rank=5, quantized=a.equal_scales), 39),
    "MAX_POOL_2D": Entry(p.pool, 5, True),
    "MEAN": Entry(reduction(FLOAT32, INT32, INT64, quantized=True), 27),
    "MINIMUM": Entry(binary(*NUMBERS, rank=5, quantized=a.equal_scales), 39),
    "MIRROR_PAD": Entry(s.pad, 77, True),
    "MUL": Entry(binary(*NUMBERS, rank=6, activation=True, quantized=a.any_scales), 21),
    "NEG": Entry(unary(*_SIGNED), 42),
    "NOT_EQUAL": Entry(binary(*_ANY, compare=True, quantized=a.compared_scales), 54),
    "ONE_HOT": Entry(s.one_hot, 61, True),
    "PACK": Entry(s.pack, 59, True),
    "PAD": Entry(s.pad, 22),
    "PADV2": Entry(s.pad, 43),
    "POW": Entry(binary(FLOAT32, INT32), 56),
    "PRELU": Entry(a.prelu),
    "QUANTIZE": Entry(a.quantize, 89),
    "RANGE": Entry(s.number_range, 73),
    "RANK": Entry(s.shape_of, 86),
    "READ_VARIABLE": Entry(c.read_variable, 112),
    "REDUCE_ALL": Entry(reduction(BOOL), 27),
    "REDUCE_ANY": Entry(reduction(BOOL), 27),
    "REDUCE_MAX": Entry(reduction(*NUMBERS, quantized=True), 27),
    "REDUCE_MIN": Entry(reduction(*NUMBERS, quantized=True), 27),
    "REDUCE_PROD": Entry(reduction(*NUMBERS), 27),
    "RELU": Entry(unary(FLOAT32, quantized=True)),
    "RELU6": Entry(unary(FLOAT32, quantized=True)),
    "RELU_0_TO_1": Entry(unary(FLOAT32)),
    "RELU_N1_TO_1": Entry(unary(FLOAT32)),
    "RESHAPE": Entry(s.reshape, 17),
    "RESIZE_BILINEAR": Entry(s.resize, 15),
    "RESIZE_NEAREST_NEIGHBOR": Entry(s.resize, 74),
    "REVERSE_V2": Entry(s.reverse, 81),
    "ROUND": Entry(unary(FLOAT32)),
    "RSQRT": Entry(unary(FLOAT32)),
    "SCATTER_ND": Entry(s.scatter, 97),
    "SELECT": Entry(a.select(4), 47),
    "SELECT_V2": Entry(a.select(5), 98),
    "SHAPE": Entry(s.shape_of, 55, True),
    "SIGN": Entry(unary(FLOAT32, INT32), 123),
    "SIN": Entry(unary(FLOAT32)),
    "SLICE": Entry(s.cut, 48),
    "SOFTMAX": Entry(a.softmax, 9, True),
    "SPACE_TO_BATCH_ND": Entry(s.to_batch, 25),
    "SPLIT": Entry(s.split, 35, True),
    "SPLIT_V": Entry(s.split_by, 79, True),
    "SQRT": Entry(unary(FLOAT32)),
    "SQUARE": Entry(unary(FLOAT32), 66),
    "SQUARED_DIFFERENCE": Entry(binary(FLOAT32, INT32, quantized=a.squared_scales), 76),
    "SQUEEZE": Entry(s.squeeze, 30),
    "STRIDED_SLICE": Entry(s.strided, 32, True),
    "SUB": Entry(binary(*NUMBERS, rank=6, activation=True, quantized=a.sum_of_quantized), 28),
    "SUM": Entry(reduction(*NUMBERS, quantized=True), 27),
    "SVDF": Entry(p.svdf, 6, True),
    "TANH": Entry(unary(FLOAT32, quantized=True)),
    "TILE": Entry(s.tile, 51),
    "TOPK_V2": Entry(a.top, 34),
    "TRANSPOSE": Entry(s.transpose, 26),
    "TRANSPOSE_CONV": Entry(p.transpose_conv, 49, True),
    "UNPACK": Entry(s.unpack, 64, True),
    "VAR_HANDLE": Entry(c.handle, 111, True),
    "WHILE": Entry(c.loop, 93, True),
    "ZEROS_LIKE": Entry(unary(FLOAT32, INT32, INT64), 67),
}
