"""Operations that take each element by itself, and reductions."""

from __future__ import annotations

import itertools
from collections.abc import Callable

from streaming.runtime.operations.call import (
    BOOL,
    FLOAT16,
    FLOAT32,
    INT8,
    INT16,
    INT32,
    INT64,
    QUANTIZED,
    UINT8,
    UINT32,
    Call,
    Shape,
)

Rule = Callable[[Call], None]
FLOATS = (FLOAT32,)
WHOLE = (INT32, INT64)
NUMBERS = (FLOAT32, INT32, INT64)
ALL_QUANTIZED = (INT8, UINT8, INT16)
MOVED = (FLOAT32, INT32, INT64, INT8, UINT8, INT16, BOOL)
# A sum of quantized numbers is brought to one scale by a shift of so many bits; runtimes abort where it overflows.
_SUM_RATIO = 2.0**13


def unary(*kinds: int, quantized: bool = False) -> Rule:
    """y = f(x), of the same type."""

    def rule(call: Call) -> None:
        call.arity(1)
        kind = call.kind(0, *kinds, *(ALL_QUANTIZED if quantized else ()))
        if kind in QUANTIZED:
            call.scaled(0)
        call.give(call.shape(0), kind)

    return rule


def binary(
    *kinds: int, rank: int = 4, activation: bool = False, compare: bool = False, quantized: Rule | None = None
) -> Rule:
    """y = f(a, b) with broadcasting, which kernels do up to a rank; `compare`: y is bool."""

    def rule(call: Call) -> None:
        call.arity(2)
        kind = call.kind(0)
        if kind in QUANTIZED and quantized is not None:
            quantized(call)
        else:
            call.kind(0, *kinds)
        call.kind(1, kind)
        if activation:
            call.activation(0)
        call.give(broadcast(call, call.shape(0), call.shape(1), rank), BOOL if compare else kind)

    return rule


def broadcast(call: Call, a: Shape, b: Shape, rank: int) -> Shape:
    """The shape of two operands together."""
    if a == b:
        return a
    size = max(len(a), len(b))
    if size > rank:
        call.check(False, f"it broadcasts {a} and {b}, of more than {rank} axes")
    shape = []
    for x, y in zip((1,) * (size - len(a)) + a, (1,) * (size - len(b)) + b, strict=True):
        if x != y and 1 not in (x, y):
            call.check(False, f"shapes {a} and {b} do not go together")
        shape.append(x if y == 1 else y)
    return tuple(shape)


def sum_of_quantized(call: Call) -> None:
    """ADD and SUB: the larger input's scale against the output's is bounded."""
    a, b, out = call.scaled(0, 1)
    call.check(2 * max(a, b) < _SUM_RATIO * out, "its scales differ too much")


def any_scales(call: Call) -> None:
    """The operands have scales."""
    call.scaled(0, 1)


def equal_scales(call: Call) -> None:
    """Numbers are compared without rescaling, so their scales must be equal."""
    call.check(len(set(call.scaled(0, 1))) == 1, "its scales differ")


def compared_scales(call: Call) -> None:
    """Comparisons bring both to one scale below 1."""
    call.check(max(call.scaled(0, 1, output=False)) < 1, "a scale is 1 or more")


def squared_scales(call: Call) -> None:
    """SQUARED_DIFFERENCE: as a sum, with fewer bits."""
    a, b, out = call.scaled(0, 1)
    call.check(4 * max(a, b) ** 2 < 2.0**13 * out, "its scales differ too much")


def division(*kinds: int) -> Rule:
    """FLOOR_DIV, FLOOR_MOD: a processor traps on the least number by -1, so whole divisors have to be known."""
    plain = binary(*kinds)

    def rule(call: Call) -> None:
        plain(call)
        if call.kind(1) in WHOLE:
            limits = call.limits(1)
            right = limits is not None and bool((limits[0] > 0).all())
            if not right and call.is_constant(1):
                right = bool((call.constant(1) > 0).all())
            call.check(right, "its divisor is not known to be above 0")

    return rule


