"""Sources of bundles: a folder or a server, opened so that neither can lead anywhere else."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from rnnzoo.hub.settings import is_local
from rnnzoo.util.version import VERSION

# (manifest, folder of the bundles) below a base: a copy of the repository, a folder of bundles, the repository's own.
LAYOUTS = (
    ("zoo_configs/manifest.yaml", "pretrained/"),
    ("manifest.yaml", ""),
    ("../zoo_configs/manifest.yaml", ""),
)
_REDIRECTS = 5
# An answer, or a block of its body, has this many times the timeout to come.
_DEADLINE_TIMEOUTS = 3
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Unavailable(Exception):
    """A source did not answer as requested; another attempt or another source may."""


class Useless(Unavailable):
    """The source failed in a way that another attempt cannot change."""


class BadRange(Unavailable):
    """The source cannot continue a partial file; the download may begin again."""


class Missing(Useless):
    """The source answers, and has no such file."""


@dataclass(frozen=True)
class Reply:
    """A response of a source: `body` from byte `start` of a file of `size` bytes (None: not said)."""

    body: Any
    start: int
    size: int | None
    tag: str | None
    deadline: Deadline | None = None

    def read(self, count: int) -> bytes:
        """The next bytes, at most so many, as soon as there are any; empty at the end. Raises Unavailable."""
        try:
            if self.deadline is not None:
                self.deadline.extend()
            return self.body.read1(count)
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise Unavailable(_reason(error)) from error


def join(base: str, path: str) -> str:
    """The address of a file below a base; a query of the base is not kept."""
    return urllib.parse.urljoin(base, urllib.parse.quote(path))


@contextlib.contextmanager
def open_url(url: str, timeout: float, start: int = 0, tag: str | None = None) -> Iterator[Reply]:
    """Begin to read a file.

    Args:
        url: its address.
        timeout: seconds without a byte after which a server counts as stalled.
        start: the byte to begin with; a server may still begin at 0, see `Reply.start`.
        tag: what the server called the content when the bytes before `start` came; another content begins at 0.

    Raises:
        Unavailable: there was no usable answer.
    """
    opened = _open_file(url, start) if is_local(url) else _open_http(url, timeout, start, tag)
    with opened as reply:
        yield reply


@contextlib.contextmanager
def _open_file(url: str, start: int) -> Iterator[Reply]:
    path = Path(urllib.request.url2pathname(urllib.parse.urlsplit(url).path))
    try:
        if not path.is_file():
            raise Missing("no such file")
        file: BinaryIO = path.open("rb")
    except (OSError, ValueError) as error:
        raise Unavailable(_reason(error)) from error
    with file:
        size = os.fstat(file.fileno()).st_size
        begin = start if start <= size else 0
        file.seek(begin)
        yield Reply(file, begin, size, None)


@contextlib.contextmanager
def _open_http(url: str, timeout: float, start: int, tag: str | None) -> Iterator[Reply]:
    headers = {"User-Agent": f"rnnzoo/{VERSION}", "Accept-Encoding": "identity"}
    if start:
        headers["Range"] = f"bytes={start}-"
        if tag:
            headers["If-Range"] = tag
    request = urllib.request.Request(url, headers=headers)
    with Deadline(timeout) as deadline, _answered(request, timeout, start) as response:
        yield _reply(response, start, deadline)


@contextlib.contextmanager
def _answered(request: urllib.request.Request, timeout: float, start: int) -> Iterator[Any]:
    try:
        response = _OPENER.open(request, timeout=timeout)
    except urllib.error.HTTPError as error:
        error.close()
        if error.code in (404, 410):
            raise Missing(f"answered {error.code}") from error
        if error.code == 416 and start:
            raise BadRange("answered 416") from error
        raise (Useless if 400 <= error.code < 500 else Unavailable)(f"answered {error.code}") from error
    except (OSError, http.client.HTTPException, ValueError) as error:
        raise Unavailable(_reason(error)) from error
    with response:
        yield response


def _reply(response: Any, asked: int, deadline: Deadline) -> Reply:
    """Reads the headers of a response; raises Unavailable where they contradict the request."""
    coding = response.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise Useless(f"sent a {coding[:20]} encoding that was not asked for")
    tag = response.headers.get("ETag")
    # A weak tag does not promise the same bytes.
    strong = tag if tag and not tag.startswith("W/") else None
    length = response.headers.get("Content-Length", "")
    if response.status == 200:
        return Reply(response, 0, _length(length), strong, deadline)
    content_range = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status != 206 or not content_range or int(content_range[1]) != asked or not asked:
        raise BadRange(f"answered {response.status} with another range than the one asked for")
    return Reply(response, asked, _length(content_range[3]), strong, deadline)


def _length(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 19 else None


def _reason(error: BaseException) -> str:
    inner = getattr(error, "reason", error)
    if isinstance(inner, TimeoutError):
        return "stalled"
    text = getattr(inner, "strerror", None) or str(inner) or type(inner).__name__
    return " ".join(text.split())[:100].lower()


class _Redirects(urllib.request.HTTPRedirectHandler):
    """Follows servers to other servers, never to files or from https down to http."""

    max_redirections = _REDIRECTS

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        schemes = urllib.parse.urlsplit(req.full_url).scheme, urllib.parse.urlsplit(newurl).scheme
        fp.close()  # its body is nobody's, and may have no end
        if schemes[1] not in ("http", "https") or schemes == ("https", "http"):
            raise Useless(f"redirects from {schemes[0]} to {schemes[1] or 'nothing'}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


class Deadline:
    """Ends connections that take too long, whether in headers, redirects, chunks or trailers.

    Timeouts of sockets begin anew with each byte. This one begins anew only with `extend`.

    Args:
        timeout: of the socket; the deadline is a multiple.
    """

    def __init__(self, timeout: float):
        self._seconds = _DEADLINE_TIMEOUTS * timeout
        self._end = time.monotonic() + self._seconds
        self._watched: list[socket.socket] = []
        self._changed = threading.Condition()
        self._over = False

    def __enter__(self) -> Deadline:
        _current.deadline = self
        threading.Thread(target=self._watch, name="rnnzoo-deadline", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        _current.deadline = None
        with self._changed:
            self._over = True
            self._changed.notify()

    def extend(self) -> None:
        """Begin anew."""
        self._end = time.monotonic() + self._seconds

    def watch(self, connection: socket.socket) -> None:
        """End this connection too; the library may wrap or close it."""
        with self._changed:
            self._watched.append(connection.dup())

    def _watch(self) -> None:
        with self._changed:
            while not self._over and (left := self._end - time.monotonic()) > 0:
                self._changed.wait(left)
            for connection in self._watched:
                with contextlib.suppress(OSError):
                    if not self._over:
                        connection.shutdown(socket.SHUT_RDWR)
                    connection.close()


class _Current(threading.local):
    deadline: Deadline | None = None


_current = _Current()


def _connect(*args: Any, **kwargs: Any) -> socket.socket:
    connection = socket.create_connection(*args, **kwargs)
    if _current.deadline is not None:
        _current.deadline.watch(connection)
    return connection


class _Plain(http.client.HTTPConnection):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._create_connection = _connect


class _Secure(http.client.HTTPSConnection):
    def __init__(self, *args: Any, **kwargs: Any):
        super().__init__(*args, **kwargs)
        self._create_connection = _connect


class _Http(urllib.request.HTTPHandler):
    def http_open(self, req: Any) -> Any:
        return self.do_open(_Plain, req)


class _Https(urllib.request.HTTPSHandler):
    def https_open(self, req: Any) -> Any:
        return self.do_open(_Secure, req)


def _opener() -> urllib.request.OpenerDirector:
    # Not `build_opener`: that one also reads file:, ftp: and data: addresses.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        _Http,
        _Https,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _Redirects,
    ):
        opener.add_handler(handler())
    return opener


_OPENER = _opener()
