"""Peers that are silent, slow, gone or strange: a server answers everybody else, stays small and ends in time."""

from __future__ import annotations

import asyncio
import contextlib
import json
import signal
import socket as sockets
import subprocess
import threading
import time
from collections.abc import Sequence
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("prometheus_client")

import aiohttp
from serving import connected, convert_steps, convert_tagger, process, running

from streaming.errors import StreamingError
from streaming.runtime.tasks.words import TaggedWord, TaggerSession
from streaming.runtime.tokenization import tokenize
from streaming.runtime.turns import CallFuture
from streaming.server.batched import Errand
from streaming.server.heap import Heap
from streaming.server.pieces import cut_text


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_steps(tmp_path_factory.mktemp("steps") / "steps.tflite")


@pytest.fixture(scope="module")
def tagger(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_tagger(tmp_path_factory.mktemp("tagger") / "tagger.tflite")


def address(url: str) -> tuple[str, int]:
    host, port = url.removeprefix("http://").rsplit(":", 1)
    return host, int(port)


def ended(server: subprocess.Popen[str], seconds: float) -> str:
    """Stop it; what it wrote to its log."""
    began = time.monotonic()
    server.send_signal(signal.SIGTERM)
    assert server.wait(60) == 0
    assert time.monotonic() - began < seconds
    assert server.stderr is not None
    return server.stderr.read()


@pytest.mark.slow
def test_silent_peers_crowd_out_each_other_and_nobody_else(steps: Path) -> None:
    async def talk(url: str) -> None:
        async with connected(f"{url}/stream") as before:
            silent = [sockets.create_connection(address(url)) for _ in range(120)]
            for number, item in enumerate(silent):  # some say a little, one line after the other
                if number % 2:
                    item.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n")
            async with connected(f"{url}/stream") as client:
                assert (await client.say(type="feed", x=[[0.0] * 5] * 3))["position"] == 3
            assert (await before.say(type="feed", x=[[0.0] * 5]))["position"] == 1
            silent[0].settimeout(60)  # the oldest had to go at once, the youngest after its time
            assert silent[0].recv(1) == b""
            silent[-1].settimeout(60)
            assert silent[-1].recv(1) in (b"", b"H")
            assert (await before.say(type="feed", x=[[0.0] * 5]))["position"] == 2
            for item in silent:
                item.close()

    with process(steps, "--port", "0", "--max-waiting", "30", "--connect-timeout", "2") as (server, url):
        asyncio.run(talk(url))
        assert len(ended(server, 10)) < 2000


def test_an_address_has_so_many_connections(steps: Path) -> None:
    async def talk(url: str) -> None:
        async with connected(f"{url}/stream"), connected(f"{url}/stream"), aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.ClientError):
                await session.ws_connect(f"{url}/stream")
        async with connected(f"{url}/stream") as again:  # a place is free as soon as one has left
            assert (await again.say(type="reset"))["position"] == 0

    with process(steps, "--port", "0", "--max-per-peer", "2") as (_, url):
        asyncio.run(talk(url))


@pytest.mark.slow
def test_whoever_has_left_frees_the_place_at_once(tagger: Path) -> None:
    async def talk(url: str) -> None:
        async with aiohttp.ClientSession() as session:
            socket = await session.ws_connect(f"{url}/stream")
            await socket.receive()
            await socket.send_json({"type": "feed", "text": "a-" * 60_000})
            await asyncio.sleep(0.3)
            assert socket._response.connection is not None
            transport: Any = socket._response.connection.transport
            transport.abort()
        began = time.monotonic()
        while True:
            try:
                async with connected(f"{url}/stream") as client:
                    assert client.ready["type"] == "ready"
                    break
            except aiohttp.WSServerHandshakeError:
                await asyncio.sleep(0.1)
        assert time.monotonic() - began < 10

    async def leave(url: str) -> None:
        async with connected(f"{url}/stream") as client:
            await client.socket.send_json({"type": "feed", "text": "a-" * 120_000})
            await client.socket.receive()
            assert "Traceback" not in await asyncio.to_thread(ended, server, 8)

    with process(tagger, "--port", "0", "--max-connections", "1", "--grace", "1") as (server, url):
        asyncio.run(talk(url))
        asyncio.run(leave(url))


