"""Functions that TFLite has no builtin operation for, composed of builtin operations.

Inside `builtin_forms`, Keras's backend computes these functions with builtin operations, wherever they are called from:
as operations of a graph, in layers, in functions of the user's own. Results are equal to a few units in the last
place of float32 (1e-7 for angles and the error function). Convolutions and poolings of channels before time or space
compute with channels last, as TFLite's do.
"""

from __future__ import annotations

import contextlib
import inspect
import math
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from streaming._compat import nn_operations
from streaming._compat.tensorflow import core_backend, math_backend, nn_backend, numpy_backend

_FORMS: list[tuple[Any, str, Callable[..., Any]]] = []


@contextlib.contextmanager
def builtin_forms() -> Iterator[None]:
    """Context in which Keras's TensorFlow backend uses builtin operations of TFLite."""
    before = [(module, name, getattr(module, name)) for module, name, _ in _FORMS]
    try:
        for module, name, function in _FORMS:
            setattr(module, name, function)
        yield
    finally:
        for module, name, function in reversed(before):
            setattr(module, name, function)


def _form(module: Any, *names: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        _FORMS.extend((module, name, function) for name in names or (function.__name__,))
        return function

    return decorate


def _float(x: Any) -> tf.Tensor:
    x = keras.ops.convert_to_tensor(x)
    return x if x.dtype.is_floating else tf.cast(x, keras.config.floatx())


def _pair(x1: Any, x2: Any) -> tuple[tf.Tensor, tf.Tensor]:
    dtype = keras.backend.result_type(*(getattr(x, "dtype", type(x)) for x in (x1, x2)))
    first, second = (keras.ops.convert_to_tensor(x, dtype) for x in (x1, x2))
    return first, second


@_form(numpy_backend)
def add(x1: Any, x2: Any) -> tf.Tensor:
    """A plain sum: Keras takes an operand with one axis larger than 1 for a bias, whichever axis that is."""
    return tf.add(*_pair(x1, x2))


_keras_normalize = nn_operations._normalize


@_form(nn_operations, "_normalize")
def normalize(x: Any, axis: Any = -1, order: int = 2, epsilon: float | None = None) -> tf.Tensor:
    """x / max(|x|, epsilon), also where |x| is 0: some kernels make NaN of 1 / sqrt(0)."""
    x = keras.ops.convert_to_tensor(x)
    if order != 2 or not x.shape:
        return _keras_normalize(x, axis, order, epsilon)
    squares = tf.reduce_sum(tf.square(x), axis=axis, keepdims=True)
    inverse = tf.math.rsqrt(tf.maximum(squares, x.dtype.as_numpy_dtype(1e-37)))
    return x * tf.minimum(inverse, 1.0 / (keras.config.epsilon() if epsilon is None else epsilon))


# Angles and hyperbolic functions.


@_form(numpy_backend)
def tan(x: Any) -> tf.Tensor:
    """sin x / cos x."""
    x = _float(x)
    return tf.sin(x) / tf.cos(x)


@_form(numpy_backend)
def sinh(x: Any) -> tf.Tensor:
    """(e^x - e^-x) / 2."""
    x = _float(x)
    return (tf.exp(x) - tf.exp(-x)) / 2


@_form(numpy_backend)
def cosh(x: Any) -> tf.Tensor:
    """(e^x + e^-x) / 2."""
    x = _float(x)
    return (tf.exp(x) + tf.exp(-x)) / 2


# Odd polynomial for arctan on [0, tan(pi / 8)], from the Cephes library (Moshier): 1e-7 relative.
_ARCTAN = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)


@_form(numpy_backend)
def arctan(x: Any) -> tf.Tensor:
    """A polynomial after two reductions: x > tan(3 pi / 8) by -1 / x, x > tan(pi / 8) by (x - 1) / (x + 1)."""
    x = _float(x)
    size = tf.abs(x)
    steep, middle = size > math.tan(3 * math.pi / 8), size > math.tan(math.pi / 8)
    one = tf.ones_like(size)
    reduced = tf.where(steep, -one / tf.maximum(size, one), tf.where(middle, (size - 1) / (size + 1), size))
    start = tf.where(steep, one * (math.pi / 2), tf.where(middle, one * (math.pi / 4), tf.zeros_like(size)))
    square, value = reduced * reduced, tf.zeros_like(size)
    for factor in _ARCTAN:
        value = value * square + factor
    angle = start + (value * square * reduced + reduced)
    return tf.where(x < 0, -angle, angle)


