"""The command `streaming`: what it prints, what it refuses, and that the flatbuffer's reader fears no file."""

import io
import json
import struct
import subprocess
import sys
import zipfile

import keras
import numpy as np
import pytest
from keras import layers
from places import ROOT

import streaming
from streaming.cli import main
from streaming.cli.bench import run_benchmark
from streaming.conversion.drawing import draw_plan
from streaming.conversion.loading import load_keras, load_sequences
from streaming.errors import ArtifactError, InputError, NotStreamableError
from streaming.inspection import describe
from streaming.runtime import artifact, costs, flatbuffer
from streaming.runtime.text import WordEncoder

FEATURES, UNITS, CLASSES = 5, 6, 2


def small_model():
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((None, FEATURES), name="frames"),
            layers.Conv1D(8, 3, padding="same", name="wide"),
            layers.LSTM(UNITS, return_sequences=True, name="memory"),
            layers.Dense(CLASSES, name="scores"),
        ],
        name="small",
    )


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small.keras"
    small_model().save(path)
    return path


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    path = tmp_path_factory.mktemp("models") / "small.tflite"
    streaming.convert(small_model(), path, chunk=4, batch_sizes=(1, 3))
    return path


def run(capsys, *arguments):
    code = main([str(argument) for argument in arguments])
    return code, *capsys.readouterr()


def refused(capsys, *arguments):
    """The one line of an error."""
    code, out, err = run(capsys, *arguments)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert err.startswith("streaming: error: ")
    return err


# convert


def test_convert_writes_a_file_that_equals_the_model(saved, tmp_path, capsys):
    out = tmp_path / "out.tflite"
    code, text, err = run(capsys, "convert", saved, out, "--batch-sizes", "1,3", "--chunk", "2")
    assert (code, err) == (0, "")
    assert "delay 1" in text
    assert "chunk_2_b3 (3 x 2)" in text
    x = np.random.default_rng(0).standard_normal((9, FEATURES)).astype("float32")
    stream = streaming.load(out).create_stream()
    streamed = np.concatenate([stream.feed(x), stream.finish()])
    offline = keras.saving.load_model(saved)(x[None])[0]
    np.testing.assert_allclose(streamed, offline, rtol=0, atol=1e-5)
    assert streaming.load(out).metadata.source.more["file"] == "small.keras"


@pytest.mark.slow
def test_convert_measures_a_lookahead_on_the_users_sequences(tmp_path, capsys):
    inputs = keras.Input((None, 3))
    model = keras.Model(inputs, layers.Bidirectional(layers.GRU(4, return_sequences=True))(inputs))
    model.save(tmp_path / "both.keras")
    np.save(tmp_path / "data.npy", np.ones((2, 30, 3), "float32"))
    where = ["--calibration", tmp_path / "data.npy"]
    code, text, _ = run(capsys, "convert", tmp_path / "both.keras", tmp_path / "b.tflite", "--lookahead", "2", *where)
    assert code == 0
    assert "limited context costs" in text
    assert "over 60 steps" in text
    assert "backwards" in refused(capsys, "convert", tmp_path / "both.keras", tmp_path / "b.tflite")


@keras.saving.register_keras_serializable(package="tests")
class Doubled(layers.Layer):
    """Streams by the protocol: it has no memory."""

    def call(self, x):
        return 2 * x

    def stream_spec(self, input_shape):
        return {"states": {}, "delay": 0}

    def stream_step(self, x, valid, states):
        return self(x), valid, states


def save_with(layer, path):
    inputs = keras.Input((None, 3))
    keras.Model(inputs, layer(inputs)).save(path)
    return path


def test_a_lambda_is_refused_before_anything_is_loaded(tmp_path, capsys):
    path = save_with(layers.Lambda(lambda x: x * 2, name="twice"), tmp_path / "model.keras")
    assert "layer 'twice' of" in refused(capsys, "convert", path, tmp_path / "x.tflite")
    nested = keras.Sequential([keras.Input((None, 3)), layers.Lambda(lambda x: x)])
    with pytest.raises(NotStreamableError, match="Lambda"):
        load_keras(save_with(nested, tmp_path / "nested.keras"))
    with pytest.warns(UserWarning, match="lambda"):
        path = save_with(layers.Dense(2, activation=lambda x: x), tmp_path / "activation.keras")
    with pytest.raises(InputError, match="Could not interpret activation"):
        load_keras(path)


