"""Data sets that this package prepares itself, by TensorFlow Datasets: files by name, downloaded or from a mirror."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, ClassVar

from rnnzoo.errors import DataError


class _LateBuilder:
    """The attribute `builder` of a subclass of `FileBuilder`: the class that TFDS knows, made when it is asked for.

    Its qualified name leads here, so that a worker of Apache Beam that unpickles it makes it, too.
    """

    def __init__(self) -> None:
        self._made: dict[type, Any] = {}

    def __get__(self, instance: Any, owner: type[FileBuilder]) -> Any:
        if owner in self._made.values():
            return owner
        if owner not in self._made:
            import tensorflow_datasets as tfds

            own = {
                "VERSION": tfds.core.Version(owner.VERSION),
                "__module__": owner.__module__,
                "__qualname__": f"{owner.__qualname__}.builder",
                "__doc__": owner.__doc__,
            }
            if owner.CONFIGS:
                own["BUILDER_CONFIGS"] = [tfds.core.BuilderConfig(name=name) for name in owner.CONFIGS]
            self._made[owner] = type(owner.__name__, (owner, tfds.core.GeneratorBasedBuilder), own)
        return self._made[owner]


class FileBuilder:
    """Description of a data set for a builder of TFDS; `builder` makes that builder, which imports TFDS.

    A subclass has VERSION, `_info`, `_split_generators` and `_generate_examples`, as TFDS takes them, and:
        FILES: the files that it reads, by name.
        MIRROR: folder of a mirror that holds the files under these names; none where the data are made in code.
        CONFIGS: names of its variants, which `self.builder_config.name` gives.
    """

    VERSION: ClassVar[str]
    FILES: ClassVar[dict[str, str]]
    MIRROR: ClassVar[str]
    CONFIGS: ClassVar[tuple[str, ...]] = ()
    builder_config: Any
    builder = _LateBuilder()
    # What TFDS's builders have.
    dataset_info_from_configs: Any


class DownloadedFiles(FileBuilder):
    """A data set whose files can be downloaded unchanged; `checksums.tsv` has the size and SHA-256 of each URL.

    FILES: name of a file -> its URL, at a commit and no branch.
    """

    def paths(self, manager: Any) -> dict[str, Path]:
        """Paths of the files of FILES, after their SHA-256 was checked."""
        return {name: Path(path) for name, path in manager.download(dict(self.FILES)).items()}


class PackedFiles(FileBuilder):
    """A data set that was cut or packed by hand: TFDS reads it from a folder, and cannot download it.

    FILES: name of a file -> its SHA-256.
    """

    MANUAL_DOWNLOAD_INSTRUCTIONS = "This data set was packed by hand; RNNZOO_DATA_MIRROR names a folder that holds it."

    def paths(self, manager: Any) -> dict[str, Path]:
        """Paths of the files of FILES, after their SHA-256 was checked.

        Raises:
            DataError: a file is missing or has other bytes.
        """
        folder = Path(manager.manual_dir)
        for name, expected in self.FILES.items():
            try:
                digest = hashlib.sha256((folder / name).read_bytes()).hexdigest()
            except OSError as error:
                raise DataError(f"{folder / name} cannot be read ({error.strerror}). Copy it anew") from error
            if digest != expected:
                raise DataError(f"{folder / name}: expected SHA-256 {expected}, found {digest}. Copy it anew")
        return {name: folder / name for name in self.FILES}
