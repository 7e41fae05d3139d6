"""What the builders of this package share: files by name, from the network or from a mirror."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

import tensorflow_datasets as tfds

from rnnzoo.errors import DataError


class DownloadedBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A data set whose files can be downloaded as they are; `checksums.tsv` registers size and SHA-256 of each URL.

    A subclass has VERSION and:
        FILES: name of a file -> its URL, at a commit and no branch.
        MIRROR: folder of a mirror that holds the files under these names.
    """

    FILES: ClassVar[dict[str, str]]
    MIRROR: ClassVar[str]

    def paths(self, manager: Any) -> dict[str, Path]:
        """Where each file of FILES is, after its SHA-256 was checked."""
        return {name: Path(path) for name, path in manager.download(dict(self.FILES)).items()}


class ManualBuilder(tfds.core.GeneratorBasedBuilder, skip_registration=True):  # type: ignore[call-arg]
    """A data set that was cut or packed by hand: TFDS reads it from a folder, and cannot download it.

    A subclass has VERSION and:
        FILES: name of a file -> its SHA-256.
        MIRROR: folder of a mirror that holds the files under these names.
    """

    FILES: ClassVar[dict[str, str]]
    MIRROR: ClassVar[str]
    MANUAL_DOWNLOAD_INSTRUCTIONS = "This data set was packed by hand; RNNZOO_DATA_MIRROR names a folder that holds it."

    def paths(self, manager: Any) -> dict[str, Path]:
        """Where each file of FILES is, after its SHA-256 was checked.

        Raises:
            DataError: a file is missing or has other bytes.
        """
        folder = Path(manager.manual_dir)
        for name, expected in self.FILES.items():
            try:
                found = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            except OSError as error:
                raise DataError(f"{folder / name} cannot be read ({error.strerror}). Copy it anew") from error
            if found != expected:
                raise DataError(f"{folder / name}: expected SHA-256 {expected}, found {found}. Copy it anew")
        return {name: folder / name for name in self.FILES}