def select(rank: int) -> Rule:
    """y = a where c, else b."""

    def rule(call: Call) -> None:
        call.arity(3)
        call.kind(0, BOOL)
        kind = call.kind(1, *MOVED)
        call.kind(2, kind)
        chosen, a, b = call.shape(0), call.shape(1), call.shape(2)
        call.same_scale(1, 2)
        if call.name == "SELECT_V2":
            shape = broadcast(call, broadcast(call, chosen, a, rank), b, rank)
            if len(shape) > rank:
                call.check(chosen == a == b, "it broadcasts too many axes")
            call.give(shape, kind)
            return
        # A condition of one axis chooses whole rows.
        rows = len(chosen) == 1 and len(a) >= 1 and chosen == a[:1]
        call.check(a == b and (chosen in (a, ()) or rows), f"shapes {chosen}, {a} and {b} do not go together")
        call.give(a, kind)

    return rule


def cast(call: Call) -> None:
    """CAST."""
    call.arity(1)
    kinds = (FLOAT32, INT32, INT64, BOOL, INT8, UINT8, INT16, FLOAT16, UINT32)
    call.kind(0, *kinds)
    call.check(call.output_kind in kinds, f"it gives type {call.output_kind}")
    call.give(call.shape(0), call.output_kind)


def add_n(call: Call) -> None:
    """ADD_N."""
    call.arity(1, 10_000)
    kind = call.kind(0, FLOAT32, INT32)
    for place in range(len(call.inputs)):
        call.check(call.has(place) and call.shape(place) == call.shape(0), "its inputs have different shapes")
        call.kind(place, kind)
    call.give(call.shape(0), kind)


def prelu(call: Call) -> None:
    """PRELU."""
    call.arity(2)
    kind = call.kind(0, FLOAT32, INT8, UINT8)
    call.kind(1, kind)
    if kind in QUANTIZED:
        call.scaled(0, 1)
    shape = broadcast(call, call.shape(0), call.shape(1), 4)
    call.check(shape == call.shape(0), "its slopes have more elements than its input")
    call.give(shape, kind)


def quantize(call: Call) -> None:
    """QUANTIZE: float32 to numbers, or numbers to another scale."""
    call.arity(1)
    kind = call.kind(0, FLOAT32, *ALL_QUANTIZED)
    call.check(call.output_kind in QUANTIZED, "it gives no quantized numbers")
    call.scaled(*(() if kind == FLOAT32 else (0,)))
    call.give(call.shape(0), call.output_kind)


def dequantize(call: Call) -> None:
    """DEQUANTIZE: float16 and numbers to float32."""
    call.arity(1)
    kind = call.kind(0, FLOAT16, *ALL_QUANTIZED)
    if kind != FLOAT16:
        quantization, shape = call.tensor(0).quantization, call.shape(0)
        if quantization is not None and len(quantization.scales) > 1:
            call.check(kind == INT8 and call.is_constant(0), "it has several scales")
            axis = call.axis(quantization.axis, len(shape))
            call.scales(0, axis, shape[axis])
        else:
            call.scale(call.inputs[0])
    call.give(call.shape(0), FLOAT32)


def softmax(call: Call) -> None:
    """SOFTMAX, LOG_SOFTMAX: over the last axis."""
    call.arity(1)
    kind = call.kind(0, FLOAT32, *(ALL_QUANTIZED if call.name == "SOFTMAX" else ()))
    if kind in QUANTIZED:
        call.check(kind == call.output_kind, "its types differ")
        call.scaled(0)
    if call.name == "SOFTMAX":
        beta = call.option(0, "<f")
        call.check(1e-3 <= beta <= 1e3, f"its beta is {beta}")
    shape = call.shape(0)
    call.check(1 <= len(shape) <= 4 and min(shape) > 0, f"it takes shape {shape}")
    call.give(shape, kind)