def test_a_registered_class_loads_and_a_foreign_one_is_refused_by_name(tmp_path, monkeypatch):
    path = save_with(Doubled(name="mine"), tmp_path / "model.keras")
    assert load_keras(path).get_layer("mine").stream_spec(None)["delay"] == 0
    monkeypatch.setattr(keras.saving, "get_registered_object", lambda name: None)
    with pytest.raises(NotStreamableError, match=r"layer 'mine' .*Doubled.*--import MODULE"):
        load_keras(path)
    with pytest.raises(InputError, match="cannot import 'no_such_module'"):
        load_keras(path, ["no_such_module"])


def damaged_weights(path, saved):
    with zipfile.ZipFile(saved) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, b"nothing" if name.endswith(".h5") else old.read(name))


def flipped_weights(path, saved):
    content = bytearray(saved.read_bytes())
    with zipfile.ZipFile(saved) as archive:
        entry = archive.getinfo("model.weights.h5")
    content[entry.header_offset + entry.compress_size // 2] ^= 255
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("write", "message"),
    [
        (lambda path, saved: None, "does not exist"),
        (lambda path, saved: path.mkdir(), "is a folder"),
        (lambda path, saved: path.write_bytes(b""), "is no .keras or .h5 file"),
        (lambda path, saved: path.write_bytes(saved.read_bytes()[:500]), "is no .keras or .h5 file"),
        (lambda path, saved: zipfile.ZipFile(path, "w").close(), "is no .keras or .h5 file"),
        (damaged_weights, "Keras cannot load"),
        (flipped_weights, "is damaged: model.weights.h5 does not match its checksum"),
    ],
    ids=["missing", "folder", "empty", "truncated", "no config", "no weights", "one byte"],
)
def test_what_is_no_saved_model_is_refused(write, message, saved, tmp_path):
    write(tmp_path / "model.keras", saved)
    with pytest.raises(InputError, match=message):
        load_keras(tmp_path / "model.keras")


def test_calibration_files(tmp_path):
    one, two = keras.Input((None, 3), name="a"), keras.Input((None, 2), name="b")
    np.save(tmp_path / "single.npy", np.zeros((7, 3)))
    assert [x.shape for x in load_sequences(tmp_path / "single.npy", [one])] == [(7, 3)]
    np.savez(tmp_path / "many.npz", first=np.zeros((7, 3)), second=np.zeros((5, 3)))
    assert [x.shape for x in load_sequences(tmp_path / "many.npz", [one])] == [(7, 3), (5, 3)]
    np.savez(tmp_path / "named.npz", a=np.zeros((4, 7, 3)), b=np.zeros((4, 7, 2)))
    found = load_sequences(tmp_path / "named.npz", [one, two])
    assert [(item["a"].shape, item["b"].shape) for item in found] == [((7, 3), (7, 2))] * 4
    for name, content, message in (
        ("missing.npy", None, "cannot read"),
        ("text.npy", b"1,2,3", "cannot read"),
        ("single.npy", np.zeros(4), "expected 2 axes"),
    ):
        if isinstance(content, bytes):
            (tmp_path / name).write_bytes(content)
        elif content is not None:
            np.save(tmp_path / name, content)
        with pytest.raises(InputError, match=message):
            load_sequences(tmp_path / name, [one])
    with pytest.raises(InputError, match="expected one for each input"):
        load_sequences(tmp_path / "many.npz", [one, two])
    objects = np.array([object()], dtype=object)
    np.save(tmp_path / "code.npy", objects, allow_pickle=True)
    with pytest.raises(InputError, match="cannot read"):
        load_sequences(tmp_path / "code.npy", [one])


