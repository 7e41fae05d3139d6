"""Accepts connections, waits for the request of each, and hands it to a worker."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from streaming.server.listening import NO_MORE_FILES, listen
from streaming.server.lobby import Lobby
from streaming.server.settings import Settings

# Connections that are accepted in one turn, and seconds without accepting where the system has no files left.
_ACCEPTED, _PAUSE = 16, 0.5


class Host(Protocol):
    """A worker as the door sees it: its connections by number, with their addresses."""

    connections: dict[int, str]

    @property
    def is_full(self) -> bool:
        """Whether others are to be preferred for a further stream."""

    def take(self, number: int, connection: socket.socket) -> None:
        """Serve a connection; `Door.forget` is called at its end."""


class Door:
    """The listening sockets.

    Args:
        settings: address, connections of one address, and those that wait.
        serving: the workers that take connections.
        refused: called with a reason for each connection that is dropped here.

    Raises:
        StreamingError: the address is taken or not this machine's.
    """

    def __init__(
        self, settings: Settings, serving: Callable[[], Sequence[Host]], refused: Callable[[str], object]
    ) -> None:
        self._settings, self._serving, self._refused = settings, serving, refused
        self._listeners = listen(settings)
        self._lobby = Lobby(settings, self._hand, self._leave)
        self._numbers = itertools.count()
        self._peers: Counter[str] = Counter()

    @property
    def port(self) -> int:
        """The port of the first address."""
        return int(self._listeners[0].getsockname()[1])

    def open(self) -> None:
        """Accept connections."""
        for listener in self._listeners:
            asyncio.get_running_loop().add_reader(listener, self._accept, listener)

    def shut(self) -> None:
        """Let connections wait in the system's queue."""
        for listener in self._listeners:
            asyncio.get_running_loop().remove_reader(listener)

    def close(self) -> None:
        """Listen no more."""
        self.shut()
        self._lobby.close()
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def forget(self, host: Host, number: int) -> None:
        """A connection of a worker has ended."""
        peer = host.connections.pop(number, None)
        if peer is not None:
            self._leave(peer)

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED):
            if not self._serving():
                self.shut()  # until there is a worker again
                return
            try:
                connection, address = listener.accept()
            except (BlockingIOError, InterruptedError, ConnectionAbortedError):
                return
            except OSError as error:
                if error.errno in NO_MORE_FILES:
                    self.shut()
                    asyncio.get_running_loop().call_later(_PAUSE, self.open)
                raise
            self._enter(connection, str(address[0]))

    def _enter(self, connection: socket.socket, peer: str) -> None:
        limit = self._settings.max_per_peer
        if limit is not None and self._peers[peer] >= limit:
            self._refused("peer")
            connection.close()
            return
        self._peers[peer] += 1
        self._lobby.enter(connection, peer)

    def _hand(self, connection: socket.socket, peer: str) -> None:
        serving = self._serving()
        if not serving:  # the last worker has ended since: the client connects again
            connection.close()
            self._leave(peer)
            return
        host = min(serving, key=lambda each: (each.is_full, len(each.connections)))
        number = next(self._numbers)
        host.connections[number] = peer
        host.take(number, connection)

    def _leave(self, peer: str, reason: str | None = None) -> None:
        self._peers[peer] -= 1
        if not self._peers[peer]:
            del self._peers[peer]
        if reason is not None:
            self._refused(reason)
