"""Tables as people have them: read alike in training and on the device, whatever their form."""

import io

import numpy as np
import pytest
from awkward_tables import NAMES, forms, table, text

from rnnzoo.data import RowsConfig, read_source, source
from rnnzoo.data.files.splitting import assign_splits, borders
from rnnzoo.data.summary import summarize
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.tasks.classifier.config import ClassifierRows
from rnnzoo.tasks.forecaster.config import ForecasterData
from streaming.errors import InputError
from streaming.runtime.tables import (
    Filler,
    NumberReader,
    Resampler,
    fill_rows,
    in_order,
    parse_step,
    parse_time,
    read_header,
    records,
    text_lines,
)

VALUES = table(40)
VALUES.setflags(write=False)


def series(path, **options):
    return read_source(ForecasterData(dataset=f"series:{path}", **options))


@pytest.mark.parametrize("name", forms(VALUES))
def test_a_table_is_the_same_in_every_form(name, tmp_path):
    (tmp_path / name).write_bytes(forms(VALUES)[name])
    found = series(tmp_path / name)
    assert found.findings.columns == NAMES
    np.testing.assert_array_equal(found.splits["test"][0][0], VALUES)
    chosen = series(tmp_path / name, columns=("x10", "x1"))
    np.testing.assert_array_equal(chosen.splits["test"][0][0], VALUES[:, [2, 0]])


def test_a_table_of_one_column_and_one_of_another_encoding(tmp_path):
    (tmp_path / "one.csv").write_text("wärme\n1.5\n2\n3\n4\n5\n", encoding="cp1252")
    with pytest.raises(DataError, match=r"one\.csv, line 1 is not UTF-8.*name its encoding, such as cp1252"):
        series(tmp_path / "one.csv")
    found = series(tmp_path / "one.csv", encoding="cp1252")
    assert found.findings.columns == ("wärme",)
    assert found.splits["test"][0][0].ravel().tolist() == [1.5, 2, 3, 4, 5]
    with pytest.raises(DataError, match="encoding 'cp0' is unknown"):
        series(tmp_path / "one.csv", encoding="cp0")


