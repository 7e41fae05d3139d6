"""The cache: revisions of bundles in folders that are absent or right.

    manifest.yaml                        the last manifest that was accepted, for work without a network
    bundles/NAME/REVISION/               the files of a bundle, put there by one rename
    bundles/NAME/REVISION.yaml           what they have to be; the revision is a hash of it
    bundles/NAME/.REVISION.*.part/       a download in progress, or one that was interrupted

No process writes into a folder that another one may read or write, so that correctness does not depend on locks. Locks
only prevent several processes from downloading the same bundle.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import stat
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from rnnzoo.errors import HubError
from rnnzoo.hub.manifest import BundleInfo, Manifest, dump_manifest, hash_file, open_plain, parse_manifest, read_plain
from rnnzoo.util.cache import cache_root
from rnnzoo.util.files import replacing, sync, sync_folder

_LOCK_SECONDS = 120.0
_LOCK_POLL = 0.05
# A download that has written nothing for so long is none any more.
_LEFT_SECONDS = 86400.0
_REVISION = re.compile(r"[0-9a-f]{16}")


class Cache:
    """The bundles in a folder. `root`: None takes `cache_root()`."""

    def __init__(self, root: Path | None = None):
        self.root = cache_root() if root is None else root

    @property
    def manifest_path(self) -> Path:
        """The last manifest that was accepted."""
        return self.root / "manifest.yaml"

    def folder(self, bundle: BundleInfo) -> Path:
        """Folder of a bundle, whether it is there or not."""
        return self._place(bundle.name) / bundle.revision

    def problem(self, bundle: BundleInfo) -> str | None:
        """Checks a cached bundle by the hash of every file; returns what is wrong, None where nothing is."""
        return wrong_with(self.folder(bundle), bundle)

    def entries(self) -> list[BundleInfo]:
        """The bundles with an entry in the cache, sorted by name, the newest first."""
        bundles = []
        for path in self._entry_files():
            with contextlib.suppress(HubError, OSError, ValueError):
                (bundle,) = parse_manifest(read_plain(path), str(path)).bundles.values()
                if path == self._entry(bundle) and self.folder(bundle).is_dir():
                    bundles.append(bundle)
        return sorted(bundles, key=lambda bundle: (bundle.name, -self.folder(bundle).stat().st_mtime_ns))

    @contextlib.contextmanager
    def staging(self, bundle: BundleInfo) -> Iterator[Path]:
        """A folder of this process alone, with what earlier attempts have left; removed where nothing is worth keeping.

        It has `files`, the content, and `tags`, what servers have said of it.
        """
        place = self._place(bundle.name)
        place.mkdir(parents=True, exist_ok=True)
        if not place.resolve().is_relative_to(self.root.resolve()):
            raise HubError(f"{place} leads out of the cache; remove that link")
        with _turn(place / f".{bundle.revision}.lock"):
            part = Path(tempfile.mkdtemp(dir=place, prefix=self._prefix(bundle), suffix=".part"))
            for name in ("files", "tags"):
                (part / name).mkdir()
            self._adopt(bundle, part)
            try:
                yield part
            except OSError:
                shutil.rmtree(part, ignore_errors=True)
                raise

    def publish(self, bundle: BundleInfo, part: Path) -> Path:
        """Move the content of a staging folder to its final place, if it matches the manifest.

        Raises:
            HubError: it is not.
            OSError: it cannot be written, or another process has removed it.
        """
        folder, files = self.folder(bundle), part / "files"
        if wrong := wrong_with(files, bundle):
            raise HubError(f"{bundle.name}: {wrong} after the download; try again")
        self.write(self._entry(bundle), dump_manifest(Manifest(0, {bundle.name: bundle})).encode())
        sync_folder(files)
        if os.path.lexists(folder) and wrong_with(folder, bundle):
            os.rename(folder, part / "damaged")
        try:
            os.rename(files, folder)  # refuses a folder that holds something: what others have put is never moved
        except OSError:
            if wrong_with(folder, bundle):
                raise
        sync(folder.parent)
        self.sweep(bundle)
        return folder

    def sweep(self, bundle: BundleInfo) -> None:
        """Remove unfinished downloads of a complete bundle; a process that still downloads it will find it complete."""
        for path in self._parts(bundle):
            shutil.rmtree(path, ignore_errors=True)
        # What was being written when a process was ended; a moment old it may be another's.
        for path in self._place(bundle.name).glob(f".{bundle.revision}.yaml.*"):
            with contextlib.suppress(OSError):
                if time.time() - path.lstat().st_mtime > _LEFT_SECONDS:
                    path.unlink()

    def write(self, path: Path, data: bytes) -> None:
        """Write a small file atomically: it is on the disk before it gets its name."""
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:
            part.write_bytes(data)

    def prune(self, keep: Iterator[BundleInfo] | list[BundleInfo]) -> int:
        """Remove all bundles except some, and all interrupted downloads; returns the bytes freed."""
        kept = {path for bundle in keep for path in (self.folder(bundle), self._entry(bundle))}
        freed = 0
        for place in self._places():
            for path in sorted(place.iterdir()):
                if path not in kept:
                    freed += _size(path)
                    _remove(path)
            with contextlib.suppress(OSError):
                place.rmdir()
        return freed

    def _place(self, name: str) -> Path:
        return self.root / "bundles" / name

    def _places(self) -> list[Path]:
        base = self.root / "bundles"
        return [path for path in sorted(base.iterdir()) if _is_folder(path)] if _is_folder(base) else []

    def _entry(self, bundle: BundleInfo) -> Path:
        return self._place(bundle.name) / f"{bundle.revision}.yaml"

    def _entry_files(self) -> list[Path]:
        files = [path for place in self._places() for path in sorted(place.glob("*.yaml"))]
        return [path for path in files if _REVISION.fullmatch(path.stem)]

    def _prefix(self, bundle: BundleInfo) -> str:
        return f".{bundle.revision}.{os.getpid()}."

    def _parts(self, bundle: BundleInfo) -> list[Path]:
        return sorted(self._place(bundle.name).glob(f".{bundle.revision}.*.part"))

    def _adopt(self, bundle: BundleInfo, part: Path) -> None:
        """Copy what other attempts have; their own folders are theirs, unless nobody is left to use them.

        Numbers of processes come again: a folder that nothing was written to for a day is nobody's.
        """
        for other in self._parts(bundle):
            if other == part or not _is_folder(other):
                continue
            for kind in ("files", "tags"):
                for file in bundle.files:
                    with contextlib.suppress(OSError):
                        _copy_longer(other / kind / file.name, part / kind / file.name)
            if not _alive(other) or time.time() - _newest(other) > _LEFT_SECONDS:
                shutil.rmtree(other, ignore_errors=True)


def wrong_with(folder: Path, bundle: BundleInfo) -> str | None:
    """The first difference between a folder and its bundle in the manifest; None where there is none."""
    if not _is_folder(folder):
        return "it is not there"
    try:
        if surplus := {path.name for path in folder.iterdir()} - {file.name for file in bundle.files}:
            return f"{min(surplus)} does not belong to it"
        for file in bundle.files:
            path = folder / file.name
            # A link has the size of its target's name: whatever it leads to, it is none of the files.
            status = path.lstat()
            if not stat.S_ISREG(status.st_mode) or status.st_size != file.size:
                return f"{file.name} is no file of {file.size} bytes"
            if hash_file(path) != file.sha256:
                return f"{file.name} has another SHA-256"
    except OSError as error:
        return f"{Path(error.filename or folder).name} cannot be read ({error.strerror})"
    return None


@contextlib.contextmanager
def _turn(path: Path) -> Iterator[None]:
    """Wait while another process downloads the same; not for ever, and not where locks do nothing."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    try:
        flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
        file = os.fdopen(os.open(path, flags, 0o644), "rb")
    except OSError:  # a link, a folder or a pipe has its name: whoever put it there does without the lock
        yield
        return
    with file:
        end = time.monotonic() + _LOCK_SECONDS
        while time.monotonic() < end:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                time.sleep(_LOCK_POLL)
            except OSError:
                break
            else:
                break
        yield


def _copy_longer(source: Path, target: Path) -> None:
    with open_plain(source) as file:
        have = target.stat().st_size if target.exists() else 0
        if os.fstat(file.fileno()).st_size > have:
            with target.open("wb") as copy:
                shutil.copyfileobj(file, copy)


def _newest(part: Path) -> float:
    times = [part.lstat().st_mtime]
    for path in part.rglob("*"):
        with contextlib.suppress(OSError):
            times.append(path.lstat().st_mtime)
    return max(times)


def _alive(part: Path) -> bool:
    try:
        os.kill(int(part.name.split(".")[2]), 0)
    except (ValueError, IndexError, ProcessLookupError):
        return False
    except OSError:
        return True
    return True


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _size(path: Path) -> int:
    if not _is_folder(path):
        return path.lstat().st_size
    return sum(item.lstat().st_size for item in path.rglob("*") if not item.is_dir())


def _remove(path: Path) -> None:
    if _is_folder(path):
        shutil.rmtree(path)
    else:
        path.unlink()
