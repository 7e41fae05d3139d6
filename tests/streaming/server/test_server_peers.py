"""Peers that are silent, slow, gone or strange: a server answers everybody else, stays small and ends in time."""

from __future__ import annotations

import asyncio
import json
import signal
import socket as sockets
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("aiohttp")
pytest.importorskip("prometheus_client")

import aiohttp
from serving import connected, convert_steps, convert_tagger, process


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

    with process(tagger, "--port", "0", "--max-connections", "1") as (server, url):
        asyncio.run(talk(url))
        assert "Traceback" not in ended(server, 20)


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
