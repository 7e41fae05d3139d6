"""The next note of a chorale."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnzoo.data.encoders.text import TextEncoder
from rnnzoo.tasks.generator.config import GeneratorConfig
from rnnzoo.tasks.generator.model import build_generator

if TYPE_CHECKING:
    import keras


def build_composer(config: GeneratorConfig, encoder: TextEncoder) -> keras.Model:
    """The model of `build_generator` over notes and ends of chords."""
    return build_generator(config, encoder)
