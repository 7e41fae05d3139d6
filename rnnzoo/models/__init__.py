"""One builder a topology."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnzoo.lazy import attributes
from rnnzoo.models.config import ClassifierConfig, TaggerConfig

if TYPE_CHECKING:
    from rnnzoo.models.classifier import build_classifier
    from rnnzoo.models.tagger import build_tagger

__all__ = ["ClassifierConfig", "TaggerConfig", "build_classifier", "build_tagger"]
__getattr__ = attributes(__name__, {"build_classifier": "classifier", "build_tagger": "tagger"})
