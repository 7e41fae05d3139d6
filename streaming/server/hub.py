"""State that the connections of a server share, and admission of new ones."""

from __future__ import annotations

import asyncio
import gc
import json
import math
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Protocol

import numpy as np
from aiohttp import WSCloseCode

from streaming.errors import StreamingError
from streaming.runtime.batcher import StreamBatcher
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks import KeywordSpotter, Task, task_for
from streaming.runtime.tasks.sound import AudioTask
from streaming.server.array_session import ArraySession
from streaming.server.batched import BatchedModel, directly
from streaming.server.board import Board
from streaming.server.clock import Clock, Idle, clock_of
from streaming.server.event_session import EventSession
from streaming.server.heap import Heap
from streaming.server.load import Load
from streaming.server.metrics import Metrics
from streaming.server.pace import Pace
from streaming.server.sessions import Session
from streaming.server.settings import Settings
from streaming.server.together import Together
from streaming.server.tokens import TokenSigner, load_key

PROTOCOL = 1
_TOKEN_MARGIN, _MIN_PENDING = 4096, 4096
_WARNING_SECONDS = 10.0
# Steps of a piece by which the work of a task is measured.
_PROBES = {"words": 1, "audio": 4096, "rows": 1}
# A rest after work for long messages: by the seconds of the work, and at most; only so many seconds after a short one.
_REST, _MOST_REST, _LIVELY = 10.0, 0.05, 0.25
# Threads for tasks besides those of batches.
_THREADS = 16


class Peer(Protocol):
    """A connection as the hub knows it: when it was heard last, and how it is ended."""

    last_message: float
    sending_since: float | None

    @property
    def is_waiting(self) -> bool:
        """Whether the client is the one to speak."""

    async def dismiss(self, code: int, reason: str) -> None:
        """Say why, and close."""

    def abort(self) -> None:
        """Drop it."""


