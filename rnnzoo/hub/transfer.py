"""One file from one of several sources to the disk: resumed, bounded, checked."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from rnnzoo.errors import HubError
from rnnzoo.hub.manifest import FileInfo, hash_file
from rnnzoo.hub.sources import BadRange, Reply, Unavailable, Useless, open_url

_BLOCK = 1 << 18
# Attempts at one source that bring no further byte, and attempts in all.
_FRUITLESS, _ATTEMPTS = 3, 20
_PAUSE = 0.2
# A server that sends less than this within the timeout has stalled.
_LEAST_BYTES = 1024
# A small file has this many times the timeout, in all.
_SMALL_TIMEOUTS = 3

Progress = Callable[[int], None]


def timeout() -> float:
    """Seconds without progress after which a server counts as stalled (RNNZOO_TIMEOUT; 20).

    Raises:
        HubError: the variable holds no positive number.
    """
    text = os.environ.get("RNNZOO_TIMEOUT", "20")
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0
    if not 0 < seconds < float("inf"):
        raise HubError(f"RNNZOO_TIMEOUT: expected seconds above 0; received {text!r}")
    return seconds


def fetch_file(urls: Sequence[str], file: FileInfo, path: Path, tags: Path, progress: Progress) -> None:
    """Download a file to a path that no other process writes to; a partial file is continued.

    Args:
        urls: addresses of the same file, in the order to try.
        file: its name, size and hash.
        path: target; afterwards it has exactly these bytes.
        tags: file for the server's ETag of the content, for a later attempt.
        progress: called after each block with the number of bytes so far.

    Raises:
        HubError: no source has it; the error lists what each one did.
        OSError: the disk cannot be written.
    """
    tried = []
    for url in urls:
        try:
            return _from_source(url, file, path, tags, progress)
        except Unavailable as error:
            tried.append(f"{url} ({error})")
    raise HubError(
        f"cannot download {file.name}: tried {', '.join(tried)}. Check the address and the network, set RNNZOO_URL "
        "to a mirror, or RNNZOO_OFFLINE=1 to use what the cache holds"
    )


def fetch_small(url: str, limit: int) -> bytes:
    """A small file, whole; at most one byte more than `limit`. Raises Unavailable."""
    with open_url(url, timeout()) as reply:
        data, watch, end = b"", _Watch(timeout()), time.monotonic() + _SMALL_TIMEOUTS * timeout()
        while len(data) <= limit and (block := reply.read(limit + 1 - len(data))):
            data += block
            watch.tick(len(data))
            if time.monotonic() > end:
                raise Unavailable("stalled")
        if reply.size is not None and len(data) < min(reply.size, limit):
            raise Unavailable("broke off")
        return data


def _from_source(url: str, file: FileInfo, path: Path, tags: Path, progress: Progress) -> None:
    fruitless, best, last = 0, _size(path), Unavailable("gave up")
    for _ in range(_ATTEMPTS):
        resumed = _size(path) > 0
        if not path.exists() or _size(path) < file.size:
            try:
                _attempt(url, file, path, tags, progress)
            except Useless:
                raise
            except Unavailable as error:
                fruitless, best, last = fruitless + 1 if _size(path) <= best else 0, max(best, _size(path)), error
                if fruitless == _FRUITLESS:
                    raise
                if isinstance(error, BadRange):
                    _forget(path, tags)
                time.sleep(_PAUSE * fruitless)
                continue
        if _size(path) == file.size and hash_file(path) == file.sha256:
            return
        _forget(path, tags)
        progress(0)
        if not resumed:
            raise Useless("sent other bytes than the manifest says (SHA-256 differs)")
    raise last


def _attempt(url: str, file: FileInfo, path: Path, tags: Path, progress: Progress) -> None:
    start = _size(path)
    tag = tags.read_text(encoding="latin-1") if start and tags.exists() else None
    with open_url(url, timeout(), start, tag) as reply:
        if reply.size is not None and reply.size != file.size:
            raise Useless(f"has {reply.size} bytes where the manifest says {file.size}")
        if reply.tag:
            tags.write_text(reply.tag, encoding="latin-1", errors="ignore")
        with path.open("r+b" if path.exists() else "wb") as out:
            out.truncate(reply.start)
            out.seek(reply.start)
            _copy(reply, out.write, file.size, progress)


def _copy(reply: Reply, write: Callable[[bytes], object], size: int, progress: Progress) -> None:
    done, watch = reply.start, _Watch(timeout())
    while block := reply.read(min(_BLOCK, size + 1 - done)):
        done += len(block)
        if done > size:
            raise Useless(f"sends more than the {size} bytes that the manifest says")
        write(block)
        progress(done)
        watch.tick(done)
    if done < size:
        raise Unavailable(f"broke off after {done} of {size} bytes")


class _Watch:
    """Notices a server that sends a few bytes now and then, which no timeout of a socket does."""

    def __init__(self, seconds: float):
        self._seconds, self._began, self._bytes = seconds, time.monotonic(), 0

    def tick(self, count: int) -> None:
        now = time.monotonic()
        if now - self._began > self._seconds:
            if count - self._bytes < _LEAST_BYTES:
                raise Unavailable("stalled")
            self._began, self._bytes = now, count


def _size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _forget(path: Path, tags: Path) -> None:
    path.unlink(missing_ok=True)
    tags.unlink(missing_ok=True)
