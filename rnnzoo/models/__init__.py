"""One builder a topology."""

from rnnzoo.models.config import ClassifierConfig, TaggerConfig

__all__ = ["ClassifierConfig", "TaggerConfig"]
