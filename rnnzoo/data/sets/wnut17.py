"""WNUT 2017: words and BIO tags of entities."""

from __future__ import annotations

from collections.abc import Iterator

from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset


@register_dataset("wnut17", "words-tags")
def read(config: DataConfig) -> Splits:
    """Derczynski et al. 2017: tags `B-person`, `I-person`, ..., `O`."""

    def examples(split: str) -> Iterator[Example]:
        for row in rows("wnut17", split):
            yield [word.decode() for word in row["words"]], [tag.decode() for tag in row["tags"]]

    return {"train": examples("train"), "dev": examples("validation"), "test": examples("test")}
