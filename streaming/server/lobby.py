"""Connections whose request has not come yet: plain sockets, so that a peer that says nothing costs next to nothing.

Such connections are limited in number and time, and a new one replaces the oldest, first of its own address, so that
silent peers displace each other.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TypeVar

from streaming.server.settings import Settings

T = TypeVar("T")

# Bytes of a request that are looked at; a longer one is not waited for.
_BYTES = 1 << 14
# Seconds until a request that has come in part is looked at again: each time twice as many.
_PAUSE, _MOST_PAUSE = 0.02, 1.0


def to_displace(waiting: Mapping[T, str]) -> T:
    """Who makes room for a newcomer, of connections with their addresses, the oldest first.

    An address that opens many connections loses its own; many addresses lose the oldest.
    """
    counts = Counter(waiting.values())
    worst = max(counts.values())
    return next(each for each, peer in waiting.items() if counts[peer] == worst)


def _is_whole(request: bytes) -> bool:
    """Whether the header is there, or what has come is no request and is to be refused as such."""
    return b"\r\n\r\n" in request or b"\n\n" in request or len(request) == _BYTES or not request[:1].isalpha()


@dataclass
class _Guest:
    """Who has connected, until when the request may take, and the pause before the next look at a part of it."""

    peer: str
    until: float
    pause: float = _PAUSE
    timer: asyncio.TimerHandle | None = None
    is_watched: bool = False


class Lobby:
    """Waits for the header of a request.

    Args:
        settings: how many connections may wait, and for how long.
        ready: called with a connection whose request is there, and with its address.
        left: called with the address of a connection that has ended here, and with the reason where the server ended it
            (`crowd`, `timeout`).
    """

    def __init__(
        self,
        settings: Settings,
        ready: Callable[[socket.socket, str], None],
        left: Callable[[str, str | None], None],
    ) -> None:
        self._settings, self._ready, self._left = settings, ready, left
        # The oldest first.
        self._guests: dict[socket.socket, _Guest] = {}
        self._sweep: asyncio.TimerHandle | None = None
        self._loop = asyncio.get_running_loop()

    def enter(self, connection: socket.socket, peer: str) -> None:
        """Take a connection that was just accepted."""
        connection.setblocking(False)
        self._guests[connection] = _Guest(peer, time.monotonic() + self._settings.connect_timeout)
        if len(self._guests) > self._settings.max_waiting:
            self._drop(to_displace({each: guest.peer for each, guest in self._guests.items()}), "crowd")
        if connection in self._guests:
            self._look(connection)
        if self._sweep is None:
            self._plan_sweep()

    def close(self) -> None:
        """Close all that wait."""
        if self._sweep is not None:
            self._sweep.cancel()
        for connection in list(self._guests):
            self._drop(connection, None)

    def _look(self, connection: socket.socket) -> None:
        """See whether the request has come."""
        guest = self._guests[connection]
        guest.timer = None
        try:
            request = connection.recv(_BYTES, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            if not guest.is_watched:
                guest.is_watched = True
                self._loop.add_reader(connection, self._look, connection)
            return
        except OSError:
            request = b""
        if not request:
            self._drop(connection, None)
        elif _is_whole(request):
            self._ready(self._release(connection), guest.peer)
        else:
            # It stays readable: it is looked at again after a while.
            self._unwatch(connection, guest)
            guest.timer = self._loop.call_later(guest.pause, self._look, connection)
            guest.pause = min(2 * guest.pause, _MOST_PAUSE)

    def _plan_sweep(self) -> None:
        """Wake up when the oldest connection has waited long enough."""
        oldest = next(iter(self._guests.values()), None)
        self._sweep = self._loop.call_later(oldest.until - time.monotonic(), self._expire) if oldest else None

    def _expire(self) -> None:
        now = time.monotonic()
        for connection, guest in list(self._guests.items()):
            if guest.until > now:
                break
            self._drop(connection, "timeout")
        self._plan_sweep()

    def _drop(self, connection: socket.socket, reason: str | None) -> None:
        peer = self._guests[connection].peer
        self._release(connection)
        with contextlib.suppress(OSError), connection:
            connection.recv(_BYTES)  # what lies unread would make a reset of the end
        self._left(peer, reason)

    def _release(self, connection: socket.socket) -> socket.socket:
        self._unwatch(connection, self._guests.pop(connection))
        return connection

    def _unwatch(self, connection: socket.socket, guest: _Guest) -> None:
        if guest.timer is not None:
            guest.timer.cancel()
        if guest.is_watched:
            guest.is_watched = False
            self._loop.remove_reader(connection)
