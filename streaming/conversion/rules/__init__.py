"""The registry of rules: which rule steps which layer or operation, by class."""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterator
from typing import Any

import keras

from streaming._compat import Node
from streaming.conversion.rules.base import Call, Rule
from streaming.errors import InputError

_BY_CLASS: dict[type, type[Rule]] = {}
_BY_ROLE: dict[str, type[Rule]] = {}


def register_rule(*kinds: type) -> Callable[[type[Rule]], type[Rule]]:
    """Class decorator: this rule steps layers or operations of these classes.

    A subclass is covered too, if it does not override `call` or anything that `call` uses (see `kind_of`). A rule for
    the class itself has precedence over that of a base.

    Raises:
        InputError: `kinds` holds no class of a layer or operation, or the decorated class is no `Rule`.
    """
    if not kinds or not all(isinstance(kind, type) for kind in kinds):
        raise InputError(f"register_rule received {kinds!r}, expected classes of layers: @register_rule(MyLayer)")

    def decorate(rule: type[Rule]) -> type[Rule]:
        if not (isinstance(rule, type) and issubclass(rule, Rule)):
            raise InputError(
                f"register_rule decorates {rule!r}, expected a subclass of streaming.conversion.rules.base.Rule"
            )
        for kind in kinds:
            _BY_CLASS[kind] = rule
        return rule

    return decorate


register = register_rule


def register_role(role: str) -> Callable[[type[Rule]], type[Rule]]:
    """Class decorator: `rule_for` uses this rule for calls without a rule by class: `per step` or `moved`."""

    def decorate(rule: type[Rule]) -> type[Rule]:
        _BY_ROLE[role] = rule
        return rule

    return decorate


# What a subclass may have of its own without changing what its base computes; rules ask the layer itself for these.
_HARMLESS = frozenset(
    "__init__ __new__ __repr__ __reduce__ build get_config from_config get_build_config build_from_config "
    "compute_output_shape compute_output_spec get_initial_state reset_state save_own_variables load_own_variables "
    "save_assets load_assets".split()
)


def kind_of(op: Any) -> type:
    """The class whose rule steps an operation: its own, one that its class declares as `stream_as`, or a base.

    A subclass that computes the results of its base in another way declares this by the attribute `stream_as`, which
    its own subclasses do not inherit. Otherwise a subclass has the rule of its base if it overrides only construction
    and configuration.
    """
    kind = type(op)
    if "stream_as" in vars(kind):
        declared: type = vars(kind)["stream_as"]
        return declared
    if hasattr(op, "stream_step"):
        return kind
    for place, base in enumerate(kind.__mro__):
        if base in _BY_CLASS:
            own = (item for child in kind.__mro__[:place] for item in vars(child).items())
            return base if not any(_changes(base, name, value) for name, value in own) else kind
    return kind


def _changes(base: type, name: str, value: Any) -> bool:
    """Whether an attribute of a subclass may change what its base computes."""
    code = callable(value) or hasattr(value, "__get__")
    return code and name not in _HARMLESS and hasattr(base, name)


def find_rule(op: Any) -> type[Rule] | None:
    """The rule for an operation: a registered one, else the layer's own stream protocol, None where there is none."""
    _register_all()
    from streaming.conversion.rules.protocol import ProtocolRule

    if kind_of(op) in _BY_CLASS:
        return _BY_CLASS[kind_of(op)]
    return ProtocolRule if hasattr(op, "stream_step") and hasattr(op, "stream_spec") else None


@contextlib.contextmanager
def inherited_calls(op: Any) -> Iterator[None]:
    """Context in which `super().call(...)` of a layer, on symbolic tensors, is a call by the rule of its base."""
    _register_all()
    base = next((kind for kind in type(op).__mro__[1:] if kind in _BY_CLASS), None)
    if base is None:
        yield
        return
    original, own = base.call, vars(base).get("call")  # type: ignore[attr-defined]

    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        tensors = (item for item in keras.tree.flatten((args, kwargs)) if isinstance(item, keras.KerasTensor))
        if self is not op or next(tensors, None) is None:
            return original(self, *args, **kwargs)
        as_base: Any = object.__new__(base)
        as_base.__dict__.update(vars(op), _inbound_nodes=[], _outbound_nodes=[])
        outputs = as_base.compute_output_spec(*args, **kwargs)
        Node(as_base, args, kwargs, outputs)
        return outputs

    call.__signature__ = inspect.signature(original)  # type: ignore[attr-defined]
    try:
        base.call = call  # type: ignore[attr-defined]
        yield
    finally:
        if own is None:
            del base.call  # type: ignore[attr-defined]
        else:
            base.call = own  # type: ignore[attr-defined]


@functools.cache
def _register_all() -> None:
    """Import every module of this package: rules register themselves when they are imported."""
    for module in pkgutil.iter_modules(__path__):
        importlib.import_module(f"{__name__}.{module.name}")


def rule_for(call: Call) -> Rule:
    """The rule for a call: that of its class, else the one that tries whether it works on each step by itself."""
    from streaming.conversion.rules.refusals import Refused, explain, refused

    rule_class = find_rule(call.op)
    if rule_class is None and refused(call):
        return Refused(call)
    rule: Rule = _BY_ROLE["per step"](call) if rule_class is None else rule_class(call)
    if rule_class is None and isinstance(call.op, keras.Layer):
        rule.reason, rule.remedy = explain(call.op)  # type: ignore[attr-defined]
    moved = any(signal.layout is not None for signal in call.signals)
    return _BY_ROLE["moved"](call) if moved and not rule.any_layout else rule
