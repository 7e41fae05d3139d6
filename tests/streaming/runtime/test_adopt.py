"""Stateful TFLite models of other tools as streaming files: what the bare interpreter gives, bit for bit."""

from __future__ import annotations

import re
import subprocess
import sys
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import foreign_models as foreign
import numpy as np
import pytest
from places import SHARED
from runtime_models import assert_same, noise

import streaming
from streaming.cli import main
from streaming.errors import ArtifactError, InputError, StreamingError
from streaming.runtime.interpreter import open_interpreter, resolve
from streaming.runtime.metadata import InputInfo, OutputInfo

PUBLIC = SHARED / "foreign_models"
DTLN = {"model_1": ("input_2", "input_3"), "model_2": ("input_4", "input_5")}
WAKE_WORDS = ("hey_jarvis", "okay_nabu", "vad")


class Bare:
    """The interpreter of a file by itself, with its tensors by name."""

    def __init__(self, content: bytes, runtime: str) -> None:
        self.interpreter = open_interpreter(resolve(runtime)[1], content, 1)
        self.interpreter.allocate_tensors()
        self.inputs = {item["name"]: item for item in self.interpreter.get_input_details()}
        self.outputs = {item["name"]: item for item in self.interpreter.get_output_details()}

    def step(self, values: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        for name, value in values.items():
            self.interpreter.set_tensor(self.inputs[name]["index"], value)
        self.interpreter.invoke()
        return {name: self.interpreter.get_tensor(item["index"]) for name, item in self.outputs.items()}


def written(tmp_path: Path, content: bytes) -> Path:
    path = tmp_path / "foreign.tflite"
    path.write_bytes(content)
    return path


def adopted(tmp_path: Path, content: bytes, runtime: str = "auto", **options: Any) -> Any:
    """(report, loaded model)."""
    out = tmp_path / "ours.tflite"
    report = streaming.adopt(written(tmp_path, content), out, **options)
    return report, streaming.load(out, runtime, trust=options.get("trust", False))


def refused(tmp_path: Path, content: bytes, kind: type[Exception] = InputError, **options: Any) -> str:
    """The one line with which adopting is refused; nothing is written."""
    with pytest.raises(kind) as caught:
        adopted(tmp_path, content, **options)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "ours.tflite").exists()
    return str(caught.value)


def cut(rows: np.ndarray, *places: int) -> Iterator[np.ndarray]:
    yield from np.split(rows, places)


# Files of our own making


@pytest.mark.parametrize("signatures", [True, False])
def test_states_outside_are_carried_saved_and_batched(tmp_path: Path, runtime: str, signatures: bool) -> None:
    content = foreign.lstm_model() if signatures else foreign.unsigned(foreign.lstm_model())
    bare = Bare(content, runtime)
    names = {name.rpartition("_")[2].removesuffix(":0"): name for name in bare.inputs}
    own = {"x": "x", "h": "h", "c": "c"} if signatures else names
    order = sorted(bare.outputs)  # PartitionedCall:0 to :2 are the outputs in the order of their names
    outputs = dict(zip(("c_next", "h_next", "y"), order, strict=True))
    pairs = {own["h"]: "h_next" if signatures else outputs["h_next"]}
    pairs[own["c"]] = "c_next" if signatures else outputs["c_next"]
    start = noise(4, seed=8)
    report, model = adopted(tmp_path, content, runtime, states=pairs, initial={own["h"]: start})
    assert (report.chunk, report.state_bytes, report.reset) == (1, 32, "states")
    x = noise(12, 5)
    states = {names["h"]: start[None], names["c"]: np.zeros((1, 4), np.float32)}
    expected = []
    for row in x:
        found = bare.step({names["x"]: row[None, None], **states})
        states = {names["h"]: found[outputs["h_next"]], names["c"]: found[outputs["c_next"]]}
        expected.append(found[outputs["y"]][0, 0])
    stream = model.create_stream()
    first = [stream.feed(part) for part in cut(x[:7], 1, 3)]
    again = model.restore(stream.save())
    assert_same(np.concatenate([*first, again.feed(x[7:]), again.finish()]), np.array(expected))
    stream.reset()
    assert_same(stream.feed(x), np.array(expected))
    pair = [model.create_stream() for _ in range(2)]
    both = [model.step_streams(pair, [row[None], -row[None]])[0] for row in x]
    assert_same(np.concatenate(both), np.array(expected))


