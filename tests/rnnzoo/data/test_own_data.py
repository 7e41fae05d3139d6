"""A user's own files as data sets."""

import dataclasses
import gzip
import io
import os
import tarfile
import wave

import numpy as np
import pytest

from rnnzoo.data import archives, read_source
from rnnzoo.data.config import AudioConfig, PairsConfig, PicturesConfig, RowsConfig, TextConfig, WordsConfig
from rnnzoo.data.files import images, reading
from rnnzoo.data.files.conll import read_conllu
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.tasks.captioner.task import CaptionerTask
from rnnzoo.tasks.class_figures import class_figures, macro_f1
from rnnzoo.tasks.forecaster.config import ForecasterData
from rnnzoo.tasks.tagger.entities import entity_types
from streaming.errors import InputError
from streaming.runtime.tables import lines


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
        ("csv", 'text,label\n"open,b\n', r"line 2: a quotation mark is never closed"),
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


CONLL = {
    "pairs.conll": "York B-place\n\n# O\n",
    "2003.txt": "-DOCSTART- -X- -X- O\n\nYork NNP I-NP B-place\n\n# SYM B-NP O\n",
    "tabs.tsv": "York\tNNP\tB-place\r\n\r\n#\tSYM\tO\r\n",
    "spaces.conll": "# a comment\nYork   x  B-place \n\n#  x O",
    "numbers.conll": "1 York B-place\n\n1 # O\n",
    "own.conllu": "# text = York\n1-2\tx\tx\tx\n1\tYork\t_\tB-place\n\n1\t#\t_\tO\n",
}


@pytest.mark.parametrize("name", CONLL)
def test_conll_files_as_people_have_them(name, tmp_path):
    rows = [(["York"], ["B-place"]), (["#"], ["O"])]
    for encoding in ("utf-8", "utf-8-sig", "utf-16"):
        (tmp_path / name).write_bytes(CONLL[name].encode(encoding))
        assert list(read_conllu(tmp_path / name)) == rows


def test_columns_of_conll_files(tmp_path):
    for split in ("train", "dev", "test"):
        (tmp_path / f"{split}.conll").write_text("York NNP I-NP B-place\nwins VBZ I-VP O\n")
    source = words(tmp_path, "conll")
    assert source.splits["dev"] == [(["York", "wins"], ["B-place", "O"])]
    assert source.findings.shown["columns of words and tags"] == "1 and 4 of 4"
    config = WordsConfig(dataset=f"conll:{tmp_path}", tag_column=2, word_column=3)
    assert read_source(config).splits["test"] == [(["I-NP", "I-VP"], ["NNP", "VBZ"])]
    with pytest.raises(DataError, match=r"train\.conll, line 1: data\.tag_column=5, and there are 4 columns"):
        read_source(dataclasses.replace(config, tag_column=5))
    for text, message in (
        ("York NNP O\nwins O\n", "line 2: expected 3 columns, found 2"),
        ("York\n", "line 1: expected 2 to 10 columns by tabs or spaces, found 1"),
        ("1 York O\nx wins O\n", "line 2: expected the number of a word; received 'x'"),
        ("York\t\n", "line 1: expected a word and its tag"),
    ):
        (tmp_path / "train.conll").write_text(text)
        with pytest.raises(DataError, match=message):
            words(tmp_path, "conll")


def test_texts_with_names_separators_and_several_labels(tmp_path):
    rows = [("it is good; really", "good|short"), ('a "bad" one', "bad"), ("so-so", "")] * 20
    forms = {
        "a.csv": "\n".join(["review;stars", *('"{}";{}'.format(t.replace('"', '""'), s) for t, s in rows)]),
        "b.tsv": "\r\n".join(["stars\treview\tid", *(f"{s}\t{t}\t7" for t, s in rows)]),
        "c.csv": "\n".join(["stars,review", *('{},"{}"'.format(s, t.replace('"', '""')) for t, s in rows)]),
    }
    expected = {"it is good ; really": ["good", "short"], 'a " bad " one': ["bad"], "so - so": []}
    for name, text in forms.items():
        for encoding in ("utf-8-sig", "utf-16"):
            (tmp_path / name).write_bytes(text.encode(encoding))
            config = WordsConfig(dataset=f"csv:{tmp_path / name}", text="review", label="stars", multi_label=True)
            source = read_source(config)
            assert source.kind == "text-labels"
            found = [(" ".join(given), labels) for split in source.splits.values() for given, labels in split]
            assert len(found) == 60
            assert all(expected[text] == labels for text, labels in found)
    (tmp_path / "d.csv").write_text("text,toxic,rude\n" + "\n".join(f"text {i},{i % 2},0" for i in range(40)))
    config = WordsConfig(dataset=f"csv:{tmp_path / 'd.csv'}", multi_label=True, labels=("toxic", "rude"))
    found = [example for split in read_source(config).splits.values() for example in split]
    assert all(labels == (["toxic"] if int(given[1]) % 2 else []) for given, labels in found)
    with pytest.raises(ConfigError, match=r"are several: say data\.multi_label=true"):
        WordsConfig(dataset="csv:x", labels=("a",))
    (tmp_path / "e.csv").write_text("text,label\na,b\n")
    with pytest.raises(DataError, match=r"no lable in .*did you mean 'label'"):
        read_source(WordsConfig(dataset=f"csv:{tmp_path / 'e.csv'}", label="lable"))


