"""The main process of a server with several workers: accepts connections, hands each to a worker, and replaces workers.

Only this process listens. A connection goes to the worker that has the fewest, so that the load is even, and none is
lost with a worker that ends before it has seen it. Workers keep no state that a client needs: a token goes on in any.
"""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import os
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from streaming.errors import StreamingError
from streaming.server.board import Board
from streaming.server.capacity import check_memory
from streaming.server.door import Door
from streaming.server.gate import QuietErrors, allow_files
from streaming.server.gathering import Gathering
from streaming.server.listening import announce
from streaming.server.settings import Settings
from streaming.server.tokens import load_key
from streaming.server.wire import Wire

# Seconds to start a worker, and below which a worker that ends has not been running.
_START, _BRIEF = 120.0, 5.0
# Seconds before a worker that ends at once is started again: at first, and at most.
_AGAIN, _AGAIN_MOST = 0.2, 30.0


@dataclass(frozen=True)
class Served:
    """What every worker loads: the file and how it is run; as options of `streaming serve`."""

    model: Path
    runtime: str = "auto"
    threads: int = 1
    trust: bool = False
    isolated: bool = False
    debug: bool = False


@dataclass(eq=False)
class _Worker:
    """A process, its end of the wire, and the connections that it has, by number, with their addresses.

    number: of its place among the workers; row: of the board; leaves: it is told to end;
    has_heir: another one starts.
    """

    number: int
    board: Board
    row: int
    process: subprocess.Popen[bytes]
    wire: Wire
    ready: asyncio.Future[str]
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    connections: dict[int, str] = field(default_factory=dict)
    since: float = field(default_factory=time.monotonic)
    leaves: bool = False
    has_heir: bool = False

    def take(self, number: int, connection: socket.socket) -> None:
        """Hand a connection over."""
        self.wire.send({"do": "take", "id": number}, connection)

    @property
    def is_full(self) -> bool:
        """Whether it says that it takes no further streams."""
        return self.board.is_full(self.row)

    @property
    def is_ready(self) -> bool:
        """Whether it has said that it is."""
        return self.ready.done() and not self.ready.cancelled() and self.ready.exception() is None

    @property
    def is_serving(self) -> bool:
        """Whether it can be handed connections."""
        return self.is_ready and not self.leaves and not self.ended.is_set()


def serve_workers(served: Served, settings: Settings) -> None:
    """Serve a file with `settings.workers` processes until SIGTERM or SIGINT; SIGHUP replaces them one by one.

    Raises:
        StreamingError: the address is taken, a worker cannot start, or memory does not hold so many.
    """
    if sys.platform in ("win32", "darwin"):
        raise StreamingError(f"{sys.platform} cannot hand connections to other processes; give --workers 1")
    load_key(settings.key_file)
    check_memory(served.model, settings.workers)
    asyncio.run(Supervisor(served, settings).run())


