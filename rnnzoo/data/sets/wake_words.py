"""Three wake words, said by many voices."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.archives import members
from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.encoders.audio import decoded
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms
from rnnzoo.errors import DataError

WORDS = ("alexa", "computer", "jarvis")
_NAME = "wake_words"
# The label of the other two words, where one is listened for.
_OTHER = "_unknown_"
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}

register_terms(
    _NAME,
    title="Picovoice wake-word benchmark (alexa, computer, jarvis)",
    licence="Apache-2.0",
    citation="Picovoice (2018-2023), wake-word benchmark",
    url="https://github.com/Picovoice/wake-word-benchmark",
)


@register_dataset(_NAME, "audio-label")
def read_wake_words(config: DataConfig) -> Splits:
    """Recordings of alexa, computer and jarvis by more than 50 voices: float32 samples and the word.

    alexa is split between voices; computer and jarvis by the hash of their names, so that voices are in several splits.
    """
    return {split: _examples(config, name, WORDS) for name, split in _SPLITS.items()}


@register_dataset(f"{_NAME}/", "audio-label")
def read_wake_word(config: DataConfig) -> Splits:
    """`wake_words/WORD`: one of the words; the others are `_unknown_`, at which a model has to stay quiet."""
    word = config.dataset.removeprefix(f"{_NAME}/")
    if word not in WORDS:
        raise DataError(f"{_NAME} has no word {word!r}; known: {', '.join(WORDS)}")
    return {split: _examples(config, name, (word,)) for name, split in _SPLITS.items()}


def _examples(config: DataConfig, split: str, keywords: tuple[str, ...]) -> Iterator[Example]:
    for row in rows(_NAME, split):
        word = row["word"].decode()
        yield decoded(row["audio"], config), word if word in keywords else _OTHER


class WakeWords(PackedFiles):
    """1,110 recordings of three words, 16 kHz, as FLAC; Apache 2.0."""

    VERSION = "1.0.0"
    FILES = {
        "clips.tsv": "14b62bcce2a5f6b4a21bfc683bcc44475cd71be5763b9a5ce3161b69227750b7",
        "alexa.tar.gz": "fff8f8a71d55a698f996b42c3460192029b57d9cf72383af10dfd23234da425e",
        "computer.tar.gz": "6121a28cf10c3ea26e8607e18914d28d6f71d6d2bb030e387b0ed081f58b9475",
        "jarvis.tar.gz": "bae2c83041e7fff4eebc27c6482e39138f14d58d66e8b87ae03a8e4129d798cf",
    }
    MIRROR = _NAME

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        features = tfds.features.FeaturesDict({"audio": tfds.features.Text(), "word": tfds.features.Text()})
        return self.dataset_info_from_configs(
            features=features,
            homepage="https://github.com/Picovoice/wake-word-benchmark",
            disable_shuffling=True,
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        return {split: self._generate_examples(paths, name) for split, name in _SPLITS.items()}

    def _generate_examples(self, paths: dict[str, Path], split: str) -> Iterator[tuple[int, dict[str, Any]]]:
        clips = {word: members(paths[f"{word}.tar.gz"]) for word in WORDS}
        with paths["clips.tsv"].open(encoding="utf-8", newline="") as file:
            for i, row in enumerate(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)):
                if row["split"] == split:
                    yield i, {"audio": clips[row["word"]][Path(row["file"]).name], "word": row["word"]}