class Hub:
    """Model, batcher, counters and open connections of one server.

    Args:
        model: loaded.
        settings: what the server allows.
        name: what the model is called on the page.

    Raises:
        ArtifactError: the key file is unfit.
        InputError: a setting does not fit the model.
    """

    def __init__(self, model: StreamingModel, settings: Settings, name: str) -> None:
        self.model, self.settings = model, settings
        kind = (model.metadata.task or {}).get("kind")
        scope = f"{model.fingerprint} {kind}"
        self.signer = TokenSigner(load_key(settings.key_file), settings.token_lifetime, scope)
        pending = max(_MIN_PENDING, settings.max_connections)
        self.batcher = StreamBatcher(model, settings.max_batch, settings.max_wait, pending, self._rest)
        batch = min(settings.max_batch or model.batch_sizes[-1], model.batch_sizes[-1])
        # A thread waits for each stream of a task that computes: as many as fill a batch, twice.
        self._executor = ThreadPoolExecutor(min(settings.max_connections, 2 * batch + _THREADS), "streaming-task")
        # Long messages take turns, piece by piece, as many at a time as can share an invoke; short ones go ahead.
        self.long_turns = asyncio.Semaphore(batch + 1)
        self._task: Task | None = (
            task_for(BatchedModel(self.batcher)) if (model.metadata.task or {}).get("kind") else None
        )
        # An interpreter in another process may hang: the event loop does not wait for it.
        self.pace = Pace()
        self._board, self._number = Board(1), 0
        self.together = self._share(batch)
        self.load = Load(settings.late)
        self.clock: Clock | Idle = Idle()
        self.metrics = Metrics(model, self.batcher, self.together, self.load)
        self.connections: set[Peer] = set()
        self._heap = Heap()
        self.is_stopping = False
        # What clients are told when the server stops.
        self.farewell = (WSCloseCode.GOING_AWAY, "the server stops")
        external = model.metadata.state == "external"
        saved = (self._task.session() if self._task else model.create_stream()).save() if external else b""
        token = len(self.signer.sign({}, [saved]))
        self.max_message = max(settings.max_message, 2 * token + _TOKEN_MARGIN)
        # The first message of every connection, made once.
        self.ready = json.dumps({"type": "ready", **self._describe(name, external)}).encode()
        self._warm_up()

    def make_session(self, binary: bool, scores: bool = False) -> Session:
        """A new sequence; see `ArraySession` for `binary`, `EventSession` for `scores`."""
        if self._task is not None:
            return EventSession(self._task, self._executor, scores, self.pace, self.together)
        return ArraySession(self.batcher, binary, self.pace, self.together)

    def _share(self, batch: int) -> Together | None:
        """What shares work of streams in the event loop: features of audio, or invokes of a model without a task."""
        features = getattr(self._task.spec, "features", None) if isinstance(self._task, AudioTask) else None
        if (self._task is None and batch == 1) or (self._task is not None and features is None):
            return None
        return Together(self.model, features, self.pace, batch)

    def _rest(self, seconds: float) -> None:
        """Leave the processor to short messages after an invoke for long ones, where many of these wait."""
        if self.long_turns.locked() and self._board.quiet < _LIVELY:
            time.sleep(min(_REST * seconds, _MOST_REST))

    def refusal(self) -> str | None:
        """Why no further connection is taken; None where one is."""
        if self.is_stopping:
            return "the server is stopping; come back in a moment"
        if self.is_taken:
            return f"all {self.settings.max_connections} connections are taken; come back later"
        return self.load.refusal(len(self.connections))

    def join(self, board: Board, number: int) -> None:
        """Count streams together with the other workers of the server; `number` is this one's."""
        self._board, self._number = board, number

    @property
    def streams(self) -> int:
        """The streams of the server."""
        return self._board.streams

    @property
    def is_taken(self) -> bool:
        """Whether the server has as many streams as it may."""
        return self.streams >= self.settings.max_connections

    @property
    def has_one_float_output(self) -> bool:
        """Whether outputs can go out as plain float32."""
        outputs = self.model.metadata.outputs
        return self._task is None and len(outputs) == 1 and outputs[0].dtype.startswith("float")

    @contextmanager
    def admitted(self, connection: Peer) -> Iterator[None]:
        """Count a connection in, and out at the end."""
        self.connections.add(connection)
        self._count()
        self.metrics.accepted.inc()
        self.metrics.connections.inc()
        try:
            yield
        finally:
            self.connections.discard(connection)
            self._count()
            self.metrics.connections.dec()

    def _count(self) -> None:
        self._board.count(self._number, len(self.connections))

    def answered(self, delay: float) -> bool:
        """Count the answer of a short message, so many seconds after it came; whether it was late."""
        self._board.answer(self._number)
        return self.load.answered(delay)

    async def watch(self) -> None:
        """End connections that are idle, or whose clients do not read, and give memory back; runs until cancelled."""
        idle, unread = self.settings.idle_timeout, self.settings.send_timeout
        dismissals = set[asyncio.Task[None]]()
        self.clock = clock_of(asyncio.get_running_loop())
        warned = -math.inf
        while True:
            await asyncio.sleep(min(1.0, idle / 4, unread / 4))
            now = time.monotonic()
            self.load.measure()
            self._board.mark(self._number, self.load.refusal(len(self.connections)) is not None)
            if self.load.delay > self.load.late and now - warned > _WARNING_SECONDS:
                warned = now
                line = f"answers come {1e3 * self.load.delay:.0f} ms after their messages; no further streams are taken"
                print(f"streaming: warning: {line}", file=sys.stderr, flush=True)
            if self._heap.is_due(len(self.connections), now):
                gc.collect()  # what is left of a connection refers to itself, with its buffers
                await asyncio.to_thread(self._heap.trim)
            for connection in list(self.connections):
                if connection.sending_since is not None and now - connection.sending_since > unread:
                    self.metrics.closed.labels("slow reader").inc()
                    connection.abort()
                elif connection.is_waiting and now - connection.last_message > idle:
                    self.metrics.closed.labels("idle").inc()
                    reason = f"no message for {idle:g} seconds"
                    task = asyncio.create_task(connection.dismiss(WSCloseCode.POLICY_VIOLATION, reason))
                    dismissals.add(task)
                    task.add_done_callback(dismissals.discard)

    async def stop(self) -> None:
        """Dismiss every client, with a token where there can be one, and finish what runs."""
        self.is_stopping = True
        farewells = [asyncio.ensure_future(connection.dismiss(*self.farewell)) for connection in self.connections]
        if farewells:
            await asyncio.wait(farewells, timeout=self.settings.grace)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.to_thread(self.batcher.close)
        self._executor.shutdown(wait=False)

    def _warm_up(self) -> None:
        """Run the first steps before the first client comes: of the batcher's thread, and of this one to measure it."""
        with suppress(StreamingError):  # a model that reads a source first takes no step yet
            arrays = [array[0] for array in self.model.inputs.zeros(self.model.chunk)]
            x = dict(zip(self.model.input_spec, arrays, strict=True)) if len(arrays) > 1 else arrays[0]
            self.batcher.submit(self.model.create_stream(), x).result()
            if self.model.recipe.make is not None:
                return  # an interpreter in another process may hang: the event loop never waits for it
            feed: Any
            if self._task is None:
                feed, piece, steps = self.model.create_stream().feed, x, self.model.chunk
            elif self._task.takes in _PROBES:
                feed, (piece, steps) = self._task.session().feed, _probe(self._task)
            else:
                return
            directly(feed, piece)
            self.pace.run(steps, directly, feed, piece)

    def _describe(self, name: str, resumable: bool) -> dict[str, Any]:
        meta = self.model.metadata
        return {
            "protocol": PROTOCOL,
            "model": {
                "name": name,
                "fingerprint": self.model.fingerprint,
                "task": (meta.task or {}).get("kind"),
                "delay": meta.delay,
                "chunk": meta.chunk,
                "state_bytes": meta.state_bytes,
                "inputs": [{"name": i.name, "shape": i.shape, "dtype": i.dtype, "time": i.time} for i in meta.inputs],
                "outputs": [{"name": o.name, "shape": o.shape, "dtype": o.dtype, "rate": o.rate} for o in meta.outputs],
                "encode": [item.name for item in meta.encode.inputs] if meta.encode else [],
                "resumable": resumable,
                **self._describe_task(),
            },
            "limits": {
                "max_message": self.max_message,
                "idle_timeout": self.settings.idle_timeout,
                "late": self.settings.late,
            },
        }

    def _describe_task(self) -> dict[str, Any]:
        if self._task is None:
            return {"takes": "steps"}
        described: dict[str, Any] = {"takes": self._task.takes}
        for name in ("labels", "columns", "targets", "sample_rate", "threshold"):
            value = getattr(self._task, name, None)
            if value is not None:
                described[name] = list(value) if isinstance(value, tuple) else value
        if self._task.takes == "rows":
            spec: Any = self._task.spec
            described |= {"missing": spec.missing, "time": spec.time, "resample": spec.resample}
        if isinstance(self._task, KeywordSpotter):
            described["background"] = list(self._task.spec.background)
        return described


def _probe(task: Task) -> tuple[Any, int]:
    """A piece of what a task takes, and its steps."""
    if task.takes == "words":
        return ["a"], 1
    if task.takes == "audio":
        steps = _PROBES["audio"]
        return np.zeros(steps, np.float32), steps
    rows: Any = task
    return np.zeros((1, rows.reader.width), np.float32), 1
