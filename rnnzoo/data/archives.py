"""Reads the members of an archive of pictures, in the order of their names."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path, PurePosixPath


def members(path: Path) -> dict[str, bytes]:
    """Name of a file, without its folder -> its bytes; nothing is written."""
    with tarfile.open(path) as archive:
        return dict(sorted(_read(archive)))


def _read(archive: tarfile.TarFile) -> Iterator[tuple[str, bytes]]:
    for member in archive:
        if member.isfile() and (file := archive.extractfile(member)):
            yield PurePosixPath(member.name).name, file.read()
