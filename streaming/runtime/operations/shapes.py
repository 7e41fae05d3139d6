"""Operations that move elements: operands that determine addresses must be known and in range."""

from __future__ import annotations

import math

import numpy as np

from streaming.runtime.operations.arithmetic import MOVED, WHOLE, broadcast
from streaming.runtime.operations.call import FLOAT32, INT8, INT16, INT32, INT64, QUANTIZED, UINT8, Bounds, Call, Shape

_MAX_RANK = 8
_SLICE_RANK = 5


def _moved(call: Call, place: int = 0) -> int:
    """The type of what is moved, which the output shares with its scale."""
    kind = call.kind(place, *MOVED)
    call.same_scale(place)
    return kind


def reshape(call: Call) -> None:
    """RESHAPE: to an operand's shape, or to that of its options."""
    call.arity(1, 2)
    kind, shape = _moved(call), call.shape(0)
    if call.has(1):
        call.check(len(call.shape(1)) == 1 and call.kind(1) == INT32, "its shape is no list")
        wanted = call.known(1)
    else:
        call.check(call.operation.options is not None, "it names no shape")
        wanted = list(call.operation.options.integers(0))  # type: ignore[union-attr]
    size, rest = math.prod(shape), math.prod(n for n in wanted if n != -1)
    if -1 in wanted:
        call.check(wanted.count(-1) == 1 and rest > 0 and size % rest == 0, f"{shape} is not {wanted}")
        wanted[wanted.index(-1)] = size // rest
    call.check(min(wanted, default=0) >= 0 and math.prod(wanted) == size, f"{shape} is not {wanted}")
    call.give(tuple(wanted), kind)


def squeeze(call: Call) -> None:
    """SQUEEZE: axes of one, those that its options name or all."""
    call.arity(1)
    kind, shape = _moved(call), call.shape(0)
    options = call.operation.options
    axes = {call.axis(axis, len(shape)) for axis in (options.integers(0) if options is not None else ())}
    axes = axes or {axis for axis, size in enumerate(shape) if size == 1}
    call.check(len(shape) <= _MAX_RANK and all(shape[axis] == 1 for axis in axes), f"{shape} lacks axes {sorted(axes)}")
    call.give(tuple(size for axis, size in enumerate(shape) if axis not in axes), kind)


def expand(call: Call) -> None:
    """EXPAND_DIMS."""
    call.arity(2)
    kind, shape = _moved(call), call.shape(0)
    axis = call.axis(call.known(1, 1)[0], len(shape) + 1)
    call.give((*shape[:axis], 1, *shape[axis:]), kind)


def transpose(call: Call) -> None:
    """TRANSPOSE."""
    call.arity(2)
    kind, shape = _moved(call), call.shape(0)
    call.kind(1, INT32)
    order = [call.axis(axis, len(shape)) for axis in call.known(1, len(shape))]
    call.check(len(shape) <= 6 and len(set(order)) == len(order), f"it orders {len(shape)} axes as {order}")
    call.give(tuple(shape[axis] for axis in order), kind)


def concatenate(call: Call) -> None:
    """CONCATENATION."""
    call.arity(1, 10_000)
    kind, shape = _moved(call), call.shape(0)
    axis = call.axis(call.option(0), len(shape))
    call.check(call.option(1, "<b") == 0, "it has an activation")
    total = 0
    for place in range(len(call.inputs)):
        call.check(call.has(place), "an input is absent")
        call.kind(place, kind)
        other = call.shape(place)
        same = len(other) == len(shape) and other[:axis] == shape[:axis] and other[axis + 1 :] == shape[axis + 1 :]
        call.check(same, f"shapes {shape} and {other} do not go together")
        total += other[axis]
        if kind in QUANTIZED and call.tensor(0).quantization is not None:
            call.scaled(place)
    call.give((*shape[:axis], total, *shape[axis + 1 :]), kind)


