"""The file as clients of other languages read it: what crosses the boundary, the order of graphs, metadata entries."""

from __future__ import annotations

import dataclasses
import io
import json
import struct
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import foreign_models as foreign
import keras
import numpy as np
import pytest
import runtime_models as models
from ai_edge_litert import schema_py_generated as schema
from test_artifact import sealed

import streaming
from streaming.errors import ArtifactError, InputError
from streaming.runtime import artifact
from streaming.runtime.facts import Origin
from streaming.runtime.flatbuffer import Source, Table
from streaming.runtime.metadata import Metadata


def flagged() -> keras.Model:
    """A bool as input and as output, and masks on both sides."""
    x, flag = keras.Input((None, 4), name="x"), keras.Input((None, 1), dtype="bool", name="flag")
    hidden = keras.layers.Conv1D(3, 3, padding="same")(x)
    late = keras.layers.AveragePooling1D(2)(hidden)
    both = keras.ops.logical_and(flag, x[..., :1] > 0)
    return keras.Model([x, flag], {"late": late, "both": both})


def encoded() -> keras.Model:
    source = keras.Input((None,), dtype="int32", name="source")
    target = keras.Input((None, 3), name="target")
    words = keras.layers.Embedding(7, 4, mask_zero=True)(source)
    state = keras.layers.GRU(5)(words)
    return keras.Model([source, target], keras.layers.GRU(5, return_sequences=True)(target, initial_state=state))


def recurrent() -> keras.Model:
    x = keras.Input((None, 4), name="x")
    hidden = keras.layers.Conv1D(6, 3, padding="same", name="conv")(x)
    return keras.Model(x, keras.layers.GRU(5, return_sequences=True, name="gru")(hidden))


CASES: dict[str, tuple[Callable[[], keras.Model], dict[str, Any]]] = {
    "external": (flagged, {"chunk": 6, "batch_sizes": (1, 2)}),
    "internal": (recurrent, {"state": "internal", "chunk": 5}),
    "encode": (encoded, {"encode": ("source",), "max_length": 6, "batch_sizes": (1, 3)}),
    "window": (recurrent, {"window": 6, "hop": 2}),
    "window inside": (recurrent, {"window": 6, "hop": 2, "state": "internal"}),
    "int8": (recurrent, {"quantize": "int8", "calibration": [np.ones((12, 4), np.float32)], "chunk": 3}),
}


def unpacked(path: Path) -> Any:
    return schema.ModelT.InitFromPackedBuf(artifact.read(path).flatbuffer, 0)


@pytest.mark.parametrize("case", CASES)
def test_no_bool_crosses_a_boundary_and_step_comes_first(case: str, convert: Any) -> None:
    build, options = CASES[case]
    _, path = convert(build(), **options)
    model = unpacked(path)
    places = {item.signatureKey.decode(): item.subgraphIndex for item in model.signatureDefs}
    assert places["step"] == 0
    assert len(places) > 1
    for item in model.signatureDefs:
        tensors = model.subgraphs[item.subgraphIndex].tensors
        kinds = {tensors[entry.tensorIndex].type for entry in [*(item.inputs or []), *(item.outputs or [])]}
        assert schema.TensorType.BOOL not in kinds
    assert all(pack.dtype != "bool" for pack in artifact.read(path).metadata.packs)


def test_bools_inside_go_in_and_come_out(convert: Any, runtime: str) -> None:
    model = flagged()
    _, path = convert(model, **CASES["external"][1])
    loaded = streaming.load(path, runtime)
    assert loaded.input_spec["flag"].dtype == loaded.output_spec["both"].dtype == "bool"
    x, flag = models.noise(13, 4), models.noise(13, 1) > 0
    expected = model({"x": x[None], "flag": flag[None]})
    streams = [loaded.create_stream() for _ in range(2)]
    for stream, flags in zip(streams, (flag, flag.astype(np.int64)), strict=True):
        parts = [stream.feed({"x": x[:5], "flag": flags[:5]}), stream.feed({"x": x[5:], "flag": flags[5:]})]
        parts.append(stream.finish())
        assert all(part["both"].dtype == bool for part in parts)
        both = np.concatenate([part["both"] for part in parts])
        np.testing.assert_array_equal(both, np.asarray(expected["both"])[0])
        late = np.concatenate([part["late"] for part in parts])
        np.testing.assert_allclose(late, np.asarray(expected["late"])[0], atol=1e-6)
    stream = loaded.restore(loaded.create_stream().save())
    for wrong in (flag.astype(np.float32), flag * 2, flag - 1 * np.ones((13, 1), int)):
        with pytest.raises(InputError, match="'flag'"):
            stream.feed({"x": x, "flag": wrong})


