"""Matrix products, convolutions and pools."""

from __future__ import annotations

import math

from streaming.runtime.operations.call import FLOAT32, INT8, INT16, INT32, INT64, QUANTIZED, UINT8, Call, Shape

SAME, VALID = 0, 1


def _weighed(call: Call, x: int, weights: int, bias: int, axis: int, size: int) -> int:
    """The types of a product with weights that have scales along an axis of this size; the type of its output."""
    kind, heavy = call.kind(x, FLOAT32, INT8, UINT8, INT16), call.kind(weights, FLOAT32, INT8, UINT8)
    if kind == FLOAT32:
        if heavy != FLOAT32:
            call.check(heavy == INT8 and call.is_constant(weights), "its weights are no constant int8")
            call.scales(weights, axis, size)
    else:
        call.check(heavy == (UINT8 if kind == UINT8 else INT8), "its types do not go together")
        call.scaled(x)
        call.scales(weights, axis, size)
    if call.has(bias):
        wanted = {FLOAT32: (FLOAT32,), INT16: (INT64, INT32)}.get(kind, (INT32,))
        call.kind(bias, *wanted)
        call.check(call.shape(bias) == (size,), f"its bias has shape {call.shape(bias)}, not ({size},)")
    return kind


def fully_connected(call: Call) -> None:
    """FULLY_CONNECTED: y = x W^T + b, W (out, in)."""
    call.arity(2, 3)
    call.activation(0)
    call.check(call.option(1, "<b") == 0, "its weights are shuffled")
    shape, weights = call.shape(0), call.shape(1)
    call.check(len(weights) == 2 and min(weights) > 0, f"its weights have shape {weights}")
    kind = _weighed(call, 0, 1, 2, 0, weights[0])
    size = math.prod(shape)
    call.check(len(shape) >= 1 and size > 0 and size % weights[1] == 0, f"{shape} does not go with {weights}")
    if call.option(2, "<B"):
        call.check(shape[-1] == weights[1], f"{shape} does not go with {weights}")
        call.give((*shape[:-1], weights[0]), kind)
    else:
        call.give((size // weights[1], weights[0]), kind)


def batch_matmul(call: Call) -> None:
    """BATCH_MATMUL: y = a b, each transposed where its option says so."""
    call.arity(2)
    kind, other = call.kind(0, FLOAT32, INT8, INT16), call.kind(1, FLOAT32, INT8, INT16)
    a, b = call.shape(0), call.shape(1)
    call.check(min(len(a), len(b)) >= 2 and max(len(a), len(b)) <= 5 and min(*a, *b) > 0, f"it takes {a} and {b}")
    if kind == FLOAT32 and other == INT8:
        call.check(call.is_constant(1), "its int8 operand is no constant")
        call.scale(call.inputs[1])
    else:
        call.check(kind == other, "its types do not go together")
        if kind in QUANTIZED:
            call.scaled(0, 1)
    rows, inner = (a[-1], a[-2]) if call.option(0, "<B") else a[-2:]
    also, columns = (b[-1], b[-2]) if call.option(1, "<B") else b[-2:]
    call.check(inner == also, f"{a} does not go with {b}")
    size = max(len(a), len(b)) - 2
    batch = []
    for x, y in zip((1,) * (size - len(a) + 2) + a[:-2], (1,) * (size - len(b) + 2) + b[:-2], strict=True):
        call.check(x == y or 1 in (x, y), f"{a} does not go with {b}")
        batch.append(max(x, y))
    call.give((*batch, rows, columns), kind)


def _window(call: Call, sizes: Shape, kernel: Shape, strides: list[int], dilations: list[int], padding: int) -> Shape:
    """Sizes after a window of a kernel has moved over them."""
    call.check(padding in (SAME, VALID), f"its padding is {padding}")
    call.check(min(*strides, *dilations, *kernel) > 0, f"strides {strides}, dilations {dilations}, kernel {kernel}")
    call.check(max(*strides, *dilations, *kernel) < 2**20, f"strides {strides}, dilations {dilations}")
    shape = []
    for size, k, stride, dilation in zip(sizes, kernel, strides, dilations, strict=True):
        left = size if padding == SAME else size - (k - 1) * dilation
        call.check(left > 0, f"a kernel of {kernel} does not fit into {sizes}")
        shape.append(-(-left // stride))
    return tuple(shape)


def conv_2d(call: Call) -> None:
    """CONV_2D: x (B, H, W, in), weights (out, h, w, in of a group)."""
    call.arity(2, 3)
    call.activation(3)
    x, weights = call.shape(0), call.shape(1)
    call.check(len(x) == len(weights) == 4 and min(*x, *weights) > 0, f"{x} does not go with {weights}")
    kind = _weighed(call, 0, 1, 2, 0, weights[0])
    groups, rest = divmod(x[3], weights[3])
    call.check(rest == 0 and weights[0] % groups == 0, f"{x} does not go with {weights}")
    space = _window(
        call,
        x[1:3],
        weights[1:3],
        [call.option(2), call.option(1)],
        [call.option(5, default=1), call.option(4, default=1)],
        call.option(0, "<b"),
    )
    call.give((x[0], *space, weights[0]), kind)


def depthwise_conv_2d(call: Call) -> None:
    """DEPTHWISE_CONV_2D: x (B, H, W, in), weights (1, h, w, in * multiplier)."""
    call.arity(2, 3)
    call.activation(4)
    x, weights = call.shape(0), call.shape(1)
    call.check(len(x) == len(weights) == 4 and min(*x, *weights) > 0, f"{x} does not go with {weights}")
    kind = _weighed(call, 0, 1, 2, 3, weights[3])
    call.check(call.has(2), "it has no bias, which its kernels read unasked")
    multiplier = call.option(3)
    call.check(weights[0] == 1 and weights[3] == x[3] * multiplier, f"{x} does not go with {weights} by {multiplier}")
    space = _window(
        call,
        x[1:3],
        weights[1:3],
        [call.option(2), call.option(1)],
        [call.option(6, default=1), call.option(5, default=1)],
        call.option(0, "<b"),
    )
    call.give((x[0], *space, weights[3]), kind)


def conv_3d(call: Call) -> None:
    """CONV_3D: x (B, D, H, W, in), weights (d, h, w, in, out)."""
    call.arity(2, 3)
    call.activation(4)
    x, weights = call.shape(0), call.shape(1)
    call.check(len(x) == len(weights) == 5 and min(*x, *weights) > 0, f"{x} does not go with {weights}")
    call.kind(0, FLOAT32)
    call.kind(1, FLOAT32)
    kind = _weighed(call, 0, 1, 2, 4, weights[4])
    call.check(x[4] == weights[3], f"{x} does not go with {weights}")
    space = _window(
        call,
        x[1:4],
        weights[:3],
        [call.option(1), call.option(3), call.option(2)],
        [call.option(5, default=1), call.option(7, default=1), call.option(6, default=1)],
        call.option(0, "<b"),
    )
    call.give((x[0], *space, weights[4]), kind)


def transpose_conv(call: Call) -> None:
    """TRANSPOSE_CONV: shape of the output, weights (out, h, w, in), x (B, H, W, in), bias."""
    call.arity(3, 4)
    call.activation(3)
    call.kind(0, INT32)
    shape, weights, x = tuple(call.known(0, 4)), call.shape(1), call.shape(2)
    call.check(len(x) == len(weights) == 4 and min(*x, *weights, *shape) > 0, f"{x} does not go with {weights}")
    kind = _weighed(call, 2, 1, 3, 0, weights[0])
    call.check(x[3] == weights[3] and shape[3] == weights[0] and shape[0] == x[0], f"{x} does not give {shape}")
    strides = [call.option(2), call.option(1)]
    space = _window(call, shape[1:3], weights[1:3], strides, [1, 1], call.option(0, "<b"))
    call.check(space == x[1:3], f"{x} does not give {shape}")
    call.give(shape, kind)


def transpose_conv_3d(call: Call) -> None:
    """CONV_3D_TRANSPOSE: shape of the output, weights (d, h, w, out, in), x (B, D, H, W, in), bias."""
    call.arity(3, 4)
    call.activation(4)
    call.kind(0, INT32)
    shape, weights, x = tuple(call.known(0, 5)), call.shape(1), call.shape(2)
    call.check(len(x) == len(weights) == 5 and min(*x, *weights, *shape) > 0, f"{x} does not go with {weights}")
    call.kind(1, FLOAT32)
    call.kind(2, FLOAT32)
    _weighed(call, 2, 1, 3, 3, weights[3])
    call.check(x[4] == weights[4] and shape[4] == weights[3] and shape[0] == x[0], f"{x} does not give {shape}")
    strides = [call.option(1), call.option(3), call.option(2)]
    dilations = [call.option(5, default=1), call.option(7, default=1), call.option(6, default=1)]
    space = _window(call, shape[1:4], weights[:3], strides, dilations, call.option(0, "<b"))
    call.check(space == x[1:4], f"{x} does not give {shape}")
    call.give(shape, FLOAT32)


def pool(call: Call) -> None:
    """AVERAGE_POOL_2D, MAX_POOL_2D: x (B, H, W, C)."""
    call.arity(1)
    call.activation(5)
    kind, x = call.kind(0, FLOAT32, INT8, UINT8, INT16), call.shape(0)
    call.check(len(x) == 4 and min(x) > 0, f"it takes shape {x}")
    if kind in QUANTIZED:
        call.check(len(set(call.scaled(0))) == 1, "its scales differ")
    kernel = (call.option(4), call.option(3))
    space = _window(call, x[1:3], kernel, [call.option(2), call.option(1)], [1, 1], call.option(0, "<b"))
    call.give((x[0], *space, x[3]), kind)


def svdf(call: Call) -> None:
    """SVDF: x (B, in), weights of features (filters, in) and of time (filters, memory), bias, its own memory."""
    call.check(len(call.inputs) == 5 and all(call.has(place) for place in (0, 1, 2, 4)), "it has no five inputs")
    call.check(len(call.operation.outputs) == 1, "it has not one output")
    call.activation(1)
    x, features, times, memory = (call.shape(place) for place in (0, 1, 2, 4))
    rank = call.option(0)
    fits = len(x) == len(features) == len(times) == len(memory) == 2 and min(*x, *features, *times) > 0
    call.check(fits and rank > 0 and features[0] % rank == 0, f"{x} does not go with {features} by {rank}")
    call.check(features[1] == x[1] and times[0] == features[0], f"{x} does not go with {features} and {times}")
    call.check(memory == (x[0], times[0] * times[1]) and call.tensor(4).is_variable, f"its memory has shape {memory}")
    kind = call.kind(0, FLOAT32, INT8)
    wanted = (FLOAT32,) * 4 if kind == FLOAT32 else (INT8, INT16, INT32, INT16)
    for place, other in zip((1, 2, 3, 4), wanted, strict=True):
        if place != 3 or call.has(3):
            call.kind(place, other)
    call.check(not call.has(3) or call.shape(3) == (features[0] // rank,), "its bias does not fit")
    if kind == INT8:
        call.scaled(0, 1, 2, 4)
    call.give((x[0], features[0] // rank), kind)