@_form(numpy_backend)
def arctan2(x1: Any, x2: Any) -> tf.Tensor:
    """The angle of (x2, x1) from `arctan` of the ratio of the smaller to the larger side."""
    y, x = (_float(value) for value in _pair(x1, x2))
    high, wide = tf.abs(y), tf.abs(x)
    larger = tf.maximum(high, wide)
    ratio = tf.minimum(high, wide) / tf.where(larger > 0, larger, tf.ones_like(larger))
    angle = arctan(ratio)
    angle = tf.where(high > wide, math.pi / 2 - angle, angle)
    angle = tf.where(_negative(x), math.pi - angle, angle)
    return tf.where(_negative(y), -angle, angle)


@_form(numpy_backend)
def arcsin(x: Any) -> tf.Tensor:
    """arctan2(x, sqrt(1 - x^2)); NaN beyond 1."""
    x = _float(x)
    return arctan2(x, tf.sqrt((1 - x) * (1 + x)))


@_form(numpy_backend)
def arccos(x: Any) -> tf.Tensor:
    """arctan2(sqrt(1 - x^2), x); NaN beyond 1."""
    x = _float(x)
    return arctan2(tf.sqrt((1 - x) * (1 + x)), x)


@_form(numpy_backend)
def arcsinh(x: Any) -> tf.Tensor:
    """log(|x| + sqrt(x^2 + 1)), with the sign of x."""
    x = _float(x)
    size = tf.abs(x)
    result = tf.math.log(size + tf.sqrt(size * size + 1))
    return tf.where(x < 0, -result, result)


@_form(numpy_backend)
def arccosh(x: Any) -> tf.Tensor:
    """log(x + sqrt(x^2 - 1))."""
    x = _float(x)
    return tf.math.log(x + tf.sqrt((x - 1) * (x + 1)))


@_form(numpy_backend)
def arctanh(x: Any) -> tf.Tensor:
    """log((1 + x) / (1 - x)) / 2."""
    x = _float(x)
    return tf.math.log((1 + x) / (1 - x)) / 2


# Abramowitz and Stegun 7.1.26 has 1.5e-7; this is the rational form of the Eigen library on [-3.9, 3.9]: 1e-7.
_ERF_ABOVE = (
    2.123732201653183437883853912353515625e-06,
    2.861979592125862836837768554687500e-04,
    3.658048342913389205932617187500e-03,
    5.243302136659622192382812500e-02,
    1.874160766601562500000000e-01,
    1.128379106521606445312500,
)
_ERF_BELOW = (
    3.89185734093189239501953125e-05,
    1.14329601638019084930419921875e-03,
    1.47520881146192550659179687500e-02,
    1.12945675849914550781250000e-01,
    4.99425798654556274414062500e-01,
    1.0,
)


@_form(math_backend)
def erf(x: Any) -> tf.Tensor:
    """A ratio of polynomials in x^2, times x."""
    x = _float(x)
    x = tf.clip_by_value(x, -3.832506856900711, 3.832506856900711)
    square, above, below = x * x, tf.zeros_like(x), tf.zeros_like(x)
    for factor in _ERF_ABOVE:
        above = above * square + factor
    for factor in _ERF_BELOW:
        below = below * square + factor
    return x * above / below


@_form(math_backend)
def erfc(x: Any) -> tf.Tensor:
    """1 - erf x."""
    return 1 - erf(x)


def _negative(x: tf.Tensor) -> tf.Tensor:
    """x < 0, or -0."""
    zero = tf.equal(x, 0)
    return tf.where(zero, 1 / tf.where(zero, x, tf.ones_like(x)), x) < 0


@_form(numpy_backend)
def signbit(x: Any) -> tf.Tensor:
    """x < 0, or -0."""
    x = keras.ops.convert_to_tensor(x)
    return _negative(x) if x.dtype.is_floating else x < 0


# Integers.


@_form(numpy_backend, "bitwise_left_shift", "left_shift")
def left_shift(x: Any, y: Any) -> tf.Tensor:
    """x 2^y."""
    x, y = _pair(x, y)
    return x * tf.cast(tf.pow(tf.constant(2), tf.cast(y, tf.int32)), x.dtype)


