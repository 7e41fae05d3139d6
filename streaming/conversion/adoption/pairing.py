"""Which outputs of a step are the next values of which inputs."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

from streaming.conversion.adoption.foreign import ForeignModel, TensorInfo
from streaming.errors import InputError


def find_pairs(foreign: ForeignModel, states: Mapping[str, str] | None) -> dict[str, str]:
    """{input: output} of the states that the caller of a step carries.

    Args:
        foreign: the model.
        states: the pairs as the user names them; None finds them by equal shape, dtype and scale.

    Raises:
        InputError: a name is unknown or comes twice, a pair does not fit, nothing is left for inputs or outputs, or
            there is more than one way to pair.
    """
    pairs = _found(foreign) if states is None else _given(foreign, states)
    if not foreign.inputs.keys() - pairs.keys() or not foreign.outputs.keys() - set(pairs.values()):
        raise InputError(f"states {pairs} leave the model no input or no output of its own; {_listed(foreign)}")
    return pairs


def _found(foreign: ForeignModel) -> dict[str, str]:
    inputs, outputs = _groups(foreign.inputs.values()), _groups(foreign.outputs.values())
    if foreign.variables or len(foreign.inputs) == 1:
        return {}
    common = [(inputs[key], outputs[key]) for key in inputs if key in outputs]
    pairs = {taken[0].name: given[0].name for taken, given in common}
    unique = all(len(taken) == len(given) == 1 for taken, given in common)
    if not unique or not pairs or len(pairs) in (len(foreign.inputs), len(foreign.outputs)):
        raise InputError(
            "shapes do not tell which inputs are states; give states={input: output} (--state INPUT=OUTPUT), or "
            f"states={{}} (--no-states) where there are none; {_listed(foreign)}"
        )
    return pairs


def _given(foreign: ForeignModel, states: Any) -> dict[str, str]:
    if not isinstance(states, Mapping) or not all(isinstance(name, str) for pair in states.items() for name in pair):
        raise InputError(f"states is {states!r}, expected a dict {{input: output}} of names")
    for names, known, what in ((states, foreign.inputs, "input"), (states.values(), foreign.outputs, "output")):
        unknown = next((name for name in names if name not in known), None)
        if unknown is not None:
            raise InputError(f"there is no {what} {unknown!r}; {_listed(foreign)}")
    twice = next((name for name in states.values() if list(states.values()).count(name) > 1), None)
    if twice is not None:
        raise InputError(f"output {twice!r} is the next value of two states; give each state its own output")
    for taken, given in states.items():
        _check_pair(foreign.inputs[taken], foreign.outputs[given])
    return dict(states)


def _check_pair(taken: TensorInfo, given: TensorInfo) -> None:
    if (taken.shape, taken.dtype) != (given.shape, given.dtype):
        raise InputError(f"state {taken} does not pair with output {given}; give an output of its shape and dtype")
    if not _same_scale(taken, given):
        raise InputError(
            f"state {taken.name!r} has scale {taken.scale} and zero point {taken.zero_point}, output {given.name!r} "
            f"{given.scale} and {given.zero_point}: the numbers that come out would mean others when they go in; "
            "quantize the model with one scale for both"
        )


def _same_scale(taken: TensorInfo, given: TensorInfo) -> bool:
    if taken.scale is None or given.scale is None:
        return taken.scale is given.scale
    return math.isclose(taken.scale, given.scale, rel_tol=1e-6) and taken.zero_point == given.zero_point


def _groups(infos: Iterable[TensorInfo]) -> dict[Any, list[TensorInfo]]:
    groups = defaultdict(list)
    for info in infos:
        groups[info.shape, info.dtype, info.zero_point, info.scale and f"{info.scale:.6g}"].append(info)
    return groups


def _listed(foreign: ForeignModel) -> str:
    inputs, outputs = (", ".join(map(str, side.values())) for side in (foreign.inputs, foreign.outputs))
    return f"inputs: {inputs}; outputs: {outputs}"
