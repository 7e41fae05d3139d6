"""One builder a topology."""

from rnnzoo.models.classifier import build_classifier
from rnnzoo.models.config import ClassifierConfig, TaggerConfig
from rnnzoo.models.tagger import build_tagger

__all__ = ["ClassifierConfig", "TaggerConfig", "build_classifier", "build_tagger"]