def test_long_documents_and_few_examples(tmp_path):
    long = " ".join(f"word{i}" for i in range(30_000))
    lines = ["text,label", *(f'"{long} {i}\nanother line",a' for i in range(3))]
    (tmp_path / "own.csv").write_text("\n".join(lines))
    source = read_source(WordsConfig(dataset=f"csv:{tmp_path / 'own.csv'}", max_words=100))
    # Three are enough for three splits, and only training is cut.
    assert {split: len(rows) for split, rows in source.splits.items()} == {"train": 1, "dev": 1, "test": 1}
    assert [len(source.splits[split][0][0]) for split in ("train", "dev")] == [100, 30_003]
    assert source.findings.shown["texts of train that are cut"] == "1"


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
    with pytest.raises(DataError, match=r"^\S+no.1\.wav is no WAV file"):
        read_source(config)


def test_translations_and_running_text(tmp_path):
    (tmp_path / "pairs.csv").write_text("source,target,who\n" + "\n".join(f'"a, {i}",b {i},x' for i in range(60)))
    source = read_source(PairsConfig(dataset=f"pairs:{tmp_path / 'pairs.csv'}"))
    assert source.kind == "text-text"
    assert sorted(pair for rows in source.splits.values() for pair in rows) == sorted(
        (f"a, {i}", f"b {i}") for i in range(60)
    )
    (tmp_path / "book.txt").write_text("0123456789" * 5)
    parts = read_source(TextConfig(dataset=f"text:{tmp_path / 'book.txt'}")).splits
    assert [parts[split][0][0] for split in ("train", "dev", "test")] == ["0123456789" * 4, "01234", "56789"]
    (tmp_path / "pairs.csv").write_text("source,target\na,\n")
    with pytest.raises(DataError, match="line 2: expected target with something in it"):
        read_source(PairsConfig(dataset=f"pairs:{tmp_path / 'pairs.csv'}"))


@pytest.mark.parametrize("head", ["date,load,heat\n", ""])
def test_a_series_of_numbers_with_its_times(head, tmp_path):
    path = tmp_path / "series.csv"
    path.write_text(head + "\n".join(f"2026-01-{i + 1:02},{i},{i / 2}" for i in range(20)) + "\n\n")
    source = read_source(ForecasterData(dataset=f"series:{path}"))
    assert source.kind == "series"
    ends = {split: (len(rows), begin) for split, [(rows, begin)] in source.splits.items()}
    assert ends == {"train": (12, 0), "dev": (16, 12), "test": (20, 16)}
    # Columns with names are sorted by them.
    factors = [0.5, 1] if head else [1, 0.5]
    np.testing.assert_array_equal(source.splits["test"][0][0], np.arange(20)[:, None] * factors)
    assert source.findings.columns == (("heat", "load") if head else ("column_2", "column_3"))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("a,b\n1,2\n1,x\n", "line 3: column b: expected a number; 'x' is no number"),
        ("1,2\n3\n", "line 2: expected 2 columns, found 1"),
        ("1,2\n3,nan\n", "line 2: no value in column column_2; 1 rows lack one: say data.missing=drop"),
        ("a,b\nc,d\n", "it holds none in a, b"),
        ("a,b\n", "it holds none"),
    ],
)
def test_rows_that_are_no_numbers_are_named(content, message, tmp_path):
    (tmp_path / "own.csv").write_text(content)
    with pytest.raises(DataError, match=message):
        read_source(ForecasterData(dataset=f"series:{tmp_path / 'own.csv'}"))


