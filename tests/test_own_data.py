"""A user's own files as data sets."""

import wave

import numpy as np
import pytest

from rnnzoo.data import read_source
from rnnzoo.data.config import AudioConfig, WordsConfig
from rnnzoo.errors import DataError


def words(path, kind):
    return read_source(WordsConfig(dataset=f"{kind}:{path}"))


def test_one_table_falls_into_splits_that_stay(tmp_path):
    rows = [f'"it is {i}, you see",{"even" if i % 2 == 0 else "odd"},x' for i in range(200)]
    (tmp_path / "a.csv").write_text("\n".join(["text,label,note", *rows]))
    (tmp_path / "b.csv").write_text("\n".join(["text,label,note", *reversed(rows)]))
    first, second = (words(tmp_path / name, "csv") for name in ("a.csv", "b.csv"))
    assert first.kind == "text-label"
    assert sum(map(len, first.splits.values())) == 200
    assert 10 <= len(first.splits["dev"]) <= 35
    for split, examples in first.splits.items():
        assert sorted(examples) == sorted(second.splits[split])
    assert (["it", "is", "4", ",", "you", "see"], "even") in [e for rows in first.splits.values() for e in rows]


def test_files_of_the_three_splits_are_taken_as_they_are(tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.jsonl").write_text(f'{{"text": "{split} text", "label": "l", "more": 1}}\n\n')
    assert words(tmp_path, "jsonl").splits == {s: [([s, "text"], "l")] for s in ("train", "dev", "test")}


@pytest.mark.parametrize(
    ("kind", "content", "message"),
    [
        ("csv", "text,tag\na,b\n", r"line 1: expected columns text and label; no label"),
        ("csv", "text,label\nfine,b\na\n", r"line 3: expected 2 columns, found 1"),
        ("csv", "text,label\nfine,\n", r"line 2: expected label with something"),
        ("csv", 'text,label\n"open,b\n', r"line 2: expected CSV"),
        ("csv", "", r"line 1: expected columns"),
        ("jsonl", '{"text": "a", "label": "b"}\n{"text"\n', r"line 2: expected a JSON object"),
        ("jsonl", "[1]\n", r"line 1: expected a JSON object; found list"),
        ("jsonl", '{"text": "a", "label": 3}\n', r"line 1: expected label"),
    ],
)
def test_an_error_names_file_and_line(tmp_path, kind, content, message):
    path = tmp_path / f"own.{kind}"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as error:
        words(path, kind)
    assert str(path) in str(error.value)


def test_other_encodings_and_missing_files_are_refused(tmp_path):
    (tmp_path / "own.csv").write_bytes("text,label\nschön,b\n".encode("latin-1"))
    with pytest.raises(DataError, match="UTF-8"):
        words(tmp_path / "own.csv", "csv")
    with pytest.raises(DataError, match="is no file"):
        words(tmp_path / "none", "csv")
    (tmp_path / "own.csv").rename(tmp_path / "train.csv")
    with pytest.raises(DataError, match="no dev or test"):
        words(tmp_path, "csv")


def test_a_word_and_its_tag_on_each_line(tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.tsv").write_text("# a comment\n#tag\tO\nYork\tB-place\n\nAnna\tB-person")
    rows = [(["#tag", "York"], ["O", "B-place"]), (["Anna"], ["B-person"])]
    assert words(tmp_path, "conll").splits == dict.fromkeys(("train", "dev", "test"), rows)
    (tmp_path / "dev.tsv").write_text("York\tB-place\nAnna\n")
    with pytest.raises(DataError, match=r"dev\.tsv, line 2: expected 2 columns, found 1"):
        words(tmp_path, "conll")


def test_folders_of_recordings_are_labels(tmp_path):
    for split in ("train", "dev", "test"):
        for k, label in enumerate(("no", "yes")):
            (tmp_path / split / label).mkdir(parents=True)
            with wave.open(str(tmp_path / split / label / "1.wav"), "wb") as file:
                file.setparams((1, 2, 8000, 0, "NONE", ""))
                file.writeframes(np.full(400, 16384 * k, "<i2").tobytes())
    config = AudioConfig(dataset=f"wav:{tmp_path}")
    source = read_source(config)
    assert source.kind == "audio-label"
    assert [label for _, label in source.splits["test"]] == ["no", "yes"]
    np.testing.assert_allclose(source.splits["dev"][1][0], np.full(400, 0.5), atol=1e-4)
    (tmp_path / "dev" / "no" / "1.wav").write_bytes(b"RIFF")
    with pytest.raises(DataError, match=r"no.1\.wav"):
        read_source(config)
