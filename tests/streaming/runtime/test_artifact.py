"""Files that are damaged, foreign or hostile: always an ArtifactError, never a model that is another one."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import tracemalloc
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import streaming
from streaming.errors import ArtifactError
from streaming.runtime import artifact
from streaming.runtime.metadata import SCHEMA, InputInfo, Metadata, OutputInfo, SignatureInfo

FLATBUFFER = b"\x1c\0\0\0TFL3" + np.random.default_rng(0).bytes(3000)
FILES = {"labels.txt": b"noun\nverb\n" * 20, "initial/state.bin": bytes(64)}
META = Metadata(
    fingerprint="",
    flatbuffer_bytes=0,
    signatures={"step": SignatureInfo(1, 1)},
    inputs=(InputInfo("x", (3,), "float32", low=None),),
    outputs=(OutputInfo("y", (2, 2), "float32", start=1, end=1),),
    flush=1,
    task={"kind": "tagger"},
)
CONTENT = artifact.pack(FLATBUFFER, META, FILES)


def refused(content: bytes) -> str:
    """The one line with which the content is refused."""
    with pytest.raises(ArtifactError) as caught:
        artifact.parse(content, "file.tflite")
    message = str(caught.value)
    assert "\n" not in message
    return message


def with_zip(edit: Any, flatbuffer: bytes = FLATBUFFER) -> bytes:
    """The flatbuffer with another zip, correctly closed by its digest: edit(archive, json text) fills it."""
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as archive:
        text = archive.read("streaming.json").decode()
    buffer = io.BytesIO(flatbuffer)
    buffer.seek(0, os.SEEK_END)
    with zipfile.ZipFile(buffer, "a", zipfile.ZIP_DEFLATED) as archive:
        edit(archive, text)
        archive.comment = b"0" * 64
    return sealed(buffer.getvalue())


def sealed(content: bytes) -> bytes:
    """The content with the digest at its end made right."""
    return content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode()


def with_json(**changes: Any) -> bytes:
    """An artifact without associated files and with changed metadata."""

    def edit(archive: zipfile.ZipFile, text: str) -> None:
        archive.writestr("streaming.json", json.dumps({**json.loads(text), "files": {}, **changes}))

    return with_zip(edit)


def test_round_trip() -> None:
    found = artifact.parse(CONTENT, "file")
    assert found.flatbuffer == FLATBUFFER
    assert found.files == FILES
    assert found.metadata == dataclasses.replace(
        META,
        fingerprint=hashlib.sha256(FLATBUFFER).hexdigest(),
        flatbuffer_bytes=len(FLATBUFFER),
        files={name: hashlib.sha256(data).hexdigest() for name, data in FILES.items()},
    )


def test_equal_models_make_equal_bytes() -> None:
    again = artifact.pack(FLATBUFFER, META, dict(reversed(FILES.items())))
    assert again == CONTENT


def test_any_zip_reader_reads_the_files() -> None:
    with zipfile.ZipFile(io.BytesIO(CONTENT)) as archive:
        assert archive.testzip() is None
        assert archive.namelist() == ["streaming.json", "initial/state.bin", "labels.txt"]
        assert archive.read("labels.txt") == FILES["labels.txt"]


def test_truncated_anywhere() -> None:
    for size in np.linspace(0, len(CONTENT) - 1, 100).astype(int):
        refused(CONTENT[:size])


def test_any_bit_flipped() -> None:
    generator = np.random.default_rng(1)
    tail = len(FLATBUFFER)
    places = [*generator.integers(0, len(CONTENT), 2000), *generator.integers(tail, len(CONTENT), 1000)]
    for place in places:
        damaged = bytearray(CONTENT)
        damaged[place] ^= 1 << generator.integers(8)
        refused(bytes(damaged))


@pytest.mark.parametrize("content", [b"", b"\0" * 8, b"TFL3TFL3", b"PK\x03\x04" * 10, FLATBUFFER[:8]])
def test_no_artifact(content: bytes) -> None:
    refused(content)


def test_bytes_after_the_end_or_between() -> None:
    refused(CONTENT + b"\0")
    refused(CONTENT[: len(FLATBUFFER)] + b"\0" + CONTENT[len(FLATBUFFER) :])


def test_a_foreign_tflite_has_no_metadata() -> None:
    assert "streaming.convert" in refused(FLATBUFFER)
    foreign = with_zip(lambda archive, text: archive.writestr("labels.txt", "a"))
    assert "streaming.json" in refused(foreign)


def test_another_model_under_the_same_metadata() -> None:
    other = FLATBUFFER[:-1] + bytes([FLATBUFFER[-1] ^ 1])
    content = with_zip(lambda archive, text: archive.writestr("streaming.json", text), other)
    assert "fingerprint" in refused(content)


def test_an_associated_file_that_changed() -> None:
    def edit(archive: zipfile.ZipFile, text: str) -> None:
        archive.writestr("streaming.json", text)
        for name, data in FILES.items():
            archive.writestr(name, data if name != "labels.txt" else b"verb\nnoun\n")

    assert "labels.txt" in refused(with_zip(edit))


@pytest.mark.parametrize("schema", [SCHEMA + 1, 0, -1, "1", None, 1.5, 10**30])
def test_schema_of_another_version(schema: Any) -> None:
    assert "schema" in refused(with_json(schema=schema))


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"chunk": "1"}, "chunk"),
        ({"chunk": True}, "chunk"),
        ({"signatures": []}, "signatures"),
        ({"signatures": {"step": {"batch": 1}}}, "chunk"),
        ({"inputs": [3]}, "inputs"),
        ({"outputs": [{"name": "y", "shape": ["2"], "dtype": "float32"}]}, "shape"),
        ({"fingerprint": None}, "fingerprint"),
        ({"flatbuffer_bytes": 1}, "fingerprint"),
    ],
)
def test_metadata_of_the_wrong_type(changes: dict[str, Any], word: str) -> None:
    assert word in refused(with_json(**changes))


@pytest.mark.parametrize("text", ["", "[]", "1", "{", "nul", "[" * 100_000, '{"schema": ' + "9" * 5000 + "}", "\ud800"])
def test_metadata_that_is_no_object(text: str) -> None:
    raw = text.encode("utf-8", "surrogatepass")
    refused(with_zip(lambda archive, _: archive.writestr("streaming.json", raw)))


@pytest.mark.parametrize("name", ["../x", "/etc/passwd", "a/../b", "a//b", "C:x", "a\\b", ".", "a/"])
def test_path_tricks(name: str) -> None:
    def edit(archive: zipfile.ZipFile, text: str) -> None:
        archive.writestr("streaming.json", text)
        archive.writestr(name, b"")

    assert "file name" in refused(with_zip(edit))
    with pytest.raises(ArtifactError, match="file name"):
        artifact.pack(FLATBUFFER, META, {name: b""})


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_two_files_of_one_name() -> None:
    def edit(archive: zipfile.ZipFile, text: str) -> None:
        archive.writestr("streaming.json", text)
        archive.writestr("streaming.json", text)

    assert "one name" in refused(with_zip(edit))


def test_too_many_files() -> None:
    def edit(archive: zipfile.ZipFile, text: str) -> None:
        for number in range(artifact.MAX_ASSOCIATED_FILES + 1):
            archive.writestr(str(number), b"")

    assert "associated files" in refused(with_zip(edit))


@pytest.mark.parametrize("honest", [True, False])
def test_a_zip_bomb_is_not_unpacked(honest: bool) -> None:
    def edit(archive: zipfile.ZipFile, text: str) -> None:
        archive.writestr("bomb", b"\0" * (artifact.MAX_ASSOCIATED_BYTES + 1))
        if not honest:
            archive.infolist()[0].file_size = 10

    content = with_zip(edit)
    tracemalloc.start()
    refused(content)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 * 2**20


def test_an_encrypted_or_exotic_zip() -> None:
    exotic = with_zip(lambda archive, text: archive.writestr("streaming.json", text, zipfile.ZIP_LZMA))
    refused(exotic)


def test_a_sparse_file_of_ten_gigabytes(tmp_path: Path) -> None:
    for size in (10 * 2**30, 2**31 - 1):
        path = tmp_path / "sparse.tflite"
        with path.open("wb") as file:
            file.truncate(size)
        with pytest.raises(ArtifactError, match=str(size)):
            streaming.load(path)


def test_no_file_and_a_folder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="cannot read"):
        streaming.load(tmp_path / "absent.tflite")
    with pytest.raises(ArtifactError, match="cannot read"):
        streaming.load(tmp_path)


def test_a_damaged_file_does_not_reach_the_interpreter(tmp_path: Path) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(CONTENT[:-500])
    with pytest.raises(ArtifactError, match=r"model\.tflite"):
        streaming.load(path)


def test_a_forged_file_that_is_no_model(tmp_path: Path, runtime: str) -> None:
    path = tmp_path / "model.tflite"
    path.write_bytes(CONTENT)
    with pytest.raises(ArtifactError, match="TFLite model is damaged"):
        streaming.load(path, runtime=runtime)


def test_writing_replaces_all_or_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.tflite"
    artifact.write(path, b"old")
    assert path.stat().st_mode & 0o777 == 0o666 & ~artifact._umask()

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    for name in ("fsync", "replace"):
        with monkeypatch.context() as patch:
            patch.setattr(os, name, fail)
            with pytest.raises(ArtifactError, match="No space left"):
                artifact.write(path, b"new")
        assert path.read_bytes() == b"old"
        assert list(tmp_path.iterdir()) == [path]
    artifact.write(path, b"new")
    assert path.read_bytes() == b"new"


def test_writing_into_no_folder(tmp_path: Path) -> None:
    with pytest.raises(ArtifactError, match="folder that exists"):
        artifact.write(tmp_path / "absent" / "model.tflite", b"new")
