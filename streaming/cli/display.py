"""Output of `streaming run`: JSON lines on a pipe, text that grows on a terminal."""

from __future__ import annotations

import json
import math
from typing import Any, TextIO

import numpy as np

from streaming.runtime.tasks import Piece, TaggedWord, Token, TranslatedWord

_CLEAR = "\r\x1b[2K"
_BAR = 20


class JsonLines:
    """One JSON object a line, flushed at once."""

    def __init__(self, out: TextIO):
        self._out = out

    def show(self, event: Any, place: dict[str, Any]) -> None:
        """Write an event, a named tuple or a dict, with where it came from."""
        fields = event if isinstance(event, dict) else event._asdict()
        # A table's own time comes before one that counts from its beginning.
        item = {**place, **{n: plain(value) for n, value in fields.items() if n != "scores" and n not in place}}
        if item.get("labels") == []:
            del item["labels"]
        print(json.dumps(item, ensure_ascii=False, allow_nan=False), file=self._out, flush=True)

    def status(self, scores: dict[str, float]) -> None:
        """Does nothing: scores without an event are shown on terminals only."""

    def end(self) -> None:
        """A sequence has ended."""


class Live:
    """Words on one line, other events on a line each, and the latest scores below."""

    def __init__(self, out: TextIO):
        self._out, self._open, self._status = out, False, False

    def show(self, event: Any, place: dict[str, Any]) -> None:
        """Show an event."""
        text = _inline(event)
        if text is None:
            self.end()
            fields = event if isinstance(event, dict) else event._asdict()
            parts = [f"{name} {_shown(value)}" for name, value in fields.items() if name not in ("scores", "labels")]
            kind = [f"{place['event']:<10}"] if "event" in place else []
            kind += [f"time {place['time']}"] if "time" in place and fields.get("time") is None else []
            self._write(_clear("  ".join([*kind, *parts])) + "\n")
        else:
            self._write(text)
            self._open = True

    def status(self, scores: dict[str, float]) -> None:
        """Show the most probable label as a bar, until something else is shown."""
        label, score = max(scores.items(), key=lambda item: item[1])
        self._write(f"{'█' * round(_BAR * score):<{_BAR}} {score:4.2f} {_clear(label)}")
        self._status = True

    def end(self) -> None:
        """End the line of a sequence that has ended."""
        if self._open:
            self._write("\n")
        self._open = False

    def _write(self, text: str) -> None:
        self._out.write(f"{_CLEAR}{text}" if self._status else text)
        self._out.flush()
        self._status = False


def plain(value: Any) -> Any:
    """A value for JSON: numbers rounded to 6 digits after the point, null for NaN and infinity."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, np.ndarray | np.generic):
        return plain(value.tolist())
    if isinstance(value, float):
        return round(value, 6) if math.isfinite(value) else None
    return value


def _inline(event: Any) -> str | None:
    if isinstance(event, TaggedWord):
        return f"{_clear(event.word)}/{_clear(event.tag)} "
    if isinstance(event, Piece):
        # A generated line break is one.
        return "\n".join(map(_clear, event.text.split("\n")))
    if isinstance(event, TranslatedWord):
        return f"{_clear(event.word)} "
    return f"{_clear(event.text)} " if isinstance(event, Token) else None


def _shown(value: Any) -> str:
    if isinstance(value, np.ndarray):
        return np.array2string(value, precision=4, separator=", ", threshold=12).replace("\n", "")
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def _clear(text: str) -> str:
    """The text with what would steer a terminal made visible."""
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in text)
