"""One worker of a server with several: serves the connections that the main process hands over.

Started as `python -m streaming.server.worker CONTROL BOARD`, two file descriptors; the first message names the model.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import functools
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from aiohttp import WSCloseCode, web

from streaming.errors import StreamingError
from streaming.runtime.model import load
from streaming.runtime.quiet import quiet
from streaming.server.app import GATE, HUB, TOTAL, create_app, prepare_loop
from streaming.server.board import Board
from streaming.server.clock import new_loop
from streaming.server.settings import Settings
from streaming.server.wire import MOST, Wire


class Worker:
    """The connections of one process.

    Args:
        app: what `create_app` made.
        control: the connection to the main process.
    """

    def __init__(self, app: web.Application, control: socket.socket) -> None:
        self._app, self._control = app, control
        self._stopped = asyncio.Event()
        self._asked: dict[int, asyncio.Future[str]] = {}
        self._questions = 0

    async def run(self) -> None:
        """Serve until told to stop, or until the main process has gone."""
        loop = asyncio.get_running_loop()
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # of the terminal: the main process hears it too, and decides
        loop.add_signal_handler(signal.SIGTERM, self._stopped.set)
        settings = self._app[HUB].settings
        self._runner = prepare_loop(self._app)
        self._app[TOTAL].append(self._total)
        await self._runner.setup()
        try:
            self._wire = Wire(self._control, self._heard, self._stopped.set)
            self._wire.send({"is": "ready", "fingerprint": self._app[HUB].model.fingerprint})
            await self._stopped.wait()
        finally:
            with contextlib.suppress(asyncio.TimeoutError):
                await asyncio.wait_for(self._runner.cleanup(), 2 * settings.grace + 1.0)
            self._wire.close()

    def _heard(self, message: dict[str, Any], handed: socket.socket | None) -> None:
        kind = message["do"]
        if kind == "take" and handed is not None:
            server = self._runner.server
            assert server is not None
            gone = functools.partial(self._wire.send, {"is": "gone", "id": message["id"]})
            self._app[GATE].take(server, handed, gone)
        elif kind == "count":
            self._wire.send({"is": "counted", "id": message["id"], "text": self._app[HUB].metrics.text().decode()})
        elif kind == "total":
            future = self._asked.pop(message["id"], None)
            if future is not None and not future.done():
                future.set_result(message["text"])
        elif kind == "stop":
            if message.get("restarts"):
                reason = "this process of the server is replaced; connect again and resume"
                self._app[HUB].farewell = (WSCloseCode.SERVICE_RESTART, reason)
            self._stopped.set()

    async def _total(self) -> str:
        """The counters of all workers, which the main process gathers."""
        self._questions += 1
        future = self._asked[self._questions] = asyncio.get_running_loop().create_future()
        self._wire.send({"is": "asking", "id": self._questions})
        return await asyncio.wait_for(future, 10.0)


def main(control_descriptor: int, board_descriptor: int) -> None:
    """Serve until the main process ends this one."""
    control = socket.socket(fileno=control_descriptor)
    given = json.loads(control.recv(MOST))
    try:
        settings = Settings(**{**given["settings"], "key_file": Path(given["settings"]["key_file"])})
        settings = dataclasses.replace(settings, origins=tuple(settings.origins))
        with quiet(not given["debug"]):
            model = load(
                given["model"], given["runtime"], given["threads"], trust=given["trust"], isolated=given["isolated"]
            )
            app = create_app(model, settings, given["name"])
    except (StreamingError, OSError, MemoryError) as error:
        line = " ".join(str(error).split()) or type(error).__name__
        control.send(json.dumps({"is": "failed", "error": line}).encode())
        sys.exit(1)
    app[HUB].join(Board(given["rows"], board_descriptor), given["row"])
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(Worker(app, control).run())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
