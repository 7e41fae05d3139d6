"""Numbered lines of text from bytes: plain or gzip, UTF-8, UTF-16 or a named encoding."""

from __future__ import annotations

import codecs
import gzip
import io
import zlib
from collections.abc import Iterable, Iterator
from typing import IO, Any

from streaming.errors import InputError

_GZIP = b"\x1f\x8b"
# Lines of one cell.
_MAX_LINES = 10_000
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)


def text_lines(source: IO[bytes], encoding: str | None = None) -> Iterator[tuple[int, str]]:
    """Lines with their numbers from 1, decoded, without the line break.

    Args:
        source: bytes, compressed by gzip or not; a pipe is read line by line.
        encoding: such as `cp1252`; None: UTF-16 where a byte order mark says so, else UTF-8.

    Raises:
        InputError: the encoding is unknown, or a line is not of it, or the compressed data is damaged.
    """
    buffered = _peekable(source)
    if buffered.peek(2)[:2] == _GZIP:
        buffered = _peekable(gzip.GzipFile(fileobj=buffered))
    number = 0
    try:
        if encoding is None and buffered.peek(2)[:2] in _UTF16:
            encoding = "utf-16"
        for line in _decoded(buffered, encoding):
            # Lines of old Macintosh files end with a carriage return alone.
            for part in line.rstrip("\r\n").split("\r"):
                number += 1
                yield number, part
    except UnicodeError as error:
        named = encoding or "UTF-8"
        reason = getattr(error, "reason", error)
        remedy = "convert the file to UTF-8" if encoding else "convert it, or name its encoding, such as cp1252"
        raise InputError(f"line {number + 1} is not {named} ({reason}); {remedy}") from error
    except LookupError:
        raise InputError(f"the encoding {encoding!r} is unknown; name one such as utf-8, cp1252 or latin-1") from None
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise InputError(f"line {number + 1}: the compressed data is damaged ({error}); pack it anew") from error


def _peekable(source: Any) -> io.BufferedReader:
    return source if isinstance(source, io.BufferedReader) else io.BufferedReader(source)


def _decoded(source: io.BufferedReader, encoding: str | None) -> Iterator[str]:
    codec = codecs.lookup(encoding or "utf-8")
    if codec.name.startswith(("utf-16", "utf-32")):
        # Its line breaks are several bytes.
        wrapped = io.TextIOWrapper(source, codec.name, newline="")
        try:
            yield from wrapped
        finally:
            wrapped.detach()
        return
    for i, line in enumerate(source):
        text = line.decode(codec.name)
        yield text.removeprefix("\ufeff") if i == 0 else text


def records(lines: Iterable[tuple[int, str]]) -> Iterator[tuple[int, str]]:
    """Records of a table: lines joined by a quoted cell are one record, with the number of the first line.

    Raises:
        InputError: a quotation mark is never closed.
    """
    numbered = iter(lines)
    for number, text in numbered:
        parts, odd = [text], text.count('"') % 2
        while odd:
            _, more = next(numbered, (0, None))
            if more is None or len(parts) > _MAX_LINES:
                raise InputError(f"line {number}: a quotation mark is never closed; close it or leave it out")
            parts.append(more)
            odd = (odd + more.count('"')) % 2
        yield number, "\n".join(parts)
