"""Loops that end, calls of other subgraphs, and variables."""

from __future__ import annotations

from streaming.runtime.flatbuffer import Graph
from streaming.runtime.operations.call import BOOL, INT32, RESOURCE, Bounds, Call

MAX_ROUNDS = 2**24


def loop(call: Call) -> None:
    """WHILE: a counter that rises to a limit that is known ends it; every round gives what it takes."""
    count = len(call.inputs)
    call.arity(count, outputs=count)
    condition, body = call.option(0), call.option(1)
    counters = _counters(call, condition, body)
    call.check(bool(counters), "nothing counts its rounds to a limit that is known")
    graph = call.model.graphs[body]
    limits: list[Bounds | None] = [None] * count
    after: dict[int, Bounds] = {}
    for place in range(count):
        if graph.inputs[place] == graph.outputs[place]:
            limits[place] = call.limits(place)
    rounds = []
    for place, (step, most) in counters.items():
        begin = call.limits(place)
        if begin is not None:
            low = begin[0]
            rounds.append(max(0, -(-(most - int(low.min())) // step)))
            limits[place] = low, begin[1].clip(min=most - 1)
            after[place] = low, begin[1].clip(min=most - 1 + step)
    call.check(bool(rounds) and min(rounds) <= MAX_ROUNDS, "it has no known number of rounds")
    shapes = [call.shape(place) for place in range(count)]
    kinds = [call.kind(place) for place in range(count)]
    call.check(RESOURCE not in kinds, "it carries a variable")
    out_shapes, out_kinds = call.model.run(condition, shapes, kinds, [None] * count)
    call.check(out_kinds == [BOOL] and out_shapes in ([()], [(1,)]), "its condition is not one bool")
    out_shapes, out_kinds = call.model.run(body, shapes, kinds, limits, min(rounds))
    call.check(out_shapes == shapes and out_kinds == kinds, "its rounds give other tensors than they take")
    for place in range(count):
        call.same_scale_as(place, place)
        call.give(shapes[place], kinds[place], place)
        bounds = after.get(place) or (limits[place] if place not in counters else None)
        if bounds is not None:
            call.bounds[call.operation.outputs[place]] = bounds


def _counters(call: Call, condition: int, body: int) -> dict[int, tuple[int, int]]:
    """Places of loop variables that rise by a constant while they are less than a known limit: (step, limit)."""
    test, graph = call.model.graphs[condition], call.model.graphs[body]
    call.check(len(test.inputs) == len(graph.inputs) == len(graph.outputs) == len(call.inputs), "its graphs do not fit")
    writers = {operation.outputs[0]: operation for operation in graph.operations if len(operation.outputs) == 1}
    steps: dict[int, int] = {}
    for place, index in enumerate(graph.inputs):
        writer = writers.get(graph.outputs[place])
        if writer is not None and writer.name == "ADD" and index in writer.inputs and len(writer.inputs) == 2:
            other = graph.tensors[writer.inputs[1] if writer.inputs[0] == index else writer.inputs[0]]
            if graph.tensors[index].kind == INT32 and other.kind == INT32 and (other.word or 0) > 0:
                steps[place] = other.word or 0
    counters: dict[int, tuple[int, int]] = {}
    wanted = list(test.outputs)
    tests = {operation.outputs[0]: operation for operation in test.operations if len(operation.outputs) == 1}
    for index in wanted:
        operation = tests.get(index)
        if operation is None or len(wanted) > 64:
            continue
        if operation.name == "LOGICAL_AND":
            wanted += operation.inputs
        elif operation.name in ("LESS", "GREATER") and len(operation.inputs) == 2:
            small, great = operation.inputs if operation.name == "LESS" else operation.inputs[::-1]
            if small in test.inputs and (limit := _limit(call, test, great)) is not None:
                place = test.inputs.index(small)
                if place in steps:
                    counters[place] = steps[place], limit
    return counters


def _limit(call: Call, test: Graph, index: int) -> int | None:
    """The greatest number of a scalar in a condition: a constant, or a loop variable that never changes."""
    tensor = test.tensors[index]
    if tensor.word is not None and tensor.kind == INT32:
        return int(tensor.word)
    if index in test.inputs:
        place = test.inputs.index(index)
        body = call.model.graphs[call.option(1)]
        limits = call.limits(place)
        if body.inputs[place] == body.outputs[place] and limits is not None and limits[1].size == 1:
            return int(limits[1][0])
    return None


def branch(call: Call) -> None:
    """IF: both branches give the same."""
    count, outputs = len(call.inputs), len(call.operation.outputs)
    call.arity(max(count, 1), outputs=outputs)
    call.kind(0, BOOL)
    call.check(call.shape(0) in ((), (1,)), "its condition is not one bool")
    places = range(1, count)
    shapes, kinds = [call.shape(place) for place in places], [call.kind(place) for place in places]
    call.check(RESOURCE not in kinds, "it carries a variable")
    limits = [call.limits(place) for place in places]
    given = [call.model.run(call.option(field), shapes, kinds, limits) for field in range(2)]
    call.check(given[0] == given[1] and len(given[0][0]) == outputs, "its branches give different tensors")
    for place, (shape, kind) in enumerate(zip(*given[0], strict=True)):
        call.give(shape, kind, place)


def call_once(call: Call) -> None:
    """CALL_ONCE: a graph without inputs and outputs, that gives variables their first values."""
    call.arity(0, outputs=0)
    shapes, _ = call.model.run(call.option(0), [], [], [])
    call.check(not shapes, "what it calls gives tensors")


def handle(call: Call) -> None:
    """VAR_HANDLE: a variable by its name."""
    call.arity(0)
    options = call.operation.options
    call.check(options is not None, "it names no variable")
    assert options is not None
    call.give((), RESOURCE)
    call.handles[call.operation.outputs[0]] = f"{options.text(0)}/{options.text(1)}"


def read_variable(call: Call) -> None:
    """READ_VARIABLE: every reader and writer of a variable agrees on shape and type, and a value was there before."""
    call.arity(1)
    index = call.operation.outputs[0]
    name = call.variable(index)
    call.check(name in call.model.assigned, f"variable {name!r} has no value yet")
    call.give(call.shapes[index], call.graph.tensors[index].kind)


def assign_variable(call: Call) -> None:
    """ASSIGN_VARIABLE."""
    call.arity(2, outputs=0)
    call.model.assigned.add(call.variable(call.inputs[1]))