@_form(numpy_backend, "bitwise_right_shift", "right_shift")
def right_shift(x: Any, y: Any) -> tf.Tensor:
    """floor(x / 2^y), from all quotients by powers of two: a whole divisor has to be known to be above 0."""
    x, y = _pair(x, y)
    quotients = tf.math.floordiv(tf.cast(x, tf.int32)[..., None], tf.constant(2 ** np.arange(31), tf.int32))
    chosen = tf.reduce_sum(quotients * tf.one_hot(tf.cast(y, tf.int32), 31, dtype=tf.int32), axis=-1)
    return tf.cast(tf.where(y > 30, -tf.cast(x < 0, tf.int32), chosen), x.dtype)


@_form(numpy_backend, "bitwise_invert", "bitwise_not")
def bitwise_not(x: Any) -> tf.Tensor:
    """-x - 1, in two's complement."""
    x = keras.ops.convert_to_tensor(x)
    return tf.logical_not(x) if x.dtype == tf.bool else -x - 1


def _bits(x: tf.Tensor) -> tf.Tensor:
    """The 31 lower bits of int32 and its sign, along a new last axis."""
    powers = tf.constant(2 ** np.arange(31), tf.int32)
    lower = tf.math.floormod(tf.math.floordiv(tf.cast(x, tf.int32)[..., None], powers), 2)
    return tf.concat([lower, tf.cast(x < 0, tf.int32)[..., None]], axis=-1)


def _bitwise(x: Any, y: Any, of_bits: Callable[[Any, Any], Any]) -> tf.Tensor:
    x, y = _pair(x, y)
    bits = of_bits(_bits(x), _bits(y))
    weights = tf.constant(np.append(2 ** np.arange(31), -(2**31)), tf.int32)
    return tf.cast(tf.reduce_sum(bits * weights, axis=-1), x.dtype)


@_form(numpy_backend)
def bitwise_and(x: Any, y: Any) -> tf.Tensor:
    """Bit by bit, for up to 32 bits."""
    return _bitwise(x, y, lambda a, b: a * b)


@_form(numpy_backend)
def bitwise_or(x: Any, y: Any) -> tf.Tensor:
    """Bit by bit, for up to 32 bits."""
    return _bitwise(x, y, lambda a, b: tf.maximum(a, b))


@_form(numpy_backend)
def bitwise_xor(x: Any, y: Any) -> tf.Tensor:
    """Bit by bit, for up to 32 bits."""
    return _bitwise(x, y, lambda a, b: tf.math.squared_difference(a, b))


# Along axes.


def _arg(function: Callable[..., Any], x: Any, axis: int | None, keepdims: bool) -> tf.Tensor:
    x = keras.ops.convert_to_tensor(x)
    rank = len(x.shape)
    indices = function(tf.reshape(x, [-1]) if axis is None else x, axis=axis or 0, output_type=tf.int32)
    if not keepdims:
        return indices
    return tf.reshape(indices, [1] * rank) if axis is None else tf.expand_dims(indices, axis)


@_form(numpy_backend)
def argmax(x: Any, axis: int | None = None, keepdims: bool = False) -> tf.Tensor:
    """Without Keras's care for subnormal numbers, which takes a bitcast."""
    return _arg(tf.argmax, x, axis, keepdims)


@_form(numpy_backend)
def argmin(x: Any, axis: int | None = None, keepdims: bool = False) -> tf.Tensor:
    """Without Keras's care for subnormal numbers, which takes a bitcast."""
    return _arg(tf.argmin, x, axis, keepdims)


@_form(numpy_backend)
def cumprod(x: Any, axis: int | None = None, dtype: Any = None) -> tf.Tensor:
    """Products over 1, 2, 4, ... neighbours (Hillis and Steele 1986)."""
    x = keras.ops.convert_to_tensor(x, dtype)
    if x.dtype == tf.bool:
        x = tf.cast(x, tf.int32)
    if axis is None:
        x, axis = tf.reshape(x, [-1]), 0
    axis = axis % len(x.shape)
    size, distance = x.shape[axis], 1
    while distance < size:
        head, rest = tf.split(x, [distance, size - distance], axis)
        x = tf.concat([head, rest * tf.split(x, [size - distance, distance], axis)[0]], axis)
        distance *= 2
    return x


