"""Misses, false alarms and delays: the tally against its definition, the bound against the Poisson distribution, and
the command that measures own recordings.
"""

import json
import math

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers
from task_models import tone

import streaming
from rnnzoo.cli import main
from rnnzoo.data.files.marks import Mark, read_marks
from rnnzoo.errors import DataError
from rnnzoo.tasks.keyword_spotter.detection import (
    THRESHOLDS,
    Episode,
    Heard,
    Spoken,
    find_episodes,
    rate_bound,
    smoothed,
    tally,
    threshold_for,
)
from streaming.runtime.decoding import EventRule

RATE = 8000


def test_each_event_counts_for_one_keyword_and_the_rest_are_false_alarms():
    episodes = (
        Episode(1, (1.0, 1.2), (0.5, 0.9), 1.4),  # found at 1.2
        Episode(2, (1.3,), (0.95,), 1.5),  # another label: a false alarm
        Episode(1, (5.0,), (0.7,), 5.2),  # not high enough
        Episode(1, (9.0,), (0.9,), 9.1),  # said nowhere
    )
    spoken = (Spoken(1, 0.8, 1.6, 1.1), Spoken(1, 1.0, 1.6, 1.5), Spoken(1, 4.8, 5.3, 5.1))
    found = tally([Heard(episodes, spoken, 1800.0)], 0.8)
    assert (found.spoken, found.found, found.false, found.rate) == (3, 1, 2, 4.0)
    assert found.delay == pytest.approx(0.1)
    assert (found.recall, found.precision) == (1 / 3, 1 / 3)
    assert tally([Heard(episodes, spoken, 1800.0)], 0.6).found == 2


@pytest.mark.parametrize("count", [0, 1, 3, 12])
def test_the_bound_is_that_of_the_poisson_distribution(count):
    # The 95 % quantile of the chi-square distribution with 2 count + 2 degrees of freedom, halved (Garwood 1936).
    expected = {0: 2.9957, 1: 4.7439, 3: 7.7537, 12: 19.4426}[count]
    assert rate_bound(count, 0.5) == pytest.approx(expected / 0.5, rel=1e-4)
    assert math.isinf(rate_bound(count, 0.0))


@settings(deadline=None, max_examples=150)
@given(
    st.lists(st.tuples(st.integers(0, 2), st.integers(0, 5), st.floats(0.05, 1.0)), min_size=1, max_size=30),
    st.lists(st.tuples(st.integers(1, 2), st.integers(0, 28), st.integers(1, 6)), max_size=5),
    st.integers(0, 3),
)
def test_recall_never_rises_with_the_threshold(rows, words, rest):
    smooth = np.full((len(rows), 3), 0.01)
    for row, (label, _, score) in zip(smooth, rows, strict=True):
        row[label] = score
    times = 0.1 * np.arange(len(rows))
    spoken = tuple(
        Spoken(label, 0.1 * begin, 0.1 * (begin + size), 0.1 * (begin + size)) for label, begin, size in words
    )
    heard = [Heard(tuple(find_episodes(smooth, times, EventRule((1, 2), (0,), 0.5, rest))), spoken, 3.0)]
    found = [tally(heard, threshold).found for threshold in THRESHOLDS]
    assert found == sorted(found, reverse=True)


def test_smoothing_is_that_of_the_device():
    rows = np.random.default_rng(0).uniform(size=(20, 3))
    expected = [rows[max(0, t - 4) : t + 1].mean(axis=0) for t in range(20)]
    np.testing.assert_allclose(smoothed(rows, 5), expected, atol=1e-12)


def test_the_lowest_threshold_for_a_rate_is_found():
    quiet = [Heard(tuple(Episode(1, (1.0,), (score,), 1.0) for score in (0.4, 0.6, 0.97)), (), 3600.0)]
    assert threshold_for(quiet, 3) == 0.1
    assert threshold_for(quiet, 1) == 0.65
    assert threshold_for(quiet, 0) == 0.98
    assert threshold_for([Heard((Episode(1, (1.0,), (1.0,), 1.0),), (), 3600.0)], 0.5) is None
    # Without false alarms, but without the keyword as well.
    episodes = Episode(1, (1.0,), (0.6,), 1.0), Episode(1, (5.0,), (0.99,), 5.0)
    words = Heard(episodes, (Spoken(1, 0.5, 1.5, 1.0),), 3600.0)
    assert (threshold_for([words], 1), threshold_for([words], 0)) == (0.1, None)


@pytest.fixture(scope="module")
def spotter(tmp_path_factory):
    """A spotter of loud sound: its one feature, the power of a frame of 10 ms, makes the logits."""
    inputs = keras.Input((None, 1), name="samples")
    x = layers.Conv1D(1, 80, strides=80, use_bias=False, name="mean")(layers.Lambda(lambda x: x * x)(inputs))
    model = keras.Model(inputs, layers.Dense(3, name="logits")(x))
    model.get_layer("mean").set_weights([np.full((80, 1, 1), 1 / 80, "float32")])
    # "quiet" wins where the power is low; "no" never does.
    model.get_layer("logits").set_weights([np.array([[-400.0, 400.0, 0.0]], "float32"), np.array([8.0, -8.0, -9.0])])
    path = tmp_path_factory.mktemp("spotter") / "loud.tflite"
    task = {"kind": "keyword_spotter", "sample_rate": RATE, "background": ["quiet"], "threshold": 0.9}
    task |= {"smoothing": 0.05, "refractory": 0.2}
    files = {"labels.txt": b"quiet\nyes\nno\n"}
    streaming.convert(model, path, metadata={"task": task, "files": files}, verify=True)
    return path


