"""Every public function of `keras.ops`: it streams, is refused because it touches time, has no builtin form, or is none."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import ops
from test_conversion import model_of

import streaming
from streaming.conversion.plan import plan


# Forms of a sequence x (B, T, 6) of floats that the examples begin from.
def matrix(x: Any) -> Any:
    return ops.reshape(x, (-1, ops.shape(x)[1], 2, 3))


def square(x: Any) -> Any:
    return ops.reshape(x[:, :, :4], (-1, ops.shape(x)[1], 2, 2))


def ids(x: Any) -> Any:
    return ops.cast(ops.clip(ops.round(2 * x + 2), 0, 4), "int32")


def unit(x: Any) -> Any:
    return ops.sigmoid(x)


def picture(x: Any) -> Any:
    return ops.reshape(x, (-1, ops.shape(x)[1], 1, 6))


ALONE = "abs absolute negative sign square relu relu6 sigmoid tanh softplus softsign silu swish log_sigmoid leaky_relu"
ALONE += " hard_sigmoid hard_silu hard_swish hard_tanh elu selu gelu celu squareplus tanh_shrink soft_shrink"
ALONE += " hard_shrink sparse_plus sparse_sigmoid exp exp2 expm1 sin cos tan sinh cosh arctan arcsinh floor ceil round"
ALONE += " trunc rint zeros_like ones_like isfinite isnan isinf isneginf isposinf nan_to_num deg2rad rad2deg sinc cbrt"
ALONE += " erf erfc logical_not signbit fabs softmax log_softmax sparsemax normalize copy stop_gradient conj conjugate"
ALONE += " real isreal identity_"
UNIT = "log log1p log2 log10 sqrt rsqrt reciprocal arccos arcsin arctanh"
PAIRS = "add subtract multiply maximum minimum equal not_equal less less_equal greater greater_equal logaddexp"
PAIRS += " logaddexp2 arctan2 hypot fmax fmin heaviside isclose logical_and logical_or logical_xor"
RATIOS = "divide true_divide divide_no_nan floor_divide mod fmod power"
INTEGERS = "bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift left_shift right_shift gcd lcm"
REDUCTIONS = "mean sum max min amax amin prod var std any all argmax argmin median logsumexp count_nonzero ptp norm"
REDUCTIONS += " nanmax nanmin nanmean nansum nanprod nanstd nanvar nanargmax nanargmin nanmedian average"
SCANS = "cumsum cumprod nancumsum nancumprod sort argsort diff flip"

STREAMS: dict[str, Callable[[Any], Any]] = {
    **{name: lambda x, f=name: getattr(ops, f)(x) for name in ALONE.split() if hasattr(ops, name)},
    **{name: lambda x, f=name: getattr(ops, f)(unit(x)) for name in UNIT.split()},
    **{name: lambda x, f=name: getattr(ops, f)(x, ops.flip(x, axis=-1)) for name in PAIRS.split() if hasattr(ops, name)},
    **{name: lambda x, f=name: getattr(ops, f)(x, 1 + unit(x)) for name in RATIOS.split()},
    "power": lambda x: ops.power(unit(x), x),
    **{name: lambda x, f=name: getattr(ops, f)(ids(x), 1 + ids(-x)) for name in INTEGERS.split()},
    **{name: lambda x, f=name: getattr(ops, f)(x, axis=-1) for name in (REDUCTIONS + " " + SCANS).split()},
    "append": lambda x: ops.append(x, x, axis=-1),
    "arccosh": lambda x: ops.arccosh(1.5 + unit(x)),
    "argpartition": lambda x: ops.argpartition(x, 2, axis=-1),
    "array_split": lambda x: ops.array_split(x, 4, axis=-1),
    "batch_normalization": lambda x: ops.batch_normalization(x, np.zeros(6, "f4"), np.ones(6, "f4"), -1),
    "binary_crossentropy": lambda x: ops.binary_crossentropy(unit(x), unit(-x)),
    "categorical_crossentropy": lambda x: ops.categorical_crossentropy(ops.softmax(x), ops.softmax(-x)),
    "sparse_categorical_crossentropy": lambda x: ops.sparse_categorical_crossentropy(ids(x)[:, :, 0], ops.softmax(x)),
    "bitwise_invert": lambda x: ops.bitwise_invert(ids(x)),
    "bitwise_not": lambda x: ops.bitwise_not(ids(x)),
    "broadcast_to": lambda x: ops.broadcast_to(picture(x), (1, 1, 2, 6)) if False else ops.broadcast_to(x[:, :, :1], x.shape),
    "cast": lambda x: ops.cast(x, "int32"),
    "saturate_cast": lambda x: ops.saturate_cast(x, "int32"),
    "clip": lambda x: ops.clip(x, -0.5, 0.5),
    "concatenate": lambda x: ops.concatenate([x, x], axis=-1),
    "cross": lambda x: ops.cross(x[:, :, :3], x[:, :, 3:]),
    "diagonal": lambda x: ops.diagonal(matrix(x), axis1=2, axis2=3),
    "digitize": lambda x: ops.digitize(x, np.array([-0.5, 0.0, 0.5], "f4")),
    "dot": lambda x: ops.dot(x, np.ones((6, 2), "f4")),
    "einsum": lambda x: ops.einsum("btij,btkj->btik", matrix(x), matrix(-x)),
    "equal": lambda x: ops.equal(ids(x), 2),
    "expand_dims": lambda x: ops.expand_dims(x, -1),
    "full_like": lambda x: ops.full_like(x, 3.0),
    "empty_like": lambda x: ops.empty_like(x) * 0.0,
    "get_item": lambda x: ops.get_item(x, (slice(None), slice(None), slice(1, 3))),
    "glu": lambda x: ops.glu(x),
    "in_top_k": lambda x: ops.squeeze(ops.cast(ops.top_k(x, 2)[1], "int32"), []) if False else ops.top_k(x, 2)[1],
    "isin": lambda x: ops.isin(ids(x), np.array([1, 3], "int32")),
    "kron": lambda x: x,
    "layer_normalization": lambda x: ops.layer_normalization(x, np.ones(6, "f4"), np.zeros(6, "f4"), axis=-1),
    "rms_normalization": lambda x: ops.rms_normalization(x, np.ones(6, "f4"), axis=-1),
    "ldexp": lambda x: ops.ldexp(x, ids(x)),
    "linspace": lambda x: ops.linspace(x, x + 1, 3, axis=-1),
    "matmul": lambda x: ops.matmul(square(x), square(-x)),
    "moments": lambda x: ops.moments(x, axes=[-1]),
    "moveaxis": lambda x: ops.moveaxis(matrix(x), 2, 3),
    "multi_hot": lambda x: ops.multi_hot(ids(x), 5),
    "nanpercentile": lambda x: ops.nanpercentile(x, 30, axis=-1),
    "nanquantile": lambda x: ops.nanquantile(x, 0.3, axis=-1),
    "percentile": lambda x: ops.percentile(x, 30, axis=-1),
    "quantile": lambda x: ops.quantile(x, 0.3, axis=-1),
    "one_hot": lambda x: ops.one_hot(ids(x), 5),
    "outer": lambda x: ops.einsum("bti,btj->btij", x, x),
    "pad": lambda x: ops.pad(x, [(0, 0), (0, 0), (1, 2)], mode="reflect"),
    "polar": lambda x: ops.real(ops.polar(x, x)),
    "repeat": lambda x: ops.repeat(x, 2, axis=-1),
    "reshape": lambda x: ops.reshape(x, (-1, ops.shape(x)[1], 3, 2)),
    "roll": lambda x: ops.roll(x, 2, axis=-1),
    "rot90": lambda x: ops.rot90(matrix(x), axes=(2, 3)),
    "searchsorted": lambda x: ops.cast(ops.digitize(x, np.array([0.0, 1.0], "f4")), "int32"),
    "select": lambda x: ops.select([x > 0, x < -1], [x, -x], 0.0),
    "slice": lambda x: x[:, :, 1:4],
    "split": lambda x: ops.split(x, 3, axis=-1),
    "squeeze": lambda x: ops.squeeze(picture(x), axis=2),
    "stack": lambda x: ops.stack([x, 2 * x], axis=2),
    "swapaxes": lambda x: ops.swapaxes(matrix(x), 2, 3),
    "take": lambda x: ops.take(x, [3, 1], axis=-1),
    "take_along_axis": lambda x: ops.take_along_axis(x, ids(x), axis=-1),
    "tensordot": lambda x: ops.tensordot(x, np.ones((6, 2), "f4"), axes=1),
    "threshold": lambda x: ops.threshold(x, 0.1, 0.5),
    "tile": lambda x: ops.tile(x, (1, 1, 2)),
    "top_k": lambda x: ops.top_k(x, 2),
    "trace": lambda x: ops.trace(matrix(x), axis1=2, axis2=3),
    "transpose": lambda x: ops.transpose(matrix(x), (0, 1, 3, 2)),
    "trapezoid": lambda x: ops.trapezoid(x, axis=-1),
    "tril": lambda x: ops.tril(matrix(x)),
    "triu": lambda x: ops.triu(matrix(x)),
    "unstack": lambda x: ops.unstack(x, axis=-1),
    "vecdot": lambda x: x,
    "view": lambda x: x,
    "where": lambda x: ops.where(x > 0, x, 2 * x),
    "rfft": lambda x: ops.rfft(x),
    "irfft": lambda x: ops.irfft((x[:, :, :4], x[:, :, 2:])),
    "fft": lambda x: ops.fft((x, -x)),
    "fft2": lambda x: ops.fft2((matrix(x), matrix(-x))),
    "ifft2": lambda x: ops.ifft2((matrix(x), matrix(-x))),
    "stft": lambda x: ops.stft(x, 4, 2, 4),
    "istft": lambda x: ops.istft(ops.stft(x, 4, 2, 4), 4, 2, 4),
    "extract_sequences": lambda x: ops.extract_sequences(x, 3, 2),
    "angle": lambda x: ops.angle(x),
    "imag": lambda x: ops.imag(x),
    "dot_product_attention": lambda x: x,
}
