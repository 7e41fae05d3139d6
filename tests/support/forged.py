"""Streaming files that say something else than they are, with checksums that are right."""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any


def repacked(
    content: bytes, changes: Mapping[str, Any], files: Mapping[str, bytes] | None = None, graph: bytes | None = None
) -> bytes:
    """A file with changes of its streaming.json, files in place of its own, and another graph; checksums are right."""
    with zipfile.ZipFile(io.BytesIO(content)) as archive:
        held = {name: archive.read(name) for name in archive.namelist()} | dict(files or {})
    meta = json.loads(held["streaming.json"])
    hashes = {name: hashlib.sha256(data).hexdigest() for name, data in held.items() if name != "streaming.json"}
    text = json.dumps(meta | {"files": hashes} | changes).encode()
    # The graph's own entry of the text: its length, the text, zeros up to a multiple of 16.
    entry = len(text).to_bytes(4, "little") + text + bytes(-len(text) % 16)
    buffer = io.BytesIO()
    buffer.write((graph or content[: meta["flatbuffer_bytes"]]) + entry)
    with zipfile.ZipFile(buffer, "a") as archive:
        for name, data in (held | {"streaming.json": text}).items():
            archive.writestr(name, data)
        archive.comment = b"0" * 64
    return checksummed(buffer.getvalue())


def checksummed(content: bytes) -> bytes:
    """A file whose last 64 bytes are the checksum of the others."""
    return content[:-64] + hashlib.sha256(content[:-64]).hexdigest().encode()
