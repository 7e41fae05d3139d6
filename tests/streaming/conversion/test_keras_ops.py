"""Every public function of `keras.ops`: it streams, touches time, has no builtin form, or is none of one tensor."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from parity import check_parity
from small_models import model_of

import streaming
from streaming.conversion.plan import plan

FUNCTIONS = {name for name in dir(ops) if callable(getattr(ops, name)) and not name.startswith("_")}


# Forms of a sequence x (B, T, 6) of floats that the examples begin from.
def matrix(x: Any) -> Any:
    return layers.Reshape((-1, 2, 3))(x)


def square(x: Any) -> Any:
    return layers.Reshape((-1, 2, 2))(x[:, :, :4])


def ids(x: Any) -> Any:
    return ops.cast(ops.clip(ops.round(2 * x + 2), 0, 4), "int32")


def unit(x: Any) -> Any:
    return ops.sigmoid(x)


def call(name: str, *args: Any, **options: Any) -> Callable[[Any], Any]:
    """A function of x and more arguments; those that are functions are called on x."""
    return lambda x: getattr(ops, name)(x, *(arg(x) if callable(arg) else arg for arg in args), **options)


def of(form: Callable[[Any], Any], name: str, *args: Any, **options: Any) -> Callable[[Any], Any]:
    """The same of another form of x."""
    return lambda x: call(name, *args, **options)(form(x))


def flipped(x: Any) -> Any:
    return ops.flip(x, axis=-1)


ONE = (
    "abs absolute negative sign square relu relu6 sigmoid tanh softplus softsign silu swish log_sigmoid leaky_relu "
    "hard_sigmoid hard_silu hard_swish hard_tanh elu selu gelu celu squareplus tanh_shrink soft_shrink hard_shrink "
    "sparse_plus sparse_sigmoid exp exp2 expm1 sin cos tan sinh cosh arctan arcsinh floor ceil round trunc "
    "zeros_like ones_like isfinite isnan isinf isneginf isposinf isreal nan_to_num deg2rad rad2deg sinc cbrt erf erfc "
    "logical_not signbit fabs softmax log_softmax sparsemax normalize copy stop_gradient conj conjugate real imag "
    "angle glu rfft"
).split()
ONE_OF_UNIT = "log log1p log2 log10 sqrt rsqrt reciprocal arccos arcsin arctanh".split()
TWO = (
    "add subtract multiply maximum minimum equal not_equal less less_equal greater greater_equal logaddexp logaddexp2 "
    "arctan2 hypot fmax fmin heaviside isclose logical_and logical_or logical_xor"
).split()
RATIOS = "divide true_divide divide_no_nan floor_divide mod fmod".split()
INTEGERS = ("bitwise_and bitwise_or bitwise_xor bitwise_left_shift bitwise_right_shift left_shift right_shift").split()
ALONG = (
    "mean sum max min amax amin prod var std any all argmax argmin median logsumexp count_nonzero ptp norm nanmax "
    "nanmin nanmean nansum nanprod nanstd nanvar nanargmax nanargmin average cumsum cumprod nancumsum nancumprod sort "
    "argsort diff flip trapezoid"
).split()

STREAMS: dict[str, Callable[[Any], Any]] = {
    **{name: call(name) for name in ONE},
    **{name: of(unit, name) for name in ONE_OF_UNIT},
    **{name: call(name, flipped) for name in TWO},
    **{name: call(name, lambda x: 1 + unit(x)) for name in RATIOS},
    **{name: of(ids, name, lambda i: 1 + flipped(i)) for name in INTEGERS},
    **{name: call(name, axis=-1) for name in ALONG},
    "append": call("append", flipped, axis=-1),
    "arccosh": lambda x: ops.arccosh(1.5 + unit(x)),
    "array_split": call("array_split", 4, axis=-1),
    "batch_normalization": call("batch_normalization", np.full(6, 0.5, "f4"), np.full(6, 2.0, "f4"), -1),
    "binary_crossentropy": of(unit, "binary_crossentropy", flipped),
    "bitwise_invert": of(ids, "bitwise_invert"),
    "bitwise_not": of(ids, "bitwise_not"),
    "broadcast_to": lambda x: Broadcast()(x),
    "cast": call("cast", "int32"),
    "categorical_crossentropy": of(ops.softmax, "categorical_crossentropy", flipped),
    "clip": call("clip", -0.5, 0.5),
    "concatenate": lambda x: ops.concatenate([x, -x], axis=-1),
    "cross": lambda x: ops.cross(x[:, :, :3], x[:, :, 3:]),
    "diagonal": of(matrix, "diagonal", axis1=-2, axis2=3),
    "digitize": call("digitize", np.array([-0.5, 0.0, 0.5], "f4")),
    "dot": call("dot", np.arange(12, dtype="f4").reshape(6, 2)),
    "dot_product_attention": lambda x: AttentionWithin()(x),
    "einsum": lambda x: ops.einsum("btij,btkj->btik", matrix(x), matrix(-x)),
    "empty_like": lambda x: ops.empty_like(x) * 0.0,
    "expand_dims": call("expand_dims", -1),
    "extract_sequences": call("extract_sequences", 3, 2),
    "fft": lambda x: ops.fft((x, flipped(x))),
    "fft2": lambda x: ops.fft2((matrix(x), matrix(-x))),
    "full_like": call("full_like", 3.0),
    "get_item": call("get_item", (slice(None), slice(None), slice(1, 3))),
    "ifft2": lambda x: ops.ifft2((matrix(x), matrix(-x))),
    "irfft": lambda x: ops.irfft((x[:, :, :4], x[:, :, 2:])),
    "isin": of(ids, "isin", np.array([1, 3], "int32")),
    "istft": lambda x: ops.istft(ops.stft(x, 4, 2, 4), 4, 2, 4),
    "layer_normalization": call("layer_normalization", np.ones(6, "f4"), np.zeros(6, "f4"), axis=-1),
    "ldexp": call("ldexp", ids),
    "linspace": call("linspace", lambda x: x + 1, 3, axis=-1),
    "matmul": of(square, "matmul", lambda m: -m),
    "moments": call("moments", axes=[-1]),
    "moveaxis": of(matrix, "moveaxis", 2, 3),
    "one_hot": of(ids, "one_hot", 5),
    "outer": lambda x: ops.einsum("bti,btj->btij", x, x),
    "pad": call("pad", [(0, 0), (0, 0), (1, 2)], mode="reflect"),
    "percentile": call("percentile", 30, axis=-1),
    "power": of(unit, "power", flipped),
    "quantile": call("quantile", 0.3, axis=-1),
    "repeat": call("repeat", 2, axis=-1),
    "reshape": lambda x: Regroup()(x),
    "rms_normalization": call("rms_normalization", np.ones(6, "f4"), axis=-1),
    "roll": call("roll", 2, axis=-1),
    "rot90": of(matrix, "rot90", axes=(2, 3)),
    "saturate_cast": call("saturate_cast", "int32"),
    "select": lambda x: ops.select([x > 0, x < -1], [x, -x], 0.0),
    "sparse_categorical_crossentropy": lambda x: ops.sparse_categorical_crossentropy(ids(x)[:, :, 0], ops.softmax(x)),
    "split": call("split", 3, axis=-1),
    "squeeze": lambda x: ops.squeeze(layers.Reshape((-1, 1, 6))(x), axis=2),
    "stack": lambda x: ops.stack([x, 2 * x], axis=2),
    "stft": call("stft", 4, 2, 4),
    "swapaxes": of(matrix, "swapaxes", 2, 3),
    "take": call("take", [3, 1], axis=-1),
    "take_along_axis": call("take_along_axis", ids, axis=-1),
    "tensordot": call("tensordot", np.arange(12, dtype="f4").reshape(6, 2), axes=1),
    "threshold": call("threshold", 0.1, 0.5),
    "tile": call("tile", (1, 1, 2)),
    "top_k": call("top_k", 2),
    "trace": of(matrix, "trace", axis1=2, axis2=-1),
    "transpose": of(matrix, "transpose", (0, 1, 3, 2)),
    "tril": of(square, "tril"),
    "triu": of(square, "triu"),
    "unstack": call("unstack", axis=-1),
    "where": lambda x: ops.where(x > 0, x, 2 * x),
}
EXTRA = {
    "array": call("array"),
    "cond": lambda x: ops.cond(True, lambda: x, lambda: -x),
    "convert_to_tensor": call("convert_to_tensor"),
    "dsplit": call("dsplit", 2),
    "dstack": lambda x: ops.dstack([x, -x]),
    "fori_loop": lambda x: ops.fori_loop(0, 2, lambda i, y: 2 * y, x),
    "kron": call("kron", np.array([[[1.0, 2.0]]], "f4")),
    "map": lambda x: Mapped()(x),
    "rearrange": lambda x: Rearranged()(x),
    "switch": lambda x: ops.switch(0, [lambda y: y, lambda y: -y], x),
    "unravel_index": of(ids, "unravel_index", (2, 3)),
    "vectorized_map": lambda x: ops.vectorized_map(lambda y: 2 * y, x),
}
STREAMS |= EXTRA

# What works on whole tensors only, or along an axis that is time here.
TIME: dict[str, Callable[[Any], Any]] = {
    "allclose": call("allclose", flipped),
    "bincount": lambda x: ops.bincount(ids(x)[:, :, 0], minlength=5),
    "cdist": call("cdist", flipped),
    "conv": call("conv", np.ones((3, 6, 2), "f4"), 1, "same"),
    "depthwise_conv": call("depthwise_conv", np.ones((3, 6, 1), "f4"), 1, "same"),
    "separable_conv": call("separable_conv", np.ones((3, 6, 1), "f4"), np.ones((1, 6, 2), "f4"), 1, "same"),
    "average_pool": call("average_pool", 2, 1, "same"),
    "max_pool": call("max_pool", 2, 1, "same"),
    "adaptive_average_pool": call("adaptive_average_pool", (3,)),
    "adaptive_max_pool": call("adaptive_max_pool", (3,)),
    "conv_transpose": call("conv_transpose", np.ones((3, 2, 6), "f4"), 2, "same", data_format="channels_last"),
    "corrcoef": call("corrcoef"),
    "diagflat": call("diagflat"),
    "flip": call("flip", axis=1),
    "fliplr": call("fliplr"),
    "flipud": call("flipud"),
    "hsplit": call("hsplit", 2),
    "hstack": lambda x: ops.hstack([x, -x]),
    "inner": call("inner", flipped),
    "matmul": lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))),
    "multi_hot": of(ids, "multi_hot", 5),
    "nonzero": call("nonzero"),
    "psnr": call("psnr", flipped, 1.0),
    "ravel": call("ravel"),
    "scatter_update": lambda x: ops.scatter_update(x, [[0, 0, 0]], [1.0]),
    "searchsorted": lambda x: ops.searchsorted(np.array([0.0, 1.0], "f4"), x),
    "size": call("size"),
    "slice": call("slice", (0, 0, 1), (2, 3, 2)),
    "sort": call("sort", axis=1),
    "space_to_depth": lambda x: ops.space_to_depth(matrix(x), 2),
    "softmax": call("softmax", axis=0),
    "take": call("take", [3, 1], axis=1),
    "unique": call("unique"),
    "vdot": call("vdot", flipped),
    "vsplit": call("vsplit", 2),
    "vstack": lambda x: ops.vstack([x, -x]),
}
# Each needs an operation that TFLite lacks.
NO_BUILTIN: dict[str, Callable[[Any], Any]] = {
    **{name: of(square, name) for name in "det eigh inv logdet matrix_rank pinv qr slogdet svd".split()},
    "cholesky_inverse": of(square, "cholesky_inverse"),
    "erfinv": of(unit, "erfinv"),
    "gcd": of(ids, "gcd", lambda i: 1 + flipped(i)),
    "i0": call("i0"),
    "lcm": of(ids, "lcm", lambda i: 1 + flipped(i)),
    "nanmedian": call("nanmedian", axis=-1),
    "nextafter": call("nextafter", flipped),
    "solve": lambda x: ops.solve(square(x), square(-x)),
    "solve_triangular": lambda x: ops.solve_triangular(square(x), square(-x)),
    "view": call("view", "int32"),
}
COMPLEX = {"eig": of(square, "eig"), "polar": call("polar", flipped)}
# They make tensors, say something about them, or take functions, whole data sets, losses or tensors without a batch.
OTHER = (
    "arange bartlett blackman empty eye full geomspace hamming hanning identity kaiser logspace ones tri zeros "
    "convert_to_numpy dtype is_tensor ndim shape "
    "associative_scan custom_gradient jvp scan vectorize while_loop "
    "ctc_decode ctc_loss in_top_k histogram meshgrid segment_max segment_min segment_prod segment_sum scatter "
    "slice_update correlate diag vander fold unfold depth_to_space lstsq lu_factor cholesky argpartition "
    "view_as_complex view_as_real "
    # As nanmedian, which is tried.
    "nanpercentile nanquantile"
).split()


class Broadcast(layers.Layer):
    """Broadcasts to a shape that it reads off a tensor."""

    def call(self, x: Any) -> Any:
        return ops.broadcast_to(x[:, :, :1], ops.shape(x))


class Regroup(layers.Layer):
    """Reshapes by sizes that it reads off a tensor, with steps as a batch in between."""

    def call(self, x: Any) -> Any:
        batch, steps = ops.shape(x)[0], ops.shape(x)[1]
        rows = ops.reshape(x, (batch * steps, 2, 3))
        return ops.reshape(ops.softmax(rows, axis=1), (batch, steps, 6))


class Rearranged(layers.Layer):
    """`rearrange` computes with sizes."""

    def call(self, x: Any) -> Any:
        return ops.rearrange(x, "b t (i j) -> b t j i", i=2)


class Mapped(layers.Layer):
    """A function of each sequence of the batch."""

    def call(self, x: Any) -> Any:
        return ops.vectorized_map(lambda row: 2 * row, x)


class AttentionWithin(layers.Layer):
    """Attention among the parts of each step."""

    def call(self, x: Any) -> Any:
        rows = ops.reshape(x, (-1, 3, 1, 2))
        return ops.reshape(ops.dot_product_attention(rows, rows, rows), (-1, ops.shape(x)[1], 6))


def floats(outputs: Any) -> list[Any]:
    """Outputs as float32, flat."""
    return [ops.cast(y, "float32") if "float" not in str(y.dtype) else y for y in keras.tree.flatten(outputs)]


GROUPS = {f"{names[0]}-{names[-1]}": names for names in (sorted(STREAMS)[n::5] for n in range(5))}


@pytest.mark.parametrize("group", GROUPS)
def test_streams(group: str, convert: Any) -> None:
    keras.utils.clear_session()
    model = model_of(lambda x: [y for name in GROUPS[group] for y in floats(STREAMS[name](x))])
    report, path = convert(model)
    check_parity(model, path)
    assert report.delay == report.state_bytes == 0


@pytest.mark.parametrize("name", TIME)
def test_refused_because_it_touches_time(name: str) -> None:
    keras.utils.clear_session()
    model = model_of(lambda x: floats(TIME[name](x)))
    with pytest.raises(streaming.NotStreamableError) as caught:
        plan(model)
    message = str(caught.value)
    assert message.startswith(("layer '", "output '"))
    assert ";" in message
    assert "\n" not in message
    assert "stream_spec" not in message, "an operation cannot have one"


@pytest.mark.parametrize("name", [*NO_BUILTIN, *COMPLEX])
def test_refused_because_it_has_no_builtin_form(name: str, tmp_path: Any) -> None:
    keras.utils.clear_session()
    model = model_of(lambda x: floats((NO_BUILTIN | COMPLEX)[name](x)))
    with pytest.raises(
        streaming.NotStreamableError, match=r"needs|has no form|complex|no runtime is let run"
    ) as caught:
        streaming.convert(model, tmp_path / "m.tflite")
    assert "stream_spec" not in str(caught.value)
    assert not list(tmp_path.iterdir())


def test_every_function_of_keras_ops_is_in_a_table() -> None:
    said = {*STREAMS, *TIME, *NO_BUILTIN, *COMPLEX, *OTHER}
    assert said >= FUNCTIONS, f"{sorted(FUNCTIONS - said)} are new: say what they do"
    assert not {*OTHER} & {*STREAMS, *TIME, *NO_BUILTIN, *COMPLEX}
