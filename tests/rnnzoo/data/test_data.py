"""Vocabularies, batches, user files, the mirror; real data where a mirror is at hand."""

import dataclasses
import gzip
import hashlib
import json

import numpy as np
import pytest

from rnnzoo.data import Source, WordsConfig, known_datasets, mirror, read_source, register_dataset
from rnnzoo.errors import DataError
from rnnzoo.tasks.classifier.config import ClassifierWords
from rnnzoo.tasks.classifier.task import ClassifierTask
from rnnzoo.tasks.tagger.task import TaggerTask

SENTENCES = [
    (["The", "dog", "barks", "."], ["DET", "NOUN", "VERB", "PUNCT"]),
    (["A", "dog"], ["DET", "NOUN"]),
    (["the", "cat", "sleeps"], ["DET", "NOUN", "VERB"]),
]
UNSEEN = [(["The", "zebra", "oh"], ["DET", "NOUN", "INTJ"])]
SOURCE = Source("words-tags", {"train": SENTENCES, "dev": UNSEEN, "test": UNSEEN})


def config(dataset="own", **fields):
    return WordsConfig(dataset=dataset, **fields)


def load(config):
    return TaggerTask.from_source(read_source(config), config)


def write_conllu(folder, sentences):
    for split in ("train", "dev", "test"):
        lines = []
        for words, tags in sentences:
            lines += ["# a comment", "1-2\tTheDog\t_\t_"]
            lines += [f"{i}\t{w}\t_\t{t}" for i, (w, t) in enumerate(zip(words, tags, strict=True), 1)]
            lines += ["8.1\tghost\t_\tVERB", ""]
        (folder / f"{split}.conllu").write_text("\n".join(lines), encoding="utf-8")


def test_vocabulary_comes_from_training_words_only():
    data = TaggerTask.from_source(SOURCE, config(min_count=1))
    assert set(data.encoder.words.entries) == {"the", "a", "dog", "cat", "barks", "sleeps", "."}
    assert data.labels == ("DET", "NOUN", "PUNCT", "VERB")
    assert set(TaggerTask.from_source(SOURCE, config(min_count=2)).encoder.words.entries) == {"the", "dog"}


def test_batches_hold_every_label_once_and_weigh_padding_nothing():
    data = TaggerTask.from_source(SOURCE, config())
    seen = 0
    for inputs, labels, weights in data.dataset("train", 2, training=False).as_numpy_iterator():
        assert inputs["words"].shape == labels.shape == weights.shape
        assert inputs["chars"].shape == (*labels.shape, 20)
        np.testing.assert_array_equal(weights, inputs["words"] != 0)
        seen += weights.sum()
    assert seen == 9


def test_labels_unknown_to_training_weigh_nothing():
    data = TaggerTask.from_source(SOURCE, config())
    _, _, weights = next(data.dataset("dev", 2, training=False).as_numpy_iterator())
    np.testing.assert_array_equal(weights, [[1, 1, 0, 0]])


def test_training_order_follows_the_seed():
    source = Source("words-tags", {"train": SENTENCES * 20, "dev": UNSEEN, "test": UNSEEN})
    data = TaggerTask.from_source(source, config())

    def order(seed, passes=1):
        batches = data.dataset("train", 4, training=True, seed=seed)
        for _ in range(passes):
            words = [inputs["words"].tolist() for inputs, _, _ in batches.as_numpy_iterator()]
        return words

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert order(1) != order(1, passes=2)


def test_classifier_batches_are_not_padded():
    examples = [(["turn", "it", "on"], "light"), (["what", "time"], "clock"), (["stop"], "light")]
    data = ClassifierTask.from_source(
        Source("text-label", dict.fromkeys(("train", "dev", "test"), examples)),
        ClassifierWords(dataset="own", inputs=("words",)),
    )
    batches = list(data.dataset("train", 8, training=True).as_numpy_iterator())
    assert len(batches) == 3
    for inputs, labels, weights in batches:
        assert (inputs["words"] > 0).all()
        assert labels.shape == weights.shape == (1,)


def test_own_conllu_files(tmp_path):
    write_conllu(tmp_path, SENTENCES)
    data = load(config(f"conll:{tmp_path}", limit=2))
    assert data.examples("train") == SENTENCES[:2]
    expected = {"kind": "tagger", "labels": 4, "dataset": f"conll:{tmp_path}"}
    assert TaggerTask.spec(data.config, data.encoder).to_json() == expected


@pytest.mark.parametrize(
    ("chosen", "said"),
    [
        (config("imagenet"), "imagenet"),
        (config("conll:nowhere"), "train.conllu"),
        (config("conll:{folder}", limit=0), "limit"),
        (config("conll:{folder}", inputs=("chars",)), "words"),
        (config("universal_dependencies/xx_nothing"), "xx_nothing"),
    ],
)
def test_what_is_missing_is_named_in_one_line(chosen, said, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path))
    write_conllu(tmp_path, SENTENCES)
    chosen = dataclasses.replace(chosen, dataset=chosen.dataset.format(folder=tmp_path))
    with pytest.raises(DataError) as error:
        load(chosen)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_malformed_line_is_named(tmp_path):
    write_conllu(tmp_path, SENTENCES)
    (tmp_path / "dev.conllu").write_text("1\tword\n\n")
    with pytest.raises(DataError, match=r"dev\.conllu, line 1: expected 4 columns"):
        load(config(f"conll:{tmp_path}"))


