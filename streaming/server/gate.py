"""Limits connections that have not become streams yet, and logs little when the system runs out of sockets.

A peer that connects and sends nothing, or only byte by byte, occupies a socket. Such connections are limited in number
and time, and a new one replaces the oldest, first of its own address, so that silent peers displace each other.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any, cast

from aiohttp import web
from aiohttp.web_protocol import RequestHandler

from streaming.server.settings import Settings

NO_MORE_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_LOG_SECONDS = 10.0
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
        # Newcomers, the oldest first, and streams; of each peer address how many of both.
        self._new: dict[RequestHandler, str] = {}
        self._streams: dict[RequestHandler, str] = {}
        self._timers: dict[RequestHandler, asyncio.TimerHandle] = {}
        self._peers: Counter[str] = Counter()
        self._most_new = settings.max_waiting

    def make(self, server: web.Server, gone: Callable[[], None] | None = None) -> RequestHandler:
        """A protocol for the next connection; `gone` is called when that has ended."""
        handler = _Handler(server, loop=asyncio.get_running_loop(), **server._kwargs)
        handler.gate, handler.gone = self, gone
        return handler

    def enter(self, handler: RequestHandler, transport: asyncio.Transport) -> bool:
        """Admit a connection for a limited time; False if it must be closed at once."""
        peer = _address(transport)
        limit = self._settings.max_per_peer
        if limit is not None and self._peers[peer] >= limit:
            self._refused("peer")
            return False
        self._new[handler] = peer
        self._peers[peer] += 1
        later = asyncio.get_running_loop().call_later
        self._timers[handler] = later(self._settings.connect_timeout, self._expire, handler)
        if len(self._new) > self._most_new:
            # One address that opens many connections loses its own; many addresses lose the oldest.
            counts = Counter(self._new.values())
            worst = max(counts.values())
            oldest = next(item for item, address in self._new.items() if counts[address] == worst)
            self._drop(oldest, "crowd")
        return handler in self._new

    def establish(self, request: web.Request) -> None:
        """Mark the connection of a request as a stream, which may stay."""
        handler = request.protocol
        if handler in self._new:
            self._streams[handler] = self._new.pop(handler)
            self._timers.pop(handler).cancel()  # it would keep the connection beyond its end

    def leave(self, handler: RequestHandler) -> None:
        """Forget a closed connection."""
        timer = self._timers.pop(handler, None)
        if timer is not None:
            timer.cancel()
        peer = self._new.pop(handler, None) or self._streams.pop(handler, None)
        if peer is not None:
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]

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
    gone: Callable[[], None] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(transport)
        if not self.gate.enter(self, cast(asyncio.Transport, transport)):
            cast(asyncio.Transport, transport).abort()

    def connection_lost(self, exc: BaseException | None) -> None:
        self.gate.leave(self)
        if self.gone is not None:
            self.gone()
        super().connection_lost(exc)


class Site(web.TCPSite):
    """Listens through a gate."""

    def __init__(self, runner: web.AppRunner, gate: Gate, settings: Settings) -> None:
        super().__init__(runner, settings.host, settings.port, backlog=1024)
        self._gate, self._settings = gate, settings

    async def start(self) -> None:
        """Listen; raises OSError where the address is not available."""
        await web.BaseSite.start(self)
        server = self._runner.server
        assert server is not None
        given = self._settings
        self._server = await asyncio.get_running_loop().create_server(
            lambda: self._gate.make(server), given.host, given.port, backlog=self._backlog
        )


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
