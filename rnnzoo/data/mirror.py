"""Official TFDS builders, from the network or from a folder that mirrors their downloads."""

from __future__ import annotations

import contextlib
import csv
import gzip
import hashlib
import importlib.util
import io
import json
import logging
import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from rnnzoo.data.beam import use_beam
from rnnzoo.data.builder import FileBuilder
from rnnzoo.data.decoding import decoding_sound
from rnnzoo.errors import DataError
from rnnzoo.util.cache import cache_root
from rnnzoo.util.files import replacing

_TABLE = "TFDS_CACHE.tsv"
# What TensorFlow and the system say of a full disk, and what helps.
_FULL = "No space left on device"
_ROOM = "Make room, or set RNNZOO_DATA_DIR to another folder"
_DEFAULT_MIRROR = Path("shared") / "data"


def data_dir() -> Path:
    """Folder of prepared data sets: RNNZOO_DATA_DIR, else the cache."""
    chosen = os.environ.get("RNNZOO_DATA_DIR")
    return Path(chosen) if chosen else cache_root() / "tfds"


def find_mirror() -> Path | None:
    """The folder that holds downloaded data sets, or None where there is none.

    RNNZOO_DATA_MIRROR names it; otherwise `shared/data` beside the project or the current folder is taken.

    Raises:
        DataError: RNNZOO_DATA_MIRROR names a folder without the table of files.
    """
    if chosen := os.environ.get("RNNZOO_DATA_MIRROR"):
        if not (Path(chosen) / _TABLE).is_file():
            raise DataError(f"RNNZOO_DATA_MIRROR={chosen}: expected a folder with {_TABLE}; or unset it")
        return Path(chosen)
    roots = (Path.cwd().parent, Path(__file__).resolve().parents[3])
    return next((r / _DEFAULT_MIRROR for r in roots if (r / _DEFAULT_MIRROR / _TABLE).is_file()), None)


def load_builder(name: str) -> Any:
    """A prepared TFDS builder.

    Apache Beam prepares it where RNNZOO_BEAM_RUNNER names a runner, such as DirectRunner.

    With a mirror, the builder's download cache is filled from it, each file is checked by its SHA-256, and no network
    connection is opened. Without one, TFDS downloads.

    Args:
        name: a TFDS name, such as `universal_dependencies/en_ewt`.

    Raises:
        DataError: there is no such data set, or it could be neither found nor downloaded.
    """
    import tensorflow_datasets as tfds

    folder, mirror = data_dir(), find_mirror()
    _make_known(name.split("/")[0])
    try:
        with _silent():
            builder = tfds.builder(name, data_dir=str(folder))
            prepared = builder.is_prepared()
    except (tfds.core.DatasetNotFoundError, ValueError) as error:
        raise DataError(f"TensorFlow Datasets has no data set {name!r}; see its catalogue") from error
    if prepared:
        return builder
    downloads = folder / "downloads"
    config = tfds.download.DownloadConfig(try_download_gcs=False)
    listed = mirror is not None and seed_cache(name, mirror, downloads)
    if mirror and hasattr(builder, "MIRROR"):
        listed = seed_own(builder, mirror, downloads)
        config.manual_dir = str(mirror / builder.MIRROR)
    use_beam(builder, config)
    if not sys.stderr.isatty():
        tfds.disable_progress_bar()
    print(f"preparing {name} in {folder} ...", flush=True)
    try:
        with _silent(), decoding_sound():
            builder.download_and_prepare(download_dir=str(downloads), download_config=config)
    except DataError:
        raise
    except Exception as error:
        sought = "no mirror (RNNZOO_DATA_MIRROR is not set)"
        if mirror:
            sought = f"the mirror {mirror}" + ("" if listed else ", which does not list it")
        remedy = f"Connect to a network, or set RNNZOO_DATA_MIRROR to a folder with {_TABLE} that lists it"
        raise DataError(
            f"data set {name!r} is not prepared. Looked in {folder} and in {sought}; preparing it failed "
            f"({type(error).__name__}: {_first_line(error)}). {_ROOM if _FULL in str(error) else remedy}"
        ) from error
    return builder


