"""Loading: runtimes, what a model says of itself, and files whose metadata and graph disagree."""

from __future__ import annotations

import dataclasses
import gc
import importlib
import importlib.util
import subprocess
import sys
import weakref
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtime_models as models

import streaming
from streaming.errors import ArtifactError, InputError, StreamingError
from streaming.runtime import interpreter
from streaming.runtime.metadata import InputInfo, OutputInfo, SignatureInfo, StatePack


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The file of the filter model."""
    return models.write(tmp_path / "filter.tflite", models.filter_model())


def test_a_model_says_what_it_is(path: Path) -> None:
    model = streaming.load(path, runtime="litert")
    assert (model.delay, model.chunk, model.runtime) == (2, 1, "litert")
    assert model.fingerprint == model.metadata.fingerprint
    assert model.input_spec == {"x": InputInfo("x", (3,), "float32")}
    assert list(model.output_spec) == ["smooth", "level"]
    assert model.files["labels.txt"] == b"a\nb\n"
    with pytest.raises(TypeError):
        model.files["labels.txt"] = b""  # type: ignore[index]


def test_auto_takes_the_first_runtime_that_can_be_imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert streaming.load(path).runtime == "litert"
    found = importlib.import_module
    missing: list[str] = []

    def without(name: str, *rest: Any) -> Any:
        if name.split(".")[0] in missing:
            raise ModuleNotFoundError(f"No module named {name!r}")
        return found(name, *rest)

    monkeypatch.setattr(importlib, "import_module", without)
    # tflite-runtime is not made for Python 3.12 and later.
    second = "tflite_runtime" if importlib.util.find_spec("tflite_runtime") else "tf"
    for name, expected in (("ai_edge_litert", second), ("tflite_runtime", "tf")):
        missing.append(name)
        assert streaming.load(path).runtime == expected
    missing.append("tensorflow")
    with pytest.raises(InputError, match="pip install ai-edge-litert"):
        streaming.load(path)
    with pytest.raises(InputError, match=r"'tflite_runtime' cannot be imported .*; pip install tflite-runtime"):
        streaming.load(path, runtime="tflite_runtime")


@pytest.mark.parametrize(
    ("options", "message"), [({"runtime": "onnx"}, "expected one of 'auto'"), ({"num_threads": 0}, "num_threads")]
)
def test_bad_options(path: Path, options: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        streaming.load(path, **options)


def test_several_threads_give_the_same(path: Path, runtime: str) -> None:
    x = np.random.default_rng(0).standard_normal((9, 3)).astype(np.float32)
    one, two = (streaming.load(path, runtime, n).create_stream().feed(x)["level"] for n in (1, 2))
    np.testing.assert_allclose(one, two, rtol=1e-6)


def test_the_number_of_threads_reaches_the_interpreter(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    name, factory = interpreter.resolve("auto")

    def counting(num_threads: int, **options: Any) -> Any:
        asked.append(num_threads)
        return factory(num_threads=num_threads, **options)

    monkeypatch.setattr("streaming.runtime.model.resolve", lambda runtime: (name, counting))
    streaming.load(path, num_threads=3)
    streaming.load(path)
    assert asked == [3, 1]


def test_a_model_that_nobody_needs_is_freed_at_once(path: Path) -> None:
    gc.disable()
    try:
        model = streaming.load(path)
        model.create_stream().feed(np.zeros((3, 3)))
        gone = weakref.ref(model), weakref.ref(model.engines.get())
        del model
        assert [reference() for reference in gone] == [None, None]
    finally:
        gc.enable()


def test_a_runtime_without_the_private_calls(path: Path, runtime: str) -> None:
    model = streaming.load(path, runtime=runtime)
    engine = model.engines.get()

    class Public:
        """A signature runner that shows its documented face only."""

        def __init__(self, runner: Any) -> None:
            self.get_input_details, self.get_output_details = runner.get_input_details, runner.get_output_details
            self.call = runner

        def __call__(self, **values: Any) -> Any:
            return self.call(**values)

    class Interpreter:
        def get_signature_runner(self, name: str) -> Public:
            return Public(engine.interpreter.get_signature_runner(name))

    x = np.ones((1, 1, 3), np.float32)
    values = [x, np.ones((1, 1), bool), *model.initial_state]
    inputs, outputs = ["x", "valid", "state"], {"smooth": (1, 1, 3), "level": (1, 1, 3), "state": (1, 15)}
    slow = interpreter.prepare(Interpreter(), "step", inputs, outputs)
    for a, b in zip(slow(values), engine.step(values), strict=True):
        np.testing.assert_array_equal(a, b, strict=True)
    wrong = interpreter.prepare(Interpreter(), "step", inputs, {**outputs, "level": (1, 2, 3)})
    with pytest.raises(StreamingError, match=r"gave .*, expected .*\(1, 2, 3\)"):
        wrong(values)
    with pytest.raises(ArtifactError, match=r"'step' gives .*, its metadata say .*\(1, 2, 3\)"):
        interpreter.prepare(engine.interpreter, "step", inputs, {**outputs, "level": (1, 2, 3)})


@pytest.mark.slow
def test_shapes_that_depend_on_values_are_seen_at_each_run(runtime: str) -> None:
    import tensorflow as tf

    function = tf.function(lambda x: {"y": tf.boolean_mask(x, x > 0)}, autograph=False)
    content = models.tflite(tf.Module(), {"step": function.get_concrete_function(x=tf.TensorSpec((3,), name="x"))})
    opened = interpreter.open_interpreter(interpreter.resolve(runtime)[1], content, 1)
    run = interpreter.prepare(opened, "step", ["x"], {"y": (2,)})
    np.testing.assert_array_equal(run([np.array([1, -1, 2], np.float32)])[0], [1, 2])
    with pytest.raises(StreamingError, match=r"gave \[\(3,\)\], expected \[\(2,\)\]"):
        run([np.ones(3, np.float32)])


def test_importing_is_cheap() -> None:
    program = (
        "import sys, streaming, streaming.runtime.model\n"
        "heavy = {'tensorflow', 'keras', 'ai_edge_litert', 'tflite_runtime'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    root = str(Path(streaming.__file__).parents[1])
    subprocess.run([sys.executable, "-c", program], check=True, cwd=root)


META = models.filter_model()[1]
CHANGES: list[tuple[dict[str, Any], str]] = [
    ({"signatures": {"step": SignatureInfo(1, 1)}}, "the graph has the signatures"),
    ({"signatures": {**META.signatures, "step_b4": SignatureInfo(3, 1)}}, "'step_b4' disagree"),
    ({"signatures": {**META.signatures, "chunk_5": SignatureInfo(1, 6)}}, "'chunk_5' disagree"),
    ({"inputs": (InputInfo("z", (3,), "float32"),)}, "'x' is float32 .* in the graph, absent"),
    ({"inputs": (InputInfo("x", (4,), "float32"),)}, r"\(1, 5, 4\) in the metadata"),
    ({"inputs": (InputInfo("x", (3,), "int32"),)}, "int32"),
    ({"inputs": (InputInfo("x", (3,), "rubbish"),)}, "rubbish"),
    ({"inputs": (InputInfo("x", (3,), "float32", scale=0.0),)}, "scale is 0"),
    ({"inputs": (InputInfo("x", (3,), "float32", table="none.json"),)}, "none.json is no table of words"),
    ({"inputs": ()}, "no input"),
    ({"outputs": ()}, "no output|no input"),
    ({"outputs": (OutputInfo("level", (3,), "float32"),)}, "'smooth' is float32"),
    ({"outputs": (META.outputs[0], OutputInfo("level", (3,), "float32", end=3))}, "flush is 2"),
    ({"outputs": (META.outputs[0], OutputInfo("level", (3,), "float32", start=-1))}, "start is -1"),
    ({"outputs": (META.outputs[0], OutputInfo("level", (3,), "float32", rate=(1, 2)))}, "rate"),
    ({"outputs": (META.outputs[0], OutputInfo("level", (3,), "float32", rate=()))}, "rate"),
    ({"packs": ()}, "'state' is float32"),
    ({"packs": (StatePack("state", "state", "float32", 10**15),)}, "1000000000000000"),
    ({"packs": (dataclasses.replace(META.packs[0], initial="labels.txt"),)}, "4 bytes, expected the 60"),
    ({"packs": (dataclasses.replace(META.packs[0], initial="absent"),)}, "0 bytes, expected the 60"),
    ({"valid": None}, "'valid' is bool"),
    ({"valid": "x"}, "one name"),
    ({"chunk": 3}, "no signature"),
    ({"chunk": 0}, "chunk is 0"),
    ({"unit": 5}, "no signature|do not go together"),
    ({"flush": -1}, "flush is -1"),
    ({"state": "elsewhere"}, "expected 'external' or 'internal'"),
    ({"state": "internal"}, "goes with no packs"),
]


@pytest.mark.parametrize(("changes", "message"), CHANGES)
def test_metadata_and_graph_disagree(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    flatbuffer, meta, files = models.filter_model()
    path = models.write(tmp_path / "model.tflite", (flatbuffer, dataclasses.replace(meta, **changes), files))
    with pytest.raises(ArtifactError, match=message) as caught:
        streaming.load(path, runtime="litert")
    assert "\n" not in str(caught.value)


def test_an_operation_that_a_runtime_is_too_old_for(tmp_path: Path) -> None:
    # Dense weights quantized by channel make FULLY_CONNECTED version 12, which tflite-runtime 2.14 lacks.
    pytest.importorskip("tflite_runtime")
    path = models.write(tmp_path / "dense.tflite", models.dense_model())
    assert streaming.load(path, runtime="litert").create_stream().feed(np.ones((2, 64))).shape == (2, 64)
    with pytest.raises(ArtifactError, match="FULLY_CONNECTED") as caught:
        streaming.load(path, runtime="tflite_runtime")
    assert "\n" not in str(caught.value)