def test_states_are_found_where_shapes_leave_one_way(tmp_path: Path) -> None:
    report, model = adopted(tmp_path, foreign.mixed_model(), signature="run", static=["gain"], rows={"best": 1})
    assert report.states == {"past": "later"}
    assert model.chunk == 3
    x, gain = noise(9, 6), noise(6, seed=4)
    line = np.concatenate([np.zeros((2, 6), np.float32), x])
    rows = (line[:-2] + line[1:-1] - line[2:]) * gain
    stream = model.create_stream()
    found = [stream.feed({"x": part, "gain": gain}) for part in cut(x, 4, 5)]
    joined = {name: np.concatenate([part[name] for part in found]) for name in found[0]}
    np.testing.assert_allclose(joined["rows"], rows, rtol=1e-6, atol=1e-6)
    assert joined["best"].tolist() == rows.argmax(axis=1)[2::3].tolist()
    assert [len(part["best"]) for part in found] == [1, 0, 2]


def test_rows_that_wait_for_a_chunk_end_with_what_they_give(tmp_path: Path) -> None:
    _, model = adopted(tmp_path, foreign.mixed_model(), signature="run", static=["gain"])
    stream, x = model.create_stream(), noise(5, 6)
    whole = stream.feed({"x": x, "gain": np.ones(6, np.float32)})
    rest = stream.finish()
    assert (len(whole["rows"]), len(rest["rows"])) == (3, 2)
    assert (len(whole["best"]), len(rest["best"])) == (1, 0)
    np.testing.assert_allclose(rest["rows"], x[1:3] + x[2:4] - x[3:5], rtol=1e-5, atol=1e-6)


def test_integers_stay_as_they_are_and_say_what_they_mean(tmp_path: Path, runtime: str) -> None:
    content = foreign.quantized_model()
    bare = Bare(content, runtime)
    line = next(name for name in bare.inputs if "line" in name)
    x = next(name for name in bare.inputs if name != line)
    moved = next(name for name, item in bare.outputs.items() if tuple(item["shape"]) == (1, 3, 6))
    report, model = adopted(tmp_path, content, runtime)
    assert list(report.states.items()) in ([(line, moved)], [("line", "moved")])
    (info,), (out,) = report.inputs, report.outputs
    assert (info.scale, info.zero_point) == bare.inputs[x]["quantization"]
    assert (info.shape, info.dtype, out.dtype) == ((6,), "int8", "int8")
    assert info.zero_point != 0
    rows = np.random.default_rng(0).integers(-128, 128, (20, 6)).astype(np.int8)
    state = np.full((1, 3, 6), info.zero_point, np.int8)  # the number zero
    expected = []
    for row in rows:
        found = bare.step({x: row[None, None], line: state})
        state = found.pop(moved)
        expected.append(next(iter(found.values())).reshape(3))
    assert_same(model.create_stream().feed(rows), np.array(expected))
    # Numbers go in and come out by the scales.
    numbers = noise(20, 6, seed=2)
    answers = out.dequantize(model.create_stream().feed(info.quantize(numbers)))
    padded = np.concatenate([np.zeros((3, 6), np.float32), numbers])
    exact = np.tanh(np.stack([np.einsum("ti,tio->o", padded[t : t + 4], foreign.TAPS) for t in range(20)]))
    assert np.abs(answers - exact).max() < 0.3 < np.abs(exact).max()


