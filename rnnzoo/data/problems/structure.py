"""Sequences that show whether structure in time is found (Elman 1990, Finding Structure in Time)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

# Consonant -> the vowels that follow it.
SYLLABLES = {"b": "a", "d": "ii", "g": "uuu"}
# Letter -> consonant, vowel, interrupted, high, back, voiced (table 1 of the paper).
PHONETICS = {
    "b": (1, 0, 1, 0, 0, 1),
    "d": (1, 0, 1, 1, 0, 1),
    "g": (1, 0, 1, 0, 1, 1),
    "a": (0, 1, 0, 0, 1, 1),
    "i": (0, 1, 0, 1, 0, 1),
    "u": (0, 1, 0, 1, 1, 1),
}
# Class of words -> words, and the sentences of classes (tables 3 and 4 of the paper).
LEXICON = {
    "NOUN-HUM": "man woman",
    "NOUN-ANIM": "cat mouse",
    "NOUN-INANIM": "book rock",
    "NOUN-AGRESS": "dragon monster",
    "NOUN-FRAG": "glass plate",
    "NOUN-FOOD": "cookie bread sandwich",
    "VERB-INTRAN": "think sleep",
    "VERB-TRAN": "see chase",
    "VERB-AGPAT": "move break",
    "VERB-PERCEPT": "smell see",
    "VERB-DESTROY": "break smash",
    "VERB-EAT": "eat",
}
SENTENCES = (
    "NOUN-HUM VERB-EAT NOUN-FOOD",
    "NOUN-HUM VERB-PERCEPT NOUN-INANIM",
    "NOUN-HUM VERB-DESTROY NOUN-FRAG",
    "NOUN-HUM VERB-INTRAN",
    "NOUN-HUM VERB-TRAN NOUN-HUM",
    "NOUN-HUM VERB-AGPAT NOUN-INANIM",
    "NOUN-HUM VERB-AGPAT",
    "NOUN-ANIM VERB-EAT NOUN-FOOD",
    "NOUN-ANIM VERB-TRAN NOUN-ANIM",
    "NOUN-ANIM VERB-AGPAT NOUN-INANIM",
    "NOUN-ANIM VERB-AGPAT",
    "NOUN-INANIM VERB-AGPAT",
    "NOUN-AGRESS VERB-DESTROY NOUN-FRAG",
    "NOUN-AGRESS VERB-EAT NOUN-HUM",
    "NOUN-AGRESS VERB-EAT NOUN-ANIM",
    "NOUN-AGRESS VERB-EAT NOUN-FOOD",
)


def temporal_xor(rng: np.random.Generator, steps: int) -> NDArray[np.float32]:
    """Bits (T,) in threes: two by chance, and the exclusive or of them."""
    pairs = rng.integers(0, 2, (-(-steps // 3), 2))
    return np.column_stack([pairs, pairs[:, 0] ^ pairs[:, 1]]).ravel()[:steps].astype(np.float32)


def syllables(rng: np.random.Generator, count: int) -> str:
    """A string of so many syllables `ba`, `dii` and `guuu`, in a random order."""
    return "".join(consonant + SYLLABLES[consonant] for consonant in rng.choice(list(SYLLABLES), count))


def sentences(rng: np.random.Generator, count: int) -> list[list[str]]:
    """So many sentences of two or three words, by the templates of the paper."""
    chosen = rng.integers(0, len(SENTENCES), count)
    return [[str(rng.choice(LEXICON[kind].split())) for kind in SENTENCES[i].split()] for i in chosen]


def lexicon() -> list[str]:
    """Every word once."""
    return list(dict.fromkeys(word for words in LEXICON.values() for word in words.split()))


def is_noun(word: str) -> bool:
    """Whether a word of the lexicon is a noun; no word is both."""
    return any(word in words.split() for kind, words in LEXICON.items() if kind.startswith("NOUN"))


def run_together(lines: Sequence[Sequence[str]]) -> tuple[str, NDArray[np.bool_]]:
    """The letters of all words without spaces, and where a word begins (T,)."""
    words = [word for line in lines for word in line]
    begins = np.zeros(sum(map(len, words)), bool)
    begins[np.cumsum([0, *map(len, words[:-1])])] = True
    return "".join(words), begins