class Supervisor:
    """The main process; see `serve_workers`."""

    def __init__(self, served: Served, settings: Settings) -> None:
        self._served, self._settings = served, settings
        # Twice as many rows: a worker and its successor live for a while side by side.
        self._board = Board(2 * settings.workers)
        self._rows = list(range(2 * settings.workers))
        # The share of each worker in the limits of what it counts itself.
        waiting = -(-settings.max_waiting // settings.workers)
        self._shared = dataclasses.replace(settings, max_waiting=waiting, max_per_peer=None)
        self._workers: list[_Worker] = []
        self._living: set[_Worker] = set()
        self._door: Door | None = None
        self._restarts = 0
        # Connections that the door has dropped, by reason.
        self._refused: Counter[str] = Counter()
        self._fingerprint: str | None = None
        self._gathering = Gathering()
        self._tasks: set[asyncio.Task[Any]] = set()
        self._is_stopping = self._is_rolling = False
        self._brief = 0

    async def run(self) -> None:
        """Serve until told to stop."""
        loop, stop = asyncio.get_running_loop(), asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, stop.set)
        loop.set_exception_handler(QuietErrors())
        allow_files(self._settings, 2)
        self._door = Door(self._settings, self._serving, self._count)
        try:
            self._workers = [self._start(number) for number in range(self._settings.workers)]
            await self._all_ready()
            loop.add_signal_handler(signal.SIGHUP, lambda: self._begin(self._roll()))
            self._door.open()
            announce(self._door.port, self._settings)
            await stop.wait()
        finally:
            await self._stop()

    def _serving(self) -> list[_Worker]:
        return [each for each in self._workers if each.is_serving]

    def _count(self, reason: str) -> None:
        self._refused[reason] += 1

    # Starting and ending workers.

    def _start(self, number: int) -> _Worker:
        # The same modules as here, and none of the working directory (-P).
        paths = os.pathsep.join(path or os.getcwd() for path in sys.path)
        environment = {**os.environ, "PYTHONPATH": paths}
        command = [sys.executable, "-P", "-m", "streaming.server.worker"]
        try:
            here, there = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with there:
                files = (there.fileno(), self._board.descriptor)
                process = subprocess.Popen(
                    [*command, *map(str, files)],
                    pass_fds=files,
                    env=environment,
                    stdin=subprocess.DEVNULL,
                    stdout=subprocess.DEVNULL,
                )
        except OSError as error:
            raise StreamingError(f"worker {number} cannot start ({error.strerror}); give fewer --workers") from error
        ready: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        worker = _Worker(number, self._board, self._rows.pop(), process, None, ready)  # type: ignore[arg-type]
        self._living.add(worker)
        worker.wire = Wire(here, lambda message, _: self._heard(worker, message), lambda: self._lost(worker))
        settings = {**dataclasses.asdict(self._shared), "key_file": str(self._shared.key_file)}
        given = {**dataclasses.asdict(self._served), "model": str(self._served.model), "name": self._served.model.stem}
        worker.wire.send({**given, "settings": settings, "row": worker.row, "rows": 2 * settings["workers"]})
        return worker

    async def _all_ready(self) -> None:
        """Wait for the first workers; raises StreamingError where one cannot start."""
        done, _ = await asyncio.wait(
            [worker.ready for worker in self._workers], timeout=_START, return_when=asyncio.FIRST_EXCEPTION
        )
        for future in done:
            self._fingerprint = future.result()
        if len(done) < len(self._workers):
            raise StreamingError(f"a worker was not ready after {_START:g} seconds; give fewer --workers")

    async def _end(self, worker: _Worker, restarts: bool) -> None:
        """Let a worker say farewell to its clients, and end it."""
        worker.leaves = True
        if not worker.is_ready:
            worker.ready.cancel()
            worker.process.kill()  # it has no clients, and does not listen yet
        worker.wire.send({"do": "stop", "restarts": restarts})
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(worker.ended.wait(), 2 * self._settings.grace + 3.0)
        await self._reap(worker)

    async def _stop(self) -> None:
        self._is_stopping = True
        if self._door is not None:
            self._door.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*(self._end(worker, False) for worker in self._living))

    async def _reap(self, worker: _Worker) -> int:
        """The status of a process that has closed its wire; one that does not end is killed."""
        worker.wire.close()
        for _ in range(100):
            if worker.process.poll() is not None:
                break
            await asyncio.sleep(0.02)
        else:
            worker.process.kill()
        self._living.discard(worker)
        return await asyncio.to_thread(worker.process.wait)

    def _lost(self, worker: _Worker) -> None:
        """A worker has closed its end: it has ended, or is about to."""
        worker.ended.set()
        self._board.clear(worker.row)
        self._rows.append(worker.row)
        for number in list(worker.connections):
            self._forget(worker, number)
        self._gathering.lose(worker.process.pid)
        if not worker.ready.done():
            worker.ready.set_exception(
                StreamingError(f"worker {worker.number} ended while it started; give fewer --workers")
            )
        elif not (worker.leaves or worker.has_heir or self._is_stopping):
            self._begin(self._replace(worker))

    async def _replace(self, worker: _Worker) -> None:
        """Start another in the place of a worker that has ended by itself."""
        status = await self._reap(worker)
        if self._is_stopping:
            return
        self._brief = self._brief + 1 if time.monotonic() - worker.since < _BRIEF else 0
        _say(f"worker {worker.number} has ended ({_named(status)}) and is started again; its clients can resume")
        while not self._is_stopping:
            if self._brief:
                await asyncio.sleep(min(_AGAIN * 2**self._brief, _AGAIN_MOST))
            if await self._swap(worker) is not None:
                return
            self._brief += 1

    async def _swap(self, old: _Worker) -> _Worker | None:
        """A new worker in the place of another, once it is ready; None where it does not start."""
        try:
            return await self._succeed(old)
        finally:
            old.has_heir = False

    async def _succeed(self, old: _Worker) -> _Worker | None:
        old.has_heir = True
        try:
            new = self._start(old.number)
            fingerprint = await asyncio.wait_for(asyncio.shield(new.ready), _START)
        except TimeoutError:
            _say(f"warning: worker {old.number} is not replaced: it was not ready after {_START:g} seconds")
            await self._end(new, False)
            return None
        except StreamingError as error:
            _say(f"warning: worker {old.number} is not replaced: {error}")
            return None
        if fingerprint != self._fingerprint:
            _say("warning: the file holds another model now, in which no stream can go on; start the server anew")
            await self._end(new, False)
            return None
        self._workers[self._workers.index(old)] = new
        self._restarts += 1
        if self._door is not None:
            self._door.open()
        return new

    async def _roll(self) -> None:
        """Replace all workers one by one, each once its successor serves."""
        if self._is_rolling or self._is_stopping:
            return
        self._is_rolling = True
        try:
            for worker in list(self._workers):
                if not worker.is_serving:
                    continue  # it has ended by itself, and is replaced already
                if await self._swap(worker) is None:
                    if worker.ended.is_set():
                        self._begin(self._replace(worker))
                    return
                await self._end(worker, True)
            _say("all workers are replaced")
        finally:
            self._is_rolling = False

    def _begin(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    # What workers say.

    def _forget(self, worker: _Worker, number: int) -> None:
        if self._door is not None:
            self._door.forget(worker, number)

    def _heard(self, worker: _Worker, message: dict[str, Any]) -> None:
        kind = message["is"]
        if kind == "gone":
            self._forget(worker, message["id"])
        elif kind == "ready":
            if not worker.ready.done():
                worker.ready.set_result(message["fingerprint"])
        elif kind == "failed":
            if not worker.ready.done():
                worker.ready.set_exception(StreamingError(message["error"]))
        elif kind == "asking":
            self._begin(self._answer_counts(worker, message["id"]))
        elif kind == "counted":
            self._gathering.hear(worker.process.pid, message["id"], message["text"])

    async def _answer_counts(self, asking: _Worker, number: int) -> None:
        """Answer a worker that asks for the counters of all."""
        serving = [worker for worker in self._workers if worker.is_ready and not worker.ended.is_set()]
        own = {
            "streaming_workers gauge Processes that serve.": len(serving),
            "streaming_worker_restarts_total counter Workers that were replaced.": self._restarts,
        }
        text = "".join(
            f"# HELP {name} {about}\n# TYPE {name} {kind}\n{name} {value}\n"
            for (name, kind, about), value in ((key.split(" ", 2), value) for key, value in own.items())
        )
        for reason, count in self._refused.items():
            text += f'streaming_connections_refused_total{{reason="{reason}"}} {count}\n'
        total = await self._gathering.ask({worker.process.pid: worker.wire for worker in serving}, text)
        asking.wire.send({"do": "total", "id": number, "text": total})


def _named(status: int) -> str:
    if status >= 0:
        return f"status {status}"
    with contextlib.suppress(ValueError):
        return signal.Signals(-status).name
    return f"signal {-status}"


def _say(line: str) -> None:
    print(f"streaming: {line}", file=sys.stderr, flush=True)
