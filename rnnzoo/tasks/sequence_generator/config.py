"""The `data` and `model` sections of a generator of whole sequences."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rnnzoo.data.config import DataConfig, TextLevel
from rnnzoo.errors import ConfigError
from rnnzoo.tasks.generator.config import GeneratorConfig
from rnnzoo.util.ranges import Factor, Size

Grammar = Literal["none", "smiles"]


@dataclass(frozen=True, kw_only=True)
class LinesConfig(DataConfig):
    """Texts that each have a beginning and an end.

    Args:
        input: `lines`.
        level: what a step is: `characters`, `words` or `subwords`.
        vocabulary: most entries of the vocabulary; None: all that are frequent enough.
        min_count: entries seen less often in the training split become the unknown one.
        lower: lower-case all text.
        temperature: at which the device and the figures draw; below 1, what is probable becomes more so.
        max_length: most steps of a text that is drawn.
        samples: texts that are drawn for the figures.
        grammar: what a drawn text is checked by: `none`, or `smiles` for molecules.

    Raises:
        ConfigError: a value is out of its range.
    """

    input: Literal["lines"] = "lines"
    level: TextLevel = "characters"
    vocabulary: Size | None = None
    min_count: Size = 1
    lower: bool = False
    temperature: Factor = 1.0
    max_length: Size = 100
    samples: Size = 1000
    grammar: Grammar = "none"

    def __post_init__(self) -> None:
        for name, kind in (("level", TextLevel), ("grammar", Grammar)):
            if (value := getattr(self, name)) not in get_args(kind):
                raise ConfigError(f"data.{name} is one of {', '.join(get_args(kind))}; received {value!r}")
        if self.level == "subwords" and not self.vocabulary:
            raise ConfigError(f"data.level=subwords needs data.vocabulary; received {self.vocabulary}")


DATA = {"lines": LinesConfig}
MODEL = GeneratorConfig
