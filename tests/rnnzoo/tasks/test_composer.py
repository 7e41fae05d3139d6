"""Chorales: chords as words, faults of harmony, the figure against plain loops, given voices."""

import itertools

import numpy as np
import pytest

import streaming
from rnnzoo.data.source import Source
from rnnzoo.errors import DataError
from rnnzoo.tasks.composer.composing import Composer
from rnnzoo.tasks.composer.config import ChordsConfig
from rnnzoo.tasks.composer.harmony import chord_words, harmony_figures, read_chords
from rnnzoo.tasks.composer.model import build_composer
from rnnzoo.tasks.composer.task import ComposerTask
from rnnzoo.tasks.generator.config import GeneratorConfig
from streaming.errors import InputError
from streaming.vectors import make_vectors

# C major, F major, G major with the melody a third higher, C without a fifth, silence: an octave above their sound.
PIECE = [(84, 79, 76, 60), (84, 81, 77, 65), (83, 79, 74, 67), (84, 76, 60), ()]


def roll(piece):
    rows = np.zeros((len(piece), 88), np.float32)
    for row, chord in zip(rows, piece, strict=True):
        row[[note - 21 for note in chord]] = 1
    return rows


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    config = ChordsConfig(dataset="drawn", octave=-1, transpose=3, samples=3, max_length=60)
    splits = {name: [(roll(PIECE), None), (roll(PIECE[:2]), None)] for name in ("train", "dev", "test")}
    task = ComposerTask.from_source(Source("rolls", splits), config, seed=1)
    model = build_composer(GeneratorConfig(token_size=6, units=12), task.encoder)
    path = tmp_path_factory.mktemp("composer") / "composer.tflite"
    metadata = {"task": task.spec(config, task.encoder), "files": task.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    return task, model, path


def test_a_chord_has_one_order():
    assert chord_words({60, 64, 67, 72}) == ["72", "60", "67", "64", "|"]
    assert chord_words([60]) == ["60", "|"]
    assert chord_words([]) == ["|"]
    for chord in PIECE:
        assert read_chords(" ".join(chord_words(chord))) == [chord]
    assert read_chords(" 72 48 | 74 50") == [(72, 48)]
    for text in ("72 x |", "300 |", "-5 |"):
        with pytest.raises(DataError, match="is no note"):
            read_chords(text)


def test_faults_are_those_of_the_textbook():
    # Bass and tenor move from C-G to D-A: parallel fifths; soprano and bass from C-C to D-D: parallel octaves.
    fifths = [(76, 64, 55, 48), (74, 65, 57, 50)]
    octaves = [(72, 64, 55, 48), (74, 65, 53, 50)]
    kept = [(72, 64, 55, 48), (72, 65, 57, 53)]
    contrary = [(67, 64, 60, 48), (60, 57, 55, 53)]
    assert harmony_figures([fifths])["parallel_fifths"] == 100
    assert harmony_figures([fifths])["parallel_octaves"] == 0
    assert harmony_figures([octaves])["parallel_octaves"] == 100
    for piece in (kept, contrary):
        assert harmony_figures([piece])["parallel_fifths"] == harmony_figures([piece])["parallel_octaves"] == 0
    figures = harmony_figures([fifths, octaves, kept, contrary])
    assert (figures["parallel_fifths"], figures["parallel_octaves"]) == (25, 25)
    high = harmony_figures([[(82, 64, 55, 39), (60, 53, 48, 40)]])
    assert high["range_faults"] == 25
    assert harmony_figures([])["range_faults"] == 0


@pytest.mark.slow
def test_the_figure_is_that_of_a_loop_over_words(made):
    task, model, path = made
    figures = task.evaluate(model, "dev")
    total, chords = 0.0, 0
    for row in task.arrays("dev"):
        words = [task.encoder.labels[number].strip("\u2581") for number in row["targets"]]
        for place, word in enumerate(words[:-1]):
            scores = np.asarray(model({"tokens": row["tokens"][None, : place + 1]}))[0, -1].astype(np.float64)
            total += np.log(np.exp(scores).sum()) - scores[row["targets"][place]]
            chords += word == "|"
    assert figures["nll"] == pytest.approx(total / chords, rel=1e-5)
    assert figures["count"] == chords == 7
    assert (
        figures["true_range_faults"]
        == harmony_figures([[tuple(n - 12 for n in chord) for chord in piece] for piece in (PIECE, PIECE[:2])])[
            "range_faults"
        ]
    )
    streamed = task.evaluate_stream(streaming.load(path), "dev")
    assert streamed == pytest.approx(figures, abs=1e-4)


def test_what_sounds_is_an_octave_below_the_data(made):
    text = made[0].encoder.codec.text(made[0].arrays("train")[0]["targets"])
    assert read_chords(text)[0] == (72, 67, 64, 48)


def test_pieces_are_transposed_as_a_whole_within_the_compass(made):
    task, row = made[0], made[0].arrays("train")[0]
    shifts = set()
    for seed in range(40):
        changed = task.augment(row, np.random.default_rng(seed))
        differences = (changed["tokens"] - row["tokens"])[row["tokens"] >= 5]
        assert len(set(differences.tolist())) == 1
        np.testing.assert_array_equal(changed["tokens"][1:], changed["targets"][:-1])
        np.testing.assert_array_equal(changed["tokens"] < 5, row["tokens"] < 5)
        shifts.add(int(differences[0]))
    # The piece has the compass of the training split: there is no other key for it.
    assert shifts == {0}
    other = task.arrays("train")[1] | {"tokens": np.array([2, 20, 10, 4]), "targets": np.array([20, 10, 4, 3])}
    assert {int(task.augment(other, np.random.default_rng(s))["tokens"][1]) for s in range(60)} == set(range(17, 24))


def test_chords_keep_to_the_given_voices(made):
    task = streaming.pipeline(made[2])
    low, high = Composer(task).compass
    assert (low, high) == (48, 72)
    melody, bass = [72, 70, 67, 72, 65], [48, 55, 53, 48, 50]
    for seed in range(4):
        composer = Composer(task, seed=seed)
        assert [chord[0] for chord in composer.compose(melody=melody)] == melody
        assert [chord[-1] for chord in composer.compose(bass=bass)] == bass
        both = composer.compose(melody=melody, bass=bass)
        assert [(chord[0], chord[-1]) for chord in both] == list(zip(melody, bass, strict=True))
        for chord in [*both, *composer.compose(9)]:
            assert 2 <= len(chord) <= 4
            assert all(above > below for above, below in itertools.pairwise(chord))
    assert Composer(task, seed=2).compose(9) == Composer(task, seed=2).compose(9)
    assert len(Composer(task, seed=2).compose(9)) <= 9


def test_parallels_are_drawn_again(made):
    task = streaming.pipeline(made[2])
    bass, melody = [48, 50, 52, 54, 52, 50] * 4, [66, 67, 69, 70, 69, 67] * 4
    counts = []
    for tries in (1, 20):
        pieces = [Composer(task, seed=seed, tries=tries).compose(melody=melody, bass=bass) for seed in range(6)]
        figures = harmony_figures(pieces)
        counts.append(figures["parallel_fifths"] + figures["parallel_octaves"])
    assert counts[0] > 2
    assert counts[1] < counts[0] / 4


def test_the_highest_note_over_a_bass_is_drawn_by_its_probability_given_the_bass(made):
    """P(note | bass) of the model by Bayes, against how often each note is chosen for the first chord."""
    task, model, path = made
    device, bass, labels = streaming.pipeline(path), 55, [word.strip("\u2581") for word in task.encoder.labels]
    first = np.asarray(model({"tokens": np.array([[2]])}))[0, -1].astype(np.float64)
    above = [number for number, word in enumerate(labels) if word.isdecimal() and int(word) > bass]
    tried = sorted(above, key=lambda number: -first[number])[:12]
    joint = []
    for number in tried:
        after = np.asarray(model({"tokens": np.array([[2, number]])}))[0, -1].astype(np.float64)
        joint.append(first[number] + after[labels.index(str(bass))] - np.log(np.exp(after).sum()))
    expected = np.exp(joint) / np.exp(joint).sum()
    drawn = [Composer(device, 1.0, seed).compose(bass=[bass])[0][0] for seed in range(400)]
    share = np.array([np.mean([note == int(labels[number]) for note in drawn]) for number in tried])
    assert share.sum() == 1
    np.testing.assert_allclose(share, expected, atol=0.08)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"melody": [40]}, "the melody has the note 40; the model knows 49 to 72: transpose it"),
        ({"bass": [72]}, "the bass has the note 72; the model knows 48 to 71"),
        ({"melody": []}, "the melody has no note"),
        ({"melody": [60, 62], "bass": [50]}, "the melody has 2 notes, the bass 1"),
        ({"melody": [60, 55], "bass": [50, 55]}, "the bass is not below the melody in chord 2"),
        ({"count": 0}, "a piece has 1 to 1000 chords; received 0"),
        ({"bass": [50] * 1001}, "a piece has 1 to 1000 chords; received 1001"),
    ],
)
def test_mistakes_are_one_line(made, options, message):
    with pytest.raises(DataError, match=message) as error:
        Composer(streaming.pipeline(made[2])).compose(**options)
    assert "\n" not in str(error.value)


def test_a_temperature_out_of_range_and_another_generator_are_refused(made):
    with pytest.raises(InputError, match="temperature is -1"):
        Composer(streaming.pipeline(made[2]), -1.0)


def test_vectors_of_numbers_have_words(made):
    given = make_vectors(streaming.load(made[2]))["task"]["input"]["text"]
    assert given
    assert all(word.isdecimal() for word in given.split())
