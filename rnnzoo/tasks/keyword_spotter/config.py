"""The `data` and `model` sections of a keyword spotter."""

from __future__ import annotations

from dataclasses import dataclass

from rnnzoo.data.config import AudioConfig
from rnnzoo.tasks.cells import AudioModelConfig


@dataclass(frozen=True)
class KeywordSpotterConfig(AudioModelConfig):
    """A many-to-many model: the logits of the keywords after every frame."""


DATA = {"audio": AudioConfig}
MODEL = KeywordSpotterConfig