def test_unknown_split_is_named():
    with pytest.raises(DataError, match="train, dev, test"):
        TaggerTask.from_source(SOURCE, config()).examples("validation")


@pytest.fixture
def small_mirror(tmp_path):
    plain = b"1\tword\n"
    folder = tmp_path / "mirror"
    folder.mkdir()
    (folder / "file.gz").write_bytes(gzip.compress(plain))
    row = {
        "builder": "some/set",
        "url": "https://example.org/file",
        "size": str(len(plain)),
        "sha256": hashlib.sha256(plain).hexdigest(),
        "file": "file.gz",
        "prepare": "gunzip first",
        "manual_dir_name": "file",
        "cache_file": "some/cached.txt",
    }
    (folder / "TFDS_CACHE.tsv").write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n")
    return folder


def test_mirror_fills_the_cache_with_checked_bytes(small_mirror, tmp_path):
    assert mirror.seed_cache("some/set", small_mirror, tmp_path / "downloads")
    assert (tmp_path / "downloads/some/cached.txt").read_bytes() == b"1\tword\n"
    info = json.loads((tmp_path / "downloads/some/cached.txt.INFO").read_text())
    assert info == {"urls": ["https://example.org/file"]}
    assert not mirror.seed_cache("another/set", small_mirror, tmp_path / "downloads")


@pytest.mark.parametrize(
    "content",
    [gzip.compress(b"other"), b"no gzip", gzip.compress(b"1\tword\n")[:-9]],
    ids=["other bytes", "no archive", "cut"],
)
def test_damaged_mirror_leaves_no_file(small_mirror, tmp_path, content):
    (small_mirror / "file.gz").write_bytes(content)
    with pytest.raises(DataError, match=r"file\.gz"):
        mirror.seed_cache("some/set", small_mirror, tmp_path / "downloads")
    assert not (tmp_path / "downloads").exists()


def test_missing_data_set_says_where_it_was_sought(small_mirror, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_MIRROR", str(small_mirror))
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path / "data"))

    def refuse(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr("tensorflow_datasets.core.DatasetBuilder.download_and_prepare", refuse)
    with pytest.raises(DataError, match="no network") as error:
        load(config("clinc_oos"))
    for part in (str(tmp_path / "data"), str(small_mirror), "RNNZOO_DATA_MIRROR"):
        assert part in str(error.value)


def test_mirror_without_its_table_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_MIRROR", str(tmp_path))
    with pytest.raises(DataError, match=r"TFDS_CACHE\.tsv"):
        mirror.find_mirror()


@pytest.fixture
def no_network(monkeypatch):
    if mirror.find_mirror() is None:
        pytest.skip("no mirror of the data sets: set RNNZOO_DATA_MIRROR")

    def refuse(*args, **kwargs):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr("socket.socket.connect", refuse)


# Published with release 2.10: words of each split, by the treebank's own statistics.
@pytest.mark.parametrize(
    ("treebank", "labels", "expected"),
    [
        # French has no PART.
        ("fr_sequoia", 16, {"train": (2231, 50505), "dev": (412, 9999), "test": (456, 10044)}),
        pytest.param(
            "en_ewt",
            17,
            {"train": (12543, 204578), "dev": (2001, 25149), "test": (2077, 25094)},
            marks=pytest.mark.slow,
        ),
    ],
)
def test_universal_dependencies_counts_as_published(treebank, labels, expected, no_network, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path))
    data = load(config(f"universal_dependencies/{treebank}"))
    sizes = {split: (len(rows), sum(len(words) for words, _ in rows)) for split, rows in data.splits.items()}
    assert sizes == expected
    assert len(data.labels) == labels


@pytest.mark.slow
def test_clinc_counts_as_published(no_network, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path))
    chosen = config("clinc_oos", inputs=("words",))
    data = ClassifierTask.from_source(read_source(chosen), chosen)
    sizes = {split: len(rows) for split, rows in data.splits.items()}
    assert sizes == {"train": 15000 + 100, "dev": 3000 + 100, "test": 4500 + 1000}
    assert len(data.labels) == 151


def test_a_data_set_of_ones_own_is_one_function():
    register_dataset("own/one", "words-tags")(lambda config: {split: iter(SENTENCES) for split in SOURCE.splits})
    assert known_datasets()["own/one"] == "words-tags"
    assert read_source(config("own/one")) == Source("words-tags", dict.fromkeys(SOURCE.splits, SENTENCES))
    with pytest.raises(DataError, match="did you mean 'own/one'"):
        read_source(config("own/on"))


def test_data_of_another_kind_is_refused():
    with pytest.raises(
        DataError, match=r"'classifier' takes data of the kind text-label or .*; 'own' is of the kind words-t"
    ):
        ClassifierTask.from_source(SOURCE, config())


def test_a_pass_goes_on_where_it_stopped():
    data = TaggerTask.from_source(Source("words-tags", {"train": SENTENCES * 20}), config())

    def words(passes, **start):
        batches = data.dataset("train", 4, training=True, seed=1, **start)
        return [inputs["words"].tolist() for _ in range(passes) for inputs, _, _ in batches.as_numpy_iterator()]

    whole = words(2)
    assert words(1, start=(0, 7)) == whole[7:15]
    assert words(1, start=(1, 0)) == whole[15:]
    assert words(1, start=(1, 4)) == whole[19:]
