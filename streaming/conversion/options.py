"""Reads and checks the options of `streaming.convert` that affect the plan."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from numbers import Integral
from typing import Any

from streaming.conversion.rules.base import Options
from streaming.errors import InputError

# Steps of a chunk or bound, and streams of a batch: TFLite counts elements in 32 bits.
MAX_STEPS = 2**16
# Most positions of a source that is given whole, and tokens of a text of any length, if `max_length` is not given.
DEFAULT_LENGTH = 128


def options_of(
    window: int | str | None = None,
    hop: int = 1,
    pad: str | None = None,
    lookahead: int | None = None,
    attention_window: int | None = None,
    encode: Sequence[str] = (),
    max_length: int | None = None,
    states: Mapping[str, str] | None = None,
) -> Options:
    """The options of `convert` that affect the plan; raises InputError where one is wrong."""
    if not isinstance(encode, Iterable):
        raise InputError(f"encode is {encode!r}, expected names of inputs")
    options = Options(
        read_steps("lookahead", lookahead, 0),
        read_steps("attention_window", attention_window, 1),
        (encode,) if isinstance(encode, str) else tuple(encode),
        read_steps("max_length", max_length, 1) or 0,
        _window(window),
        read_steps("hop", hop, 1) or 1,
        pad,
        _pairs(states),
    )
    _check_window(options)
    return options


def _pairs(states: Any) -> tuple[tuple[str, str], ...]:
    if states is None:
        return ()
    if not isinstance(states, Mapping) or not all(isinstance(name, str) for pair in states.items() for name in pair):
        raise InputError(f"states is {states!r}, expected a dict of names: input of the model -> output of the model")
    return tuple(states.items())


def is_whole(value: Any, least: int) -> bool:
    """Whether a value is a whole number from `least` to MAX_STEPS."""
    return isinstance(value, Integral) and not isinstance(value, bool) and least <= value <= MAX_STEPS  # type: ignore[operator]


def read_steps(name: str, value: Any, least: int) -> int | None:
    """A number of steps, or None; raises InputError naming the option."""
    if value is None:
        return None
    if not is_whole(value, least):
        raise InputError(f"{name} is {value!r}, expected a whole number of steps, {least} to {MAX_STEPS}, or None")
    return int(value)


def _window(value: Any) -> int | str | None:
    if value is None or (isinstance(value, str) and value == "carry"):
        return value
    if not is_whole(value, 1):
        raise InputError(f"window is {value!r}, expected a whole number of steps, 1 to {MAX_STEPS}, 'carry' or None")
    return int(value)


def _check_window(options: Options) -> None:
    window, pad = options.window, options.pad
    if pad not in (None, "pre", "post"):
        raise InputError(f"pad is {pad!r}, expected 'pre', 'post' or None")
    if window == "carry" and (options.hop > 1 or pad):
        raise InputError("hop and pad are those of windows; leave them out, or give window as a number of steps")
    if not isinstance(window, int):
        return
    granted = {
        "lookahead": options.lookahead is not None,
        "attention_window": options.attention_window is not None,
        "encode": bool(options.encode),
        "max_length": bool(options.max_length),
    }
    for name, given in granted.items():
        if given:
            raise InputError(f"{name} does not go with window: a window sees all of its steps; leave one of them out")
