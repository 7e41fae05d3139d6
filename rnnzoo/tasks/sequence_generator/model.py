"""The next token of a sequence."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnzoo.data.encoders.text import TextEncoder
from rnnzoo.tasks.generator.config import GeneratorConfig
from rnnzoo.tasks.generator.model import build_generator

if TYPE_CHECKING:
    import keras


def build_sequence_generator(config: GeneratorConfig, encoder: TextEncoder) -> keras.Model:
    """The model of `build_generator`, which begins each sequence with a fresh state."""
    return build_generator(config, encoder)
