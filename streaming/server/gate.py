"""Limits connections that asked for something and have not become streams yet, and logs little when files run out.

Such connections are limited in number and time, as those are whose request has not come (`Lobby`).
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
import time
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from streaming.server.listening import NO_MORE_FILES
from streaming.server.lobby import to_displace
from streaming.server.settings import Settings

_LOG_SECONDS = 10.0
# Bytes that are read from a connection in one turn of the loop.
_READ_BYTES = 1 << 14
# Sockets besides those of streams and of newcomers: files, pipes, the listener.
_OTHER_FILES = 64


class Gate:
    """The sockets of a server.

    Args:
        settings: the limits.
        refused: called with a reason for each connection that is dropped.
    """

    def __init__(self, settings: Settings, refused: Callable[[str], object]) -> None:
        self._settings, self._refused = settings, refused
        # Their addresses, the oldest first, and what ends their time.
        self._new: dict[RequestHandler, str] = {}
        self._timers: dict[RequestHandler, asyncio.TimerHandle] = {}
        self._entering: set[asyncio.Task[None]] = set()

    def take(self, server: web.Server, connection: socket.socket, gone: Callable[[], None]) -> None:
        """Serve an accepted connection; `gone` is called when that has ended."""
        task = asyncio.ensure_future(self._take(server, connection, gone))
        self._entering.add(task)
        task.add_done_callback(self._entering.discard)

    async def _take(self, server: web.Server, connection: socket.socket, gone: Callable[[], None]) -> None:
        loop = asyncio.get_running_loop()

        def handler() -> RequestHandler:
            made = _Handler(server, loop=loop, **server._kwargs)
            made.gate, made.gone = self, gone
            return made

        connection.setblocking(False)
        try:
            await loop.connect_accepted_socket(handler, connection)
        except OSError:
            connection.close()
            gone()

    def enter(self, handler: RequestHandler, transport: asyncio.Transport) -> bool:
        """Admit a connection for a limited time; False if it must be closed at once."""
        self._new[handler] = _address(transport)
        later = asyncio.get_running_loop().call_later
        self._timers[handler] = later(self._settings.connect_timeout, self._expire, handler)
        if len(self._new) > self._settings.max_waiting:
            self._drop(to_displace(self._new), "crowd")
        return handler in self._new

    def leave(self, handler: RequestHandler) -> None:
        """Limit a connection no more: it has become a stream, which may stay, or has ended."""
        if self._new.pop(handler, None) is not None:
            self._timers.pop(handler).cancel()  # it would keep the connection beyond its end

    def _expire(self, handler: RequestHandler) -> None:
        if handler in self._new:
            self._drop(handler, "timeout")

    def _drop(self, handler: RequestHandler, reason: str) -> None:
        self._refused(reason)
        transport = handler.transport
        self.leave(handler)
        if transport is not None:
            transport.abort()


class _Handler(RequestHandler):
    """A connection that a gate knows of."""

    gate: Gate
    gone: Callable[[], None]

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        # A large message is read in parts, between which others are answered.
        transport.max_size = _READ_BYTES  # type: ignore[attr-defined]
        if not self.gate.enter(self, cast(asyncio.Transport, transport)):
            cast(asyncio.Transport, transport).abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.gate.leave(self)
        self.gone()
        super().connection_lost(exc)


def allow_files(settings: Settings, each: int = 1) -> None:
    """Raise the limit of open files to what the settings may need, the system may allow fewer.

    each: files of a connection; one that is handed to another process has two for a moment.
    """
    try:
        import resource
    except ImportError:
        return
    wanted = each * (settings.max_connections + settings.max_waiting) + _OTHER_FILES
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < wanted:
        most = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (most, hard))
        if most < wanted:
            print(
                f"streaming: note: {most} open files are allowed, {wanted} may be needed", file=sys.stderr, flush=True
            )


class QuietErrors:
    """Exception handler of an event loop: a line for each unawaited error, of one kind at most every ten seconds."""

    def __init__(self) -> None:
        self._last: dict[str, float] = {}

    def __call__(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        error = context.get("exception")
        kind = f"{context.get('message')} ({type(error).__name__})"
        if isinstance(error, OSError) and error.errno in NO_MORE_FILES:
            kind = "no more connections can be accepted, the system has no files left"
        now = time.monotonic()
        if now - self._last.get(kind, -_LOG_SECONDS) >= _LOG_SECONDS:
            self._last = {kind: now} if len(self._last) > 100 else {**self._last, kind: now}
            print(f"streaming: warning: {' '.join(kind.split())}", file=sys.stderr, flush=True)


def quiet_library() -> None:
    """Keep errors caused by peers out of the log, for each of which the library writes a traceback."""
    for name in ("aiohttp.server", "aiohttp.web", "aiohttp.websocket"):
        logger = logging.getLogger(name)
        logger.addHandler(logging.NullHandler())
        logger.propagate = False


def _address(transport: asyncio.Transport) -> str:
    peer = transport.get_extra_info("peername")
    return str(peer[0]) if isinstance(peer, tuple) and peer else ""
