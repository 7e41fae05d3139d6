"""Ed25519 signatures of manifests: optional, and checked wherever a public key is configured."""

from __future__ import annotations

import base64
import binascii
import os
from typing import TYPE_CHECKING

from rnnzoo.errors import HubError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

# The key that releases of this project are signed with, 32 bytes in base64; None: they are not.
PUBLIC_KEY: str | None = None
SUFFIX = ".sig"


def public_key() -> str | None:
    """The configured key: RNNZOO_PUBLIC_KEY, else that of the project; None where there is none."""
    return os.environ.get("RNNZOO_PUBLIC_KEY") or PUBLIC_KEY


def verify(data: bytes, signature: bytes, key: str, where: str) -> None:
    """Refuse a manifest that the owner of a key has not signed.

    Args:
        data: bytes of the manifest.
        signature: 64 bytes in base64.
        key: 32 bytes in base64.
        where: of the manifest, for errors.

    Raises:
        HubError: the signature is of another key or damaged, the key is not valid, or `cryptography` is not installed.
    """
    try:
        from cryptography.exceptions import InvalidSignature
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    except ModuleNotFoundError as error:
        raise HubError("a public key is configured, and checking it needs: pip install 'rnnzoo[signed]'") from error
    try:
        known = Ed25519PublicKey.from_public_bytes(_decode(key, 32, "RNNZOO_PUBLIC_KEY"))
        known.verify(_decode(signature.decode("ascii", "replace"), 64, where + SUFFIX), data)
    except InvalidSignature:
        raise HubError(
            f"{where}: its signature is not by the configured key; take it from another mirror, or correct the key"
        ) from None


def sign(data: bytes, private: str) -> bytes:
    """The signature of a manifest, in base64. `private`: 32 bytes in base64. Raises HubError where it is no key."""
    return base64.b64encode(_private(private).sign(data)) + b"\n"


def public_of(private: str) -> str:
    """The public key that belongs to a private one, both in base64."""
    return base64.b64encode(_private(private).public_key().public_bytes_raw()).decode()


def _private(text: str) -> Ed25519PrivateKey:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    return Ed25519PrivateKey.from_private_bytes(_decode(text, 32, "the private key"))


def _decode(text: str, size: int, what: str) -> bytes:
    try:
        data = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError):
        data = b""
    if len(data) != size:
        raise HubError(f"{what}: expected {size} bytes in base64; received {len(text)} characters that are not")
    return data