def normalize(call: Call) -> None:
    """L2_NORMALIZATION over the last axis."""
    call.arity(1)
    kind = call.kind(0, FLOAT32)
    call.check(call.option(0, "<b") == 0, "it has an activation")
    shape = call.shape(0)
    call.check(1 <= len(shape) <= 4 and min(shape) > 0, f"it takes shape {shape}")
    call.give(shape, kind)


def leaky(call: Call) -> None:
    """LEAKY_RELU, ELU, HARD_SWISH, GELU and their like, where a slope has to be a number."""
    unary(FLOAT32, quantized=True)(call)
    if call.name == "LEAKY_RELU":
        call.check(abs(call.option(0, "<f")) < 1e6, "its slope is no number")


def reduction(*kinds: int, quantized: bool = False) -> Rule:
    """MEAN, SUM, REDUCE_*: over axes that are known."""

    def rule(call: Call) -> None:
        call.arity(2)
        kind = call.kind(0, *kinds, *(ALL_QUANTIZED if quantized else ()))
        if kind in QUANTIZED:
            call.scaled(0)
        shape = call.shape(0)
        call.check(len(shape) <= 8 and min(shape, default=1) > 0, f"it takes shape {shape}")
        call.check(len(call.shape(1)) <= 1, "its axes are no list")
        call.kind(1, INT32)
        axes = {call.axis(number, len(shape)) for number in call.known(1)}
        call.give(reduced(call, shape, axes), kind)

    return rule


def reduced(call: Call, shape: Shape, axes: set[int]) -> Shape:
    """The shape without the axes, or with 1 in their places."""
    if call.option(0, "<B"):
        return tuple(1 if axis in axes else size for axis, size in enumerate(shape))
    return tuple(size for axis, size in enumerate(shape) if axis not in axes)


def extreme_place(call: Call) -> None:
    """ARG_MAX, ARG_MIN."""
    call.arity(2)
    call.kind(0, FLOAT32, INT32, INT8, UINT8, BOOL)
    shape = call.shape(0)
    call.check(len(shape) >= 1 and min(shape) > 0, f"it takes shape {shape}")
    axis = call.axis(call.known(1, 1)[0], len(shape))
    kind = call.option(0, "<b")
    call.check(kind in WHOLE, f"it gives type {kind}")
    call.give(shape[:axis] + shape[axis + 1 :], kind)


def cumulate(call: Call) -> None:
    """CUMSUM."""
    call.arity(2)
    kind = call.kind(0, *NUMBERS)
    shape = call.shape(0)
    call.check(min(shape, default=0) > 0, f"it takes shape {shape}")
    call.kind(1, INT32)
    call.axis(call.known(1, 1)[0], len(shape))
    call.give(shape, kind)


def top(call: Call) -> None:
    """TOPK_V2: the best of the last axis and their places."""
    call.arity(2, outputs=2)
    kind = call.kind(0, FLOAT32, INT32, INT64, INT8, UINT8)
    shape = call.shape(0)
    call.kind(1, INT32)
    count = call.known(1, 1)[0]
    call.check(len(shape) >= 1 and min(shape) > 0 and 0 < count <= shape[-1], f"it takes {count} of shape {shape}")
    call.same_scale(0)
    call.give((*shape[:-1], count), kind)
    call.give((*shape[:-1], count), INT32, 1)


def bucketize(call: Call) -> None:
    """BUCKETIZE: boundaries that rise, in its options."""
    call.arity(1)
    call.kind(0, FLOAT32, INT32, INT64)
    options = call.operation.options
    values = () if options is None else options.numbers(0, "<f4")
    call.check(all(a <= b for a, b in itertools.pairwise(values)), "its boundaries do not rise")
    call.give(call.shape(0), INT32)
