"""Summarizes a data set in a few lines, before the training."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rnnzoo.data.source import SPLITS, Example, Findings

# Labels that are named; of more the rest is counted.
_SHOWN = 12
_NONE = "no label"


def summarize(
    splits: Mapping[str, Sequence[Example]], findings: Findings, texts: bool = False
) -> tuple[dict[str, str], list[str]]:
    """Lines of a table, and warnings: the findings of the reader, and the examples of the splits.

    Args:
        splits: examples of `train`, `dev` and `test`.
        findings: of the reader of a user's files.
        texts: the targets are texts, such as translations: none of them is a label.
    """
    lines, warnings = dict(findings.shown), list(findings.warnings)
    # A series is one example, whatever its length.
    if max(len(splits[split]) for split in SPLITS) > 1:
        lines["examples"] = _counts({split: len(splits[split]) for split in SPLITS})
    held = {split: Counter(_labels(target for _, target in splits[split])) for split in SPLITS}
    if held["train"] and not texts:
        lines["labels in train"] = _counts(dict(held["train"].most_common()))
        for split in ("dev", "test"):
            if unseen := sorted(set(held[split]) - {_NONE, *held["train"]}):
                warnings.append(
                    f"{split} has labels that train has not, which count as mistakes: {', '.join(unseen[:_SHOWN])}"
                )
    return lines, warnings


def _labels(targets: Iterable[Any]) -> Iterable[str]:
    for target in targets:
        if isinstance(target, str):
            yield target or _NONE
        elif isinstance(target, list | tuple):
            # Events are pairs of a place and a label.
            names = [one[1] if isinstance(one, tuple) and len(one) == 2 else one for one in target]
            yield from (name or _NONE for name in names if isinstance(name, str))


def _counts(counts: Mapping[str, int]) -> str:
    shown = ", ".join(f"{name} {count:,}" for name, count in list(counts.items())[:_SHOWN])
    return shown if len(counts) <= _SHOWN else f"{shown} and {len(counts) - _SHOWN} more"
