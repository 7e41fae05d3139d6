"""What a data section of an experiment may say, one dataclass for each kind of input."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rnnzoo.errors import ConfigError

TextLevel = Literal["characters", "words", "subwords"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data a model is trained on.

    Args:
        dataset: a name that `rnnzoo.data.known_datasets()` lists, such as `universal_dependencies/en_ewt`.
        limit: at most this many examples of each split, for small budgets; None takes all.
    """

    dataset: str
    limit: int | None = None


@dataclass(frozen=True, kw_only=True)
class WordsConfig(DataConfig):
    """Texts, word by word.

    Args:
        inputs: which arrays the encoder makes: any of `words`, `chars`, `affixes`.
        min_count: words seen less often in the training split become the unknown word.
        affix_min_count: the same for prefixes, suffixes and word shapes.
        max_word_length: characters of a word that the model sees; the middle of a longer one is left out.
    """

    inputs: tuple[str, ...] = ("words", "chars", "affixes")
    min_count: int = 2
    affix_min_count: int = 3
    max_word_length: int = 20


@dataclass(frozen=True, kw_only=True)
class TextConfig(DataConfig):
    """Running text.

    Args:
        level: what a step is: `characters`, `words` or `subwords`.
        vocabulary: most entries of the vocabulary; None: all that are frequent enough.
        min_count: entries seen less often in the training split become the unknown one.
        lower: lower-case all text.
        window: steps of a training window, through which gradients flow; the state is carried from window to window.

    Raises:
        ConfigError: the level is unknown, or the window has no step.
    """

    level: TextLevel = "characters"
    vocabulary: int | None = None
    min_count: int = 1
    lower: bool = False
    window: int = 128

    def __post_init__(self) -> None:
        if self.level not in get_args(TextLevel):
            raise ConfigError(f"data.level is one of {', '.join(get_args(TextLevel))}; received {self.level!r}")
        if self.window < 1:
            raise ConfigError(f"data.window is at least 1 step; received {self.window}")
