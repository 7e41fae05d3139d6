"""The bytes of a saved stream: magic, version, a JSON header, raw little-endian arrays, SHA-256 of all that.

The bytes of a saved session begin and end in the same way.
"""

from __future__ import annotations

import hashlib
import json
import struct
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import StateMismatchError

_MAGIC, _VERSION = b"RZST", 1
_START = struct.Struct("<4sHI")
_DIGEST = hashlib.sha256().digest_size


@dataclass(frozen=True)
class Header:
    """Header of a saved stream; `waiting` steps and, if `held`, static inputs are saved too."""

    fingerprint: str
    position: int
    waiting: int
    held: bool
    closed: str
    nan: str


def pack(header: Header, arrays: Sequence[NDArray[Any]]) -> bytes:
    """The blob of a header and arrays, whose shapes the model knows."""
    text = json.dumps(asdict(header), sort_keys=True).encode()
    return seal(_MAGIC, _VERSION, text, [a.astype(a.dtype.newbyteorder("<")).tobytes() for a in arrays])


def unpack(blob: Any) -> tuple[Header, bytes]:
    """Header and raw arrays; raises StateMismatchError for bytes that are no blob, of another version, or damaged."""
    text, data = unseal(blob, _MAGIC, _VERSION, "stream")
    return _header(text), data


def seal(magic: bytes, version: int, header: bytes, parts: Sequence[bytes]) -> bytes:
    """A header and parts with a checksum; the first bytes give the kind of the blob."""
    content = b"".join([_START.pack(magic, version, len(header)), header, *parts])
    return content + hashlib.sha256(content).digest()


def unseal(blob: Any, magic: bytes, version: int, what: str) -> tuple[bytes, bytes]:
    """The header and all parts; raises StateMismatchError for other bytes than `seal` makes. what: name for errors."""
    if not isinstance(blob, bytes | bytearray | memoryview):
        raise StateMismatchError(
            f"a saved {what} is {type(blob).__name__}, expected bytes; give what {what}.save() returned"
        )
    content = bytes(blob)
    if len(content) < _START.size + _DIGEST or not content.startswith(magic):
        raise StateMismatchError(f"{len(content)} bytes are no saved {what}; give all the bytes of {what}.save()")
    _, stored, size = _START.unpack_from(content)
    if stored != version:
        raise StateMismatchError(
            f"the {what} was saved by format {stored}, this package reads {version}; use the package that saved it"
        )
    if hashlib.sha256(content[:-_DIGEST]).digest() != content[-_DIGEST:]:
        raise StateMismatchError(f"the saved {what} is truncated or damaged; save it again")
    body = content[_START.size : -_DIGEST]
    return body[:size], body[size:]


def _header(text: bytes) -> Header:
    kinds = {"fingerprint": str, "position": int, "waiting": int, "held": bool, "closed": str, "nan": str}
    try:
        data = json.loads(text)
        header = Header(**{item.name: data[item.name] for item in fields(Header)})
        good = all(type(getattr(header, name)) is kind for name, kind in kinds.items())
    except (ValueError, KeyError, TypeError):
        good = False
    if not good or header.position < 0 or header.waiting < 0 or (header.waiting and not header.held):
        raise StateMismatchError("the saved stream has no sound header; save it again")
    return header


def split(data: bytes, templates: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
    """Raw bytes as arrays like the templates; raises StateMismatchError where the sizes differ."""
    total = sum(template.nbytes for template in templates)
    if len(data) != total:
        raise StateMismatchError(
            f"the saved stream holds {len(data)} bytes of state, this model has {total}; save it again"
        )
    arrays, offset = [], 0
    for template in templates:
        flat = np.frombuffer(data, template.dtype.newbyteorder("<"), template.size, offset)
        arrays.append(flat.astype(template.dtype).reshape(template.shape))
        offset += template.nbytes
    return arrays
