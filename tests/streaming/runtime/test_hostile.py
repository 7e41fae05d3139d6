"""Forged models under a checksum that is right: refused, or contained, in a process whose crash is a failure."""

from __future__ import annotations

import dataclasses
import os
import struct
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtime_models as models

import streaming
from streaming.errors import ArtifactError
from streaming.runtime import artifact, flatbuffer, verifier

# Loads forged variants of a flatbuffer one after the other and uses those that are let in: none may end in an error of
# another kind, or give outputs of other shapes.
PROGRAM = """
import sys, numpy as np
from streaming.errors import StreamingError
from streaming.runtime import artifact
from streaming.runtime.model import StreamingModel
runtime, source, edits = sys.argv[1], artifact.read(sys.argv[2]), np.load(sys.argv[3])
meta, refused = source.metadata, 0
x = {i.name: np.ones((6, *i.shape) if i.time else i.shape, i.dtype) for i in meta.inputs}
chunk = {i.name: x[i.name][: meta.chunk] if i.time else x[i.name] for i in meta.inputs}
def use(model):
    stream = model.create_stream()
    outputs = stream.feed(x), stream.finish()
    if meta.state == "external":
        outputs += tuple(model.step_streams([model.create_stream() for _ in range(3)], [chunk] * 3))
    by_name = [y if isinstance(y, dict) else {"y": y} for y in outputs]
    return [{name: rows.shape for name, rows in found.items()} for found in by_name]
expected = use(StreamingModel(source, runtime))
for number, (place, value) in enumerate(edits.tolist()):
    print(number, place, value, file=sys.stderr, flush=True)
    forged = bytearray(source.flatbuffer)
    forged[place : place + 4] = value.to_bytes(4, "little")
    content = artifact.pack(bytes(forged), source.metadata, source.files)
    try:
        found = use(StreamingModel(artifact.parse(content, "forged"), runtime))
        # A forged mask may say that other rows exist, but not that they are of another kind.
        assert meta.valid or found == expected, (found, expected)
    except StreamingError as error:
        assert "\\n" not in str(error)
        refused += 1
print(refused)
"""


def forge_and_run(tmp_path: Path, runtime: str, name: str, edits: np.ndarray) -> int:
    """How many of the edits (place, 32-bit value) were refused; fails where the process died of one."""
    path = models.write(tmp_path / "model.tflite", models.MODELS[name]())
    np.save(tmp_path / "edits.npy", edits)
    arguments = [sys.executable, "-c", PROGRAM, runtime, str(path), str(tmp_path / "edits.npy")]
    environment = {**os.environ, "PYTHONPATH": str(Path(streaming.__file__).parents[1])}
    done = subprocess.run(arguments, capture_output=True, text=True, env=environment)
    last = [line for line in done.stderr.splitlines() if line and not line.startswith(("INFO", "WARN"))][-3:]
    assert done.returncode == 0, f"return code {done.returncode} after {last}"
    return int(done.stdout)


