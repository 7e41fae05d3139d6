"""The embedded Reber grammar (Cleeremans et al. 1989; Hochreiter & Schmidhuber 1997, experiment 1)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

LETTERS = "BTPSXVE"
# State -> (letter, next state) of the Reber grammar; each has two ways but the last, which ends.
_EDGES: dict[int, tuple[tuple[str, int], ...]] = {
    0: (("T", 1), ("P", 2)),
    1: (("S", 1), ("X", 3)),
    2: (("T", 2), ("V", 4)),
    3: (("X", 2), ("S", 5)),
    4: (("P", 3), ("V", 5)),
    5: (("E", 6),),
}
_END = 6


def embedded_string(rng: np.random.Generator) -> str:
    """A string such as `BTBTXSETE`: the second letter, T or P, comes again as the last but one."""
    outer = "TP"[int(rng.integers(2))]
    inner, state = "B", 0
    while state != _END:
        edges = _EDGES[state]
        letter, state = edges[int(rng.integers(len(edges)))]
        inner += letter
    return f"B{outer}{inner}{outer}E"


def legal_next(string: str) -> list[set[str]]:
    """The letters that may follow each letter of an embedded string, but for the last.

    Raises:
        ValueError: the string is not of the grammar.
    """
    outer, inner, state = string[1:2], string[2:-2], 0
    after = [set("TP"), {"B"}, _letters(0)]
    for letter in inner[1:-1]:
        state = dict(_EDGES[state]).get(letter, _END)
        if state == _END:
            break
        after.append(_letters(state))
    if string != f"B{outer}B{inner[1:-1]}E{outer}E" or outer not in ("T", "P") or state != _END - 1:
        raise ValueError(f"expected a string of the embedded Reber grammar; received {string!r}")
    return [*after, {outer}, {"E"}]


def _letters(state: int) -> set[str]:
    return {letter for letter, _ in _EDGES[state]}


def one_hot(string: str) -> NDArray[np.float32]:
    """Letters (T, 7)."""
    return np.eye(len(LETTERS), dtype=np.float32)[[LETTERS.index(letter) for letter in string]]
