"""Sentences and their translations: Multi30k and Tatoeba, and the commands of SCAN."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.errors import DataError

_LANGUAGES = ("en", "de")
# One English sentence in so many is for development, and one for the test.
_SHARE = 50


@register_dataset("multi30k/", "text-text")
def read_multi30k(config: DataConfig) -> Splits:
    """`multi30k/en-de` or `multi30k/de-en`; the test split is test2016 (Elliott et al. 2016)."""
    source, target = _languages(config.dataset)

    def examples(split: str) -> Iterator[Example]:
        for row in rows("multi30k", split):
            yield row[source].decode(), row[target].decode()

    return {"train": examples("train"), "dev": examples("validation"), "test": examples("test")}


@register_dataset("tatoeba_pairs/", "text-text")
def read_tatoeba(config: DataConfig) -> Splits:
    """`tatoeba_pairs/de-en` or `tatoeba_pairs/en-de`; all translations of an English sentence are in one split."""
    source, target = _languages(config.dataset)
    splits: dict[str, list[Example]] = {"train": [], "dev": [], "test": []}
    for row in rows("tatoeba_pairs", "train"):
        part = int.from_bytes(hashlib.sha256(row["en"]).digest()[:8], "big") % _SHARE
        splits[{0: "test", 1: "dev"}.get(part, "train")].append((row[source].decode(), row[target].decode()))
    return splits


@register_dataset("scan/", "text-text")
def read_scan(config: DataConfig) -> Splits:
    """`scan/simple` and the other configurations of TFDS (Lake and Baroni 2018); a tenth of train is dev."""

    def examples(split: str) -> list[Example]:
        return [(row["commands"].decode(), row["actions"].decode()) for row in rows(config.dataset, split)]

    known = examples("train")
    return {
        "train": [row for i, row in enumerate(known) if i % 10],
        "dev": known[::10],
        "test": examples("test"),
    }


def _languages(name: str) -> tuple[str, str]:
    source, _, target = name.partition("/")[2].partition("-")
    if {source, target} != set(_LANGUAGES):
        beginning = name.partition("/")[0]
        raise DataError(f"unknown data set {name!r}; known: {beginning}/en-de, {beginning}/de-en")
    return source, target