def test_a_single_bool_steps_alone_and_together(convert: Any, runtime: str) -> None:
    flag = keras.Input((None, 2), dtype="bool", name="flag")
    model = keras.Model(flag, keras.ops.logical_not(flag))
    _, path = convert(model, batch_sizes=(1, 3))
    loaded = streaming.load(path, runtime)
    values = models.noise(3, 1, 2) > 0
    streams = [loaded.create_stream() for _ in range(3)]
    for given in (values, list(values), values.astype(np.int32)):
        found = loaded.step_streams(streams, given)
        np.testing.assert_array_equal(np.array(found), ~values)
        assert found[0].dtype == bool
    np.testing.assert_array_equal(streams[0].step(values[0]), ~values[0])
    with pytest.raises(InputError, match="stream 1"):
        loaded.step_streams(streams, [values[0], np.full((1, 2), 2, np.int32), values[2]])


def entry_of(path: Path, name: str) -> bytes:
    model = unpacked(path)
    (place,) = [item.buffer for item in model.metadata if item.name.decode() == name]
    return bytes(bytearray(model.buffers[place].data))


def test_metadata_lie_in_the_flatbuffer_too(convert: Any) -> None:
    files = {"labels.txt": b"a\nb\n", "words.txt": b"c\n"}
    _, path = convert(recurrent(), metadata={"files": files, "source": {"name": "net"}})
    with zipfile.ZipFile(path) as archive:
        text = archive.read("streaming.json")
    assert entry_of(path, "streaming.json") == text
    content = path.read_bytes()
    size = json.loads(text)["flatbuffer_bytes"]
    assert content[size:].startswith(struct.pack("<I", len(text)) + text)
    assert size % 16 == 12  # constants begin at multiples of 16
    model = unpacked(path)
    assert b"min_runtime_version" in [item.name for item in model.metadata]


def test_the_table_of_tools_names_tensors_in_the_order_of_the_graph(convert: Any) -> None:
    """Field numbers are those of metadata_schema.fbs; labels belong to the first output."""
    files = {"labels.txt": b"a\nb\n", "words.txt": b"c\n"}
    _, path = convert(recurrent(), chunk=2, metadata={"files": files, "source": {"name": "net"}})
    content = entry_of(path, "TFLITE_METADATA")
    assert content[4:8] == b"M001"
    source = Source(content)
    root = Table(source, source.follow(0))
    assert root.text(0) == "net"
    assert [(item.text(0), item.integer(2, "<b")) for item in root.tables(6)] == [("words.txt", 5)]
    model = unpacked(path)
    names = {item.subgraphIndex: item for item in model.signatureDefs}
    for place, (table, graph) in enumerate(zip(root.tables(3), model.subgraphs, strict=True)):
        signature = names[place]
        assert table.text(0) == signature.signatureKey.decode()
        for field, entries, indexes in ((2, signature.inputs, graph.inputs), (3, signature.outputs, graph.outputs)):
            known = {entry.tensorIndex: entry.name.decode() for entry in entries}
            assert [item.text(0) for item in table.tables(field)] == [known[index] for index in indexes]
    (labels,) = root.tables(3)[0].tables(3)[0].tables(6)
    assert (labels.text(0), labels.integer(2, "<b")) == ("labels.txt", 2)