def test_numbers_become_the_nearest_integers_and_come_back() -> None:
    taken = InputInfo("x", (), "int8", scale=0.1, zero_point=-20)
    given = OutputInfo("y", (), "int8", scale=0.1, zero_point=-20)
    assert taken.quantize([-99, -10.8, -0.26, 0, 0.14, 14.7, 99]).tolist() == [-128, -128, -23, -20, -19, 127, 127]
    numbers = np.linspace(-10.8, 14.7, 500, dtype=np.float32)
    assert np.abs(given.dequantize(taken.quantize(numbers)) - numbers).max() <= 0.0501
    plain = OutputInfo("y", (), "float32")
    assert plain.dequantize(numbers) is numbers


@pytest.mark.parametrize(("signature", "named"), [(None, None), ("reset", None), ("begin", "begin")])
def test_states_inside_are_reset(tmp_path: Path, runtime: str, signature: str | None, named: str | None) -> None:
    report, model = adopted(tmp_path, foreign.variable_model(signature), runtime, reset=named)
    assert (report.reset, report.chunk, len(report.kept), report.state_bytes) == ("signature", 2, 1, 12)
    x = noise(12, 3)
    stream = model.create_stream()
    other = model.create_stream()
    for _ in range(2):
        found = np.concatenate([stream.feed(part) for part in cut(x, 3, 4)])
        np.testing.assert_allclose(found, foreign.level_oracle(x), rtol=1e-5)
        other.feed(-x)
        stream.reset()
    with pytest.raises(StreamingError, match="inside the interpreter"):
        stream.save()


def test_a_state_that_no_operation_resets_begins_with_a_new_interpreter(tmp_path: Path, runtime: str) -> None:
    report, model = adopted(tmp_path, foreign.svdf_model(), runtime)
    assert (report.reset, report.kept) == ("interpreter", ("memory",))
    assert set(model.metadata.signatures) == {"step"}
    x, stream = noise(9, foreign.SVDF_FEATURES), model.create_stream()
    for _ in range(3):
        np.testing.assert_allclose(stream.feed(x), foreign.svdf_oracle(x), rtol=1e-4, atol=1e-5)
        stream.reset()


def test_operations_that_are_not_verified_want_trust(tmp_path: Path) -> None:
    import tensorflow as tf

    def step(x: Any) -> Any:
        return {"y": tf.nn.local_response_normalization(x[:, None])[:, 0]}

    content = foreign.signed(serving_default=(step, {"x": ((1, 1, 4), "float32")}))
    assert "NORMALIZATION, which is not verified" in refused(tmp_path, content, ArtifactError)
    _, model = adopted(tmp_path, content, trust=True)
    x = noise(5, 4)
    expected = tf.nn.local_response_normalization(x[:, None, None])[:, 0, 0]
    np.testing.assert_allclose(model.create_stream().feed(x), expected, rtol=1e-5)


def test_files_that_came_with_the_model_stay(tmp_path: Path) -> None:
    path = written(tmp_path, foreign.lstm_model())
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("labels.txt", "a\nb\n")
    task = {"kind": "classifier"}
    states = {"h": "h_next", "c": "c_next"}
    streaming.adopt(path, tmp_path / "o.tflite", states=states, metadata={"task": task, "files": {"x.txt": b"y"}})
    model = streaming.load(tmp_path / "o.tflite")
    assert (model.files["labels.txt"], model.files["x.txt"], model.metadata.task) == (b"a\nb\n", b"y", task)


def test_what_does_not_pair_is_refused(tmp_path: Path) -> None:
    content = foreign.lstm_model()
    asked = refused(tmp_path, content)
    assert "states={input: output}" in asked
    assert "h float32 [1, 4]" in asked
    assert "h_next float32 [1, 4]" in asked
    assert "no input 'state'" in refused(tmp_path, content, states={"state": "h_next"})
    assert "no output 'h'" in refused(tmp_path, content, states={"h": "h"})
    assert "does not pair" in refused(tmp_path, content, states={"h": "y"})
    assert "two states" in refused(tmp_path, content, states={"h": "h_next", "c": "h_next"})
    assert "no input or no output" in refused(
        tmp_path, foreign.signed(run=(lambda x: {"y": 2.0 * x}, {"x": ((1, 2), "float32")})), states={"x": "y"}
    )
    assert "expected a dict" in refused(tmp_path, content, states=["h"])


