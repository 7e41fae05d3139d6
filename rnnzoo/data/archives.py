"""Reads the members of an archive of pictures, in the order of their names."""

from __future__ import annotations

import tarfile
import zlib
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from rnnzoo.errors import DataError

# Bytes of all members together, unpacked.
MAX_UNPACKED = 2**31


def members(path: Path) -> dict[str, bytes]:
    """Name of a file, without its folder -> its bytes; nothing is written, and links are left out.

    Raises:
        DataError: it is no archive, or unpacks to more than `MAX_UNPACKED` bytes.
    """
    try:
        with tarfile.open(path) as archive:
            return dict(sorted(_read(archive, path)))
    except (tarfile.TarError, EOFError, zlib.error, OSError) as error:
        raise DataError(f"{path} cannot be unpacked ({error}). Copy it anew") from error


def _read(archive: tarfile.TarFile, path: Path) -> Iterator[tuple[str, bytes]]:
    left = MAX_UNPACKED
    for member in archive:
        left -= member.size
        if left < 0:
            raise DataError(f"{path} unpacks to more than {MAX_UNPACKED} bytes; refused")
        if member.isfile() and (file := archive.extractfile(member)):
            yield PurePosixPath(member.name).name, file.read()
