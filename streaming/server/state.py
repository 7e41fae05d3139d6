"""The state of a task's session as data: numbers, texts, arrays and streams, by the names of its attributes.

Nothing is built from a class that the data names. What is restored goes into a fresh session, whose objects are there.
"""

from __future__ import annotations

from collections import deque
from typing import Any

import numpy as np

from streaming.errors import StateMismatchError, StreamingError
from streaming.runtime.stream import Stream
from streaming.runtime.tasks import Task

_PLAIN = (bool, int, float, str, type(None))
_LISTS: dict[str, Any] = {"list": list, "tuple": tuple, "set": set, "deque": deque}


def capture(session: Any) -> tuple[dict[str, Any], list[bytes]]:
    """What the session carries, as JSON and the bytes that it refers to.

    Raises:
        StreamingError: it carries something that is no data, or a stream that cannot be saved.
    """
    blobs: list[bytes] = []
    return _object(session, blobs), blobs


def restore(session: Any, data: dict[str, Any], blobs: list[bytes]) -> None:
    """Make a fresh session the one that was captured; raises StateMismatchError where it is of another kind."""
    try:
        _fill(session, data, blobs)
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise StateMismatchError(f"the saved session does not fit this task ({error}); start a new stream") from error


def _is_shared(value: Any) -> bool:
    """Whether all sessions of a task have the same: its settings, and the task itself."""
    parameters = getattr(type(value), "__dataclass_params__", None)
    return isinstance(value, Task) or (parameters is not None and parameters.frozen)


def _object(value: Any, blobs: list[bytes]) -> dict[str, Any]:
    return {name: _value(item, blobs) for name, item in vars(value).items() if not _is_shared(item)}


def _value(value: Any, blobs: list[bytes]) -> Any:
    if type(value) in _PLAIN:
        return value
    if isinstance(value, np.ndarray | np.generic) and value.dtype.kind in "biuf":
        array = np.asarray(value)
        blobs.append(array.tobytes())
        return {"array": len(blobs) - 1, "dtype": array.dtype.str, "shape": array.shape}
    for name, kind in _LISTS.items():
        if type(value) is kind:
            longest = value.maxlen if isinstance(value, deque) else None
            return {name: [_value(item, blobs) for item in value], "maxlen": longest}
    if type(value) is dict:
        return {"dict": [[_value(key, blobs), _value(item, blobs)] for key, item in value.items()]}
    if isinstance(value, Stream):
        blobs.append(value.save())
        return {"stream": len(blobs) - 1}
    if type(value).__module__.startswith("streaming.runtime.") and hasattr(value, "__dict__"):
        return {"object": _object(value, blobs)}
    raise StreamingError(f"a session that holds {type(value).__name__} cannot be saved; begin a new one instead")


def _fill(value: Any, data: dict[str, Any], blobs: list[bytes]) -> None:
    for name, item in data.items():
        if isinstance(item, dict) and "object" in item:
            _fill(vars(value)[name], item["object"], blobs)
        elif isinstance(item, dict) and "stream" in item:
            stream = vars(value)[name]
            stream.go_back(stream.model.restore(blobs[item["stream"]]).snapshot())
        else:
            setattr(value, name, _read(item, blobs))


def _read(item: Any, blobs: list[bytes]) -> Any:
    if type(item) in _PLAIN:
        return item
    if "array" in item:
        flat = np.frombuffer(blobs[item["array"]], item["dtype"])
        return flat.reshape(item["shape"]).copy()
    if "dict" in item:
        return {_read(key, blobs): _read(value, blobs) for key, value in item["dict"]}
    name = next(iter(item))
    kind, values = _LISTS[name], [_read(value, blobs) for value in item[name]]
    return deque(values, item["maxlen"]) if name == "deque" else kind(values)