@_form(numpy_backend)
def diagonal(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> tf.Tensor:
    """By index."""
    x = keras.ops.convert_to_tensor(x)
    rank = len(x.shape)
    last = [axis1 % rank, axis2 % rank]
    x = tf.transpose(x, [*(axis for axis in range(rank) if axis not in last), *last])
    rows, columns = x.shape[-2:]
    places = np.arange(max(0, min(rows + min(offset, 0), columns - max(offset, 0))))
    flat = (places - min(offset, 0)) * columns + places + max(offset, 0)
    return tf.gather(tf.reshape(x, (*x.shape[:-2], rows * columns)), flat, axis=-1)


@_form(numpy_backend)
def trace(x: Any, offset: int = 0, axis1: int = 0, axis2: int = 1) -> tf.Tensor:
    """The sum of a diagonal."""
    entries = diagonal(x, offset, axis1, axis2)
    return tf.reduce_sum(tf.cast(entries, tf.int32) if entries.dtype == tf.bool else entries, axis=-1)


@_form(numpy_backend)
def isin(x1: Any, x2: Any, assume_unique: bool = False, invert: bool = False) -> tf.Tensor:
    """Compared with every element."""
    first, second = _pair(x1, x2)
    same = tf.reduce_any(tf.equal(first[..., None], tf.reshape(second, [-1])), axis=-1)
    return tf.logical_not(same) if invert else same


@_form(numpy_backend)
def cross(x1: Any, x2: Any, axisa: int = -1, axisb: int = -1, axisc: int = -1, axis: int | None = None) -> tf.Tensor:
    """By components; a vector of two has zero for its third."""
    if axis is not None:
        axisa = axisb = axisc = axis
    first, second = _pair(x1, x2)
    a, b = tf.unstack(first, axis=axisa), tf.unstack(second, axis=axisb)
    flat = len(a) == len(b) == 2
    a, b = ([*v, tf.zeros_like(v[0])] if len(v) == 2 else v for v in (a, b))
    last = a[0] * b[1] - a[1] * b[0]
    if flat:
        return last
    return tf.stack([a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], last], axis=axisc)


_pad = numpy_backend.pad


@_form(numpy_backend)
def pad(x: Any, pad_width: Any, mode: Any = "constant", constant_values: Any = None) -> tf.Tensor:
    """Reflections by index."""
    x = keras.ops.convert_to_tensor(x)
    if mode == "constant":
        return _pad(x, pad_width, mode, constant_values)
    widths = np.broadcast_to(np.asarray(pad_width), (len(x.shape), 2))
    for axis, (before, after) in enumerate(widths.tolist()):
        if before or after:
            places: Any = np.arange(x.shape[axis])
            x = tf.gather(x, np.pad(places, (before, after), mode), axis=axis)
    return x


@_form(numpy_backend)
def kron(x1: Any, x2: Any) -> tf.Tensor:
    """Every element of the first times the second, block by block."""
    first, second = _pair(x1, x2)
    rank = max(len(first.shape), len(second.shape))
    a, b = ([1] * (rank - len(value.shape)) + [*value.shape] for value in (first, second))
    first = tf.reshape(first, [size for pair in zip(a, [1] * rank, strict=True) for size in pair])
    second = tf.reshape(second, [size for pair in zip([1] * rank, b, strict=True) for size in pair])
    return tf.reshape(first * second, [m * n for m, n in zip(a, b, strict=True)])


# Fourier transforms of known lengths are products with their matrices.