def test_folders_of_tables_are_labels(tmp_path):
    for label in ("up", "down"):
        (tmp_path / label).mkdir()
        for i in range(40):
            (tmp_path / label / f"{i}.csv").write_text(f"x,y\n{i},1\n{i + (label == 'up')},2\n")
    source = read_source(RowsConfig(dataset=f"rows:{tmp_path}"))
    assert source.kind == "rows-label"
    assert {split: bool(rows) for split, rows in source.splits.items()} == dict.fromkeys(("train", "dev", "test"), True)
    found = [(rows.tolist(), label) for examples in source.splits.values() for rows, label in examples]
    assert ([[7.0, 1.0], [8.0, 2.0]], "up") in found
    assert len(found) == 80
    with pytest.raises(DataError, match="expected a folder of CSV files for each label"):
        read_source(RowsConfig(dataset=f"rows:{tmp_path / 'none'}"))


def test_pictures_with_their_captions(tmp_path):
    image = pytest.importorskip("PIL.Image")
    for i in range(30):
        image.fromarray(np.full((4, 5, 3), i, np.uint8)).save(tmp_path / f"{i}.png")
    lines = [f"{i}.png,number {i}" for i in range(30)]
    (tmp_path / "captions.csv").write_text("\n".join(["file,caption", *lines, "3.png,the third"]))
    source = read_source(PicturesConfig(dataset=f"pictures:{tmp_path}"))
    assert source.kind == "image-captions"
    found = {int(pixels[0, 0, 0]): said for rows in source.splits.values() for pixels, said in rows}
    assert len(found) == 30
    assert found[3] == ["number 3", "the third"]
    image.fromarray(np.zeros((4, 6, 3), np.uint8)).save(tmp_path / "9.png")
    with pytest.raises(DataError, match=r"9\.png has 6 x 4 pixels, the model takes 5 x 4"):
        read_source(PicturesConfig(dataset=f"pictures:{tmp_path}"))
    config = PicturesConfig(dataset=f"pictures:{tmp_path}", size=(8, 12))
    problem = CaptionerTask.from_source(read_source(config), config)
    pictures = [pixels for rows in problem.splits.values() for pixels, _ in rows]
    # Each is of one grey, which stays what it is.
    assert {(pixels.shape, float(np.ptp(pixels)) < 1e-3) for pixels in pictures} == {((8, 12, 3), True)}
    assert sorted(round(float(pixels.mean())) for pixels in pictures) == sorted([0, *(i for i in range(30) if i != 9)])
    assert problem.encoder.shape == (8, 12, 3)
    (tmp_path / "9.png").unlink()
    with pytest.raises(DataError, match=r"captions\.csv.*9\.png"):
        read_source(PicturesConfig(dataset=f"pictures:{tmp_path}"))


def test_features_take_the_place_of_pictures(tmp_path):
    rng = np.random.default_rng(0)
    arrays = [rng.normal(size=(5, 3)) for _ in range(30)]
    for i, array in enumerate(arrays):
        np.save(tmp_path / f"{i}.npy", array)
    (tmp_path / "captions.csv").write_text("\n".join(["file,caption", *(f"{i}.npy,number {i}" for i in range(30))]))
    config = PicturesConfig(dataset=f"pictures:{tmp_path}")
    source = read_source(config)
    found = {said[0]: features for rows in source.splits.values() for features, said in rows}
    for i, array in enumerate(arrays):
        np.testing.assert_array_equal(found[f"number {i}"], array.astype(np.float32))
    with pytest.raises(ConfigError, match=r"data\.shift=2 and data\.mirror=false are for pictures"):
        CaptionerTask.from_source(source, dataclasses.replace(config, shift=2))
    with pytest.raises(ConfigError, match=r"data\.size=\[4, 4\] is for pictures"):
        CaptionerTask.from_source(source, dataclasses.replace(config, size=(4, 4)))
    for wrong, said in (
        (np.zeros((5, 4)), r"expected an array of shape \(5, 3\); received float64 of shape \(5, 4\)"),
        (np.full((5, 3), np.nan), "expected finite numbers; row 0"),
        (np.array([["a"]]), "received <U1"),
        (np.array([{}], object), "allow_pickle"),
    ):
        np.save(tmp_path / "9.npy", wrong)
        with pytest.raises(DataError, match=said):
            read_source(config)
    (tmp_path / "9.npy").write_bytes(b"")
    with pytest.raises(DataError, match=r"9\.npy: expected an array of shape"):
        read_source(config)


