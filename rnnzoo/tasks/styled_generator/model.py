"""The next token of a text with a style."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnzoo.data.encoders.text import TextEncoder
from rnnzoo.tasks.generator.config import GeneratorConfig
from rnnzoo.tasks.generator.model import build_generator

if TYPE_CHECKING:
    import keras


def build_styled_generator(config: GeneratorConfig, encoder: TextEncoder) -> keras.Model:
    """The model of `build_generator`; the token of the style is the first of each text (Keskar et al. 2019)."""
    return build_generator(config, encoder)
