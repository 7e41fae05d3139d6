"""Figures of entities in tags of the BIO scheme, as the CoNLL shared tasks count them (Tjong Kim Sang 2002)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

Entity = tuple[str, int, int]


def entities(tags: Sequence[str]) -> list[Entity]:
    """(type, first word, word after the last) of each entity; an `I-` that continues none of its type begins one."""
    found: list[Entity] = []
    kind, begin = "", 0
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, label = tag.partition("-")
        if prefix == "I" and kind and label == kind:
            continue
        if kind:
            found.append((kind, begin, place))
        kind, begin = label if prefix in ("B", "I") else "", place
    return found


def entity_types(true: Iterable[Sequence[str]], predicted: Iterable[Sequence[str]]) -> dict[str, dict[str, float]]:
    """Precision, recall, F1 and count of each type of entity, and of all by the empty name.

    An entity is right where its type and both its ends are; a figure without a denominator is 0.
    """
    right, said, held = Counter[str](), Counter[str](), Counter[str]()
    for tags, guesses in zip(true, predicted, strict=True):
        ours, theirs = set(entities(tags)), set(entities(guesses))
        for counter, found in ((right, ours & theirs), (said, theirs), (held, ours)):
            counter.update(name for kind, *_ in found for name in (kind, ""))
    return {name: _figures(right[name], said[name], held[name]) for name in sorted({"", *said, *held})}


def _figures(right: int, said: int, held: int) -> dict[str, float]:
    return {
        "precision": right / said if said else 0.0,
        "recall": right / held if held else 0.0,
        "f1": 2 * right / (said + held) if said + held else 0.0,
        "count": float(held),
    }
