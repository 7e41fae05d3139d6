"""GoEmotions: comments and the emotions in them, several at a time."""

from __future__ import annotations

from collections.abc import Iterator

from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import load_builder, rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms
from streaming.runtime.tokenization import tokenize

_NAME = "goemotions"
_TEXTS = ("comment_text", "text")

register_terms(
    "goemotions",
    title="GoEmotions",
    licence="CC-BY-4.0",
    citation="Demszky et al. (2020), GoEmotions: A Dataset of Fine-Grained Emotions, ACL",
    url="https://github.com/google-research/google-research/tree/master/goemotions",
)


@register_dataset(_NAME, "text-labels")
def read_goemotions(config: DataConfig) -> Splits:
    """Demszky et al. 2020, by the builder of TFDS: 27 emotions and `neutral`."""
    features = load_builder(_NAME).info.features
    text = next(name for name in _TEXTS if name in features)
    emotions = sorted(name for name, feature in features.items() if str(feature.np_dtype) == "bool")

    def examples(split: str) -> Iterator[Example]:
        for row in rows(_NAME, split):
            yield tokenize(row[text].decode()), [name for name in emotions if row[name]]

    return {"train": examples("train"), "dev": examples("validation"), "test": examples("test")}
