"""The file: a TFLite flatbuffer with a zip appended that holds `streaming.json` and the associated files.

Appending a zip is the TFLite Metadata convention for associated files: interpreters ignore it, `zipfile`
reads it. The flatbuffer of a converted model ends with a metadata entry that holds the bytes of `streaming.json` too,
for clients that read no zip. Every byte is covered: the flatbuffer before that entry and the files by SHA-256 in
`streaming.json`, and the whole by the SHA-256 that is the comment of the zip.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os
import struct
import tempfile
import zipfile
import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from streaming.errors import ArtifactError
from streaming.runtime.flatbuffer import metadata_entry
from streaming.runtime.metadata import Metadata

METADATA_FILE = "streaming.json"
BUNDLED = "float32.tflite"
MAX_FILE_BYTES = 2**31 - 1  # flatbuffers address with 31 bits
MAX_ASSOCIATED_BYTES = 64 * 2**20
MAX_ASSOCIATED_FILES = 64
_MARK = slice(4, 8)
_ENTRY_ALIGNMENT = 16
_DIGEST_BYTES = 2 * hashlib.sha256().digest_size  # in hex


@dataclass(frozen=True)
class Artifact:
    """A verified file in memory: the flatbuffer, its metadata, and its associated files by name.

    digest: SHA-256 of the whole file, in hex.
    """

    flatbuffer: bytes
    metadata: Metadata
    files: Mapping[str, bytes]
    digest: str


def fingerprint(flatbuffer: bytes) -> str:
    """SHA-256 of a flatbuffer without the entry at its end, in hex: the identity of a model."""
    return hashlib.sha256(flatbuffer).hexdigest()


def pack(flatbuffer: bytes, metadata: Metadata, files: Mapping[str, bytes]) -> bytes:
    """The bytes of a whole file, fingerprint, size and hashes filled in; equal input gives equal bytes."""
    for name in files:
        _check_name(name, "the files given to convert")
    model, has_entry = _without_entry(flatbuffer)
    metadata = dataclasses.replace(
        metadata,
        fingerprint=fingerprint(model),
        flatbuffer_bytes=len(model),
        files={name: hashlib.sha256(data).hexdigest() for name, data in sorted(files.items())},
    )
    text = json.dumps(metadata.to_json(), indent=1, sort_keys=True, allow_nan=False).encode()
    buffer = io.BytesIO()
    buffer.write(model + _entry(text) if has_entry else model)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, data in {METADATA_FILE: text, **dict(sorted(files.items()))}.items():
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            archive.writestr(entry, data, compress_type=zipfile.ZIP_DEFLATED)
        archive.comment = b"0" * _DIGEST_BYTES  # it ends the file, so it can be the digest of all before it
    content = buffer.getvalue()[:-_DIGEST_BYTES]
    return content + _digest(content)


def write(path: str | os.PathLike[str], content: bytes) -> None:
    """Write atomically: after any failure the path has either the old content or all of the new one.

    Raises ArtifactError where the folder is missing or cannot be written.
    """
    target = Path(path)
    try:
        handle, temporary = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.", suffix=".part")
    except OSError as error:
        raise ArtifactError(
            f"cannot write {target}: {error.strerror}; give a path in a folder that exists and can be written"
        ) from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(temporary, 0o666 & ~_umask())
        os.replace(temporary, target)
    except OSError as error:
        Path(temporary).unlink(missing_ok=True)
        raise ArtifactError(f"cannot write {target}: {error.strerror}; nothing was written") from error
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise


def read(path: str | os.PathLike[str]) -> Artifact:
    """Read and verify a file, or the file `BUNDLED` of a folder; raises ArtifactError that names the fault."""
    path = Path(path)
    path = path / BUNDLED if path.is_dir() else path
    try:
        size = path.stat().st_size
        if size > MAX_FILE_BYTES:
            raise ArtifactError(f"{path} has {size} bytes, more than the {MAX_FILE_BYTES} a TFLite file can have")
        with path.open("rb") as file:
            start = file.read(_MARK.stop)
            file.seek(0)
            content = file.read() if start[_MARK] == b"TFL3" else start
    except OSError as error:
        raise ArtifactError(
            f"cannot read {path}: {error.strerror}; give the path of a .tflite made by streaming.convert"
        ) from error
    return parse(content, str(path), size)


def read_foreign(path: str | os.PathLike[str]) -> tuple[bytes, dict[str, bytes]]:
    """The flatbuffer of a TFLite file that is no streaming file yet, and the files appended to it by name.

    Raises ArtifactError where it cannot be read, is no TFLite file, or is a streaming file already.
    """
    try:
        if Path(path).stat().st_size > MAX_FILE_BYTES:
            raise ArtifactError(f"{path} has more than the {MAX_FILE_BYTES} bytes that a TFLite file can have")
        content = Path(path).read_bytes()
    except OSError as error:
        raise ArtifactError(f"cannot read {path}: {error.strerror}; give the path of a .tflite file") from error
    if content[_MARK] != b"TFL3":
        raise ArtifactError(f"{path} is not a TFLite file ({len(content)} bytes, no TFL3 mark); give a .tflite file")
    if not zipfile.is_zipfile(io.BytesIO(content)):
        return content, {}
    files, start = _read_zip(content, str(path))
    if METADATA_FILE in files:
        raise ArtifactError(f"{path} is a streaming model already (it has {METADATA_FILE}); use it as it is")
    return content[:start], files


def parse(content: bytes, name: str, size: int | None = None) -> Artifact:
    """Verify the bytes of a file, called `name` and of `size` bytes in errors."""
    if content[_MARK] != b"TFL3":
        size = len(content) if size is None else size
        raise ArtifactError(
            f"{name} is not a TFLite file ({size} bytes, no TFL3 mark); give one made by streaming.convert"
        )
    files, start = _read_zip(content, name)
    try:
        text = files.pop(METADATA_FILE)
        metadata = Metadata.from_json(json.loads(text))
    except KeyError:
        raise ArtifactError(f"{name} has no {METADATA_FILE}; give a file made by streaming.convert") from None
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{name}: {METADATA_FILE} is not JSON ({error}); convert the model again") from error
    except ArtifactError as error:
        raise ArtifactError(f"{name}: {error}") from None
    if _digest(memoryview(content)[:-_DIGEST_BYTES]) != content[-_DIGEST_BYTES:]:
        raise ArtifactError(f"{name} is damaged: it does not match its checksum; copy or convert it again")
    size = metadata.flatbuffer_bytes
    flatbuffer, entry = content[:start], content[size:start]
    if start < size or fingerprint(content[:size]) != metadata.fingerprint or entry not in (b"", _entry(text)):
        raise ArtifactError(f"{name} is damaged: the model does not match its fingerprint; copy or convert it again")
    hashes = {key: hashlib.sha256(data).hexdigest() for key, data in files.items()}
    if hashes != metadata.files:
        wrong = sorted(
            key for key in hashes.keys() | metadata.files.keys() if hashes.get(key) != metadata.files.get(key)
        )
        raise ArtifactError(f"{name} is damaged: {wrong[0]} does not match its checksum; copy or convert it again")
    return Artifact(flatbuffer, metadata, files, content[-_DIGEST_BYTES:].decode())


def _entry(text: bytes) -> bytes:
    """The end of a flatbuffer with the metadata entry: a vector of bytes."""
    return struct.pack("<I", len(text)) + text + bytes(-len(text) % _ENTRY_ALIGNMENT)


def _without_entry(flatbuffer: bytes) -> tuple[bytes, bool]:
    """A flatbuffer up to the entry at its end, and whether it has one."""
    try:
        entry = metadata_entry(flatbuffer, METADATA_FILE)
    except ArtifactError:
        entry = None  # to refuse what is no model is the verifier's part
    if entry is not None:
        _, begin, size = entry
        if flatbuffer[begin - 4 :] == _entry(flatbuffer[begin : begin + size]):
            return flatbuffer[: begin - 4], True
    return flatbuffer, False


def _read_zip(content: bytes, name: str) -> tuple[dict[str, bytes], int]:
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            entries = archive.infolist()
            if not 0 < len(entries) <= MAX_ASSOCIATED_FILES:
                raise ArtifactError(f"{name}: {len(entries)} associated files, expected 1 to {MAX_ASSOCIATED_FILES}")
            if sum(entry.file_size for entry in entries) > MAX_ASSOCIATED_BYTES:
                raise ArtifactError(
                    f"{name}: associated files unpack to more than {MAX_ASSOCIATED_BYTES} bytes; refused"
                )
            for entry in entries:
                _check_name(entry.filename, name)
            files = {entry.filename: _unpack(archive, entry) for entry in entries}
            if len(files) != len(entries):
                raise ArtifactError(f"{name}: two associated files have one name; refused")
            return files, min(entry.header_offset for entry in entries)
    except (
        zipfile.BadZipFile,
        zlib.error,
        EOFError,
        OSError,
        RuntimeError,
        ValueError,
        NotImplementedError,
    ) as error:
        raise ArtifactError(
            f"{name} is truncated, damaged or was not made by streaming.convert ({error}); copy or convert it again"
        ) from error


def _unpack(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> bytes:
    if entry.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"unknown compression of {entry.filename!r}")
    with archive.open(entry) as file:
        # Without the number, what unpacks to more than its header says would fill the memory first.
        return file.read(entry.file_size)


def _digest(content: bytes | memoryview) -> bytes:
    return hashlib.sha256(content).hexdigest().encode()


def _check_name(name: str, where: str) -> None:
    parts = name.split("/")
    if not name or "\\" in name or "\0" in name or any(part in ("", ".", "..") for part in parts) or ":" in name:
        raise ArtifactError(f"{where}: {name!r} is no plain relative file name; refused")


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
