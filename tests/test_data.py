"""Vocabularies, batches, user files, the mirror; real data where a mirror is at hand."""

import gzip
import hashlib
import json

import numpy as np
import pytest

from rnnzoo.data import DataConfig, load, mirror
from rnnzoo.data.sources import Source
from rnnzoo.data.task import from_source
from rnnzoo.errors import DataError

SENTENCES = [
    (["The", "dog", "barks", "."], ["DET", "NOUN", "VERB", "PUNCT"]),
    (["A", "dog"], ["DET", "NOUN"]),
    (["the", "cat", "sleeps"], ["DET", "NOUN", "VERB"]),
]
UNSEEN = [(["The", "zebra", "oh"], ["DET", "NOUN", "INTJ"])]
SOURCE = Source("tagger", {"train": SENTENCES, "dev": UNSEEN, "test": UNSEEN})


def write_conllu(folder, sentences):
    for split in ("train", "dev", "test"):
        lines = []
        for words, tags in sentences:
            lines += ["# a comment", "1-2\tTheDog\t_\t_"]
            lines += [f"{i}\t{w}\t_\t{t}" for i, (w, t) in enumerate(zip(words, tags, strict=True), 1)]
            lines += ["8.1\tghost\t_\tVERB", ""]
        (folder / f"{split}.conllu").write_text("\n".join(lines), encoding="utf-8")


def test_vocabulary_comes_from_training_words_only():
    data = from_source(SOURCE, DataConfig(min_count=1))
    assert set(data.encoder.words.entries) == {"the", "a", "dog", "cat", "barks", "sleeps", "."}
    assert data.labels == ("DET", "NOUN", "PUNCT", "VERB")
    assert set(from_source(SOURCE, DataConfig(min_count=2)).encoder.words.entries) == {"the", "dog"}


def test_batches_hold_every_label_once_and_weigh_padding_nothing():
    data = from_source(SOURCE, DataConfig())
    seen = 0
    for inputs, labels, weights in data.dataset("train", 2, training=False).as_numpy_iterator():
        assert inputs["words"].shape == labels.shape == weights.shape
        assert inputs["chars"].shape == (*labels.shape, 20)
        np.testing.assert_array_equal(weights, inputs["words"] != 0)
        seen += weights.sum()
    assert seen == 9


def test_labels_unknown_to_training_weigh_nothing():
    data = from_source(SOURCE, DataConfig())
    _, _, weights = next(data.dataset("dev", 2, training=False).as_numpy_iterator())
    np.testing.assert_array_equal(weights, [[1, 1, 0, 0]])


def test_training_order_follows_the_seed():
    data = from_source(Source("tagger", {"train": SENTENCES * 20, "dev": UNSEEN, "test": UNSEEN}), DataConfig())

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
    data = from_source(
        Source("classifier", dict.fromkeys(("train", "dev", "test"), examples)), DataConfig(inputs=("words",))
    )
    batches = list(data.dataset("train", 8, training=True).as_numpy_iterator())
    assert len(batches) == 3
    for inputs, labels, weights in batches:
        assert (inputs["words"] > 0).all()
        assert labels.shape == weights.shape == (1,)


def test_own_conllu_files(tmp_path):
    write_conllu(tmp_path, SENTENCES)
    data = load(DataConfig(f"conll:{tmp_path}", limit=2))
    assert data.examples("train") == SENTENCES[:2]
    assert data.task == {"kind": "tagger", "labels": 4, "dataset": f"conll:{tmp_path}"}


@pytest.mark.parametrize(
    ("config", "said"),
    [
        (DataConfig("imagenet"), "imagenet"),
        (DataConfig("conll:nowhere"), "train.conllu"),
        (DataConfig("conll:{folder}", limit=0), "limit"),
        (DataConfig("conll:{folder}", inputs=("chars",)), "words"),
        (DataConfig("universal_dependencies/xx_nothing"), "xx_nothing"),
    ],
)
def test_what_is_missing_is_named_in_one_line(config, said, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path))
    write_conllu(tmp_path, SENTENCES)
    fields = {**vars(config), "dataset": config.dataset.format(folder=tmp_path)}
    with pytest.raises(DataError) as error:
        load(DataConfig(**fields))
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_malformed_line_is_named(tmp_path):
    write_conllu(tmp_path, SENTENCES)
    (tmp_path / "dev.conllu").write_text("1\tword\n\n")
    with pytest.raises(DataError, match=r"dev\.conllu, line 1: expected 4 columns"):
        load(DataConfig(f"conll:{tmp_path}"))


def test_unknown_split_is_named():
    with pytest.raises(DataError, match="train, dev, test"):
        from_source(SOURCE, DataConfig()).examples("validation")


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


@pytest.mark.parametrize("content", [gzip.compress(b"other"), b"no gzip", gzip.compress(b"1\tword\n")[:-9]])
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
        load(DataConfig("clinc_oos"))
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
    data = load(DataConfig(f"universal_dependencies/{treebank}"))
    sizes = {split: (len(rows), sum(len(words) for words, _ in rows)) for split, rows in data.splits.items()}
    assert sizes == expected
    assert len(data.labels) == labels


def test_clinc_counts_as_published(no_network, tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path))
    data = load(DataConfig("clinc_oos", inputs=("words",)))
    sizes = {split: len(rows) for split, rows in data.splits.items()}
    assert sizes == {"train": 15000 + 100, "dev": 3000 + 100, "test": 4500 + 1000}
    assert len(data.labels) == 151