def test_bools_of_other_tools_cross_no_boundary_either(tmp_path: Path, runtime: str) -> None:
    """seen_t = seen_(t-1) or flag_t; y_t = x_t where it is seen. Adopting compares with the bare file bit for bit."""
    import tensorflow as tf

    def step(x: Any, flag: Any, seen: Any) -> Any:
        now = tf.logical_or(seen, flag)
        return {"y": tf.where(now, x, 0.0), "now": tf.identity(now), "next": tf.logical_or(seen, flag)}

    specs = {"x": ((1, 3), "float32"), "flag": ((1, 3), "bool"), "seen": ((1, 3), "bool")}
    (tmp_path / "foreign.tflite").write_bytes(foreign.signed(step=(step, specs)))
    report = streaming.adopt(
        tmp_path / "foreign.tflite",
        tmp_path / "ours.tflite",
        states={"seen": "next"},
        initial={"seen": np.array([[False, True, False]])},
    )
    assert report.steps
    model = unpacked(tmp_path / "ours.tflite")
    tensors = model.subgraphs[0].tensors
    entries = [*model.signatureDefs[0].inputs, *model.signatureDefs[0].outputs]
    assert schema.TensorType.BOOL not in {tensors[entry.tensorIndex].type for entry in entries}
    loaded = streaming.load(tmp_path / "ours.tflite", runtime)
    x, flag = models.noise(6, 3), models.noise(6, 3, seed=4) > 0.8
    found = loaded.create_stream().feed({"x": x, "flag": flag})
    seen = np.logical_or.accumulate(np.concatenate([[[False, True, False]], flag]))[1:]
    assert found["now"].dtype == bool
    np.testing.assert_array_equal(found["now"], seen)
    np.testing.assert_array_equal(found["y"], np.where(seen, x, 0))


def test_an_entry_that_says_something_else_is_refused(convert: Any) -> None:
    _, path = convert(recurrent())
    content = path.read_bytes()
    place = artifact.read(path).metadata.flatbuffer_bytes + 4 + 10
    changed = bytearray(content)
    changed[place] ^= 1
    with pytest.raises(ArtifactError, match="fingerprint"):
        artifact.parse(sealed(bytes(changed)), "forged")


def test_packing_again_keeps_one_entry(convert: Any) -> None:
    _, path = convert(recurrent())
    found = artifact.read(path)
    renamed = dataclasses.replace(found.metadata, source=Origin(more={"name": "other" * 100}))
    again = artifact.parse(artifact.pack(found.flatbuffer, renamed, {}), "again")
    assert again.metadata.fingerprint == found.metadata.fingerprint
    assert again.metadata.source == renamed.source
    assert artifact.pack(again.flatbuffer, found.metadata, found.files) == path.read_bytes()


def test_files_of_earlier_schemas_are_read(tmp_path: Path, runtime: str) -> None:
    """Masks were bools, and metadata had no flags."""
    flatbuffer, meta, files = models.filter_model()
    content = artifact.pack(flatbuffer, meta, files)
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        parts = {name: archive.read(name) for name in archive.namelist()}
    old = json.loads(parts["streaming.json"])
    for schema_version in (1, 2):
        old["schema"] = schema_version
        old.pop("flags", None)
        parts["streaming.json"] = json.dumps(old).encode()
        buffer = io.BytesIO(flatbuffer)
        buffer.seek(0, io.SEEK_END)
        with zipfile.ZipFile(buffer, "a") as archive:
            for name, data in parts.items():
                archive.writestr(name, data)
            archive.comment = b"0" * 64
        path = tmp_path / f"{schema_version}.tflite"
        path.write_bytes(sealed(buffer.getvalue()))
        stream = streaming.load(path, runtime).create_stream()
        x = models.noise(9, 3)
        found, rest = stream.feed(x), stream.finish()
        expected = models.filter_oracle(x)
        for name, rows in expected.items():
            np.testing.assert_allclose(np.concatenate([found[name], rest[name]]), rows, atol=1e-5)


def test_flags_are_one_of_two_dtypes() -> None:
    _, meta, _ = models.filter_model()
    with pytest.raises(ArtifactError, match="flags"):
        streaming.runtime.agreement.check_metadata(Metadata(**{**vars(meta), "flags": "int8"}))
