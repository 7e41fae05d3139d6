"""CLINC150: requests to an assistant and their intents, some of them out of its scope."""

from __future__ import annotations

from collections.abc import Iterator

from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import load_builder
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms
from streaming.runtime.tokenization import tokenize

OUT_OF_SCOPE = "out_of_scope"
_NAME = "clinc_oos"
_SPLITS = {"train": "train", "dev": "validation", "test": "test"}

register_terms(
    "clinc_oos",
    title="CLINC150 with out-of-scope queries",
    licence="CC-BY-3.0",
    citation="Larson et al. (2019), An Evaluation Dataset for Intent Classification and Out-of-Scope Prediction, EMNLP",
    url="https://github.com/clinc/oos-eval",
)


@register_dataset(_NAME, "text-label")
def read_clinc(config: DataConfig) -> Splits:
    """Larson et al. 2019, by the builder of TFDS."""
    import tensorflow_datasets as tfds

    builder = load_builder(_NAME)

    def rows(split: str) -> Iterator[Example]:
        for name, label in ((split, None), (f"{split}_oos", OUT_OF_SCOPE)):
            for row in tfds.as_numpy(builder.as_dataset(split=name, shuffle_files=False)):
                yield tokenize(row["text"].decode()), label or row["intent_name"].decode()

    return {ours: rows(theirs) for ours, theirs in _SPLITS.items()}