def test_scales_of_a_state_have_to_agree(tmp_path: Path) -> None:
    def change(model: Any) -> None:
        for index in model.subgraphs[0].outputs:
            tensor = model.subgraphs[0].tensors[index]
            if len(tensor.shape) == 3 and tensor.shape[1] == 3:
                tensor.quantization.scale = [0.5]

    content = foreign.edited(foreign.quantized_model(), change)
    listed = refused(tmp_path, content)
    assert "shapes do not tell" in listed
    taken, given = re.findall(r"(\S+) int8 \[1, 3, 6\]", listed)
    pair = {taken: given}
    assert "one scale for both" in refused(tmp_path, content, states=pair)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"chunk": 0}, "chunk is 0"),
        ({"chunk": 4}, "no axis of 4 steps"),
        ({"static": ["z"]}, "static names 'z'"),
        ({"static": ["x"]}, "no input is left"),
        ({"rows": {"z": 1}}, "rows names 'z'"),
        ({"rows": {"y": 5}}, "no axis of 5 rows"),
        ({"initial": {"x": 0}}, "initial names 'x'"),
        ({"initial": {"h": np.zeros(3)}}, "initial 'h'"),
        ({"initial": {"h": ["a"] * 4}}, "initial 'h'"),
        ({"signature": "stop"}, "no signature 'stop'"),
        ({"reset": "stop"}, "no signature 'stop' to reset by"),
        ({"reset": "serving_default"}, "takes inputs"),
        ({"metadata": {"kind": "tagger"}}, "unknown key"),
    ],
)
def test_wrong_options_are_refused(tmp_path: Path, options: dict[str, Any], reason: str) -> None:
    assert reason in refused(tmp_path, foreign.lstm_model(), **{"states": {"h": "h_next", "c": "c_next"}, **options})


def test_several_signatures_are_asked_for(tmp_path: Path) -> None:
    assert "give signature=" in refused(tmp_path, foreign.mixed_model())


def test_states_of_two_kinds_are_refused(tmp_path: Path) -> None:
    import tensorflow as tf

    module = tf.Module()
    module.level = tf.Variable(tf.zeros((1, 3)))

    def step(x: Any, h: Any) -> Any:
        module.level.assign_add(x)
        return {"y": module.level.read_value(), "later": h + 1.0}

    specs = {"x": tf.TensorSpec((1, 3), name="x"), "h": tf.TensorSpec((1, 2), name="h")}
    concrete = tf.function(step, autograph=False).get_concrete_function(**specs)
    content = foreign.tflite(module, {"serving_default": concrete})
    assert "all of them inputs, or all of them inside" in refused(tmp_path, content, states={"h": "later"})


