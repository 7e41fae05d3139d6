"""A small model behind a server, in this process or another, and a client that speaks its protocol."""

from __future__ import annotations

import contextlib
import json
import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import aiohttp
import keras
from aiohttp.test_utils import TestServer
from keras import layers

import streaming
from rnnzoo.tasks.tagger.config import TaggerConfig
from rnnzoo.tasks.tagger.model import build_tagger
from streaming.runtime.text import WordEncoder
from streaming.server import Settings, create_app

FEATURES, CLASSES = 5, 3
SENTENCES = [["The", "dog", "barks", "."], ["A", "cat", "sleeps", "now"], ["the", "dog"]]


def convert_steps(path: Path) -> Path:
    """Steps (5,) to rows (3,), one step late; batches of 1 and 8."""
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((None, FEATURES), name="frames"),
            layers.Conv1D(8, 3, padding="same"),
            layers.LSTM(12, return_sequences=True),
            layers.Dense(CLASSES, name="scores"),
        ]
    )
    streaming.convert(model, path, batch_sizes=(1, 8))
    return path


def convert_tagger(path: Path) -> Path:
    """Words to tags, two words late."""
    keras.utils.set_random_seed(0)
    encoder = WordEncoder.fit(SENTENCES, ["N", "V", "X"], min_count=1, affix_min_count=1, max_word_length=6)
    config = TaggerConfig(word_size=6, char_size=4, char_filters=3, affix_size=2, conv_units=8, units=8)
    task = {"kind": "tagger", "labels": 3}
    metadata = {"task": task, "files": encoder.to_files()}
    streaming.convert(build_tagger(config, encoder), path, metadata=metadata)
    return path


class Client:
    """Sends messages and gathers the answers to each."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse, ready: dict[str, Any]) -> None:
        self.socket, self.ready = socket, ready

    async def answers(self) -> list[dict[str, Any]]:
        """All messages up to the one that is done."""
        found = []
        while True:
            message = await self.socket.receive(timeout=60)
            assert message.type is aiohttp.WSMsgType.TEXT, message
            found.append(json.loads(message.data))
            if found[-1].get("done", True):
                return found

    async def say(self, **message: Any) -> dict[str, Any]:
        """Send, and join what comes back into one answer."""
        await self.socket.send_json(message)
        *earlier, last = await self.answers()
        for field in ("y", "events"):
            if field in last:
                last[field] = [row for one in [*earlier, last] for row in one[field]]
        return last


@contextlib.asynccontextmanager
async def running(path: Path, **options: Any) -> AsyncIterator[TestServer]:
    """A server in this event loop."""
    settings = Settings(**{"key_file": path.parent / "serve.key", **options})
    async with TestServer(create_app(streaming.load(path), settings, path.stem)) as server:
        yield server


@contextlib.asynccontextmanager
async def connected(url: Any, **options: Any) -> AsyncIterator[Client]:
    """A client, after the server's first message."""
    async with aiohttp.ClientSession() as session, session.ws_connect(url, **options) as socket:
        yield Client(socket, await socket.receive_json(timeout=60))


@contextlib.contextmanager
def process(path: Path, *options: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """`streaming serve` as a process, and its address."""
    code = "import sys; from streaming.cli import main; sys.exit(main(sys.argv[1:]))"
    key = path.parent / "serve.key"
    # One worker starts sooner; a later option counts.
    command = [sys.executable, "-c", code, "serve", str(path), "--key", str(key), "--workers", "1", *options]
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": "-1"}
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=environment) as server:
        try:
            assert server.stderr is not None
            line = server.stderr.readline()
            found = re.search(r"http://\S+", line)
            assert found, line + server.stderr.read()
            yield server, found.group()
        finally:
            server.kill()
            server.wait()