# inspect


@pytest.mark.slow
def test_multiply_adds_are_those_of_the_layers(converted):
    found = describe(converted)
    conv, memory, dense = 3 * FEATURES * 8, (8 + UNITS) * 4 * UNITS, UNITS * CLASSES
    for name, streams, steps in (("step", 1, 1), ("step_b3", 3, 1), ("chunk_4", 1, 4), ("chunk_4_b3", 3, 4)):
        signature = found["signatures"][name]
        assert signature["multiply_adds"] == streams * steps * (conv + memory + dense)
    parameters = 4 * (conv + 8 + memory + 4 * UNITS + dense + CLASSES)
    assert parameters <= found["weight_bytes"] < parameters + 1000
    assert sum(row["bytes"] for row in found["states"]) == found["state_bytes"]


@pytest.mark.parametrize(
    ("layer", "shape", "expected"),
    [
        (lambda: layers.Conv2D(4, (3, 5)), (9, 2), 3 * 5 * 2 * 4 * 5),
        (lambda: layers.DepthwiseConv1D(3), (6,), 3 * 6),
        (lambda: layers.Conv1DTranspose(5, 4, strides=2), (3,), 4 * 3 * 5),
        (lambda: layers.Dense(7), (3,), 3 * 7),
    ],
    ids=["conv2d", "depthwise", "transpose", "dense"],
)
def test_multiply_adds_of_one_layer(layer, shape, expected, convert):
    inputs = keras.Input((None, *shape))
    _, path = convert(keras.Model(inputs, layer()(inputs)))
    assert describe(path)["signatures"]["step"]["multiply_adds"] == expected


def test_operations_are_those_that_tensorflow_reads(converted):
    from streaming.conversion import tflite

    content = artifact.read(converted).flatbuffer
    total = {}
    for signature in costs.count_costs(content).signatures.values():
        for name, count in signature.operations.items():
            total[name] = total.get(name, 0) + count
    assert dict(sorted(total.items())) == tflite.operations(content)


def test_names_of_operations_are_those_of_the_schema():
    from tensorflow.lite.python import schema_py_generated as schema

    for number, name in enumerate(flatbuffer.BUILTIN_NAMES):
        assert getattr(schema.BuiltinOperator, name) == number


def test_inspect_prints_tables_and_json(converted, capsys):
    code, text, err = run(capsys, "inspect", converted)
    assert (code, err) == (0, "")
    for part in ("small", "delay 1 step", "max error", "frames", "scores", "memory/state0", "wide/past", "CONV_2D"):
        assert part in text, part
    assert all(line == line.rstrip() for line in text.splitlines())
    code, text, _ = run(capsys, "inspect", converted, "--json")
    found = json.loads(text)
    assert [row["name"] for row in found["plan"]] == ["wide", "memory", "scores"]
    assert [row["inputs"] for row in found["plan"]] == [["frames"], ["wide"], ["memory"]]


def test_quantization_and_internal_state_are_shown(saved, tmp_path, capsys):
    np.save(tmp_path / "data.npy", np.random.default_rng(0).standard_normal((2, 30, FEATURES)).astype("float32"))
    out = tmp_path / "int8.tflite"
    more = ["--quantize", "int8", "--calibration", tmp_path / "data.npy"]
    code, text, _ = run(capsys, "convert", saved, out, *more)
    assert code == 0
    assert "quantization drifts" in text
    text = run(capsys, "inspect", out)[1]
    assert "quantization int8" in text
    assert "rms from float32 over 10,000 steps" in text
    out = tmp_path / "internal.tflite"
    assert run(capsys, "convert", saved, out, "--state", "internal")[0] == 0
    text = run(capsys, "inspect", out)[1]
    assert "a stream, internal" in text
    assert list(describe(out)["signatures"]) == ["step", "reset"]
    assert [row["streams"] for row in run_benchmark(out, 20)["throughput"]] == [1]


