"""Messages of clients, checked; docs/server.md describes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, NoReturn

from streaming.errors import InputError

# What each type of message carries besides its type; of several names exactly one, and `_BESIDE` beside it.
_FIELDS: dict[str, tuple[str, ...]] = {
    "feed": ("x", "text", "words"),
    "finish": (),
    "reset": (),
    "encode": ("x",),
    "save": (),
    "resume": ("token",),
    "set": ("threshold",),
}
# Fields that may come beside another: the times of rows.
_BESIDE: dict[str, tuple[str, ...]] = {"x": ("time",)}
# Types of messages, and what is none of them.
KINDS = (*_FIELDS, "unknown")
_SHOWN = 60


@dataclass(frozen=True)
class Request:
    """One message: its type and its fields."""

    kind: str
    body: dict[str, Any]


def parse(text: str) -> Request:
    """Read a text message.

    Raises:
        InputError: it is not JSON, or no message of the protocol.
    """
    try:
        body = json.loads(text, parse_constant=_refuse_constant)
    except InputError:
        raise
    except (ValueError, RecursionError) as error:
        raise InputError(f"expected a JSON object with a 'type', got {_short(text)}: {_reason(error)}") from None
    if not isinstance(body, dict):
        raise InputError(f"expected a JSON object with a 'type', got {_short(text)}")
    kind = body.pop("type", None)
    if not isinstance(kind, str) or kind not in _FIELDS:
        came = _short(kind) if isinstance(kind, str) else f"a {type(kind).__name__}"
        raise InputError(f"expected a 'type' among {', '.join(_FIELDS)}, got {came}")
    fields = _FIELDS[kind]
    chosen = set(body) & set(fields)
    beside = {name for field in chosen if kind == "feed" for name in _BESIDE.get(field, ())}
    if (set(body) - set(fields) - beside) or len(chosen) != min(1, len(fields)):
        wanted = f"one field, {' or '.join(fields)}" if fields else "no fields"
        came = ", ".join(map(_short, sorted(body))) or "none"
        raise InputError(f"a {kind!r} message has {wanted}; got {came}")
    return Request(kind, body)


def _refuse_constant(name: str) -> NoReturn:
    raise InputError(f"JSON has no {name}; give finite numbers")


def _short(text: str) -> str:
    return repr(text if len(text) <= _SHOWN else f"{text[:_SHOWN]}...")


def _reason(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "nested too deeply"
    return " ".join(str(error).split())
