"""Any Keras sequence model in, a verified stream out.

`convert` needs TensorFlow and Keras (the extra `train`); the rest runs on numpy and a TFLite interpreter.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streaming.errors import (
    ArtifactError,
    BacklogError,
    InputError,
    NotStreamableError,
    OutOfMemoryError,
    ParityError,
    StateMismatchError,
    StreamingError,
)

if TYPE_CHECKING:
    from streaming.conversion.adoption.adopt import Adoption, adopt
    from streaming.conversion.convert import Report, convert
    from streaming.conversion.locate import locate
    from streaming.conversion.rules import register_rule
    from streaming.runtime.batcher import StreamBatcher
    from streaming.runtime.model import StreamingModel, load
    from streaming.runtime.stream import Stream
    from streaming.runtime.tasks import pipeline

__all__ = [
    "Adoption",
    "ArtifactError",
    "BacklogError",
    "InputError",
    "NotStreamableError",
    "OutOfMemoryError",
    "ParityError",
    "Report",
    "StateMismatchError",
    "Stream",
    "StreamBatcher",
    "StreamingError",
    "StreamingModel",
    "adopt",
    "convert",
    "load",
    "locate",
    "pipeline",
    "register_rule",
]

_HOMES = {
    "Adoption": "streaming.conversion.adoption.adopt",
    "adopt": "streaming.conversion.adoption.adopt",
    "Report": "streaming.conversion.convert",
    "convert": "streaming.conversion.convert",
    "StreamBatcher": "streaming.runtime.batcher",
    "StreamingModel": "streaming.runtime.model",
    "load": "streaming.runtime.model",
    "locate": "streaming.conversion.locate",
    "register_rule": "streaming.conversion.rules",
    "Stream": "streaming.runtime.stream",
    "pipeline": "streaming.runtime.tasks",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'streaming' has no attribute {name!r}")
    import importlib

    try:
        return getattr(importlib.import_module(_HOMES[name]), name)
    except ModuleNotFoundError as error:
        if error.name and error.name.split(".")[0] in ("tensorflow", "keras"):
            raise StreamingError(
                f"streaming.{name} needs {error.name}, which is not installed; pip install 'rnnzoo[train]'"
            ) from error
        raise


def __dir__() -> list[str]:
    return sorted(__all__)