def test_what_is_no_foreign_model_is_refused(tmp_path: Path) -> None:
    content = foreign.lstm_model()
    assert "no TFL3 mark" in refused(tmp_path, b"PK\3\4 something else", ArtifactError)
    assert "damaged" in refused(tmp_path, content[: len(content) // 2], ArtifactError)
    adopted(tmp_path, content, states={"h": "h_next", "c": "c_next"})
    with pytest.raises(ArtifactError, match="a streaming model already"):
        streaming.adopt(tmp_path / "ours.tflite", tmp_path / "again.tflite")
    with pytest.raises(ArtifactError, match="cannot read"):
        streaming.adopt(tmp_path / "none.tflite", tmp_path / "again.tflite")
    with pytest.raises(InputError, match="does not exist"):
        streaming.adopt(tmp_path / "foreign.tflite", tmp_path / "no" / "again.tflite")


def test_the_command_line(tmp_path: Path, capsys: Any) -> None:
    path, out = written(tmp_path, foreign.lstm_model()), tmp_path / "ours.tflite"
    np.savez(tmp_path / "start.npz", h=np.ones(4, np.float32))
    options = ["--state", "h=h_next", "--state", "c=c_next", "--initial", str(tmp_path / "start.npz")]
    assert main(["adopt", str(path), str(out), *options]) == 0
    assert "equal the bare interpreter bit for bit" in capsys.readouterr().out
    assert streaming.load(out).initial_state[0].tolist() == [[1.0] * 4]
    (tmp_path / "rows.csv").write_text("1,2,3,4,5\n5,4,3,2,1\n")
    assert main(["run", str(out), str(tmp_path / "rows.csv")]) == 0
    assert capsys.readouterr().out.count('"output": "y"') == 2
    assert main(["inspect", str(out)]) == 0
    assert main(["bench", str(out), "--steps", "20"]) == 0
    capsys.readouterr()
    for bad in (["--state", "h"], ["--no-states"], ["--rows", "y=two"], ["--initial", str(path)]):
        wrong = [*bad, *(options[:4] if bad[0] not in ("--state", "--no-states") else [])]
        assert main(["adopt", str(path), str(out), *wrong]) in (0, 2)
        assert capsys.readouterr().err.count("\n") <= 1


def test_no_tensorflow_is_needed(tmp_path: Path) -> None:
    path = written(tmp_path, foreign.variable_model())
    code = (
        "import sys, streaming; streaming.adopt(sys.argv[1], sys.argv[2]); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules), 'TensorFlow was imported'"
    )
    subprocess.run([sys.executable, "-c", code, str(path), str(tmp_path / "o.tflite")], check=True, timeout=120)


# Files that others published


def public(folder: str, name: str) -> bytes:
    path = PUBLIC / folder / f"{name}.tflite"
    if not path.exists():
        pytest.skip(f"needs {path}, which is not part of the project")
    return path.read_bytes()


@pytest.mark.parametrize("kind", ["", "quant_"])
@pytest.mark.parametrize("half", DTLN)
def test_dtln(tmp_path: Path, runtime: str, half: str, kind: str) -> None:
    content = public("dtln", half.replace("model_", f"model_{kind}"))
    taken, state = DTLN[half]
    _, model = adopted(tmp_path, content, runtime, states={state: "Identity_1"})
    bare, width = Bare(content, runtime), model.input_spec[taken].shape[0]
    x, carried, expected = np.abs(noise(30, width)), np.zeros((1, 2, 128, 2), np.float32), []
    for row in x:
        found = bare.step({taken: row[None, None], state: carried})
        carried = found["Identity_1"]
        expected.append(found["Identity"][0, 0])
    stream = model.create_stream()
    first = [stream.feed(part) for part in cut(x[:20], 1, 8)]
    stream = model.restore(stream.save())
    assert_same(np.concatenate([*first, stream.feed(x[20:]), stream.finish()]), np.array(expected))


@pytest.mark.parametrize("name", WAKE_WORDS)
def test_micro_wake_word(tmp_path: Path, runtime: str, name: str) -> None:
    content = public("micro_wake_word", name)
    report, model = adopted(tmp_path, content, runtime)
    assert (model.chunk, report.reset, report.outputs[0].dtype) == (3, "signature", "uint8")
    stream, generator = model.create_stream(), np.random.default_rng(0)
    for high in (-100, 0, 128):  # quiet, loud, everything
        x, bare = generator.integers(-128, high, (150, 40)).astype(np.int8), Bare(content, runtime)
        (taken,) = bare.inputs
        expected = [next(iter(bare.step({taken: part[None]}).values())) for part in x.reshape(-1, 3, 40)]
        found = [stream.feed(part) for part in cut(x, 1, 5, 50)]
        assert_same(np.concatenate(found), np.concatenate(expected)[:, 0])
        stream.reset()
