"""The manifest: which bundles there are, and the size and SHA-256 of each of their files."""

from __future__ import annotations

import difflib
import errno
import fnmatch
import hashlib
import os
import re
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rnnzoo.errors import HubError
from rnnzoo.hub.yaml_subset import BadYaml, read_yaml, scalar
from rnnzoo.registry.layout import BUNDLE_FORMAT
from rnnzoo.util.suggest import suggest

MAX_MANIFEST_BYTES = 1 << 20
MAX_FILE_BYTES = 1 << 30
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,99}")
_FILE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}")
_WHOLE = re.compile(r"0|[1-9][0-9]{0,15}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
# Names that mean a device on Windows, whatever follows the first dot.
_DEVICES = {"con", "prn", "aux", "nul", *(f"{name}{i}" for name in ("com", "lpt") for i in range(10))}


@dataclass(frozen=True, order=True)
class FileInfo:
    """A file of a bundle: its name (folders within bundles there are none), size in bytes and SHA-256 in hex."""

    name: str
    size: int
    sha256: str


@dataclass(frozen=True)
class BundleInfo:
    """A bundle: its name, the format it is in, the licence of its weights and of the data behind them, its files."""

    name: str
    format: int
    licence: str
    data_licence: str
    files: tuple[FileInfo, ...]

    @property
    def revision(self) -> str:
        """Revision of this content: 16 hex digits of a SHA-256 over all names, sizes and hashes."""
        lines = [f"{self.name} {self.format}", *(f"{f.name} {f.size} {f.sha256}" for f in sorted(self.files))]
        return hashlib.sha256("\n".join(lines).encode()).hexdigest()[:16]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(file.size for file in self.files)


@dataclass(frozen=True)
class Manifest:
    """All bundles by name; `serial` grows with every change, so that an older manifest is known as older."""

    serial: int
    bundles: Mapping[str, BundleInfo]

    def match(self, pattern: str) -> list[BundleInfo]:
        """The bundles that a name or a pattern such as `tagger*` means, sorted.

        Raises:
            HubError: there is none; the nearest name is given.
        """
        names = sorted(fnmatch.filter(self.bundles, pattern))
        if not names:
            # The beginning of a long name is what people write.
            starts = {name[: max(len(pattern), 3)]: name for name in sorted(self.bundles, reverse=True)}
            near = difflib.get_close_matches(pattern, starts, 1, cutoff=0.6)
            hint = f"did you mean {starts[near[0]]!r}?" if near else suggest(pattern, self.bundles)
            raise HubError(f"no pretrained model is called {pattern!r}; {hint}")
        return [self.bundles[name] for name in names]


def describe_bundle(folder: Path, *, licence: str, data_licence: str) -> BundleInfo:
    """The entry of a bundle's folder, by what its files are."""
    files = []
    for path in sorted(folder.iterdir()):
        check_file_name(path.name, str(folder))
        files.append(FileInfo(path.name, path.stat().st_size, hash_file(path)))
    return BundleInfo(folder.name, BUNDLE_FORMAT, licence, data_licence, tuple(files))


def open_plain(path: Path) -> BinaryIO:
    """Open a regular file for reading; links are not followed, and named pipes are refused.

    Raises:
        OSError: it is not there, no plain file, or cannot be read.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    file = os.fdopen(os.open(path, flags), "rb")
    if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
        file.close()
        raise OSError(errno.EINVAL, "is no plain file", str(path))
    return file


def read_plain(path: Path, limit: int = MAX_MANIFEST_BYTES) -> bytes:
    """A small plain file, at most one byte more than `limit` of it; raises OSError as `open_plain`."""
    with open_plain(path) as file:
        return file.read(limit + 1)


def hash_file(path: Path) -> str:
    """SHA-256 of a plain file, in hex."""
    with open_plain(path) as file:
        digest = hashlib.sha256()
        while block := file.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def dump_manifest(manifest: Manifest) -> str:
    """YAML that `parse_manifest` turns into an equal manifest; the same manifest always gives the same text."""
    lines = [f"serial: {manifest.serial}", "bundles:" if manifest.bundles else "bundles: []"]
    for _, bundle in sorted(manifest.bundles.items()):
        lines += [
            f"- name: {scalar(bundle.name)}",
            f"  revision: {scalar(bundle.revision)}",
            f"  format: {bundle.format}",
            f"  licence: {scalar(bundle.licence)}",
            f"  data_licence: {scalar(bundle.data_licence)}",
            "  files:" if bundle.files else "  files: []",
        ]
        for file in sorted(bundle.files):
            lines += [f"  - name: {scalar(file.name)}", f"    size: {file.size}", f"    sha256: {scalar(file.sha256)}"]
    return "\n".join(lines) + "\n"


def parse_manifest(data: bytes, where: str) -> Manifest:
    """Read a manifest that anybody may have written.

    Raises:
        HubError: it is too large, not YAML, or not a valid manifest.
    """
    if len(data) > MAX_MANIFEST_BYTES:
        raise HubError(f"{where}: a manifest has at most {MAX_MANIFEST_BYTES} bytes; received {len(data)} or more")
    try:
        tree = read_yaml(data.decode("utf-8"))
    except (BadYaml, UnicodeDecodeError) as error:
        problem = str(error) if isinstance(error, BadYaml) else type(error).__name__
        raise HubError(f"{where} is no manifest ({problem}); is this the address of the models?") from None
    reader = _Reader(where)
    serial = reader.get(tree, "serial", int, "the manifest")
    rows = reader.get(tree, "bundles", list, "the manifest")
    bundles: dict[str, BundleInfo] = {}
    for row in rows:
        bundle = reader.bundle(row)
        if bundle.name in bundles:
            raise HubError(f"{where}: bundle {bundle.name!r} comes twice; take the manifest of one release")
        bundles[bundle.name] = bundle
    return Manifest(serial, bundles)


def check_file_name(name: str, where: str) -> None:
    """Refuse a name that could lead out of a folder, hide, or mean something else on another system.

    Raises:
        HubError: it is such a name.
    """
    fine = _FILE.fullmatch(name) and not name.endswith(".") and name.split(".")[0].lower() not in _DEVICES
    if not fine:
        raise HubError(f"{where}: expected a plain file name; received {name[:80]!r}. Nothing was written for it")


def find_twice(names: Iterable[str]) -> str | None:
    """A name that occurs twice, ignoring case; None if there is none."""
    seen: set[str] = set()
    for name in names:
        if name.lower() in seen:
            return name
        seen.add(name.lower())
    return None


@dataclass(frozen=True)
class _Reader:
    where: str

    def get(self, tree: Any, key: str, kind: type, what: str) -> Any:
        value = tree.get(key) if isinstance(tree, dict) else None
        if kind is int and isinstance(value, str) and _WHOLE.fullmatch(value):
            value = int(value)
        if type(value) is not kind:
            raise HubError(f"{self.where}: {what}: expected {key} to be {kind.__name__}; received {str(value)[:60]!r}")
        return value

    def bundle(self, row: Any) -> BundleInfo:
        name = self.get(row, "name", str, "a bundle")
        if not _NAME.fullmatch(name) or name.endswith(".") or name.split(".")[0] in _DEVICES:
            raise HubError(f"{self.where}: expected a plain name of a bundle; received {name[:80]!r}")
        texts = [self.get(row, key, str, name) for key in ("revision", "licence", "data_licence")]
        files = tuple(self.file(item, name) for item in self.get(row, "files", list, name))
        if (twice := find_twice(file.name for file in files)) is not None:
            raise HubError(f"{self.where}: {name}: the file {twice!r} comes twice")
        bundle = BundleInfo(name, self.get(row, "format", int, name), texts[1], texts[2], files)
        if bundle.revision != texts[0]:
            raise HubError(
                f"{self.where}: {name}: its files are not those of revision {texts[0][:16]} (they make "
                f"{bundle.revision}): the manifest mixes releases or was changed; take it from another mirror"
            )
        return bundle

    def file(self, row: Any, bundle: str) -> FileInfo:
        name = self.get(row, "name", str, bundle)
        check_file_name(name, f"{self.where}: {bundle}")
        size, sha256 = self.get(row, "size", int, f"{bundle}/{name}"), self.get(row, "sha256", str, f"{bundle}/{name}")
        if not 0 <= size <= MAX_FILE_BYTES or not _SHA256.fullmatch(sha256):
            raise HubError(
                f"{self.where}: {bundle}/{name}: expected a size up to {MAX_FILE_BYTES} bytes and a SHA-256; "
                f"received {size} and {sha256[:70]!r}"
            )
        return FileInfo(name, size, sha256)