def signal(*begins, seconds=4.0):
    samples = 0.001 * np.random.default_rng(0).standard_normal(int(seconds * RATE))
    for begin in begins:
        at = int(begin * RATE)
        samples[at : at + RATE // 2] += tone(0.5)[: RATE // 2]
    return samples


@pytest.fixture
def folder(tmp_path):
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")
    (tmp_path / "yes").mkdir()
    soundfile.write(tmp_path / "yes" / "a.wav", signal(1.0), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "yes" / "b.flac", signal(2.0), RATE)
    soundfile.write(tmp_path / "yes" / "silent.wav", signal(), RATE)
    soundfile.write(tmp_path / "street.wav", np.stack([signal(0.5, 2.5)] * 2, axis=1), RATE)
    return tmp_path


def measured(capsys, tmp_path, *arguments):
    assert main(["evaluate", *map(str, arguments), "--json", str(tmp_path / "found.json")]) == 0
    return json.loads((tmp_path / "found.json").read_text()), capsys.readouterr().out


def test_own_recordings_are_measured_as_they_stream(spotter, folder, tmp_path, capsys):
    found, shown = measured(capsys, tmp_path, spotter, "--audio", folder, "--false-alarms", "0", "--plots", tmp_path)
    row = next(row for row in found["thresholds"] if row["threshold"] == 0.9)
    assert found["hours"] == pytest.approx(16 / 3600)
    assert (row["misses"], row["false_alarms"]) == (pytest.approx(1 / 3), 2)
    assert row["per_hour"] == pytest.approx(2 / (16 / 3600))
    assert (tmp_path / "det.png").read_bytes()[:4] == b"\x89PNG"
    assert "no threshold at which a keyword is found has at most 0 false alarms an hour (one alone is 225)" in shown
    events = streaming.pipeline(spotter).spot(signal(0.5, 2.5).astype("float32"))
    assert [event.label for event in events] == ["yes", "yes"]


def test_a_table_says_where_keywords_are(spotter, folder, tmp_path, capsys):
    table = tmp_path / "labels.tsv"
    table.write_text(
        "file\tbegin\tend\tlabel\nstreet.wav\t0.5\t1.0\tyes\nstreet.wav\t2.5\t3.0\tyes\n"
        "yes/a.wav\t1.0\t1.5\tyes\nb.flac\t2.0\t2.5\tyes\nyes/silent.wav\t1\t2\tother\n"
    )
    options = ("--labels", table, "--false-alarms", "0.5")
    found, shown = measured(capsys, tmp_path, spotter, "--audio", folder, *options)
    row = next(row for row in found["thresholds"] if row["threshold"] == 0.9)
    assert (row["misses"], row["false_alarms"]) == (0, 0)
    assert -0.5 < row["delay_seconds"] < 0.1
    assert f"lowest threshold with at most 0.5 false alarms an hour: {found['chosen']:g}" in shown
    assert "chosen on these recordings: measure it on others" in shown
    audacity = tmp_path / "street.txt"
    audacity.write_text("0.5\t1.0\tyes\n")
    found, _ = measured(capsys, tmp_path, spotter, "--audio", folder / "street.wav", "--labels", audacity)
    row = next(row for row in found["thresholds"] if row["threshold"] == 0.9)
    assert (row["misses"], row["false_alarms"]) == (0, 1)


def test_a_bad_file_ends_it_or_is_listed(spotter, folder, tmp_path, capsys):
    (folder / "bad.wav").write_bytes(b"RIFFnothing")
    assert main(["evaluate", str(spotter), "--audio", str(folder)]) == 2
    assert "bad.wav is no WAV file" in capsys.readouterr().err
    found, shown = measured(capsys, tmp_path, spotter, "--audio", folder, "--skip-bad")
    assert "left out: " in shown
    assert found["hours"] == pytest.approx(16 / 3600)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ("file\tbegin\tend\tlabel\nc.wav\t0\t1\tyes\n", "line 2: expected the name of a recording, found 'c.wav'"),
        ("file\tbegin\tend\tlabel\na.wav\tone\t2\tyes\n", "line 2: expected begin and end in seconds"),
        ("file\tbegin\tend\tlabel\na.wav\t2\t1\tyes\n", "line 2: expected 0 <= begin < end"),
        ("0\t1\n", "line 1: expected begin, end, label with tabs between, found 2 cells"),
    ],
)
def test_tables_that_are_none_are_named(rows, message, tmp_path):
    (tmp_path / "t.tsv").write_text(rows)
    with pytest.raises(DataError, match=message):
        read_marks(tmp_path / "t.tsv", ["a.wav", "b.wav"])


def test_a_table_names_files_by_path_or_by_name(tmp_path):
    (tmp_path / "t.tsv").write_text("label\tend\tbegin\tfile\nyes\t2\t1\tx/a.wav\nno\t1\t0.5\ta.wav\n\n")
    found = read_marks(tmp_path / "t.tsv", ["x/a.wav", "b.wav"])
    assert found == {"x/a.wav": [Mark("yes", 1.0, 2.0), Mark("no", 0.5, 1.0)], "b.wav": []}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--labels", "x"], "--labels and --skip-bad go with --audio"),
        (["--false-alarms", "few"], "expected a number of false alarms an hour"),
    ],
)
def test_options_that_do_not_go_together(arguments, message, capsys):
    assert main(["evaluate", "digits-kws-stream", *arguments]) == 2
    assert message in capsys.readouterr().err
