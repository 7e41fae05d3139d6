"""The registry of rules: which rule steps which layer or operation, by class."""

from __future__ import annotations

import functools
import importlib
import pkgutil
from collections.abc import Callable
from typing import Any

from streaming.conversion.rules.base import Call, Rule
from streaming.errors import NotStreamableError

_BY_CLASS: dict[type, type[Rule]] = {}


def register(*kinds: type) -> Callable[[type[Rule]], type[Rule]]:
    """Class decorator: this rule steps layers or operations of exactly these classes.

    Subclasses are not covered, because a subclass may change what its `call` does: register them by themselves.
    """

    def decorate(rule: type[Rule]) -> type[Rule]:
        for kind in kinds:
            _BY_CLASS[kind] = rule
        return rule

    return decorate


def kind_of(op: Any) -> type:
    """The class whose rule steps an operation: its own, or the one that its class declares as `stream_as`.

    A subclass whose results are those of its base, computed in another way, says so by this attribute; subclasses
    of it do not inherit the promise.
    """
    found: type = vars(type(op)).get("stream_as", type(op))
    return found


@functools.cache
def _register_all() -> None:
    """Import every module of this package: each registers its rules."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def find_rule(op: Any) -> type[Rule] | None:
    """The rule for an operation: a registered one, else the layer's own stream protocol, None where there is none."""
    _register_all()
    from streaming.conversion.rules.protocol import ProtocolRule

    if kind_of(op) in _BY_CLASS:
        return _BY_CLASS[kind_of(op)]
    return ProtocolRule if hasattr(op, "stream_step") and hasattr(op, "stream_spec") else None


def rule_for(call: Call) -> Rule:
    """The rule for a call; raises NotStreamableError where there is none."""
    found = find_rule(call.op)
    if found is not None:
        return found(call)
    reason, remedy = explain(call.op)
    raise NotStreamableError(f"layer {call.name!r} ({call.kind}) {reason}; {remedy}")


def explain(op: Any) -> tuple[str, str]:
    """Why an operation without a rule cannot be streamed, and what to do about it."""
    from streaming.conversion.rules.refusals import REFUSALS

    default = (
        "has no streaming rule",
        "give it stream_spec and stream_step, or register a rule for it with streaming.conversion.rules.register",
    )
    return REFUSALS.get(type(op), default)
