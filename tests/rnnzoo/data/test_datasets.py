"""Every data set that is registered, read from the mirror: what its examples are, and that no split leaks."""

import tarfile
from collections import Counter

import numpy as np
import pytest

from rnnzoo.data import DataConfig, read_source
from rnnzoo.data.config import RowsConfig
from rnnzoo.data.mirror import find_mirror
from rnnzoo.data.sets import babi_qa, mitdb100
from rnnzoo.data.sets.spoken_digit import recordings
from rnnzoo.errors import DataError

real = pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")


@pytest.fixture(scope="module", autouse=True)
def _prepared(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RNNZOO_DATA_DIR", str(tmp_path_factory.mktemp("tfds")))
        yield


def read(name):
    return read_source(DataConfig(dataset=name))


def sizes(source):
    return {split: len(rows) for split, rows in source.splits.items()}


@pytest.mark.slow
@real
def test_words_have_a_tag_each():
    source = read("wnut17")
    words = sum(len(words) for words, _ in source.splits["train"])
    assert words == 62730
    tags = [tag for _, tags in source.splits["test"] for tag in tags]
    assert sum(tag.startswith("B-") for tag in tags) == 1079
    assert all(len(words) == len(tags) for rows in source.splits.values() for words, tags in rows)


@pytest.mark.slow
@real
def test_official_splits_of_digits():
    source = read("spoken_digit")
    assert sizes(source) == {"train": 2050, "dev": 200, "test": 250}
    samples, digit = source.splits["test"][0]
    assert samples.dtype == np.float32
    assert 0.05 < np.abs(samples).max() <= 1
    assert digit == "0"
    held = read("spoken_digit/without/theo")
    assert sizes(held) == {"train": 1840, "dev": 160, "test": 500}
    assert {who for _, who, _ in recordings()} == {"george", "jackson", "nicolas", "theo", "yweweler"}
    with pytest.raises(DataError, match="no speaker 'bob'; known: george"):
        read("spoken_digit/without/bob")


@real
def test_beats_are_those_of_the_record():
    source = read("mitdb100")
    symbols = [symbol for rows in source.splits.values() for _, events in rows for _, symbol in events]
    # PhysioNet's table of the record: 2239 normal beats, 33 atrial and 1 ventricular premature one.
    assert {symbol: symbols.count(symbol) for symbol in set(symbols)} == {"N": 2239, "A": 33, "V": 1}
    signal, beats = source.splits["test"][0]
    assert signal.shape == (5 * 60 * 360, 2)
    # The R wave of a beat is the largest value around it.
    found = [signal[max(0, at - 40) : at + 40, 0].argmax() - min(at, 40) for at, symbol in beats if symbol == "N"]
    assert np.median(np.abs(found)) <= 1


def test_format_212_is_two_samples_in_three_bytes():
    pairs = np.array([[0, -1], [2047, -2048], [5, 1000]])
    data = bytearray()
    for a, b in pairs & 0xFFF:
        data += bytes([a & 0xFF, (a >> 8) | (b >> 8) << 4, b & 0xFF])
    np.testing.assert_array_equal(mitdb100.read_format_212(bytes(data)), pairs)


@pytest.mark.slow
@real
def test_forecasts_begin_where_the_literature_begins():
    splits = read("etth1").splits
    assert [(values.shape, begin) for values, begin in (splits[name][0] for name in ("train", "dev", "test"))] == [
        ((8640, 7), 0),
        ((11520, 7), 8640),
        ((14400, 7), 11520),
    ]


@real
def test_anomaly_windows_lie_in_their_series():
    for values, about in read("nab_known_cause").splits["test"]:
        assert len(values) == len(about["timestamps"])
        assert (np.diff(about["windows"], axis=1) > 0).all()
        assert about["windows"].max() < len(values)
        assert about["probation"] == min(int(0.15 * len(values)), 750)


@real
@pytest.mark.slow
def test_scenes_of_pictures_are_whole():
    splits = read("nlvr_captions").splits
    sentences = {name: {text.lower() for _, texts in rows for text in texts} for name, rows in splits.items()}
    assert not sentences["train"] & sentences["dev"]
    assert (len(splits["dev"]), len(sentences["dev"])) == (402, 31)
    assert sum(sizes(read("nlvr_captions")).values()) == 3282 + 556
    train, dev = ({image.tobytes() for image, _ in splits[name]} for name in ("train", "dev"))
    assert not train & dev
    assert len(splits["dev"]) % 6 == 0


@real
@pytest.mark.parametrize(
    ("name", "kind", "count"),
    [
        pytest.param("multi30k/de-en", "text-text", 32014 - 1000, marks=pytest.mark.slow),
        pytest.param("scan/simple", "text-text", 20910, marks=pytest.mark.slow),
        pytest.param("goemotions", "text-labels", 54263, marks=pytest.mark.slow),
        ("uci_sentiment", "text-label", 3000),
        ("japanese_vowels", "rows-label", 640),
        ("jsb_chorales", "rolls", 382),
        ("noto_emoji_captions", "image-captions", 3543),
        ("tiny_shakespeare", "text", 3),
    ],
)
def test_all_examples_are_read(name, kind, count):
    source = read(name)
    assert (source.kind, sum(sizes(source).values())) == (kind, count)


@real
@pytest.mark.slow
def test_translations_of_a_sentence_are_in_one_split():
    splits = read("tatoeba_pairs/en-de").splits
    assert sum(map(len, splits.values())) == 169813
    english = {name: {source for source, _ in rows} for name, rows in splits.items()}
    assert not english["train"] & english["dev"]
    assert not english["train"] & english["test"]
    assert not english["dev"] & english["test"]


@real
def test_an_unknown_pair_of_languages_is_named():
    with pytest.raises(DataError, match="known: multi30k/en-de, multi30k/de-en"):
        read("multi30k/en-fr")


@real
@pytest.mark.slow
def test_pens_move_as_they_were_drawn():
    source = read("pendigits")
    moves, digit = source.splits["test"][0]
    with np.load(find_mirror() / "pendigits" / "pendigits_orig.npz") as arrays:
        points = arrays["test_points"][: arrays["test_lengths"][0]]
        assert digit == str(arrays["test_labels"][0])
        dev = int(np.sum(arrays["train_writers"] >= 27))
    assert sizes(source) == {"train": 7494 - dev, "dev": dev, "test": 3498}
    np.testing.assert_array_equal(np.cumsum(moves[:, :2], axis=0), points[:, :2] - points[0, :2])
    np.testing.assert_array_equal(moves[:, 2:], np.c_[points[:, :2] - points[0, :2], points[:, 2]])


@real
@pytest.mark.slow
def test_activities_are_of_people_who_are_in_one_split():
    source = read("activity_motions/phone")
    assert sizes(source) == {"train": 124, "dev": 20, "test": 30}
    with np.load(find_mirror() / "activity_motions" / "phone.npz") as arrays:
        first = np.flatnonzero(arrays["split"] == "test")[0]
        begin = int(np.sum(arrays["length"][:first]))
        four = slice(begin + 4, begin + 8)
        expected, label = arrays["x"][four].mean(axis=0), arrays["label_names"][arrays["label"][begin + 7]]
    rows, activities = source.splits["test"][0]
    np.testing.assert_allclose(rows[1], expected, rtol=1e-5)
    assert activities[1] == label
    assert len(rows) == len(activities)
    with pytest.raises(DataError, match="has no device 'ring'; known: phone, watch"):
        read("activity_motions/ring")


@real
@pytest.mark.slow
def test_a_name_is_in_one_split_under_all_its_languages():
    source = read("names_nationality")
    names = {split: {"".join(name) for name, _ in rows} for split, rows in source.splits.items()}
    assert not names["train"] & (names["dev"] | names["test"])
    assert not names["dev"] & names["test"]
    languages = [language for rows in source.splits.values() for _, language in rows]
    assert (len(set(languages)), languages.count("Russian"), languages.count("Vietnamese")) == (18, 9384, 73)


def test_a_story_goes_on_after_a_question():
    text = "1 Mary sat.\n2 John ran.\n3 Where is Mary? \tkitchen\t1\n4 Eve left.\n5 Who left?\tEve,John\t4\n"
    text += "1 Hi.\n2 Who?\tme\t1"
    first, second, third = babi_qa.read_questions(text)
    assert first == (("Mary sat.", "John ran."), "Where is Mary?", "kitchen", 0)
    assert second == (("Mary sat.", "John ran.", "Eve left."), "Who left?", "Eve,John", 0)
    assert third == (("Hi.",), "Who?", "me", 1)


@real
def test_stories_have_a_thousand_questions_of_each_kind():
    source = read("babi_qa")
    for split in ("train", "test"):
        rows = [*source.splits[split], *(source.splits["dev"] if split == "train" else ())]
        tasks = Counter(story.task for story, _ in rows)
        assert set(tasks.values()) == {1000}
        assert len(tasks) == 17
        assert all(story.words[-1] == "?" for story, _ in rows)
    assert len(source.splits["dev"]) == 1690
    story, answer = source.splits["train"][0]
    with tarfile.open(find_mirror() / "babi_qa" / "babi_en_1k.tar.gz") as archive:
        name = "tasks_1-20_v1-2/en/qa1_single-supporting-fact_train.txt"
        *statements, asked = archive.extractfile(name).read().decode().splitlines()[:3]
    question, first, _ = asked.split("\t")
    said = " ".join(line.partition(" ")[2] for line in (*statements, question))
    assert " ".join(story.words) == said.strip().replace(".", " .").replace("?", " ?")
    assert (story.task, answer) == ("qa1", first)


@real
@pytest.mark.slow
def test_weather_has_gaps_that_are_held():
    with pytest.raises(DataError, match=r"weather_nyc has gaps: no value in column .*; fill it, or train with data"):
        read_source(RowsConfig(dataset="weather_nyc"))
    source = read_source(RowsConfig(dataset="weather_nyc", missing="hold", mask=True))
    (rows, begin), names = source.splits["test"][0], source.findings.columns
    assert (rows.shape, begin, len(names)) == ((8730, 28), 5826 + 1464, 28)
    assert np.isfinite(rows).all()
    assert rows[:, names.index("EWR_wind_speed")].max() < 150
    pressure, missing = names.index("JFK_pressure"), names.index("JFK_pressure_missing")
    held = np.flatnonzero(rows[:, missing] == 1)
    assert 600 < len(held) < 1200
    np.testing.assert_array_equal(rows[held[1:], pressure], rows[held[1:] - 1, pressure])
    # 2013-01-01T06:00Z, a quarter of the circle.
    np.testing.assert_allclose(rows[0, 12:14], [1, 0], atol=1e-6)


@real
@pytest.mark.slow
def test_abstracts_have_the_scores_that_are_known():
    source = read("scitldr")
    scores = [scores for _, scores in source.splits["test"]]
    for choose, known in ((lambda row: row[0], 0.194), (lambda row: row[-1], 0.154), (max, 0.376)):
        assert np.mean([choose(row) for row in scores]) == pytest.approx(known, abs=5e-4)
    assert all(len(sentences) == len(row) for rows in source.splits.values() for sentences, row in rows)
