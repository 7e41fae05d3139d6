"""Many clients of a server in real time, in one thread: each sends its piece when it is due, whatever has come back."""

from __future__ import annotations

import base64
import json
import os
import selectors
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field

_HANDSHAKE = (
    "GET /stream{query} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    "Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: {key}\r\n\r\n"
)
_TEXT, _BINARY, _PING = 1, 2, 9
_SEVEN, _SIXTEEN = 126, 127
_RECEIVE = 1 << 16


def frame(payload: bytes, is_text: bool) -> bytes:
    """A frame of a client (RFC 6455). Its mask is zeros, so that it can be made once and sent as it is."""
    head = bytes([0x80 | (_TEXT if is_text else _BINARY)])
    size = len(payload)
    if size < _SEVEN:
        head += bytes([0x80 | size])
    elif size < 1 << 16:
        head += bytes([0x80 | _SEVEN]) + size.to_bytes(2, "big")
    else:
        head += bytes([0x80 | _SIXTEEN]) + size.to_bytes(8, "big")
    return head + bytes(4) + payload


def frames_in(buffer: bytearray) -> list[tuple[int, bytes]]:
    """Whole frames of a server, (opcode, payload), taken out of a buffer."""
    frames, place = [], 0
    while len(buffer) - place >= 2:
        size, begin = buffer[place + 1] & 0x7F, place + 2
        if size == _SEVEN:
            size, begin = int.from_bytes(buffer[begin : begin + 2], "big"), begin + 2
        elif size == _SIXTEEN:
            size, begin = int.from_bytes(buffer[begin : begin + 8], "big"), begin + 8
        if len(buffer) < begin + size:
            break
        frames.append((buffer[place] & 0x0F, bytes(buffer[begin : begin + size])))
        place = begin + size
    del buffer[:place]
    return frames


def connect(host: str, port: int, query: str = "") -> socket.socket:
    """A WebSocket after the server's first message; raises ConnectionError with the answer where it is refused."""
    connection = socket.create_connection((host, port), timeout=60)
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    connection.sendall(_HANDSHAKE.format(query=query, key=base64.b64encode(os.urandom(16)).decode()).encode())
    answer = bytearray()
    while b"\r\n\r\n" not in answer:
        answer += _more(connection)
    head, rest = bytes(answer).split(b"\r\n\r\n", 1)
    if b" 101 " not in head.split(b"\r\n", 1)[0]:
        connection.close()
        raise ConnectionError(f"refused: {head.splitlines()[0].decode()}: {rest.decode(errors='replace').strip()}")
    buffer = bytearray(rest)
    while not frames_in(buffer):  # `ready`
        buffer += _more(connection)
    connection.setblocking(False)
    return connection


def _more(connection: socket.socket) -> bytes:
    data = connection.recv(_RECEIVE)
    if not data:
        raise ConnectionError("the server has closed the connection")
    return data


@dataclass
class _Client:
    """`due`: when the pieces were due whose answers have not come."""

    connection: socket.socket
    pieces: Sequence[bytes]
    sent: int = 0
    due: list[float] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)
    unsent: bytearray = field(default_factory=bytearray)


@dataclass
class Outcome:
    """What the clients noticed.

    delays: seconds from the moment when a piece was due to its answer; events: those in the answers; flagged: answers
    that said they were late; lost: connections that the server closed; seconds: of the measurement.
    """

    delays: list[float] = field(default_factory=list)
    events: int = 0
    flagged: int = 0
    errors: int = 0
    lost: int = 0
    seconds: float = 0.0


class Crowd:
    """Clients of one server.

    Args:
        host, port: of the server.
        count: clients.
        pieces: messages, as frames, that a client sends in turn; each begins at another one.
        interval: seconds from one message of a client to the next.
    """

    def __init__(self, host: str, port: int, count: int, pieces: Sequence[bytes], interval: float) -> None:
        self._interval = interval
        self._selector = selectors.DefaultSelector()
        self._clients = []
        for number in range(count):
            client = _Client(connect(host, port), pieces, sent=number)
            self._selector.register(client.connection, selectors.EVENT_READ, client)
            self._clients.append(client)

    def run(self, seconds: float, warm: float = 2.0) -> Outcome:
        """Send in real time, the clients spread over the interval; what is due in the first seconds is not counted."""
        outcome, step = Outcome(seconds=seconds), self._interval / len(self._clients)
        begin = time.perf_counter() + 0.05
        number, counted, end = 0, begin + warm, begin + warm + seconds
        while True:
            now = time.perf_counter()
            while (due := begin + number * step) <= now and due < end:
                self._send(self._clients[number % len(self._clients)], due)
                number += 1
            if now > end + 1.0 or (now > end and not any(client.due for client in self._clients)):
                break
            for key, _ in self._selector.select(max(0.0, due - time.perf_counter()) if due < end else 0.01):
                self._receive(key.data, counted, outcome)
        late = [now - due for client in self._clients for due in client.due if due >= counted]
        outcome.delays += late  # not answered in a second
        return outcome

    def close(self) -> None:
        """Leave the server."""
        for client in self._clients:
            client.connection.close()
        self._selector.close()

    def _send(self, client: _Client, due: float) -> None:
        client.due.append(due)
        client.unsent += client.pieces[client.sent % len(client.pieces)]
        client.sent += 1
        try:
            del client.unsent[: client.connection.send(client.unsent)]
        except BlockingIOError:
            pass
        except OSError:
            client.due.clear()

    def _receive(self, client: _Client, counted: float, outcome: Outcome) -> None:
        now = time.perf_counter()
        try:
            data = client.connection.recv(_RECEIVE)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            outcome.lost += 1
            self._selector.unregister(client.connection)
            client.due.clear()
            return
        client.received += data
        for kind, payload in frames_in(client.received):
            if kind == _TEXT and b'"done":false' not in payload and client.due:
                due = client.due.pop(0)
                if due < counted:
                    continue
                outcome.delays.append(now - due)
                outcome.errors += payload.startswith(b'{"type":"error"')
                outcome.flagged += b'"late":true' in payload
                outcome.events += payload.count(b'{"event"')


def words_frame(words: Sequence[str]) -> bytes:
    """A message of words."""
    return frame(json.dumps({"type": "feed", "words": list(words)}).encode(), True)