@pytest.mark.slow
def test_weights_of_half_precision_are_stored_so_where_asked(tmp_path, capsys):
    model = keras.Sequential([keras.Input((None, FEATURES)), layers.LSTM(64, return_sequences=True)])
    model.set_weights([weight.astype("float16") for weight in model.get_weights()])
    model.save(tmp_path / "half.keras")
    sizes = []
    for more in ((), ("--compact",)):
        out = tmp_path / "half.tflite"
        assert run(capsys, "convert", tmp_path / "half.keras", out, *more)[0] == 0
        sizes.append(out.stat().st_size)
    assert sizes[1] < 0.7 * sizes[0]
    code, _, err = run(capsys, "convert", tmp_path / "half.keras", out, "--compact", "--quantize", "dynamic")
    assert (code, err.count("\n")) == (2, 1)
    assert "compact goes with quantize=None" in err
    assert out.stat().st_size == sizes[1]


def test_inspect_hides_what_would_drive_a_terminal(tmp_path, capsys):
    path = tmp_path / "m.tflite"
    streaming.convert(small_model(), path, metadata={"task": {"kind": "\x1b[2Jgone"}})
    code, text, _ = run(capsys, "inspect", path)
    assert code == 0
    assert "\x1b" not in text
    assert "?[2Jgone" in text


@pytest.mark.parametrize("suffix", [".png", ".svg", ".pdf"])
def test_the_plan_is_drawn(suffix, converted, tmp_path, capsys):
    target = tmp_path / f"plan{suffix}"
    code, _, err = run(capsys, "inspect", converted, "--plot", target)
    assert (code, err) == (0, f"drew {target}\n")
    content = target.read_bytes()
    assert content.startswith({".png": b"\x89PNG", ".svg": b"<?xml", ".pdf": b"%PDF"}[suffix])


def test_branches_and_held_branches_are_in_the_picture(tmp_path):
    inputs = keras.Input((None, 4), name="frames")
    wide, narrow = layers.Conv1D(4, 5, padding="same", name="wide")(inputs), layers.Dense(4, name="narrow")(inputs)
    now = layers.Add(name="join")([wide, narrow])
    total = layers.GlobalAveragePooling1D(name="total")(now)
    path = tmp_path / "m.tflite"
    streaming.convert(keras.Model(inputs, [now, total], name="cost $5 in $"), path)
    draw_plan(describe(path), tmp_path / "plan.svg")
    text = (tmp_path / "plan.svg").read_text()
    # matplotlib writes each text as paths, after a comment that holds it.
    for part in ("frames", "narrow/delay", "join", "total", "cost", "running", "delay 2"):
        assert part in text, part


def test_the_picture_of_a_translator_shows_its_encoder(tmp_path, capsys):
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None, 3), name="target")
    _, state = layers.GRU(4, return_state=True, name="reader")(layers.Embedding(9, 3, name="letters")(source))
    outputs = layers.GRU(4, return_sequences=True, name="writer")(target, initial_state=state)
    streaming.convert(keras.Model([source, target], outputs), tmp_path / "m.tflite", encode=["source"], max_length=7)
    draw_plan(describe(tmp_path / "m.tflite"), tmp_path / "plan.svg")
    text = (tmp_path / "plan.svg").read_text()
    for part in ("source", "up to 7", "letters", "reader", "writer", "once", "computed once, by encode"):
        assert f"<!-- {part}" in text or f" {part}" in text, part
    # From the source through the encoder to the writer: an edge each.
    rows = {row["name"]: row for row in describe(tmp_path / "m.tflite")["plan"]}
    assert [rows[name]["inputs"] for name in ("letters", "reader")] == [["source"], ["letters"]]
    assert set(rows["writer"]["inputs"]) == {"target", "reader"}
    assert [rows[name]["encoded"] for name in ("letters", "reader", "writer")] == [True, True, False]
    assert "once" in run(capsys, "inspect", tmp_path / "m.tflite")[1]


