"""One builder a topology."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnzoo.lazy import attributes
from rnnzoo.models.config import ClassifierConfig, FeedForwardConfig, LanguageModelConfig, TaggerConfig

if TYPE_CHECKING:
    from rnnzoo.models.classifier import build_classifier
    from rnnzoo.models.language_model import build_language_model
    from rnnzoo.models.one_to_one import build_one_to_one
    from rnnzoo.models.recurrent import register_cell
    from rnnzoo.models.tagger import build_tagger

__all__ = [
    "ClassifierConfig",
    "FeedForwardConfig",
    "LanguageModelConfig",
    "TaggerConfig",
    "build_classifier",
    "build_language_model",
    "build_one_to_one",
    "build_tagger",
    "register_cell",
]
__getattr__ = attributes(
    __name__,
    {
        "build_classifier": "classifier",
        "build_language_model": "language_model",
        "build_one_to_one": "one_to_one",
        "build_tagger": "tagger",
        "register_cell": "recurrent",
    },
)
