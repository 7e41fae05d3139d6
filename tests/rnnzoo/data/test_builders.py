"""The builders of the zoo and of TFDS, from the mirror, with every socket closed: counts as published."""

import errno
import os
import shutil
import socket
import sys

import pytest
import tensorflow_datasets as tfds

from rnnzoo.data import read_source
from rnnzoo.data.config import AudioConfig
from rnnzoo.data.mirror import find_mirror, load_builder, rows
from rnnzoo.errors import DataError

pytestmark = pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")

# Name -> examples of each split.
COUNTS = {
    "multi30k": {"train": 29000, "validation": 1014, "test": 1000, "test_2017": 1000},
    "etth1": {"train": 17420},
    "wnut17": {"train": 3394, "validation": 1009, "test": 1287},
    "tatoeba_pairs": {"train": 169813},
    "japanese_vowels": {"train": 270, "test": 370},
    "mitdb100": {"train": 1},
    "jsb_chorales": {"train": 229, "validation": 76, "test": 77},
    "uci_sentiment": {"train": 3000},
    "nab_known_cause": {"test": 7},
    "nlvr_captions": {"train": 3282, "test": 556},
    "noto_emoji_captions": {"train": 2855, "validation": 349, "test": 339},
    "coco_cc_photos": {"train": 26, "validation": 85},
    "wake_words": {"train": 778, "validation": 124, "test": 208},
    "spoken_commands": {"train": 201, "validation": 35, "test": 52},
    "noise": {"train": 48, "test": 48},
    "pendigits": {"train": 7494, "test": 3498},
    "activity_motions": {"train": 248, "validation": 40, "test": 60},
    "names_nationality": {"train": 15950, "validation": 2106, "test": 1994},
    "weather_nyc": {"train": 8730},
    "scitldr": {"train": 1992, "validation": 619, "test": 618},
    "babi_qa": {"train": 17, "test": 17},
    "kanji_strokes": {"train": 10000, "validation": 600, "test": 500},
    "smiles_zinc": {"train": 80000, "validation": 5000, "test": 5000},
    "shakespeare_plays": {"train": 1940, "validation": 102, "test": 102},
}

# Those of TFDS itself; the treebanks are counted in tests/rnnzoo/data/test_data.py.
OFFICIAL = {
    "spoken_digit": {"train": 2500},
    "tiny_shakespeare": {"train": 1, "validation": 1, "test": 1},
    "goemotions": {"train": 43410, "validation": 5426, "test": 5427},
    "clinc_oos": {
        "train": 15000,
        "validation": 3000,
        "test": 4500,
        "train_oos": 100,
        "validation_oos": 100,
        "test_oos": 1000,
    },
    "scan/simple": {"train": 16728, "test": 4182},
    "tatoeba/tatoeba_de": {"train": 1000},
    "tatoeba/tatoeba_es": {"train": 1000},
}


@pytest.fixture(autouse=True)
def _no_network(monkeypatch, tmp_path):
    def refuse(*_):
        raise OSError("the test closes every socket")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path / "tfds"))


@pytest.mark.parametrize(("name", "expected"), [*COUNTS.items(), *OFFICIAL.items()])
def test_examples_are_as_many_as_published(name, expected):
    builder = load_builder(name)
    assert {str(split): info.num_examples for split, info in builder.info.splits.items()} == expected


def test_other_bytes_are_refused_and_nothing_is_prepared(tmp_path, monkeypatch):
    mirror = tmp_path / "mirror"
    shutil.copytree(find_mirror() / "etth1", mirror / "etth1", copy_function=shutil.copyfile)
    (mirror / "TFDS_CACHE.tsv").write_text("builder\n")
    file = mirror / "etth1" / "ETTh1.csv"
    file.write_bytes(file.read_bytes().replace(b"5.827", b"5.828"))
    monkeypatch.setenv("RNNZOO_DATA_MIRROR", str(mirror))
    with pytest.raises(DataError, match=r"ETTh1\.csv: expected SHA-256 f18de3ad.*Copy it anew"):
        load_builder("etth1")
    assert not list((tmp_path / "tfds").rglob("*.csv"))


@pytest.mark.parametrize("begun", [False, True])
def test_a_full_disk_is_one_line_and_leaves_no_part(begun, monkeypatch, tmp_path):
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def refuse(*_, **__):
        raise full

    if begun:
        # TFDS puts it into an error of its own.
        monkeypatch.setattr(tfds.core.GeneratorBasedBuilder, "download_and_prepare", refuse)
    else:
        monkeypatch.setattr(os, "replace", refuse)
    with pytest.raises(DataError, match=r"No space left on device.*\. Make room, or set RNNZOO_DATA_DIR"):
        load_builder("etth1")
    assert not [*(tmp_path / "tfds").rglob("*.part"), *(tmp_path / "tfds").rglob("*.tmp")]


@pytest.mark.slow
def test_beam_prepares_the_same_examples(monkeypatch, tmp_path, caplog):
    pytest.importorskip("apache_beam")
    plain = [example["tags"].tolist() for example in rows("wnut17", "validation")]
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path / "beam"))
    monkeypatch.setenv("RNNZOO_BEAM_RUNNER", "DirectRunner")
    # Beam itself would read the arguments of the program.
    monkeypatch.setattr(sys, "argv", ["rnnzoo", "train", "--runner", "NoRunner"])
    caplog.clear()
    assert [example["tags"].tolist() for example in rows("wnut17", "validation")] == plain
    assert caplog.text == ""
    monkeypatch.setenv("RNNZOO_DATA_DIR", str(tmp_path / "again"))
    monkeypatch.setenv("RNNZOO_BEAM_RUNNER", "NoRunner")
    with pytest.raises(DataError, match=r"RNNZOO_BEAM_RUNNER=NoRunner is no runner of Apache Beam"):
        load_builder("wnut17")


def test_words_noise_and_orders_are_read_at_the_rate_that_is_asked_for():
    source = read_source(AudioConfig(dataset="wake_words/alexa", sample_rate=8000, limit=3))
    assert {label for rows in source.splits.values() for _, label in rows} == {"alexa"}
    noise = read_source(AudioConfig(dataset="noise", sample_rate=16000))
    assert {split: len(rows) for split, rows in noise.splits.items()} == {"train": 34, "dev": 14, "test": 48}
    half = read_source(AudioConfig(dataset="noise", sample_rate=8000, limit=1)).splits["test"][0][0]
    assert abs(len(noise.splits["test"][0][0]) - 2 * len(half)) <= 2
    with pytest.raises(DataError, match=r"wake_words has no word 'hal'; known: alexa, computer, jarvis"):
        read_source(AudioConfig(dataset="wake_words/hal"))