def pack(call: Call) -> None:
    """PACK: along a new axis."""
    call.arity(1, 10_000)
    kind, shape, count = _moved(call), call.shape(0), len(call.inputs)
    axis = call.axis(call.option(1), len(shape) + 1)
    call.check(call.option(0) == count, f"it packs {call.option(0)} of {count} inputs")
    for place in range(count):
        call.check(call.has(place) and call.shape(place) == shape, "its inputs have different shapes")
        call.kind(place, kind)
    call.give((*shape[:axis], count, *shape[axis:]), kind)


def unpack(call: Call) -> None:
    """UNPACK: along an axis."""
    count = len(call.operation.outputs)
    call.arity(1, outputs=count)
    kind, shape = _moved(call), call.shape(0)
    axis = call.axis(call.option(1), len(shape))
    call.check(call.option(0) == count == shape[axis], f"it unpacks {call.option(0)} of {shape[axis]} to {count}")
    for place in range(count):
        call.give(shape[:axis] + shape[axis + 1 :], kind, place)


def split(call: Call) -> None:
    """SPLIT: equal parts."""
    count = len(call.operation.outputs)
    call.arity(2, outputs=count)
    kind, shape = _moved(call, 1), call.shape(1)
    call.kind(0, INT32)
    axis = call.axis(call.known(0, 1)[0], len(shape))
    call.check(call.option(0) == count > 0, f"num_splits is {call.option(0)}, it has {count} outputs")
    call.check(shape[axis] % count == 0, f"{shape[axis]} is not {count} equal parts")
    for place in range(count):
        call.give((*shape[:axis], shape[axis] // count, *shape[axis + 1 :]), kind, place)


def split_by(call: Call) -> None:
    """SPLIT_V: parts of given sizes."""
    count = len(call.operation.outputs)
    call.arity(3, outputs=count)
    kind, shape = _moved(call), call.shape(0)
    call.kind(2, INT32)
    sizes, axis = call.known(1, count), call.axis(call.known(2, 1)[0], len(shape))
    call.check(call.option(0) == count > 0, f"num_splits is {call.option(0)}, it has {count} outputs")
    if -1 in sizes:
        place = sizes.index(-1)
        sizes[place] = shape[axis] - sum(size for at, size in enumerate(sizes) if at != place)
    call.check(min(sizes) >= 0 and sum(sizes) == shape[axis], f"{shape[axis]} is not {sizes}")
    for place, size in enumerate(sizes):
        call.give((*shape[:axis], size, *shape[axis + 1 :]), kind, place)


def cut(call: Call) -> None:
    """SLICE: begin and size; where the begin is only known when it runs, its limits have to be inside."""
    call.arity(3)
    kind, shape = _moved(call), call.shape(0)
    sizes, limits = call.known(2, len(shape)), call.limits(1)
    call.kind(1, INT32, INT64)
    call.check(1 <= len(shape) <= _SLICE_RANK, f"it takes shape {shape}")
    call.check(limits is not None and len(limits[0]) == len(shape), "its begin is not known to be inside")
    assert limits is not None
    extents = []
    for axis, (low, high) in enumerate(zip(*(part.tolist() for part in limits), strict=True)):
        size = shape[axis] - low if sizes[axis] == -1 and low == high else sizes[axis]
        inside = low >= 0 and size >= 0 and high + size <= shape[axis]
        call.check(inside, f"it reads {size} from {low} to {high} of {shape[axis]}")
        extents.append(size)
    call.give(tuple(extents), kind)


def strided(call: Call) -> None:
    """STRIDED_SLICE."""
    call.arity(4)
    kind, shape = _moved(call), call.shape(0)
    call.check(call.option(5, "<B") == 0 and len(shape) <= _SLICE_RANK, f"it takes shape {shape}")
    for place in (1, 2, 3):
        call.kind(place, INT32)
    steps, limits = call.known(3), call.limits(1)
    call.check(limits is not None and len(limits[0]) == len(steps), "its begin is not known to be inside")
    call.check(call.shape(2) == (len(steps),), "begin, end and strides differ in length")
    assert limits is not None
    ends = call.limits(2)
    call.give(_strided(call, shape, steps, limits, ends), kind)


def _strided(call: Call, shape: Shape, steps: list[int], begins: Bounds, ends: Bounds | None) -> Shape:
    begin_mask, end_mask, ellipsis, new, shrink = (call.option(field) for field in range(5))
    count = len(steps)
    call.check(ellipsis & (ellipsis - 1) == 0, "it has several ellipses")
    named = sum(not (new | ellipsis) >> place & 1 for place in range(count))
    call.check(named <= len(shape) and count <= _SLICE_RANK, f"it cuts {named} axes of {shape}")
    extents: list[int] = []
    axis = 0
    for place, step in enumerate(steps):
        bit = 1 << place
        if ellipsis & bit:
            extents += shape[axis : axis + len(shape) - named]
            axis += len(shape) - named
            continue
        if new & bit:
            extents.append(1)
            continue
        size, low, high = shape[axis], int(begins[0][place]), int(begins[1][place])
        axis += 1
        call.check(step != 0, "a stride is 0")
        if shrink & bit:
            low, high = (0, 0) if begin_mask & bit else (low, high)
            call.check(-size <= low and high < size and step > 0, f"it reads {low} to {high} of {size}")
            continue
        call.check(low == high or bool(begin_mask & bit), "its begin is only known when it runs")
        call.check(ends is not None or bool(end_mask & bit), "its end is only known when it runs")
        end = int(ends[0][place]) if ends is not None else 0
        call.check(ends is None or bool(end_mask & bit) or end == ends[1][place], "its end is only known when it runs")
        begin = None if begin_mask & bit else low
        extents.append(len(range(*slice(begin, None if end_mask & bit else end, step).indices(size))))
    return (*extents, *shape[axis:])


def gather(call: Call) -> None:
    """GATHER: kernels check the indices that they are given."""
    call.arity(2)
    kind, shape, places = _moved(call), call.shape(0), call.shape(1)
    call.kind(1, INT32, INT64)
    axis, shared = call.axis(call.option(0), len(shape)), call.option(1)
    shared += len(places) if shared < 0 else 0
    call.check(0 <= shared <= min(axis, len(places)), f"it has {shared} axes in common")
    call.check(shape[:shared] == places[:shared] and min(shape) > 0, f"shapes {shape} and {places} do not go together")
    call.give((*shape[:axis], *places[shared:], *shape[axis + 1 :]), kind)


def gather_nd(call: Call) -> None:
    """GATHER_ND: kernels check the indices that they are given."""
    call.arity(2)
    kind, shape, places = _moved(call), call.shape(0), call.shape(1)
    call.kind(1, *WHOLE)
    call.check(len(shape) >= 1 and len(places) >= 1 and min(shape) > 0, f"it takes shapes {shape} and {places}")
    call.check(0 < places[-1] <= len(shape), f"it takes places {places} of {shape}")
    call.give((*places[:-1], *shape[places[-1] :]), kind)


def scatter(call: Call) -> None:
    """SCATTER_ND: the places have to be known."""
    call.arity(3)
    kind, places, shape = call.kind(1, *MOVED), call.shape(0), tuple(call.known(2))
    call.kind(0, INT32)
    call.kind(2, INT32)
    call.check(len(places) >= 1 and 0 < places[-1] <= len(shape) and min(shape) > 0, f"it takes places {places}")
    limits = call.limits(0)
    if limits is None and call.is_constant(0):
        limits = (call.constant(0).astype(np.int64),) * 2
    call.check(limits is not None, "its places are not known to be inside")
    assert limits is not None
    low, high = (part.reshape(-1, places[-1]) for part in limits)
    call.check(bool((low >= 0).all() and (high < np.array(shape[: places[-1]])).all()), "a place is outside")
    call.check(call.shape(1) == (*places[:-1], *shape[places[-1] :]), "its rows do not fit")
    call.give(shape, kind)


def update(call: Call) -> None:
    """DYNAMIC_UPDATE_SLICE: kernels move the part inside."""
    call.arity(3)
    kind, shape, part = _moved(call), call.shape(0), call.shape(1)
    call.kind(1, kind)
    call.kind(2, *WHOLE)
    fits = len(part) == len(shape) and all(small <= size for small, size in zip(part, shape, strict=True))
    call.check(fits and call.shape(2) == (len(shape),) and min(part) > 0, f"{part} is no part of {shape}")
    call.give(shape, kind)


def pad(call: Call) -> None:
    """PAD, PADV2, MIRROR_PAD."""
    call.arity(3 if call.name == "PADV2" else 2)
    kind, shape = _moved(call), call.shape(0)
    call.check(1 <= len(shape) <= (4 if kind in QUANTIZED else _SLICE_RANK), f"it takes shape {shape}")
    call.check(call.shape(1) == (len(shape), 2), f"its padding has shape {call.shape(1)}")
    amounts = np.reshape(call.known(1), (-1, 2)).tolist()
    call.check(min(map(min, amounts)) >= 0, f"it pads {amounts}")
    if kind in QUANTIZED:
        call.scaled(0)
    if call.name == "PADV2":
        call.kind(2, kind)
        call.check(math.prod(call.shape(2)) == 1, "it pads with several numbers")
        if kind in QUANTIZED:
            call.scaled(2)
    if call.name == "MIRROR_PAD":
        mode = call.option(0, "<b")
        most = [size - 1 + mode for size in shape]
        call.check(
            mode in (0, 1) and all(max(pair) <= m for pair, m in zip(amounts, most, strict=True)), "pads too far"
        )
    call.give(tuple(size + sum(pair) for size, pair in zip(shape, amounts, strict=True)), kind)


def tile(call: Call) -> None:
    """TILE."""
    call.arity(2)
    kind, shape = _moved(call), call.shape(0)
    times = call.known(1, len(shape))
    call.check(min(times, default=1) > 0 and len(shape) <= _MAX_RANK, f"it repeats {times} times")
    call.give(tuple(size * n for size, n in zip(shape, times, strict=True)), kind)


def fill(call: Call) -> None:
    """FILL."""
    call.arity(2)
    kind = call.kind(1, *MOVED)
    shape = tuple(call.known(0))
    call.check(len(call.shape(0)) == 1 and min(shape, default=0) >= 0, f"it fills shape {shape}")
    call.check(call.shape(1) == (), "it fills with several numbers")
    if kind in QUANTIZED:
        call.scaled(1)
    call.give(shape, kind)


def number_range(call: Call) -> None:
    """RANGE."""
    call.arity(3)
    kind = call.kind(0, INT32, INT64, FLOAT32)
    for place in range(3):
        call.kind(place, kind)
        call.check(call.shape(place) == (), "it counts by lists")
    if kind == FLOAT32:
        start, limit, step = (float(call.constant(place)[0]) for place in range(3))
    else:
        start, limit, step = (call.known(place, 1)[0] for place in range(3))
    call.check(step != 0 and math.isfinite(start + limit + step), "it counts for ever")
    count = math.ceil((limit - start) / step)
    call.check(0 <= count < 2**31, f"it counts to {limit} from {start} by {step}")
    call.give((count,), kind)


def shape_of(call: Call) -> None:
    """SHAPE, RANK."""
    call.arity(1)
    kind = call.option(0, "<b") if call.name == "SHAPE" else INT32
    call.check(kind in WHOLE, f"it gives type {kind}")
    call.give((len(call.shape(0)),) if call.name == "SHAPE" else (), kind)


def broadcast_to(call: Call) -> None:
    """BROADCAST_TO."""
    call.arity(2)
    kind, shape = _moved(call), call.shape(0)
    wanted = tuple(call.known(1))
    call.check(len(wanted) <= _MAX_RANK and min(wanted, default=1) > 0, f"it gives shape {wanted}")
    call.check(broadcast(call, shape, wanted, _MAX_RANK) == wanted, f"{shape} is not {wanted}")
    call.give(wanted, kind)


def broadcast_args(call: Call) -> None:
    """BROADCAST_ARGS: the shape of two shapes together."""
    call.arity(2)
    kind = call.kind(0, *WHOLE)
    call.kind(1, kind)
    sizes = [len(call.known(place)) for place in range(2)]
    call.check(len(call.shape(0)) == len(call.shape(1)) == 1, "its shapes are no lists")
    call.give((max(sizes),), kind)


def one_hot(call: Call) -> None:
    """ONE_HOT."""
    call.arity(4)
    call.kind(0, INT32, INT64)
    call.kind(1, INT32)
    kind, shape = call.kind(2, FLOAT32, INT32, INT64, INT8, UINT8), call.shape(0)
    call.kind(3, kind)
    depth = call.known(1, 1)[0]
    alone = call.shape(1) == call.shape(2) == call.shape(3) == ()
    call.check(alone and depth > 0 and len(shape) < _MAX_RANK, f"its depth is {depth}")
    axis = call.axis(call.option(0), len(shape) + 1)
    call.give((*shape[:axis], depth, *shape[axis:]), kind)


def reverse(call: Call) -> None:
    """REVERSE_V2."""
    call.arity(2)
    kind, shape = _moved(call), call.shape(0)
    call.kind(1, INT32)
    axes = [call.axis(axis, len(shape)) for axis in call.known(1)]
    call.check(len(set(axes)) == len(axes) == 1 and len(shape) <= _MAX_RANK, f"it reverses axes {axes}")
    call.check(len(call.shape(1)) == 1 and min(shape) > 0, f"it takes shape {shape}")
    call.give(shape, kind)


def to_batch(call: Call) -> None:
    """SPACE_TO_BATCH_ND: blocks of space side by side in the batch."""
    shape, blocks, edges = _blocks(call)
    space = [size + sum(pair) for size, pair in zip(shape[1:], edges, strict=False)]
    call.check(all(size % block == 0 for size, block in zip(space, blocks, strict=True)), f"{space} is not {blocks}")
    parts = [size // block for size, block in zip(space, blocks, strict=True)]
    call.give((shape[0] * math.prod(blocks), *parts, *shape[1 + len(blocks) :]), call.kind(0))


def from_batch(call: Call) -> None:
    """BATCH_TO_SPACE_ND: the other way round."""
    shape, blocks, edges = _blocks(call)
    call.check(shape[0] % math.prod(blocks) == 0, f"{shape[0]} is not {blocks}")
    space = [n * block - sum(pair) for n, block, pair in zip(shape[1:], blocks, edges, strict=False)]
    call.check(min(space) > 0, f"it crops {shape} to {space}")
    call.give((shape[0] // math.prod(blocks), *space, *shape[1 + len(blocks) :]), call.kind(0))


def _blocks(call: Call) -> tuple[Shape, list[int], list[list[int]]]:
    call.arity(3)
    kind, shape = _moved(call), call.shape(0)
    call.kind(0, FLOAT32, INT32, INT64, INT8, UINT8, INT16)
    call.check(len(shape) in (3, 4) and min(shape) > 0, f"it takes shape {shape}")
    blocks, edges = call.known(1, len(shape) - 2), np.reshape(call.known(2, 2 * len(shape) - 4), (-1, 2)).tolist()
    call.check(call.shape(2) == (len(blocks), 2) and len(call.shape(1)) == 1, "its blocks are no list")
    call.kind(1, INT32)
    call.kind(2, INT32)
    call.check(min(blocks) > 0 and min(map(min, edges)) >= 0, f"its blocks are {blocks}, edges {edges}")
    if kind in QUANTIZED:
        call.scaled(0)
    return shape, blocks, edges


def resize(call: Call) -> None:
    """RESIZE_NEAREST_NEIGHBOR, RESIZE_BILINEAR: pictures (B, H, W, C) to another height and width."""
    call.arity(2)
    kind, shape = call.kind(0, FLOAT32, INT8, UINT8, INT16), call.shape(0)
    call.kind(1, INT32)
    call.same_scale(0)
    size = call.known(1, 2)
    call.check(len(shape) == 4 and min(shape) > 0 and min(size) > 0, f"it brings {shape} to {size}")
    first = 2 if call.name == "RESIZE_BILINEAR" else 0
    call.check(not (call.option(first, "<B") and call.option(first + 1, "<B")), "its corners and centres contradict")
    call.give((shape[0], *size, shape[3]), kind)
