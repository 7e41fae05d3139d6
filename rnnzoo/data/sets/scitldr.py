"""One-sentence summaries of scientific papers (Cachola et al. 2020)."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms
from streaming.runtime.tokenization import tokenize

_NAME = "scitldr"
_SPLITS = {"train": "train", "validation": "dev", "test": "test"}
_PAGE = "https://github.com/allenai/scitldr"

register_terms(
    _NAME,
    title="SciTLDR, abstracts",
    licence="Apache-2.0",
    citation="Cachola et al. (2020), TLDR: Extreme Summarization of Scientific Documents, EMNLP Findings",
    url=_PAGE,
)


@register_dataset(_NAME, "sentences-scores")
def read_scitldr(config: DataConfig) -> Splits:
    """Abstracts of 3,229 papers: words of each sentence, and how well each says what the paper's summaries say.

    The score is ROUGE-1 against the summaries, as the data set gives it; sentences after the last score are left out.
    """
    return {split: [_scored(row) for row in rows(_NAME, name)] for name, split in _SPLITS.items()}


def _scored(row: dict[str, Any]) -> Example:
    count = min(len(row["sentences"]), len(row["rouge"]))
    return [tokenize(text.decode()) for text in row["sentences"][:count]], row["rouge"][:count].astype(np.float32)


class Scitldr(PackedFiles):
    """Sentences of an abstract, ROUGE-1 of each, and the summaries; Apache 2.0."""

    VERSION = "1.0.0"
    FILES = {
        "train.jsonl.gz": "1987f66f69e914604eaaa4b32d605a989cd4cdb8784d97e20e6e1d17b0ac6e6e",
        "dev.jsonl.gz": "7957c761fede5d6428a408776521afe4186aa6ca2169306cf358173c90b4b892",
        "test.jsonl.gz": "ee50f58a910041c2c4be7563f260e09c19dae40386ba758c127ee356a3ad229d",
    }
    MIRROR = _NAME

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        texts = tfds.features.Sequence(tfds.features.Text())
        rouge = tfds.features.Tensor(shape=(None,), dtype=np.float64)
        features = tfds.features.FeaturesDict({"sentences": texts, "rouge": rouge, "summaries": texts})
        return self.dataset_info_from_configs(features=features, homepage=_PAGE, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        return {name: self._generate_examples(paths[f"{split}.jsonl.gz"]) for name, split in _SPLITS.items()}

    def _generate_examples(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        with gzip.open(path, "rt", encoding="utf-8") as file:
            for i, line in enumerate(file):
                paper = json.loads(line)
                yield (
                    i,
                    {"sentences": paper["source"], "rouge": paper["rouge_scores"], "summaries": paper["target"]},
                )
