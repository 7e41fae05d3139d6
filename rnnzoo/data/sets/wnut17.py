"""WNUT 2017: emerging and rare entities in noisy text (Derczynski et al. 2017)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.builder import DownloadedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

_SOURCE = "https://raw.githubusercontent.com/leondz/emerging_entities_17/e52a2d2a71ac1a051ca2d532eef28653c5c02603"
_SPLITS = {
    "train": "wnut17train.conll",
    "validation": "emerging.dev.conll",
    "test": "emerging.test.annotated",
}

register_terms(
    "wnut17",
    title="WNUT 2017, emerging entities",
    licence="CC-BY-4.0",
    citation="Derczynski et al. (2017), Results of the WNUT2017 Shared Task on Novel and Emerging Entity "
    "Recognition, W-NUT",
    url="https://github.com/leondz/emerging_entities_17",
)


@register_dataset("wnut17", "words-tags")
def read_wnut17(config: DataConfig) -> Splits:
    """Derczynski et al. 2017: tags `B-person`, `I-person`, ..., `O`."""

    def examples(split: str) -> Iterator[Example]:
        for row in rows("wnut17", split):
            yield [word.decode() for word in row["words"]], [tag.decode() for tag in row["tags"]]

    return {"train": examples("train"), "dev": examples("validation"), "test": examples("test")}


class Wnut17(DownloadedFiles):
    """Sentences of words with BIO tags of six kinds of entities; CC BY 4.0."""

    VERSION = "1.0.0"
    FILES = {name: f"{_SOURCE}/{name}" for name in _SPLITS.values()}
    MIRROR = "wnut17"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        words = tfds.features.Sequence(tfds.features.Text())
        features = tfds.features.FeaturesDict({"words": words, "tags": words})
        return self.dataset_info_from_configs(
            features=features, homepage="https://github.com/leondz/emerging_entities_17", disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        return {split: self._generate_examples(paths[name]) for split, name in _SPLITS.items()}

    def _generate_examples(self, path: Path) -> Iterator[tuple[int, dict[str, list[str]]]]:
        # Some words are or hold unusual spaces: only a line feed ends a line.
        blocks = path.read_text(encoding="utf-8").split("\n")
        rows: list[list[str]] = []
        number = 0
        for line in [*blocks, ""]:
            if line.strip():
                rows.append(line.split("\t")[:2])
            elif rows:
                yield number, {"words": [word for word, _ in rows], "tags": [tag.strip() for _, tag in rows]}
                number, rows = number + 1, []