NAMES = "../secret.npy /etc/passwd folder pipe.npy out.npy away/secret.npy /dev/zero .".split()


@pytest.mark.parametrize("name", [*NAMES, "x" * 5000])
def test_names_in_tables_stay_in_their_folder(tmp_path, name):
    folder = tmp_path / "pictures"
    (folder / "folder").mkdir(parents=True)
    os.mkfifo(folder / "pipe.npy")
    np.save(tmp_path / "secret.npy", np.ones((2, 3)))
    (folder / "out.npy").symlink_to(tmp_path / "secret.npy")
    (folder / "away").symlink_to(tmp_path)
    (folder / "captions.csv").write_text(f"file,caption\n{name},a secret\n")
    with pytest.raises(DataError, match="is no file in"):
        list(images.examples(folder / "captions.csv", True))
    (folder / "transcripts.csv").write_text(f"file,text\n{name},a secret\n")
    with pytest.raises(DataError, match=r"transcripts\.csv, line 2: .* is no file in"):
        read_source(AudioConfig(dataset=f"speech:{folder}"))


def test_a_link_in_the_folder_is_followed(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((2, 3)))
    (tmp_path / "b.npy").symlink_to("a.npy")
    assert reading.inside(tmp_path, "b.npy").is_file()


def test_archives_are_bounded_by_their_unpacked_size(tmp_path, monkeypatch):
    path = tmp_path / "a.tar.gz"
    with tarfile.open(path, "w:gz") as archive:
        for name in ("a/one", "a/two"):
            info = tarfile.TarInfo(name)
            info.size = 600
            archive.addfile(info, io.BytesIO(bytes(600)))
    assert {name: len(data) for name, data in archives.members(path).items()} == {"one": 600, "two": 600}
    monkeypatch.setattr(archives, "MAX_UNPACKED", 1000)
    with pytest.raises(DataError, match="unpacks to more than 1000 bytes"):
        archives.members(path)
    path.write_bytes(path.read_bytes()[:40])
    with pytest.raises(DataError, match="cannot be unpacked"):
        archives.members(path)


def test_a_line_without_an_end_is_read_no_further(monkeypatch):
    monkeypatch.setattr(lines, "_MAX_LINE", 100)
    for content in (b"a\n" + b"x" * 500, gzip.compress(b"a\n" + bytes(10**6)), ("a\n" + "x" * 500).encode("utf-16")):
        with pytest.raises(InputError, match="line 2 has 100 characters and no end"):
            list(lines.text_lines(io.BytesIO(content)))


def test_figures_of_each_label_and_type_of_entity():
    """Counted by hand: of four entities three are found right, one of them under another name; one is made up."""
    true = [["B-per", "I-per", "O", "B-loc"], ["O", "B-per", "B-loc"]]
    found = [["B-per", "I-per", "O", "B-loc"], ["B-loc", "B-loc", "B-loc"]]
    figures = entity_types(true, found)
    assert figures["per"] == {"precision": 1, "recall": 0.5, "f1": pytest.approx(2 / 3), "count": 2}
    assert figures["loc"] == {"precision": 0.5, "recall": 1, "f1": pytest.approx(2 / 3), "count": 2}
    # The example of seqeval's own page: one entity of two is found whole.
    true = [["O", "O", "O", "B-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    found = [["O", "O", "B-MISC", "I-MISC", "I-MISC", "I-MISC", "O"], ["B-PER", "I-PER", "O"]]
    assert entity_types(true, found)[""] == {"precision": 0.5, "recall": 0.5, "f1": 0.5, "count": 2}
    # An I- of another type, or without a beginning, begins an entity.
    assert entity_types([["O", "I-a", "I-b"]], [["O", "B-a", "B-b"]])[""]["f1"] == 1
    by_label = class_figures([["a"], ["a"], ["b"], []], [["a"], ["b"], ["b"], ["c"]])
    assert by_label["a"] == {"precision": 1, "recall": 0.5, "f1": pytest.approx(2 / 3), "count": 2}
    assert by_label["b"] == {"precision": 0.5, "recall": 1, "f1": pytest.approx(2 / 3), "count": 1}
    assert by_label["c"] == {"precision": 0, "recall": 0, "f1": 0, "count": 0}
    assert macro_f1(by_label) == pytest.approx(4 / 9)
