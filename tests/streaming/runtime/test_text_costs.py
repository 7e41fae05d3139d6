"""Costs of texts that somebody chose to be slow, and what faster ways must not change."""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Mapping

import pytest

from streaming.runtime import codec
from streaming.runtime.codec import SPECIAL, TextCodec
from streaming.runtime.text import affixes
from streaming.runtime.tokenization import iter_words, sentences, tokenize

# Each is repeated; every one of them took quadratic time somewhere.
PARTS = "a-|aa.|. a |1.|www.|a@|a|http://!| |n'|_-|..a|A. |-.|\n \t|x-x.|\" . a".split("|")


def seconds(call: Callable[[], object]) -> float:
    """The least CPU time of three runs."""
    found = []
    for _ in range(3):
        begin = time.process_time()
        call()
        found.append(time.process_time() - begin)
    return min(found)


@pytest.mark.parametrize("part", PARTS)
def test_words_and_sentences_cost_what_their_length_says(part: str) -> None:
    short, long = (part * (size // len(part)) for size in (4_000, 32_000))
    assert seconds(lambda: sentences(long)) < 20 * seconds(lambda: sentences(short)) + 0.05


@pytest.mark.parametrize("part", ["ab", "a", " ", "a "])
def test_pieces_cost_what_their_length_says(part: str) -> None:
    entries = (*SPECIAL, "a", "b", "ab", "abab", "\u2581a")
    made = TextCodec(entries, "subwords", (("a", "b"), ("ab", "ab"), ("a", "a"), ("aa", "aa"), ("\u2581", "a")))
    short, long = (part * (size // len(part)) for size in (4_000, 32_000))
    assert seconds(lambda: made.encode(long)) < 20 * seconds(lambda: made.encode(short)) + 0.05


def merge_slowly(word: str, ranks: Mapping[tuple[str, str], int]) -> list[str]:
    """Byte-pair encoding as Sennrich et al. write it: the first merge that fits, everywhere, until none fits."""
    parts = list(word)
    while len(parts) > 1:
        rank, pair = min((ranks.get(pair, len(ranks)), pair) for pair in itertools.pairwise(parts))
        if rank == len(ranks):
            break
        parts = codec._join(parts, pair)
    return parts


def test_merging_is_that_of_the_paper() -> None:
    generator = random.Random(0)
    for turn in range(2000):
        symbols, merges = ["a", "b", "c"], dict[tuple[str, str], None]()
        for _ in range(generator.randint(1, 14)):
            merges[pair := (generator.choice(symbols), generator.choice(symbols))] = None
            symbols.append("".join(pair))
        pairs = list(merges)
        if turn % 3 == 0:  # a file can list them in any order
            generator.shuffle(pairs)
        ranks = {pair: rank for rank, pair in enumerate(pairs)}
        word = "".join(generator.choice("abc") for _ in range(generator.randint(0, 20)))
        assert codec._merge(word, ranks) == merge_slowly(word, ranks), (word, ranks)


def test_remembered_pieces_are_bounded() -> None:
    made = TextCodec((*SPECIAL, "a"), "subwords", (("a", "a"),))
    made.encode(" ".join(f"{number}" for number in range(30_000)) + " " + "a" * 10_000)
    assert len(made._known) <= 10_000
    assert max(map(len, made._known)) <= 24


def test_addresses_and_quotes_are_still_found() -> None:
    assert tokenize("write to jane.doe+x@mail.example.org, or see a.b-c.co.uk/x!") == [
        *("write", "to", "jane.doe+x@mail.example.org", ",", "or", "see", "a.b-c.co.uk/x", "!")
    ]
    assert sentences('He said "stop." Then "yes." And left.') == [
        ["He", "said", '"', "stop", ".", '"'],
        ["Then", '"', "yes", ".", '"'],
        ["And", "left", "."],
    ]


def test_whoever_has_enough_words_leaves_the_rest() -> None:
    words = iter_words("a-" * 100_000)
    assert seconds(lambda: list(itertools.islice(words, 10))) < 0.05
    assert len(affixes("x" * 100_000)) == len(affixes("x"))