def _make_known(name: str) -> None:
    """Tell TFDS of the builder of this package, where the data set has one."""
    module = f"rnnzoo.data.sets.{name}"
    if importlib.util.find_spec(module):
        for member in vars(importlib.import_module(module)).values():
            if isinstance(member, type) and issubclass(member, FileBuilder) and member.__module__ == module:
                member.builder  # noqa: B018 - making it registers it


def rows(name: str, split: str) -> Iterator[dict[str, Any]]:
    """The examples of a prepared split, in the order of its files, as NumPy and bytes; raises as `load_builder`."""
    import tensorflow_datasets as tfds

    yield from tfds.as_numpy(load_builder(name).as_dataset(split=split, shuffle_files=False))


def seed_cache(name: str, mirror: Path, downloads: Path) -> bool:
    """Copy a data set's files from the mirror to the download cache of TFDS.

    Returns:
        Whether the mirror lists the data set.

    Raises:
        DataError: a listed file is missing, or its bytes are not those TFDS has registered.
    """
    # The table lists a builder whose configurations share their files without one.
    listed = [row for row in _table(mirror) if row["builder"] in (name, name.partition("/")[0])]
    for row in listed:
        _seed(downloads / row["cache_file"], mirror / row["file"], row["url"], row["sha256"], row["prepare"])
    return bool(listed)


def seed_own(builder: Any, mirror: Path, downloads: Path) -> bool:
    """The same for a builder of this package, by its own table of checksums.

    Returns:
        Whether the mirror has the folder of the data set.

    Raises:
        DataError: a file is missing, or its bytes are not those that are registered.
    """
    from tensorflow_datasets.core.download.resource import get_dl_fname

    folder = mirror / builder.MIRROR
    if not folder.is_dir():
        return False
    registered = builder.url_infos or {}
    for name, url in builder.FILES.items():
        if url in registered:
            checksum = registered[url].checksum
            _seed(downloads / builder.name / get_dl_fname(url, checksum), folder / name, url, checksum)
    return True


def _seed(target: Path, source: Path, url: str, sha256: str, prepare: str = "as is") -> None:
    if not target.is_file():
        _write(target, _checked_bytes(source, sha256, prepare))
    # TFDS takes a cached file only with this note of its origin beside it.
    info = target.with_name(target.name + ".INFO")
    if not info.is_file():
        _write(info, json.dumps({"urls": [url]}).encode())


def _table(mirror: Path) -> Iterator[dict[str, str]]:
    with (mirror / _TABLE).open(encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file, delimiter="\t")


def _checked_bytes(source: Path, sha256: str, prepare: str) -> bytes:
    try:
        data = source.read_bytes()
        if prepare.startswith("gunzip"):
            data = gzip.decompress(data)
    except (OSError, EOFError) as error:
        raise DataError(f"{source} of the mirror cannot be read ({error}). Copy it anew") from error
    # The table marks an archive that was packed anew from the same members: its own bytes differ.
    digest = hashlib.sha256(data).hexdigest()
    if digest != sha256 and "other archive bytes" not in prepare:
        raise DataError(f"{source}: expected SHA-256 {sha256}, found {digest}. Copy it anew")
    return data


def _write(path: Path, data: bytes) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(data)
    except OSError as error:
        raise DataError(f"cannot write {path} ({error.strerror}). {_ROOM}") from error


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """TFDS speaks of sizes that it does not know, and of folders that it is about to fill."""
    log = logging.getLogger("absl")
    level = log.level
    log.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        log.setLevel(level)


def _first_line(error: BaseException) -> str:
    return (str(error).splitlines() or [""])[0][:200]