def random_edits(name: str, count: int, seed: int) -> np.ndarray:
    """Places all over the flatbuffer, half of them where small numbers are: indexes, sizes, offsets."""
    content, generator = models.MODELS[name]()[0], np.random.default_rng(seed)
    words = np.frombuffer(content[: len(content) // 4 * 4], "<u4")
    small = 4 * np.flatnonzero(words < 4096)
    places = np.where(
        generator.random(count) < 0.5, generator.choice(small, count), generator.integers(0, len(content) - 4, count)
    )
    values = np.where(
        generator.random(count) < 0.5, generator.integers(0, 2**32, count), generator.integers(0, 300, count)
    )
    return np.stack([places, values], axis=1)


@pytest.mark.parametrize("name", list(models.MODELS))
def test_forged_numbers_never_crash(tmp_path: Path, runtime: str, name: str) -> None:
    if runtime == "tf":
        pytest.skip("the interpreter of TensorFlow is LiteRT's, and takes seconds to import")
    refused = forge_and_run(tmp_path, runtime, name, random_edits(name, 120, seed=1))
    assert refused > 24


@pytest.mark.slow
@pytest.mark.parametrize("name", list(models.MODELS))
def test_many_forged_numbers_never_crash(tmp_path: Path, runtime: str, name: str) -> None:
    if runtime == "tf":
        pytest.skip("the interpreter of TensorFlow is LiteRT's, and takes seconds to import")
    for seed in range(2, 7):
        assert forge_and_run(tmp_path, runtime, name, random_edits(name, 1000, seed)) > 200


def forged(model: Any, edit: Any) -> bytes:
    """A flatbuffer with one 32-bit number changed: edit(numbers, flatbuffer) -> (place, value)."""
    content = bytearray(model[0])
    place, value = edit(content)
    struct.pack_into("<i", content, place, value)
    return bytes(content)


class Recorder(flatbuffer.Source):
    """Remembers the place of the last number that was read."""

    last = 0

    def number(self, position: int, kind: str) -> int:
        type(self).last = position
        return super().number(position, kind)


def place_of(content: bytes, path: tuple[Any, ...]) -> int:
    """Where a field lies: path = field numbers and places in vectors of tables, then (field,) or (field, item)."""
    source = Recorder(bytes(content))
    table = flatbuffer.Table(source, source.follow(0))
    *steps, (field, item) = path
    for number, place in steps:
        table = table.tables(number)[place]
    if item is None:
        table.integer(field, "<i")
        return Recorder.last
    return table.vector(field, 4)[0] + 4 * item


GRAPH = (2, 0)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ((GRAPH, (1, 0)), 9999, "takes or gives tensor 9999"),
        ((GRAPH, (2, 0)), -1, "takes or gives tensor -1"),
        ((GRAPH, (3, 0), (1, 0)), 9999, "takes tensor 9999"),
        ((GRAPH, (3, 0), (2, 0)), -1, "no output tensor"),
        ((GRAPH, (3, 5), (0, None)), 9999, "operation has code 9999"),
        ((GRAPH, (0, 0), (0, 0)), -5, "shape"),
        ((GRAPH, (0, 0), (0, 1)), 2**31 - 1, "bytes"),
        ((GRAPH, (0, 0), (2, None)), 9999, "tensor has buffer 9999"),
        (((7, 1), (4, None)), 77, "has graph 77"),
        (((7, 0), (0, 1), (1, None)), 9999, "signature tensor .* is 9999"),
        (((0, None),), 9, "version 9"),
    ],
)
def test_what_contradicts_itself_is_refused_by_name(path: tuple[Any, ...], value: int, message: str) -> None:
    def edit(content: bytes) -> tuple[int, int]:
        return place_of(content, path), value

    with pytest.raises(ArtifactError, match=f"TFLite model is damaged .*{message}"):
        verifier.verify(forged(models.filter_model(), edit))


@pytest.mark.parametrize("name", list(models.MODELS))
def test_sound_models_pass_and_truncated_ones_never(name: str) -> None:
    content = models.MODELS[name]()[0]
    verifier.verify(content)
    for size in np.linspace(0, len(content) - 64, 100).astype(int):
        with pytest.raises(ArtifactError):
            verifier.verify(content[:size])


def test_a_forged_model_does_not_reach_the_interpreter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    flat, meta, files = models.filter_model()
    path = tmp_path / "model.tflite"
    bad = forged((flat,), lambda content: (place_of(content, (GRAPH, (1, 0))), 9999))
    path.write_bytes(artifact.pack(bad, dataclasses.replace(meta), files))

    def seen(*_: object) -> None:
        raise AssertionError("the interpreter saw the bytes")

    monkeypatch.setattr("streaming.runtime.interpreter.open_interpreter", seen)
    with pytest.raises(ArtifactError, match="damaged"):
        streaming.load(path)