@pytest.mark.parametrize(
    ("content", "options", "message"),
    [
        ("a,b\n1,2\n", {"columns": ("a", "load")}, r"no column load; there are a, b"),
        ("heat,load\n1,2\n", {"columns": ("heat", "laod")}, r"no column laod; did you mean 'load'\?"),
        ("heat,load\n1,2\n", {"time": "heaat"}, r"no column heaat; did you mean 'heat'\?"),
        ("heat,load\n1,2\n", {"columns": ("heat", "heat")}, "'heat' is named twice"),
        ("a,a\n1,2\n", {}, "line 1: two columns are called 'a'"),
        ("a,3\n1,2\n", {}, r"line 1: .*found both \('a' and '3'\); say data.header=true or data.header=false"),
        ("a;b\n1,5;2\n1.5;2\n", {}, r"line 3: column a: .*'1.5' has '.', numbers before it have ','"),
        ('a,b\n"1,5",2\n', {}, r"line 2: column a: .*a comma in a table that commas separate"),
        ("a,b\n1,2\n3,4_0\n", {}, "line 3: column b"),
        ("a,b\n1,2\n3,inf\n", {}, "line 3: column b"),
        ("a,b\n1,1e999\n", {}, "line 2: column b.*larger than any number"),
        ('a,b\n1,"2\n3,4\n', {}, "line 2: a quotation mark is never closed"),
        ('a,b\n1,"2"x\n', {}, "line 2: quotation marks do not match"),
        ("a,b\n1,2\n\n3,4\n", {}, "line 3: a blank line between rows"),
        ("t,a\n2026-01-01,1\nyesterday,2\n", {"time": "t"}, "line 3: column t: expected a number or an ISO date"),
        ("t,a\n2026-01-01,1\n3,2\n", {"time": "t"}, "line 3: column t: expected a date as before"),
        ("t,a\n1,1\n2,1\n9,1\n10000000,2\n", {"time": "t", "resample": "1s"}, "check that times are in seconds"),
        ("a,b\n1,2\n3,\n,4\n", {}, "line 3: no value in column b; 2 rows lack one: say data.missing=drop, hold"),
        ("", {}, "it holds none"),
        ("a,b\n", {}, "it holds none"),
    ],
)
def test_what_is_wrong_is_named(content, options, message, tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(content)
    with pytest.raises(DataError, match=message) as error:
        series(path, **options)
    assert str(path) in str(error.value) or "data." in str(error.value)


def test_options_that_contradict_each_other_are_refused(monkeypatch):
    for options, message in (
        ({"resample": "1s"}, "name their column by data.time"),
        ({"resample": "1 parsec", "time": "t"}, "expected a step of time such as"),
        ({"ratio": (1.0, 1.0)}, "sizes of train, dev and test"),
        ({"mask": True}, "it needs data.missing=hold"),
        ({"group": "who", "split": "time"}, "set one of them"),
    ):
        with pytest.raises(ConfigError, match=message):
            RowsConfig(dataset="rows:x", **options)
    monkeypatch.setitem(source._REGISTRY, "no_table", source._Entry("rows-label", lambda config: {}))
    with pytest.raises(ConfigError, match=r"data\.missing is for files of your own, 'no_table' is none"):
        read_source(RowsConfig(dataset="no_table", missing="hold"))


def test_columns_without_names_and_what_is_left_out(tmp_path):
    path = tmp_path / "own.csv"
    path.write_text(text(VALUES, header=False, time=lambda t: f"2026-01-01 00:{t:02}:00"))
    found = series(path)
    assert found.findings.columns == ("column_2", "column_3", "column_4")
    assert found.findings.warnings == (
        "column_1 looks like a time and is left out: say data.time=column_1 to sort and to check by it",
    )
    assert found.findings.shown["columns left out"] == "column_1 (looks like times)"
    np.testing.assert_array_equal(series(path, time="column_1").splits["test"][0][0], VALUES)
    # Names that are numbers.
    path.write_text(text(VALUES, names=("10", "9", "2")))
    named = series(path, header=True)
    assert named.findings.columns == ("2", "9", "10")
    np.testing.assert_array_equal(named.splits["test"][0][0], VALUES[:, ::-1])
    path.write_text(text(VALUES, time=lambda t: 5 * t, more=[("site", "north"), ("empty", "")]))
    found = series(path).findings
    assert found.shown["columns left out"] == "empty (no value), site (text)"
    assert "when rises from row to row like a time, and is a feature: say data.time=when" in found.warnings[0]
    # A run made before columns were told by names took the numbers in the order of the file.
    old = series(path, columns=tuple(f"column_{i}" for i in range(4)))
    assert old.findings.columns == ("when", *NAMES)


def test_rows_are_sorted_by_their_times(tmp_path):
    order = np.random.default_rng(1).permutation(40)
    path = tmp_path / "own.csv"
    path.write_text(text(VALUES[order], time=lambda t: f"2026-01-{1 + order[t] // 24:02}T{order[t] % 24:02}:30Z"))
    found = series(path, time="when")
    np.testing.assert_array_equal(found.splits["test"][0][0], VALUES)
    assert found.findings.shown["time"] == "when"
    assert found.findings.shown["rows out of order"] == str(int((np.diff(order) < 0).sum()))
    path.write_text(text(VALUES, time=lambda t: t + 100 * (t > 20) - (t == 5)))
    found = series(path, time="when").findings
    assert found.shown["gaps"] == "2"
    assert found.shown["rows at the time of another"] == "1"
    assert "data.resample" in found.warnings[0]


def test_files_of_a_data_set_are_aligned_by_name_or_refused(tmp_path):
    (tmp_path / "a.csv").write_text(text(VALUES[:20]))
    (tmp_path / "b.csv").write_text(text(VALUES[20:], order=[2, 1, 0], sep=";"))
    np.testing.assert_array_equal(series(tmp_path).splits["test"][0][0], VALUES)
    (tmp_path / "b.csv").write_text(text(VALUES[20:], names=("x1", "x3", "x10")))
    with pytest.raises(DataError, match=r"b\.csv: no column x2; did you mean"):
        series(tmp_path)
    (tmp_path / "b.csv").write_text(text(VALUES[20:], more=[("x4", "7")]))
    with pytest.raises(DataError, match=r"b\.csv has the column x4, .*a\.csv has not.*data\.columns=\[x1, x2, x10\]"):
        series(tmp_path)
    np.testing.assert_array_equal(series(tmp_path, columns=NAMES).splits["test"][0][0], VALUES)
    (tmp_path / "b.csv").write_text(text(VALUES[20:], header=False))
    with pytest.raises(DataError, match=r"b\.csv has no header, .*a\.csv has one"):
        series(tmp_path)


def test_the_splits_of_a_series_by_ratio_and_as_given(tmp_path):
    (tmp_path / "own.csv").write_text(text(VALUES))
    found = series(tmp_path / "own.csv", ratio=(2.0, 1.0, 1.0)).splits
    assert {split: (len(rows), begin) for split, [(rows, begin)] in found.items()} == {
        "train": (20, 0),
        "dev": (30, 20),
        "test": (40, 30),
    }
    (tmp_path / "own.csv").unlink()
    for name, begin, end in (("train", 0, 25), ("dev", 25, 31), ("test", 31, 40)):
        (tmp_path / f"{name}.csv").write_text(text(VALUES[begin:end]))
    found = series(tmp_path).splits
    assert {split: (len(rows), begin) for split, [(rows, begin)] in found.items()} == {
        "train": (25, 0),
        "dev": (31, 25),
        "test": (40, 31),
    }
    np.testing.assert_array_equal(found["test"][0][0], VALUES)


def gaps(seed, rows=60):
    rng = np.random.default_rng(seed)
    values = rng.normal(size=(rows, 3))
    values[rng.random(values.shape) < 0.3] = np.nan
    return values


def oracle(values, policy):
    """Each column by itself, value by value."""
    filled = values.copy()
    for column in filled.T if policy != "drop" else ():
        known = np.flatnonzero(~np.isnan(column))
        for t in range(len(column)):
            before, after = known[known <= t], known[known >= t]
            if len(before) and (policy == "hold" or not len(after)):
                column[t] = column[before[-1]]
            elif len(before) and before[-1] < t:
                share = (t - before[-1]) / (after[0] - before[-1])
                column[t] = column[before[-1]] + share * (column[after[0]] - column[before[-1]])
    return filled[~np.isnan(filled).any(axis=1)]


@pytest.mark.parametrize("policy", ["drop", "hold", "interpolate"])
@pytest.mark.parametrize("seed", range(4))
def test_missing_values_are_filled_as_written_down(policy, seed):
    values = gaps(seed)
    found = fill_rows(policy, ("a", "b", "c"), values)
    np.testing.assert_allclose(found.rows, oracle(values, policy), rtol=1e-12)
    np.testing.assert_array_equal(found.missing, np.isnan(values)[found.numbers])
    np.testing.assert_array_equal(found.with_mask()[:, 3:], np.isnan(values)[found.numbers])
    filler, rng = Filler(policy, ("a", "b", "c")), np.random.default_rng(seed)
    for _ in range(2):
        cuts = np.sort(rng.integers(0, len(values), 7))
        parts = [filler.feed(part) for part in np.split(values, cuts)] + [filler.finish()]
        for name in ("rows", "missing", "numbers"):
            joined = np.concatenate([getattr(part, name) for part in parts])
            np.testing.assert_array_equal(joined, getattr(found, name))


def test_a_column_without_a_value_does_not_fill_the_memory():
    filler = Filler("interpolate", ("a", "b"))
    for _ in range(100):
        filler.feed(np.tile([1.0, np.nan], (1000, 1)))
    with pytest.raises(InputError, match="column b has had no value for"):
        filler.feed(np.tile([1.0, np.nan], (1000, 1)))


def test_rows_at_even_steps_are_means():
    rng = np.random.default_rng(0)
    times = np.sort(rng.uniform(0, 30, 100)) + 1000.0
    times = times[(times < 1010) | (times > 1014)]
    values = rng.normal(size=(len(times), 2))
    values[rng.random(values.shape) < 0.2] = np.nan
    resampler = Resampler(2.0, 2)
    parts = [resampler.feed(t, v) for t, v in zip(np.array_split(times, 9), np.array_split(values, 9), strict=True)]
    even, rows = (np.concatenate(pair) for pair in zip(*parts, resampler.finish(), strict=True))
    np.testing.assert_array_equal(even, np.arange(even[0], even[-1] + 1, 2))
    for moment, row in zip(even, rows, strict=True):
        inside = values[(times >= moment) & (times < moment + 2)]
        for found, column in zip(row, inside.T, strict=True):
            known = column[~np.isnan(column)]
            np.testing.assert_allclose(found, known.mean() if len(known) else np.nan)
    assert np.isnan(rows).all(axis=1).any()
    whole = Resampler(2.0, 2)
    np.testing.assert_array_equal(np.concatenate([whole.feed(times, values)[1], whole.finish()[1]]), rows)


def test_lines_cells_and_names():
    assert [parse_step(step) for step in ("250ms", "1.5s", "15min", "1h", "2 d")] == [0.25, 1.5, 900, 3600, 172800]
    assert parse_time("1970-01-02 00:00:01.5") == 86401.5
    assert parse_time("1970-01-02T01:00:00+01:00") == 86400
    assert [parse_time(cell) for cell in ("20260101", "12.5", "noon", "")] == [None] * 4
    assert in_order(["b2", "b10", "a", "B", "10", "9"]) == ["9", "10", "B", "a", "b2", "b10"]
    read = NumberReader(";")
    np.testing.assert_array_equal(read(["1", "", "NA", "nan", " 2"[1:]]), [1, np.nan, np.nan, np.nan, 2])
    assert read(["1,5", "-,5", "2e3", "1,5E-1"]) == [1.5, -0.5, 2000, 0.15]
    assert read_header("t;a,b;c").names == ("t", "a,b", "c")
    assert read_header('"a;b",c').names == ("a;b", "c")
    # The names that a model was trained with decide between separators, whether there are more columns or not.
    assert read_header("a;b,c", wanted=["a;b", "c"]).names == ("a;b", "c")
    assert read_header("a;b,c,d", wanted=["a;b", "c"]).names == ("a;b", "c", "d")
    assert not read_header("2026-01-01,3,").named
    lines = list(records(text_lines(io.BytesIO(b'a,"b\nc"\r\n1,2'))))
    assert lines == [(1, 'a,"b\nc"'), (3, "1,2")]
    with pytest.raises(InputError, match="compressed data is damaged"):
        list(text_lines(io.BytesIO(b"\x1f\x8bx")))


def test_no_unit_is_in_two_splits_and_none_is_empty():
    for count in (3, 4, 7, 30, 300):
        contents = [str(i % (count - 1) if count > 3 else i).encode() for i in range(count)]
        for ratio in ((), (8.0, 1.0, 1.0), (1.0, 1.0, 1.0)):
            found = assign_splits(contents, [str(i % 2) for i in range(count)], ratio)
            assert set(found) == {"train", "dev", "test"}, (count, ratio)
            by_content = {}
            for content, split in zip(contents, found, strict=True):
                assert by_content.setdefault(content, split) == split
    assert [borders(n) for n in (3, 4, 10, 100)] == [(1, 2), (2, 3), (8, 9), (80, 90)]
    found = assign_splits([str(i).encode() for i in range(1000)], [""] * 1000, (6.0, 3.0, 1.0))
    assert [found.count(split) for split in ("train", "dev", "test")] == [600, 300, 100]


def rows_of(path, **options):
    return read_source(ClassifierRows(dataset=f"rows:{path}", **options))


def test_recordings_are_divided_by_group_by_file_and_by_time(tmp_path):
    for label in ("a", "b"):
        (tmp_path / label).mkdir()
        for i in range(9):
            # x is the number of the file, and every third file is of one person.
            lines = [f"{i + 10 * (label == 'b')},{t},person {i % 3}" for t in range(20)]
            (tmp_path / label / f"{i}.csv").write_text("\n".join(["x,t,who", *lines]))
    found = rows_of(tmp_path, group="who", columns=("x",))
    people = {split: {int(rows[0, 0]) % 10 % 3 for rows, _ in found.splits[split]} for split in found.splits}
    assert sorted(person for held in people.values() for person in held) == [0, 1, 2]
    assert all(len(held) == 1 for held in people.values())
    assert found.findings.shown["split by"] == "who (3)"
    by_file = rows_of(tmp_path, ratio=(7.0, 1.0, 1.0), columns=("x",))
    files = [(int(rows[0, 0]), label) for split in by_file.splits.values() for rows, label in split]
    assert len(files) == len(set(files)) == 18
    assert {split: len(held) for split, held in by_file.splits.items()} == {"train": 14, "dev": 2, "test": 2}
    # As many of each label.
    assert [label for _, label in by_file.splits["test"]] == ["a", "b"]
    by_time = rows_of(tmp_path, split="time", window=2, hop=1, columns=("x", "t"))
    times = {split: {int(t) for rows, _ in held for t in rows[:, 1]} for split, held in by_time.splits.items()}
    assert times == {"train": set(range(16)), "dev": {16, 17}, "test": {18, 19}}
    assert len(by_time.splits["train"]) == 18 * 15
    with pytest.raises(ConfigError, match=r"data\.hop=3 is from window to window"):
        ClassifierRows(dataset="rows:x", hop=3)


def test_labels_by_row_make_recordings(tmp_path):
    path = tmp_path / "own.csv"
    labels = ["sit"] * 30 + [""] * 5 + ["walk"] * 40 + ["sit"] * 3
    path.write_text("\n".join(["x,what", *(f"{t},{label}" for t, label in enumerate(labels))]))
    found = rows_of(path, label="what", window=4)
    assert found.findings.columns == ("x",)
    assert found.findings.shown["split by"] == "time, within each stretch of one label"
    assert found.findings.shown["rows without a label, left out"] == "5"
    for rows, label in (example for held in found.splits.values() for example in held):
        assert {labels[int(t)] for t in rows[:, 0]} == {label}
        assert len(rows) == 4
    assert {label for _, label in found.splits["test"]} == {"walk"}
    assert "recordings shorter than data.window, left out" in found.findings.shown
    with pytest.raises(DataError, match="is no folder: expected a folder of CSV files for each label"):
        rows_of(path)
    with pytest.raises(ConfigError, match=r"needs data\.label"):
        read_source(RowsConfig(dataset=f"tagged:{path}"))
    tagged = read_source(RowsConfig(dataset=f"tagged:{path}", label="what"))
    assert [tags for _, tags in tagged.splits["test"]] == [labels[-8:]]
    events = read_source(RowsConfig(dataset=f"events:{path}", label="what"))
    assert events.splits["dev"][0][1] == [(at, "walk") for at in range(8)]
    lines, warnings = summarize(tagged.splits, tagged.findings)
    assert lines["labels in train"] == "sit 30, walk 27, no label 5"
    assert warnings == list(tagged.findings.warnings)
    assert summarize(events.splits, events.findings)[0]["labels in train"] == "sit 30, walk 27"
