"""Finds the inputs of a model that have to be given whole, such as the source of a translator.

If a model of several sequences cannot be carried, each of its inputs is tried in `encode`. If one works, it is used if
`max_length` was given; otherwise the error names it.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

from streaming._compat import Functional
from streaming.conversion.plan import Plan, identifiers, plan
from streaming.conversion.rules.base import Options
from streaming.errors import NotStreamableError, StreamingError

# Positions of a source while it is only tried.
_TRIAL_LENGTH = 4


def plan_with_sources(model: Any, options: Options, function: Functional) -> Plan:
    """The plan of a model of unknown length.

    Raises NotStreamableError, which names the inputs for `encode` if that would help.
    """
    try:
        return plan(model, options, function)
    except NotStreamableError as refusal:
        if options.encode:
            raise
        for names in _candidates(function):
            tried = replace(options, encode=names, max_length=options.max_length or _TRIAL_LENGTH)
            try:
                planned = plan(model, tried, function)
            except StreamingError:
                continue
            needs_length = any(signal.spread for signal in planned.encoded.values())
            if options.max_length or not needs_length:
                return planned
            raise _advice(names, refusal) from refusal
        raise


def _candidates(function: Functional) -> Iterator[tuple[str, ...]]:
    """Inputs to give whole, one or more of the sequences, so that one is left."""
    names = identifiers(tensor.name for tensor in function.inputs)
    sequences = [n for n, tensor in zip(names, function.inputs, strict=True) if None in tuple(tensor.shape)[1:]]
    for count in range(1, len(sequences)):
        yield from itertools.combinations(sequences, count)


def _advice(names: tuple[str, ...], refusal: NotStreamableError) -> NotStreamableError:
    reason = str(refusal).split(";")[0]
    said, them = (f"input {names[0]!r}", "it") if len(names) == 1 else (f"inputs {', '.join(map(repr, names))}", "them")
    return NotStreamableError(
        f"{said} cannot come step by step ({reason}); convert with encode={list(names)}, max_length=N to give {them} "
        "whole before the stream starts, of N positions at most"
    )