def test_a_picture_that_cannot_be_drawn(converted, tmp_path, capsys, monkeypatch):
    assert ".png, .svg or .pdf" in refused(capsys, "inspect", converted, "--plot", tmp_path / "plan.jpg")
    assert "No such file" in refused(capsys, "inspect", converted, "--plot", tmp_path / "none" / "plan.png")
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    assert "pip install 'rnnzoo[train]'" in refused(capsys, "inspect", converted, "--plot", tmp_path / "plan.png")


# run


def stream_lines(capsys, monkeypatch, path, text, *more):
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text if isinstance(text, bytes) else text.encode())))
    return run(capsys, "run", path, *more)


def test_run_takes_json_and_numbers_and_ends_a_sequence_at_a_blank_line(converted, capsys, monkeypatch):
    x = np.random.default_rng(3).standard_normal((6, FEATURES)).round(3)
    rows = [json.dumps(list(row)) if index % 2 else ",".join(map(str, row)) for index, row in enumerate(x)]
    text = "\ufeffa,b,c,d,e\n" + "\n".join([*rows, "", "", *rows[:3]]) + "\n"
    code, out, err = stream_lines(capsys, monkeypatch, converted, text)
    assert (code, err) == (0, "")
    found = [json.loads(line) for line in out.splitlines()]
    model = small_model()
    for sequence, steps in ((0, 6), (1, 3)):
        got = [item for item in found if item["sequence"] == sequence]
        assert [item["index"] for item in got] == list(range(steps))
        offline = np.asarray(model(x[None, :steps].astype("float32")))[0]
        np.testing.assert_allclose([item["value"] for item in got], offline, atol=1e-5)


def test_run_reads_a_file(converted, tmp_path, capsys):
    (tmp_path / "rows.csv").write_text("0,0,0,0,1\n")
    code, out, _ = run(capsys, "run", converted, tmp_path / "rows.csv")
    assert code == 0
    assert json.loads(out)["output"] == "scores"


def test_run_takes_objects_and_gives_every_output(tmp_path, capsys, monkeypatch):
    words, level = keras.Input((None,), dtype="int32", name="words"), keras.Input((None, 1), name="level")
    joined = layers.Concatenate()([layers.Embedding(9, 3)(words), level])
    outputs = {"now": layers.Dense(2, name="now")(joined), "last": layers.GRU(2, name="last")(joined)}
    streaming.convert(keras.Model([words, level], outputs), tmp_path / "m.tflite")
    text = '{"words": 3, "level": [0.5]}\n{"words": 8, "level": [1]}\n'
    code, out, _ = stream_lines(capsys, monkeypatch, tmp_path / "m.tflite", text)
    assert code == 0
    assert [(i["output"], i["index"]) for i in map(json.loads, out.splitlines())] == [
        ("last", 0), ("now", 0), ("last", 1), ("now", 1)
    ]  # fmt: skip
    for line, message in (
        ('{"words": 9, "level": [0.5]}', "line 1: input 'words'"),
        ('{"words": 1}', "expected the inputs ['level', 'words']"),
        ("1,2", "expected a JSON object"),
        ('{"words": "a", "level": [1]}', "expected a JSON object"),
    ):
        code, out, err = stream_lines(capsys, monkeypatch, tmp_path / "m.tflite", line)
        assert (code, out) == (2, "")
        assert message in err


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("1,2,3,4", "line 1 is '1,2,3,4', expected one step: a JSON array of shape [5]"),
        ("1,2,3,4,5\n1,2,x,4,5", "line 2 is"),
        ("[1,2,3,4,5", "line 1 is"),
        ('["1","2","3","4","5"]', "line 1 is"),
        ("[[1],2,3,4,5]", "line 1 is"),
        ("[" * 100_000, "line 1 is"),
        ("1,2,3,4,nan", "line 1: input 'frames'"),
        (b"\xff1", "line 1 is not UTF-8"),
    ],
)
def test_run_names_the_line_that_is_no_step(text, message, converted, capsys, monkeypatch):
    code, _, err = stream_lines(capsys, monkeypatch, converted, text)
    assert code == 2
    assert message in err
    assert err.count("\n") == 1
    assert len(err) < 400