def test_short_messages_go_ahead_of_long_ones(tagger: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Long ones take turns, as many at a time as fill a batch and one; a short one waits for none of them."""
    inside: list[int] = []
    goes_on = threading.Event()
    feed = TaggerSession.feed

    def slow(self: TaggerSession, piece: Sequence[str]) -> list[TaggedWord]:
        if len(piece) > 1:
            inside.append(len(piece))
            assert goes_on.wait(60)
        return feed(self, piece)

    monkeypatch.setattr(TaggerSession, "feed", slow)

    async def talk() -> None:
        async with running(tagger) as server, contextlib.AsyncExitStack() as stack:
            url = server.make_url("/stream")
            many = [await stack.enter_async_context(connected(url)) for _ in range(6)]
            for client in many:
                await client.socket.send_json({"type": "feed", "text": "a-" * 200})
            async with connected(url) as client:
                for position in (1, 2, 3):
                    assert (await client.say(type="feed", words=["dog"]))["position"] == position
            async with asyncio.timeout(30):
                while len(inside) < 2:
                    await asyncio.sleep(0.01)
            assert inside == [64, 64]
            goes_on.set()
            for client in many:
                found = [event for answer in await client.answers() for event in answer["events"]]
                assert len(found) == 400 - client.ready["model"]["delay"]

    asyncio.run(talk())


def test_pieces_of_a_text_are_its_words() -> None:
    for text in ("a-" * 1000, "", "It's 5 p.m., isn't it? " * 9, "word " * 64, "word " * 65):
        pieces = cut_text(text)
        assert pieces.is_long == (len(tokenize(text)) > 64)
        assert [word for piece in pieces for word in piece] == tokenize(text)


def test_work_for_a_client_that_has_left_ends() -> None:
    call, errand = CallFuture(), Errand()
    errand.abandon()
    with pytest.raises(StreamingError, match="has left"):
        errand.run(lambda: None)
    with pytest.raises(CancelledError):
        errand.wait([call])
    other, waiting = Errand(), CallFuture()
    threading.Timer(0.05, other.abandon).start()
    with pytest.raises(CancelledError):
        other.wait([waiting])
    assert waiting.abandoned


def test_memory_is_given_back_once_when_half_have_left() -> None:
    heap = Heap()
    asked = [
        (100, 0),
        (90, 1),
        (50, 2),
        (40, 4),
        (40, 5),
        (40, 6),
        (30, 7),
        (20, 8),
        (20, 12),
        (0, 13),
        (0, 14),
        (0, 17),
    ]
    assert [now for streams, now in asked if heap.is_due(streams, now)] == ([5, 12, 17] if heap._trim else [])
    if heap._trim:
        heap.trim()


MESSAGES = [
    '{"type": "feed", "words": ["\\ud800"]}',
    '{"type": "feed", "text": "\\udfff"}',
    '{"type": ' + "[" * 900 + "]" * 900 + "}",
    "[" * 5000 + "]" * 5000,
    '{"type": "\\ud83d"}',
    '{"type": "feed", "words": [""]}',
    '{"type": "feed", "words": [1e999]}',
    '{"type": "feed", "words": {"a": 1}}',
    '{"type": "resume", "token": "\\ud800"}',
    '{"type": "resume", "token": ' + "9" * 5000 + "}",
    '{"type": "encode", "x": null}',
    "\x00",
    "",
]


def test_every_message_has_an_answer(tagger: Path) -> None:
    async def talk(url: str) -> None:
        async with connected(f"{url}/stream") as client:
            for message in MESSAGES:
                await client.socket.send_str(message)
                answer = (await client.answers())[-1]
                assert answer["type"] in ("error", "output"), message
            await client.socket.send_bytes(b"\xff" * 7)
            assert (await client.answers())[-1]["type"] == "error"

    with process(tagger, "--port", "0") as (server, url):
        asyncio.run(talk(url))
        assert "Traceback" not in ended(server, 20)


def test_a_token_that_could_not_come_back_is_not_given(tagger: Path) -> None:
    async def talk(url: str) -> None:
        async with connected(f"{url}/stream") as client:
            largest = client.ready["limits"]["max_message"]
            word = "x" * (largest - 200)
            assert (await client.say(type="feed", words=[word]))["position"] == 1
            answer = await client.say(type="save")
            assert answer["type"] == "error"
            assert "the state takes a token of" in answer["message"]
            assert (await client.say(type="finish"))["done"]
            token = (await client.say(type="save"))["token"]
            assert len(json.dumps({"type": "resume", "token": token})) <= largest
            assert (await client.say(type="resume", token=token))["type"] == "resumed"

    with process(tagger, "--port", "0") as (_, url):
        asyncio.run(talk(url))
