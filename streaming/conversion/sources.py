"""Finds the inputs of a model that have to be given whole, such as the source of a translator.

If a model of several sequences cannot be carried, each of its inputs is tried in `encode`. If one alone works and every
output is a sequence, it is the source; else the error names the first that works, and `max_length` chooses it.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

from streaming._compat import Functional
from streaming.conversion.graph import steps_of
from streaming.conversion.options import DEFAULT_LENGTH
from streaming.conversion.plan import Plan, identifiers, plan
from streaming.conversion.rules.base import Options
from streaming.errors import NotStreamableError, StreamingError


def plan_with_sources(model: Any, options: Options, function: Functional) -> Plan:
    """The plan of a model of unknown length.

    Raises NotStreamableError, which names the inputs for `encode` if that would help.
    """
    try:
        return plan(model, options, function)
    except NotStreamableError as refusal:
        planned = plan_source(function, options, lambda tried: plan(model, tried, function), refusal)
        if planned is None:
            raise
        return planned


def plan_source(
    function: Functional, options: Options, plan_with: Callable[[Options], Plan], refusal: NotStreamableError
) -> Plan | None:
    """The plan with as few inputs given whole as possible, None where there is none; refusal: of that without."""
    if options.encode:
        return None
    found: list[tuple[tuple[str, ...], Plan]] = []
    for names in _candidates(function):
        if found and len(names) > len(found[0][0]):
            break
        try:
            planned = plan_with(replace(options, encode=names, max_length=options.max_length or DEFAULT_LENGTH))
        except StreamingError:
            continue
        bounded = any(signal.spread for signal in planned.encoded.values())
        planned.max_length = planned.max_length if bounded else options.max_length
        most = f", {planned.max_length} positions at most (max_length)" if bounded else ""
        planned.steps[-1].rule.notes.append(
            f"given whole before the stream starts, by Stream.encode: {', '.join(planned.encoded)}{most}"
        )
        found.append((names, planned))
    if not found:
        return None
    names, planned = found[0]
    running = any(signal.running for signal in planned.outputs.values())
    if (len(found) > 1 or running) and not options.max_length:
        raise _advice(names, refusal) from refusal
    return planned


def _candidates(function: Functional) -> Iterator[tuple[str, ...]]:
    """Inputs to give whole, one or more of the sequences, so that one is left."""
    names = identifiers(tensor.name for tensor in function.inputs)
    sequences = [names[place] for place in steps_of(function)]
    for count in range(1, len(sequences)):
        yield from itertools.combinations(sequences, count)


def _advice(names: tuple[str, ...], refusal: NotStreamableError) -> NotStreamableError:
    reason = str(refusal).split(";")[0]
    said, them = (f"input {names[0]!r}", "it") if len(names) == 1 else (f"inputs {', '.join(map(repr, names))}", "them")
    return NotStreamableError(
        f"{said} cannot come step by step ({reason}); convert with encode={list(names)}, max_length=N to give {them} "
        "whole before the stream starts, of N positions at most"
    )
