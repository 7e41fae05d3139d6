"""One builder a topology.

The configurations are read without Keras; the builders bring it.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from rnnzoo.models.config import ClassifierConfig, TaggerConfig

if TYPE_CHECKING:
    from rnnzoo.models.classifier import build_classifier
    from rnnzoo.models.tagger import build_tagger

__all__ = ["ClassifierConfig", "TaggerConfig", "build_classifier", "build_tagger"]
_BUILDERS = {"build_classifier": "classifier", "build_tagger": "tagger"}


def __getattr__(name: str) -> Any:
    if name in _BUILDERS:
        return getattr(importlib.import_module(f"{__name__}.{_BUILDERS[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
