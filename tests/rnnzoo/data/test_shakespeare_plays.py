"""The plays of Tiny Shakespeare: where they begin, who speaks in them, passages that lose nothing."""

import re

import pytest

from rnnzoo.data.mirror import find_mirror
from rnnzoo.data.sets.shakespeare_plays import LEAST, MOST, OPENINGS, passages, plays
from rnnzoo.errors import DataError


def test_passages_are_the_play_cut_at_the_ends_of_speeches_or_long_lines():
    speech = "ANNA:\n" + "word " * 60 + "\n"
    play = "\n".join([speech, speech, speech, "BEN:\n" + "\n".join(["a line of verse"] * 60)])
    found = passages(play)
    assert "".join(text + "\n" for text in found).split() == play.split()
    assert found[0] == speech + "\n" + speech
    assert all(text.endswith("\n") and not text.endswith("\n\n") for text in found)
    assert all(LEAST <= len(text) <= MOST + 100 for text in found[:-1])


def test_a_file_that_is_another_is_refused():
    text = "\n\n".join(OPENINGS.values())
    assert list(plays(text)) == list(OPENINGS)
    assert plays(text)["The Tempest"] == OPENINGS["The Tempest"]
    with pytest.raises(DataError, match="expected the opening of The Tempest once; found 0"):
        plays(text.replace("Boatswain!", ""))
    with pytest.raises(DataError, match="in the order Coriolanus"):
        plays("\n\n".join(reversed(OPENINGS.values())))


@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
def test_who_speaks_most_is_who_the_play_is_about():
    text = (find_mirror() / "tiny_shakespeare" / "input.txt").read_text(encoding="utf-8")
    found = plays(text)
    assert sum(map(len, found.values())) == pytest.approx(len(text), abs=2 * len(found))
    # Only here do these speak, of all plays of the file.
    own = {
        "Coriolanus": "MENENIUS",
        "Richard III": "BUCKINGHAM",
        "Richard II": "HENRY BOLINGBROKE",
        "Romeo and Juliet": "ROMEO",
        "Henry VI, Part 3": "WARWICK",
        "The Winter's Tale": "LEONTES",
        "Measure for Measure": "ISABELLA",
        "The Taming of the Shrew": "PETRUCHIO",
        "The Tempest": "PROSPERO",
    }
    for play, name in own.items():
        spoken = {other: len(re.findall(rf"^{name}:$", held, re.MULTILINE)) for other, held in found.items()}
        assert spoken.pop(play) >= 50, play
        assert not any(spoken.values()), play