def _waves(length: int, frequencies: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """cos and -sin of 2 pi k n / length, (length, frequencies)."""
    # Reduced before the division, so that large products of integers keep their fraction.
    turns = np.outer(np.arange(length), np.arange(frequencies)) % length / length
    return np.cos(2 * np.pi * turns).astype("float32"), -np.sin(2 * np.pi * turns).astype("float32")


def _fitted(x: tf.Tensor, length: int) -> tf.Tensor:
    """The last axis cut, or filled with zeros, to a length."""
    size = x.shape[-1]
    if size >= length:
        return x[..., :length] if size > length else x
    return tf.pad(x, [(0, 0)] * (len(x.shape) - 1) + [(0, length - size)])


@_form(math_backend)
def rfft(x: Any, fft_length: int | None = None) -> tuple[tf.Tensor, tf.Tensor]:
    """Frequencies 0 to n / 2 of the last axis."""
    x = _float(x)
    length = fft_length or x.shape[-1]
    real, imaginary = _waves(length, length // 2 + 1)
    x = _fitted(x, length)
    return tf.matmul(x, tf.constant(real)), tf.matmul(x, tf.constant(imaginary))


@_form(math_backend)
def irfft(x: Any, fft_length: int | None = None) -> tf.Tensor:
    """The last axis from its frequencies 0 to n / 2."""
    real, imaginary = (_float(part) for part in x)
    length = fft_length or 2 * (real.shape[-1] - 1)
    count = length // 2 + 1
    cosines, sines = _waves(length, count)
    # Frequencies but the first, and the last of an even length, stand for their mirror image too.
    weight = np.full(count, 2.0, "float32")
    weight[0] = 1
    if length % 2 == 0:
        weight[-1] = 1
    cosines, sines = ((wave * weight / length).T.astype("float32") for wave in (cosines, sines))
    real, imaginary = _fitted(real, count), _fitted(imaginary, count)
    return tf.matmul(real, tf.constant(cosines)) + tf.matmul(imaginary, tf.constant(sines))


def _fourier(real: tf.Tensor, imaginary: tf.Tensor, sign: int) -> tuple[tf.Tensor, tf.Tensor]:
    length = real.shape[-1]
    cosines, sines = _waves(length, length)
    a, b = tf.constant(cosines), tf.constant(sign * sines)
    return tf.matmul(real, a) - tf.matmul(imaginary, b), tf.matmul(real, b) + tf.matmul(imaginary, a)


@_form(math_backend)
def fft(x: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """All frequencies of the last axis."""
    return _fourier(_float(x[0]), _float(x[1]), 1)


def _over_two_axes(x: Any, sign: int, scale: bool) -> tuple[tf.Tensor, tf.Tensor]:
    real, imaginary = _float(x[0]), _float(x[1])
    size = real.shape[-1] * real.shape[-2] if scale else 1
    for _ in range(2):
        real, imaginary = _fourier(real, imaginary, sign)
        real, imaginary = tf.linalg.matrix_transpose(real), tf.linalg.matrix_transpose(imaginary)
    return real / size, imaginary / size


@_form(math_backend)
def fft2(x: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """All frequencies of the last two axes."""
    return _over_two_axes(x, 1, False)


@_form(math_backend)
def ifft2(x: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """The last two axes from their frequencies."""
    return _over_two_axes(x, -1, True)


def _window(window: Any, sequence_length: int, fft_length: int) -> NDArray[Any]:
    """The window function within a frame of `fft_length`, as Keras lays it."""
    if window is None:
        return np.ones(fft_length, "float32")
    if isinstance(window, str):
        turns = 2 * np.pi * np.arange(sequence_length) / sequence_length
        base = {"hann": (0.5, 0.5), "hamming": (0.54, 0.46)}[window]
        values = base[0] - base[1] * np.cos(turns)
    else:
        values = keras.ops.convert_to_numpy(window)
    before = (fft_length - sequence_length) // 2
    return np.pad(values, (before, fft_length - sequence_length - before)).astype("float32")


@_form(math_backend)
def extract_sequences(x: Any, sequence_length: int, sequence_stride: int) -> tf.Tensor:
    """Frames of the last axis, by index."""
    x = keras.ops.convert_to_tensor(x)
    count = max(0, 1 + (x.shape[-1] - sequence_length) // sequence_stride)
    places = np.arange(count)[:, None] * sequence_stride + np.arange(sequence_length)
    return tf.gather(x, places, axis=-1)


@_form(math_backend)
def stft(
    x: Any, sequence_length: int, sequence_stride: int, fft_length: int, window: Any = "hann", center: bool = True
) -> tuple[tf.Tensor, tf.Tensor]:
    """Spectra of the frames of the last axis."""
    x = _float(x)
    if center:
        half = fft_length // 2
        x = pad(x, [(0, 0)] * (len(x.shape) - 1) + [(half, half)], "reflect")
    frames = extract_sequences(x, fft_length, sequence_stride)
    return rfft(frames * _window(window, sequence_length, fft_length), fft_length)


@_form(math_backend)
def istft(
    x: Any,
    sequence_length: int,
    sequence_stride: int,
    fft_length: int,
    length: int | None = None,
    window: Any = "hann",
    center: bool = True,
) -> tf.Tensor:
    """Overlap-add of the frames of spectra, weighted so that the windows add up to one."""
    frames = irfft(x, fft_length)
    values = _window(window, sequence_length, fft_length)
    if window is not None:
        overlaps = -(-fft_length // sequence_stride)
        squares = np.pad(values**2, (0, overlaps * sequence_stride - fft_length))
        total = np.tile(squares.reshape(overlaps, sequence_stride).sum(0), overlaps)[:fft_length]
        values = values / np.where(total == 0, 1, total)
    frames = frames * values.astype("float32")
    count = frames.shape[-2]
    whole = fft_length + sequence_stride * (count - 1)
    rows = [
        tf.pad(
            frames[..., index, :],
            [(0, 0)] * (len(frames.shape) - 2)
            + [(index * sequence_stride, whole - fft_length - index * sequence_stride)],
        )
        for index in range(count)
    ]
    signal = tf.add_n(rows)
    begin = fft_length // 2 if center else 0
    end = begin + length if length is not None else whole - begin
    return signal[..., begin : min(end, whole)]


# Loops.


@_form(core_backend)
def scan(f: Any, init: Any, xs: Any = None, length: int | None = None, reverse: bool = False, unroll: Any = 1) -> Any:
    """One step after the other: TFLite has no arrays of tensors. The number of steps is known."""
    inputs = [keras.ops.convert_to_tensor(x) for x in keras.tree.flatten(xs)] if xs is not None else []
    steps = int(length) if length is not None else inputs[0].shape[0]
    carry, outputs = keras.tree.map_structure(keras.ops.convert_to_tensor, init), []
    for index in range(steps)[:: -1 if reverse else 1]:
        row = keras.tree.pack_sequence_as(xs, [x[index] for x in inputs]) if inputs else None
        carry, output = f(carry, row)
        outputs.append(output)
    ordered = outputs[:: -1 if reverse else 1]
    return carry, keras.tree.map_structure(lambda *rows: tf.stack(rows), *ordered)


# Channels.


def _channels_last(function: Callable[..., Any]) -> Callable[..., Any]:
    signature = inspect.signature(function)

    def compute(*args: Any, **kwargs: Any) -> Any:
        bound = signature.bind(*args, **kwargs)
        if bound.arguments.get("data_format") != "channels_first":
            return function(*args, **kwargs)
        inputs = bound.arguments["inputs"]
        rank = len(inputs.shape)
        bound.arguments["inputs"] = tf.transpose(inputs, [0, *range(2, rank), 1])
        bound.arguments["data_format"] = "channels_last"
        output = function(*bound.args, **bound.kwargs)
        return tf.transpose(output, [0, rank - 1, *range(1, rank - 1)])

    return compute


def _planar(function: Callable[..., Any]) -> Callable[..., Any]:
    """Pooling over three axes as one over the last two and one over the first: what exists in a box is a product."""

    def pool(inputs: Any, pool_size: Any, strides: Any = None, padding: str = "valid", data_format: Any = None) -> Any:
        if len(inputs.shape) != 5 or data_format == "channels_first":
            return function(inputs, pool_size, strides, padding, data_format)
        sizes = (pool_size,) * 3 if isinstance(pool_size, int) else tuple(pool_size)
        steps = sizes if strides is None else (strides,) * 3 if isinstance(strides, int) else tuple(strides)
        batch, depth, *_, channels = inputs.shape
        images = tf.reshape(inputs, (batch * depth, *inputs.shape[2:]))
        images = function(images, sizes[1:], steps[1:], padding, "channels_last")
        height, width = images.shape[1:3]
        lines = tf.reshape(images, (batch, depth, height * width, channels))
        lines = function(lines, (sizes[0], 1), (steps[0], 1), padding, "channels_last")
        return tf.reshape(lines, (batch, lines.shape[1], height, width, channels))

    return pool


for _name in ("conv", "depthwise_conv", "separable_conv", "conv_transpose"):
    _form(nn_backend, _name)(_channels_last(getattr(nn_backend, _name)))
for _name in ("max_pool", "average_pool"):
    _form(nn_backend, _name)(_channels_last(_planar(getattr(nn_backend, _name))))
