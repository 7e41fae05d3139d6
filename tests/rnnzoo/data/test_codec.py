"""Text to numbers and back: characters, words, subwords; byte-pair encoding against its textbook form."""

import itertools
import json
from collections import Counter

import numpy as np
import pytest

from streaming.errors import ArtifactError, InputError
from streaming.runtime.codec import END, PAD, SPECIAL, START, UNKNOWN, TextCodec

TEXTS = ["The quick brown fox, it's lower than the lowest; newer!", "Two dogs don't run (fast).", "lower lower newest"]


@pytest.mark.parametrize("kind", ["characters", "words", "subwords"])
def test_known_text_survives(kind):
    codec = TextCodec.fit(TEXTS, kind, size=80)
    for text in TEXTS:
        ids = codec.encode(text)
        assert ids.dtype == np.int32
        assert codec.decode(ids) == text
        assert UNKNOWN not in ids
        assert codec.decode([START, *ids, END, PAD]) == text
        # Parts of a text join to the text.
        assert "".join(codec.text([i]) for i in ids).strip() == text
    assert len(codec.encode("")) == 0
    assert codec.decode([]) == ""
    again = TextCodec.from_bytes(codec.to_bytes())
    assert again == codec
    assert again.encode(TEXTS[0]).tolist() == codec.encode(TEXTS[0]).tolist()


def test_pieces_say_where_words_begin():
    codec = TextCodec.fit(TEXTS, "words", lower=True)
    assert codec.pieces("The fox, he") == ["▁the", "▁fox", ",", "▁he"]
    assert [codec.begins_word(int(i)) for i in codec.encode("The fox, it")] == [True, True, False, True]
    assert codec.decode(codec.encode("A zebra, the fox")) == "<unk> <unk>, the fox"
    assert codec.decode(codec.encode("the▁fox")) == "<unk>"


def test_subwords_split_what_is_new():
    codec = TextCodec.fit(TEXTS * 3, "subwords", size=50)
    assert len(codec) <= 50
    assert codec.decode(codec.encode("slower fewest")) == "slower fewest"
    assert UNKNOWN not in codec.encode("slower fewest")
    assert UNKNOWN in codec.encode("日本")
    assert len(codec.encode("lower")) < len("lower")


def textbook_merges(texts, codec, count):
    """Sennrich et al. (2016), algorithm 1: count all pairs anew for each merge."""
    words = Counter(part for text in texts for part in TextCodec(codec.entries, "words").pieces(text))
    split = {word: list(word) for word in words}
    merges = []
    for _ in range(count):
        pairs = Counter()
        for word, parts in split.items():
            for pair in itertools.pairwise(parts):
                pairs[pair] += words[word]
        best = min(pairs, key=lambda pair: (-pairs[pair], pair))
        merges.append(best)
        for word, parts in split.items():
            i, joined = 0, []
            while i < len(parts):
                both = i + 1 < len(parts) and (parts[i], parts[i + 1]) == best
                joined.append(parts[i] + parts[i + 1] if both else parts[i])
                i += 2 if both else 1
            split[word] = joined
    return merges, split


def test_merges_are_those_of_the_textbook():
    rng = np.random.default_rng(0)
    texts = [" ".join("".join(rng.choice(list("aab cd"), 9)).split()) for _ in range(60)]
    codec = TextCodec.fit(texts, "subwords", size=40)
    merges, split = textbook_merges(texts, codec, len(codec.merges))
    assert len(merges) > 20
    assert list(codec.merges) == merges
    for word, parts in split.items():
        assert codec.pieces(word.removeprefix("▁")) == parts or not word.startswith("▁")


def test_sizes_and_counts_are_kept():
    assert len(TextCodec.fit(TEXTS, "words", size=8)) == 8
    assert TextCodec.fit(["b a a", "a b c"], "words").entries == (*SPECIAL, "▁a", "▁b", "▁c")
    assert TextCodec.fit(["b a a", "a b c"], "words", min_count=2).entries == (*SPECIAL, "▁a", "▁b")
    for kind, size in (("words", None), ("letters", 9), ("subwords", None)):
        if kind != "words":
            with pytest.raises(InputError, match="subwords with a size"):
                TextCodec.fit(TEXTS, kind, size=size)


@pytest.mark.parametrize(
    "change",
    [{"kind": "bytes"}, {"entries": ["a", "b"]}, {"entries": [*SPECIAL, "a", "a"]}, {"merges": [["a"]]}, {"merges": 3}],
)
def test_damaged_files_are_refused(change):
    data = {**json.loads(TextCodec.fit(TEXTS, "characters").to_bytes()), **change}
    with pytest.raises(ArtifactError):
        TextCodec.from_bytes(json.dumps(data).encode())
    for wrong in (b"", b"\xff", b"[]", b"{}"):
        with pytest.raises(ArtifactError, match="is damaged"):
            TextCodec.from_bytes(wrong)


def test_a_number_without_an_entry_is_refused():
    codec = TextCodec.fit(TEXTS, "characters")
    for number in (-1, len(codec)):
        with pytest.raises(InputError, match="no number of the vocabulary"):
            codec.decode([number])
