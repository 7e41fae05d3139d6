"""Messages between the server's main process and its workers: JSON, with a socket where one is handed over."""

from __future__ import annotations

import asyncio
import json
import socket
from collections import deque
from collections.abc import Callable
from typing import Any

# Bytes of one message at most; counters of a worker are a few thousand.
MOST = 1 << 17
# Messages that are read in one turn of the loop: each may bring a connection, which takes some work.
_AT_ONCE = 8


class Wire:
    """One end of the connection.

    Args:
        end: of a pair of Unix sockets that keep messages apart (SOCK_SEQPACKET).
        heard: called with each message and the socket that came with it.
        lost: called once when the other end has gone.
    """

    def __init__(
        self,
        end: socket.socket,
        heard: Callable[[dict[str, Any], socket.socket | None], None],
        lost: Callable[[], None],
    ) -> None:
        self._end, self._heard, self._lost = end, heard, lost
        self._waiting: deque[tuple[bytes, socket.socket | None]] = deque()
        self._loop = asyncio.get_running_loop()
        self._is_open = True
        end.setblocking(False)
        self._loop.add_reader(end, self._read)

    def send(self, message: dict[str, Any], handed: socket.socket | None = None) -> None:
        """Send a message, and hand a socket over, which is then closed here."""
        if not self._is_open:
            if handed is not None:
                handed.close()
            return
        self._waiting.append((json.dumps(message).encode(), handed))
        if len(self._waiting) == 1:
            self._write()

    def close(self) -> None:
        """End the connection; harmless when repeated."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._end)
            self._loop.remove_writer(self._end)
            self._end.close()
            for _, handed in self._waiting:
                if handed is not None:
                    handed.close()
            self._waiting.clear()

    def _write(self) -> None:
        while self._is_open and self._waiting:
            data, handed = self._waiting[0]
            try:
                socket.send_fds(self._end, [data], [handed.fileno()] if handed is not None else [])
            except BlockingIOError:
                self._loop.add_writer(self._end, self._write)
                return
            except OSError:  # the other end has gone; reading says so
                self._waiting.clear()
                if handed is not None:
                    handed.close()
                return
            self._waiting.popleft()
            if handed is not None:
                handed.close()
        if self._is_open:
            self._loop.remove_writer(self._end)

    def _read(self) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, handed, _, _ = socket.recv_fds(self._end, MOST, 1)
            except BlockingIOError:
                return
            except OSError:
                data, handed = b"", []
            if not data:
                self.close()
                self._lost()
                return
            self._heard(json.loads(data), socket.socket(fileno=handed[0]) if handed else None)
            if not self._is_open:
                return
