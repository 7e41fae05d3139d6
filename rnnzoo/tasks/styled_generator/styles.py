"""Styles: their tokens, and whether a text has the one that was asked for, by a classifier of its own."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rnnzoo.data.encoders.text import TextEncoder
from rnnzoo.tasks.baselines import LabelNGrams
from rnnzoo.tasks.evaluation import mean
from streaming.runtime.codec import SPECIAL
from streaming.runtime.tasks.texts import style_entry

_WORD = re.compile(r"[^\W\d_]+(?:'[^\W\d_]+)*")
# A line that says who speaks.
_HEADING = re.compile(r"^[^\n:]+:\n", re.MULTILINE)


class StyleJudge:
    """Naive Bayes over words: the style in which the words of a text are the most probable, all being as frequent.

    Args:
        texts: of the training split.
        styles: of each.
    """

    def __init__(self, texts: Sequence[str], styles: Sequence[str]):
        self._named = LabelNGrams([words(text) for text in texts], styles, order=1)
        self._spoken = LabelNGrams([words(spoken(text)) for text in texts], styles, order=1)

    def styles(self, texts: Sequence[str]) -> list[str]:
        """The style of each text."""
        return [self._named.label(words(text)) for text in texts]

    def figures(self, texts: Sequence[str], styles: Sequence[str]) -> dict[str, float]:
        """How often texts are recognized.

        Returns:
            `style_accuracy`, the share of texts whose style is found; `spoken_accuracy`, the same without the lines
            that end with a colon, which say who speaks, in the texts and in what the judge has learnt.
        """
        found = self.styles(texts)
        heard = [self._spoken.label(words(spoken(text))) for text in texts]
        return {
            "style_accuracy": mean([a == b for a, b in zip(found, styles, strict=True)]),
            "spoken_accuracy": mean([a == b for a, b in zip(heard, styles, strict=True)]),
        }


def words(text: str) -> list[str]:
    """The words of a text in lower case."""
    return [word.lower() for word in _WORD.findall(text)]


def spoken(text: str) -> str:
    """A text without the lines that end with a colon."""
    return _HEADING.sub("", text)


def style_numbers(encoder: TextEncoder) -> dict[str, int]:
    """Style -> its number; entries of texts have no angle brackets around them."""
    pairs = list(enumerate(encoder.labels))[len(SPECIAL) :]
    return {entry[1:-1]: number for number, entry in pairs if len(entry) > 2 and entry == style_entry(entry[1:-1])}
