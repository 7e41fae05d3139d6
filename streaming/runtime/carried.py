"""State of a session as data: each class names the attributes, and nothing else is read or written.

The sessions of tasks and their parts are such objects. No class is ever instantiated from data: a state is restored
into a fresh object, which already has its parts.
"""

from __future__ import annotations

import contextlib
import functools
import inspect
import itertools
import json
from collections import deque
from collections.abc import Callable, Generator, Iterator
from typing import Any, ClassVar

import numpy as np

from streaming.errors import StateMismatchError, StreamingError
from streaming.runtime import saved
from streaming.runtime.stream import Stream

MAGIC, VERSION = b"RZSE", 1
_SHOWN = 1000  # characters of a task in an error
_PLAIN = (bool, int, float, str, type(None))
_GROUPS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "deque": deque}


class Carrier:
    """An object whose state is in the attributes named by `carries` of its class and its base classes.

    They hold numbers, texts, None, arrays, lists, tuples, sets and deques of these, streams, and other carriers.
    """

    carries: ClassVar[tuple[str, ...]] = ()

    @classmethod
    def carried(cls) -> tuple[str, ...]:
        """All names, those of the classes that it extends first."""
        return tuple(name for kind in reversed(cls.__mro__) for name in vars(kind).get("carries", ()))


class SavedSession(Carrier):
    """A session that can be saved between any two calls, and continued in another process.

    What is restored has the right types; where its numbers do not go together, `feed` and `finish` raise
    StateMismatchError.

    Args:
        task: of which it is a session.
    """

    _is_restored = False

    def __init__(self, task: Any) -> None:
        self._task = task

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        for name in ("feed", "feeding", "finish"):
            if name in vars(cls):
                setattr(cls, name, _guarded(vars(cls)[name]))

    def save(self) -> bytes:
        """The session as bytes: versioned, checksummed, bound to its model and task; `restore` reads it."""
        blobs: list[bytes] = []
        state = _written(self, blobs)
        header = {"session": self._identity(), "state": state, "sizes": [len(blob) for blob in blobs]}
        return saved.seal(MAGIC, VERSION, json.dumps(header, separators=(",", ":")).encode(), blobs)

    def restore(self, blob: bytes) -> None:
        """Continue from the saved state of another session of this task; the state of this one is lost.

        Raises:
            StateMismatchError: the bytes are damaged, of another version, or of another model's or task's session;
                this one is as it was.
        """
        header, data = saved.unseal(blob, MAGIC, VERSION, "session")
        try:
            fields = json.loads(header)
            if fields["session"] != self._identity():
                other, own = fields["session"], self._identity()
                raise StateMismatchError(
                    f"the session was saved as {_shown(other, own)}, this is {_shown(own, other)}; "
                    "restore it with the file that it was saved from"
                )
            changes = list(_read(self, fields["state"], _cut(data, fields["sizes"])))
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RecursionError) as error:
            raise StateMismatchError(
                f"the saved session does not fit this task ({type(error).__name__}: {error}); begin a new one"
            ) from error
        self._is_restored = True
        for owner, name, value in changes:
            if isinstance(owner, Stream):
                owner.go_back(value)
            else:
                setattr(owner, name, value)

    @property
    def threshold(self) -> float | None:
        """The probability that it decides by; None where the task decides without one."""
        threshold: float | None = self._task.threshold
        return threshold

    def set_threshold(self, threshold: float) -> None:
        """Decide by another threshold from the next piece on; what is carried stays.

        Raises:
            InputError: the task decides without one, or it is no probability.
        """
        self._task = self._task.with_threshold(threshold)

    def _identity(self) -> list[str]:
        model = self._task.model
        task = json.dumps(model.metadata.task, sort_keys=True)
        return [model.fingerprint, type(self).__name__, task]


