"""Where bundles come from: a folder or a server, opened so that neither can lead anywhere else."""

from __future__ import annotations

import contextlib
import http.client
import os
import re
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
_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")


class Unavailable(Exception):
    """A source did not give what was asked for; another attempt or another source may."""


class Useless(Unavailable):
    """The same source will not give anything else the next time."""


class BadRange(Unavailable):
    """The source cannot continue what is there; it may begin anew."""


class Missing(Useless):
    """The source answers, and has no such file."""


@dataclass(frozen=True)
class Reply:
    """What a source has begun to send: `body` from byte `start` of a file of `size` bytes (None: not said)."""

    body: Any
    start: int
    size: int | None
    tag: str | None

    def read(self, count: int) -> bytes:
        """At most so many of the next bytes, as soon as there are some; none at the end. Raises Unavailable."""
        try:
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
        start: the byte to begin with; a server may begin at 0 all the same, as `Reply.start` says.
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
    try:
        response = _OPENER.open(urllib.request.Request(url, headers=headers), timeout=timeout)
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
        yield _reply(response, start)


def _reply(response: Any, asked: int) -> Reply:
    """What the headers promise; raises Unavailable where they contradict what was asked."""
    coding = response.headers.get("Content-Encoding", "identity")
    if coding != "identity":
        raise Useless(f"sent a {coding[:20]} encoding that was not asked for")
    tag = response.headers.get("ETag")
    # A weak tag does not promise the same bytes.
    strong = tag if tag and not tag.startswith("W/") else None
    length = response.headers.get("Content-Length", "")
    if response.status == 200:
        return Reply(response, 0, int(length) if length.isdecimal() else None, strong)
    found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
    if response.status != 206 or not found or int(found[1]) != asked or not asked:
        raise BadRange(f"answered {response.status} with another range than the one asked for")
    return Reply(response, asked, None if found[3] == "*" else int(found[3]), strong)


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
        if schemes[1] not in ("http", "https") or schemes == ("https", "http"):
            fp.close()
            raise Useless(f"redirects from {schemes[0]} to {schemes[1] or 'nothing'}, which is refused")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _opener() -> urllib.request.OpenerDirector:
    # Not `build_opener`: that one also reads file:, ftp: and data: addresses.
    opener = urllib.request.OpenerDirector()
    for handler in (
        urllib.request.ProxyHandler,
        urllib.request.HTTPHandler,
        urllib.request.HTTPSHandler,
        urllib.request.HTTPDefaultErrorHandler,
        urllib.request.HTTPErrorProcessor,
        _Redirects,
    ):
        opener.add_handler(handler())
    return opener


_OPENER = _opener()
