"""Tokens of saved streams: the stream itself, signed.

The client keeps them, so that the server stores no data of users, no store can fill up or be lost with the process, and
any server with the same key can resume a stream. Its holder can read a token (it is that client's own state) and resume
it more than once until it expires, but cannot change or make one without the key.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import hmac
import itertools
import json
import os
import secrets
import struct
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from streaming.errors import ArtifactError, StateMismatchError

_MAGIC, _VERSION = b"RZTK", 2
_START = struct.Struct(">4sHdI")
_KEY_BYTES = 32
_MAC_BYTES = hashlib.sha256().digest_size


class TokenSigner:
    """Makes and reads the tokens of one key.

    Args:
        key: the secret.
        lifetime: seconds for which a token can be read.
        model: the identity of the model and its task.
    """

    def __init__(self, key: bytes, lifetime: float, model: str) -> None:
        self._key, self._model = key, model
        self.lifetime = lifetime

    def sign(self, context: dict[str, Any], blobs: Sequence[bytes]) -> str:
        """A token, URL-safe text.

        Args:
            context: the server's data of the stream, JSON.
            blobs: the bytes that it refers to.
        """
        sizes = [len(blob) for blob in blobs]
        text = json.dumps({"model": self._model, "context": context, "sizes": sizes}, separators=(",", ":")).encode()
        content = b"".join([_START.pack(_MAGIC, _VERSION, time.time(), len(text)), text, *blobs])
        return base64.urlsafe_b64encode(content + self._mac(content)).decode().rstrip("=")

    def read(self, token: Any) -> tuple[dict[str, Any], list[bytes]]:
        """Signed content; raises StateMismatchError for a token that this key did not sign, or an old one."""
        content = self._verified(token)
        _, version, issued, size = _START.unpack_from(content)
        if version != _VERSION:
            raise StateMismatchError(f"the token has format {version}, expected {_VERSION}; start a new stream")
        if time.time() - issued > self.lifetime:
            raise StateMismatchError(f"the token is older than {self.lifetime:g} seconds; start a new stream")
        begin = _START.size + size
        header = json.loads(content[_START.size : begin])
        if header["model"] != self._model:
            raise StateMismatchError("the token is of another model; start a new stream")
        ends = list(itertools.accumulate(header["sizes"], initial=begin))
        return header["context"], [content[low:high] for low, high in itertools.pairwise(ends)]

    def _verified(self, token: Any) -> bytes:
        try:
            raw = base64.b64decode(f"{token}===", altchars=b"-_") if isinstance(token, str) else b""
        except (binascii.Error, ValueError):
            raw = b""
        content, mac = raw[:-_MAC_BYTES], raw[-_MAC_BYTES:]
        if len(content) < _START.size or not content.startswith(_MAGIC):
            raise StateMismatchError("that is no token; give all of what a `saved` message held")
        if not hmac.compare_digest(mac, self._mac(content)):
            raise StateMismatchError("the token is damaged or of a server with another key; start a new stream")
        return content

    def _mac(self, content: bytes) -> bytes:
        return hmac.new(self._key, content, hashlib.sha256).digest()


def load_key(path: Path) -> bytes:
    """The secret in a file, which is made where it is missing.

    Raises:
        ArtifactError: the file has no secret, or other users may read it.
        OSError: it can be neither read nor made.
    """
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _make(path)
    if os.name == "posix" and path.stat().st_mode & 0o077:
        raise ArtifactError(f"{path} can be read by others; chmod 600 it, or give another --key")
    key = path.read_bytes()
    if len(key) < _KEY_BYTES:
        raise ArtifactError(f"{path} has {len(key)} bytes, expected {_KEY_BYTES} or more of a secret; delete it")
    return key


def _make(path: Path) -> None:
    """Write a new secret whole or not at all; where two processes do, both use the first one's."""
    descriptor, name = tempfile.mkstemp(dir=path.parent)
    try:
        with open(descriptor, "wb") as file:
            file.write(secrets.token_bytes(_KEY_BYTES))
            file.flush()
            os.fsync(file.fileno())
        with contextlib.suppress(FileExistsError):
            os.link(name, path)
    finally:
        os.unlink(name)
