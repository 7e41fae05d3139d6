"""Accepts the connections of a server with several workers, and hands each to one of them."""

from __future__ import annotations

import asyncio
import itertools
import socket
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Protocol

from streaming.server.board import Board
from streaming.server.gate import NO_MORE_FILES
from streaming.server.listening import listen
from streaming.server.settings import Settings
from streaming.server.wire import Wire

# Connections that are accepted in one turn, and seconds without accepting where the system has no files left.
_ACCEPTED, _PAUSE = 64, 0.5


class Host(Protocol):
    """A worker as the door sees it: its connections by number, with their addresses, and its row of the board."""

    row: int
    wire: Wire
    connections: dict[int, str]


class Door:
    """The listening sockets.

    Args:
        settings: address, and connections of one address.
        board: says which workers take no further streams.
        serving: the workers that take connections.

    Raises:
        StreamingError: the address is taken or not this machine's.
    """

    def __init__(self, settings: Settings, board: Board, serving: Callable[[], Sequence[Host]]) -> None:
        self._settings, self._board, self._serving = settings, board, serving
        self._listeners = listen(settings)
        self._numbers = itertools.count()
        self._peers: Counter[str] = Counter()
        self.refused = 0

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
        for listener in self._listeners:
            listener.close()
        self._listeners = []

    def forget(self, host: Host, number: int) -> None:
        """A connection of a worker has ended."""
        peer = host.connections.pop(number, None)
        if peer is not None:
            self._peers[peer] -= 1
            if not self._peers[peer]:
                del self._peers[peer]

    def _accept(self, listener: socket.socket) -> None:
        for _ in range(_ACCEPTED):
            serving = self._serving()
            if not serving:
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
            self._hand(connection, str(address[0]), serving)

    def _hand(self, connection: socket.socket, peer: str, serving: Sequence[Host]) -> None:
        limit = self._settings.max_per_peer
        if limit is not None and self._peers[peer] >= limit:
            self.refused += 1
            connection.close()
            return
        host = min(serving, key=lambda each: (self._board.is_full(each.row), len(each.connections)))
        number = next(self._numbers)
        host.connections[number] = peer
        self._peers[peer] += 1
        host.wire.send({"do": "take", "id": number}, connection)