def _guarded(method: Callable[..., Any]) -> Callable[..., Any]:
    """A method of a session that says so where it fails on what was restored."""

    @contextlib.contextmanager
    def told(session: SavedSession) -> Iterator[None]:
        try:
            yield
        except StreamingError:
            raise
        except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError) as error:
            if not session._is_restored:
                raise
            raise StateMismatchError(
                f"the session does not go on from what was restored ({type(error).__name__}: {error}); begin a new one"
            ) from error

    if inspect.isgeneratorfunction(method):

        @functools.wraps(method)
        def generator(self: SavedSession, *args: Any) -> Generator[Any, Any, Any]:
            with told(self):
                return (yield from method(self, *args))

        return generator

    @functools.wraps(method)
    def plain(self: SavedSession, *args: Any) -> Any:
        with told(self):
            return method(self, *args)

    return plain


def _shown(identity: list[str], other: list[str]) -> str:
    """What a session is of, and the fields of its task in which the other's differs."""
    task, others = (json.loads(each[2]) or {} for each in (identity, other))
    own = json.dumps({name: value for name, value in task.items() if others.get(name) != value}, sort_keys=True)
    return f"a {str(identity[1])[:_SHOWN]} of model {str(identity[0])[:12]}, task {own[:_SHOWN]}"


def _cut(data: bytes, sizes: list[int]) -> list[bytes]:
    ends = np.cumsum([0, *sizes]).tolist()
    if ends[-1] != len(data):
        raise ValueError(f"{len(data)} bytes, not {ends[-1]}")
    return [data[begin:end] for begin, end in itertools.pairwise(ends)]


def _written(carrier: Carrier, blobs: list[bytes]) -> dict[str, Any]:
    return {name: _value(getattr(carrier, name), blobs) for name in carrier.carried()}


def _value(value: Any, blobs: list[bytes]) -> Any:
    if isinstance(value, np.generic):
        value = value.item()
    if type(value) in _PLAIN:
        return value
    if isinstance(value, Carrier):
        return {"carrier": _written(value, blobs)}
    if isinstance(value, Stream):
        blobs.append(value.save())
        return {"stream": len(blobs) - 1}
    if isinstance(value, np.ndarray):
        array = value.astype(value.dtype.newbyteorder("<"))
        blobs.append(array.tobytes())
        return {"array": len(blobs) - 1, "dtype": array.dtype.str, "shape": array.shape}
    name = next(name for name, kind in _GROUPS.items() if type(value) is kind)
    return {name: [_value(item, blobs) for item in value]}


def _read(carrier: Carrier, state: dict[str, Any], blobs: list[bytes]) -> Iterator[tuple[Any, str, Any]]:
    """Attributes to set, (owner, name, value), all checked before the first is set; for a stream its snapshot."""
    if set(state) != set(carrier.carried()):
        raise ValueError(f"it carries {', '.join(sorted(state))}, not {', '.join(sorted(carrier.carried()))}")
    for name, item in state.items():
        old = getattr(carrier, name)
        if isinstance(old, Carrier):
            yield from _read(old, item["carrier"], blobs)
        elif isinstance(old, Stream):
            yield old, name, old.model.restore(blobs[item["stream"]]).snapshot()
        else:
            new = _made(item, blobs)
            if isinstance(old, deque):
                new = deque(new, old.maxlen)
            if None not in (kinds := {_kind(old), _kind(new)}) and len(kinds) > 1:
                raise ValueError(f"{name} is {type(new).__name__}, not {type(old).__name__}")
            yield carrier, name, new


def _kind(value: Any) -> Any:
    """Types that a value may be exchanged for; None for any."""
    return None if value is None else (value.dtype.kind, value.ndim) if isinstance(value, np.ndarray) else type(value)


def _made(item: Any, blobs: list[bytes]) -> Any:
    if type(item) in _PLAIN:
        return item
    if "array" in item:
        dtype = np.dtype(item["dtype"])
        return np.frombuffer(blobs[item["array"]], dtype).reshape(item["shape"]).astype(dtype.newbyteorder("="))
    ((name, values),) = item.items()
    return _GROUPS[name](_made(value, blobs) for value in values)