@pytest.mark.parametrize("text", ["", "\n\n"])
def test_run_of_nothing_says_so(text, converted, capsys, monkeypatch):
    message = "streaming: error: the input holds no steps; give a line of numbers or more\n"
    assert stream_lines(capsys, monkeypatch, converted, text) == (2, "", message)


@pytest.mark.parametrize(("kind", "key"), [("tagger", "tag"), ("classifier", "label")])
def test_run_takes_text_for_tasks_of_words(kind, key, tmp_path, capsys, monkeypatch):
    encoder = WordEncoder.fit([["the", "dog"]], ["A", "B"], inputs=("words",), min_count=1)
    words = keras.Input((None,), dtype="int32", name="words")
    outputs = layers.GRU(2, return_sequences=kind == "tagger", name="logits")(layers.Embedding(9, 3)(words))
    path = tmp_path / "m.tflite"
    streaming.convert(keras.Model(words, outputs), path, metadata={"task": {"kind": kind}, "files": encoder.to_files()})
    code, out, _ = stream_lines(capsys, monkeypatch, path, "The dog barks.\n\nthe\n")
    assert code == 0
    found = [json.loads(line) for line in out.splitlines()]
    assert [(i["line"], i["word"]) for i in found] == [(1, "The"), (1, "dog"), (1, "barks"), (1, "."), (3, "the")]
    assert {i[key] for i in found} <= {"A", "B"}
    assert found[0] == {**found[4], "line": 1, "word": "The"}


# bench


def test_bench_measures(converted, capsys):
    code, text, err = run(capsys, "bench", converted, "--steps", "30")
    assert (code, err) == (0, "")
    assert "p99.9" in text
    found = run_benchmark(converted, 30)
    assert found["step_us"]["p50"] <= found["step_us"]["p99"] <= found["step_us"]["p99.9"]
    assert 0 < found["bare_invoke_us"]["p50"] <= found["step_us"]["p50"]
    assert [row["streams"] for row in found["throughput"]] == [1, 3]
    assert found["peak_bytes"] > 1e7
    assert 0 <= found["model_bytes"] < found["peak_bytes"]
    assert found["state_bytes"] == sum(row["bytes"] for row in describe(converted)["states"])
    assert json.loads(run(capsys, "bench", converted, "--steps", "30", "--json")[1])["chunk"] == 4


@pytest.mark.slow
def test_models_that_read_a_source_first(tmp_path, capsys, monkeypatch):
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None,), dtype="int32", name="target")
    _, *final = layers.LSTM(4, return_state=True)(layers.Embedding(9, 3)(source))
    x = layers.LSTM(4, return_sequences=True)(layers.Embedding(7, 3)(target), initial_state=final)
    path = tmp_path / "m.tflite"
    keras.Model([source, target], layers.Dense(7)(x)).save(tmp_path / "m.keras")
    more = ["--encode", "source", "--max-length", "6", "--batch-sizes", "1,2"]
    assert run(capsys, "convert", tmp_path / "m.keras", path, *more)[0] == 0
    code, text, _ = run(capsys, "inspect", path, "--plot", tmp_path / "plan.svg")
    assert code == 0
    assert "up to 6" in text
    assert "computed once, by encode" in (tmp_path / "plan.svg").read_text()
    # Six rounds of a loop with 3 inputs and 4 units by 4 gates.
    assert describe(path)["signatures"]["encode"]["multiply_adds"] == 6 * (3 + 4) * 16
    assert [row["streams"] for row in run_benchmark(path, 20)["throughput"]] == [1, 2]
    code, _, err = stream_lines(capsys, monkeypatch, path, "1\n")
    assert (code, err.count("\n")) == (2, 1)
    assert "encode" in err


