"""Connections whose request has not come: which of them are handed on, which are dropped, and when."""

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable

import pytest

pytest.importorskip("aiohttp", reason="the extra `server` is not installed")

from streaming.server.lobby import Lobby, to_displace
from streaming.server.settings import Settings

REQUEST = b"GET /stream HTTP/1.1\r\nHost: localhost\r\n\r\n"


class Record:
    """What a lobby has handed on, and who has left it."""

    def __init__(self, **settings: float) -> None:
        self._clients: list[socket.socket] = []
        self.ready: list[tuple[socket.socket, str]] = []
        self.left: list[tuple[str, str | None]] = []
        self.lobby = Lobby(
            Settings(**settings),  # type: ignore[arg-type]
            lambda connection, peer: self.ready.append((connection, peer)),
            lambda peer, reason: self.left.append((peer, reason)),
        )

    def connect(self, peer: str = "a", says: bytes = b"") -> socket.socket:
        here, there = socket.socketpair()
        self._clients.append(here)
        here.send(says)
        self.lobby.enter(there, peer)
        return here

    def close(self) -> None:
        self.lobby.close()
        for each in (*self._clients, *(connection for connection, _ in self.ready)):
            each.close()


def within(work: Callable[[Record], Awaitable[None]], **settings: float) -> None:
    async def run() -> None:
        record = Record(**settings)
        try:
            await asyncio.wait_for(work(record), 10.0)
        finally:
            record.close()

    asyncio.run(run())


async def until(condition: Callable[[], object]) -> None:
    while not condition():
        await asyncio.sleep(0.005)


def test_a_connection_is_handed_on_once_its_request_is_whole_and_nothing_of_it_is_lost() -> None:
    async def work(record: Record) -> None:
        client = record.connect()
        for begin in range(0, len(REQUEST), 9):
            assert not record.ready
            client.send(REQUEST[begin : begin + 9])
            await asyncio.sleep(0.01)
        client.send(b"and more")
        await until(lambda: record.ready)
        [(connection, peer)] = record.ready
        assert peer == "a"
        assert not record.left
        assert connection.recv(100) == REQUEST + b"and more"

    within(work)


def test_what_is_there_already_is_handed_on_at_once_and_long_or_strange_bytes_are_not_waited_for() -> None:
    async def work(record: Record) -> None:
        for data in (REQUEST, b"GET / HTTP/1.1\n\n", b"x" * (1 << 14), b"\x16\x03\x01\x02"):
            record.connect(says=data)
        assert len(record.ready) == 4

    within(work)


def test_who_has_left_is_forgotten() -> None:
    async def work(record: Record) -> None:
        record.connect().close()
        partly = record.connect("b")
        partly.send(REQUEST[:5])
        await asyncio.sleep(0.05)
        partly.close()
        await until(lambda: len(record.left) == 1)
        assert record.left == [("a", None)]
        assert not record.ready
        record.lobby.close()
        assert record.left[1:] == [("b", None)]

    within(work)


def test_a_newcomer_displaces_the_oldest_of_the_address_with_the_most() -> None:
    async def work(record: Record) -> None:
        other = record.connect("b")
        many = [record.connect("a") for _ in range(3)]
        assert record.left == [("a", "crowd")]
        assert many[0].recv(1) == b""
        for client in (other, *many[1:]):
            client.send(REQUEST)
        await until(lambda: len(record.ready) == 3)

    within(work, max_waiting=3)


def test_time_ends_for_each_connection_by_itself() -> None:
    async def work(record: Record) -> None:
        began = time.monotonic()
        first = record.connect("first")
        await asyncio.sleep(0.1)
        second = record.connect("second")
        second.send(REQUEST[:9])
        await until(lambda: record.left)
        assert time.monotonic() - began >= 0.2
        await until(lambda: len(record.left) == 2)
        assert time.monotonic() - began >= 0.3
        assert record.left == [("first", "timeout"), ("second", "timeout")]
        # An end, and no reset, also for what has sent something.
        assert first.recv(1) == second.recv(1) == b""

    within(work, connect_timeout=0.2)


def test_where_all_addresses_have_as_many_the_oldest_makes_room() -> None:
    assert to_displace({1: "a", 2: "b", 3: "c"}) == 1
    assert to_displace({1: "a", 2: "b", 3: "c", 4: "b"}) == 2
