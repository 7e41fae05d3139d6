"""SCAN: commands and the actions that they mean."""

from __future__ import annotations

from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

register_terms(
    "scan",
    title="SCAN",
    licence="BSD-3-Clause",
    citation="Lake and Baroni (2018), Generalization without Systematicity, ICML",
    url="https://github.com/brendenlake/SCAN",
)


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