# the command line itself


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "expected a command: convert, adopt, inspect, run, bench, vectors, micro, esphome, serve"),
        (["inspct"], "unknown command 'inspct'; did you mean 'inspect'?"),
        (["fly"], "unknown command 'fly'; known: convert, adopt, inspect, run, bench, vectors, micro, esphome, serve"),
        (["inspect"], "required: MODEL.tflite; see `streaming inspect --help`"),
        (["inspect", "x", "--colour"], "--colour"),
        (["convert", "a", "b", "--chunk", "x"], "--chunk"),
        (["convert", "a", "b", "--batch-sizes", "1,0"], "1 or more, got '0'"),
        (["bench", "x", "--steps", "-1"], "1 or more, got '-1'"),
        (["inspect", "missing.tflite"], "cannot read missing.tflite"),
        (["run", "missing.tflite"], "cannot read missing.tflite"),
    ],
)
def test_mistakes_get_one_line(arguments, message, capsys):
    assert message in refused(capsys, *arguments)


def test_other_mistakes_get_one_line(converted, saved, tmp_path, capsys):
    assert "rows.csv: No such file" in refused(capsys, "run", converted, "rows.csv")
    assert "expected one of" in refused(capsys, "run", converted, "--runtime", "onnx")
    assert "does not exist" in refused(capsys, "convert", saved, tmp_path / "none" / "x.tflite")
    assert "cannot import ''" in refused(capsys, "convert", saved, tmp_path / "x.tflite", "--import", "")
    assert "is a folder" in refused(capsys, "convert", saved, tmp_path)
    with pytest.raises(ArtifactError):
        main(["inspect", "missing.tflite", "--debug"])


@pytest.mark.parametrize("module", ["streaming", "streaming.cli"])
def test_modules_run_as_the_command(module):
    done = subprocess.run([sys.executable, "-m", module, "fly"], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("streaming: error: unknown command 'fly'")
    assert done.stderr.count("\n") == 1


def test_interrupt_is_130(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("streaming.inspection.describe", interrupt)
    code, _, err = run(capsys, "inspect", "x")
    assert (code, err) == (130, "streaming: interrupted\n")


BLOCKED = """
import sys
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "rich", "matplotlib"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Block())
from streaming.cli import main
sys.exit(main())
"""


def test_the_edge_install_inspects_runs_and_measures(converted, tmp_path):
    def edge(*arguments, text=""):
        command = [sys.executable, "-c", BLOCKED, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, input=text, cwd=ROOT, timeout=120)

    assert "multiply-adds" in edge("inspect", converted).stdout
    assert "scores" in edge("run", converted, text="1,2,3,4,5\n").stdout
    assert edge("bench", converted, "--steps", "20").returncode == 0
    (tmp_path / "m.keras").write_bytes(b"")
    for done in (edge("convert", "a.keras", "b.tflite"), edge("inspect", converted, "--plot", tmp_path / "p.png")):
        assert done.returncode == 2
        assert done.stderr.count("\n") == 1
        assert "pip install 'rnnzoo[train]'" in done.stderr


# the flatbuffer's reader


def test_damaged_flatbuffers_are_refused_or_read_and_never_crash(converted):
    content = artifact.read(converted).flatbuffer
    generator = np.random.default_rng(0)
    refusals = 0
    for trial in range(400):
        damaged = bytearray(content[: generator.integers(0, len(content))] if trial % 4 == 0 else content)
        for _ in range(generator.integers(1, 30)):
            if damaged:
                damaged[generator.integers(0, len(damaged))] = generator.integers(0, 256)
        try:
            costs.count_costs(bytes(damaged))
        except ArtifactError:
            refusals += 1
    assert refusals > 100
    for short in (b"", b"\0" * 8, content[:12]):
        with pytest.raises(ArtifactError, match="is damaged"):
            costs.count_costs(short)


def test_a_forged_vector_does_not_cost_more_than_the_file():
    # A model whose table of subgraphs claims a billion entries.
    forged = bytearray(64)
    struct.pack_into("<I4s5Hxx", forged, 0, 20, b"TFL3", 10, 8, 0, 0, 4)  # field 2 lies 4 bytes into the table
    struct.pack_into("<iII", forged, 20, 20 - 8, 4, 10**9)
    with pytest.raises(ArtifactError, match="vector of 1000000000"):
        flatbuffer.read_flatbuffer(bytes(forged))
