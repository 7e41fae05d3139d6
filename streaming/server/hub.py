"""State that the connections of a server share, and admission of new ones."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from aiohttp import WSCloseCode

from streaming.errors import StreamingError
from streaming.runtime.batcher import StreamBatcher
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks import KeywordSpotter, Task, task_for
from streaming.server.batched import BatchedModel
from streaming.server.metrics import Metrics
from streaming.server.sessions import ArraySession, EventSession, Session
from streaming.server.settings import Settings
from streaming.server.tokens import TokenSigner, load_key

PROTOCOL = 1
_TOKEN_MARGIN, _MIN_PENDING = 4096, 4096


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
        self.batcher = StreamBatcher(model, settings.max_batch, settings.max_wait, pending)
        # Threads come as they are needed: one waits for each stream of a task that computes.
        self._executor = ThreadPoolExecutor(settings.max_connections, "streaming-task")
        self._task: Task | None = (
            task_for(BatchedModel(self.batcher)) if (model.metadata.task or {}).get("kind") else None
        )
        self.metrics = Metrics(model, self.batcher)
        self.connections: set[Peer] = set()
        self.is_stopping = False
        external = model.metadata.state == "external"
        saved = (self._task.session() if self._task else model.create_stream()).save() if external else b""
        token = len(self.signer.sign({}, [saved]))
        self.max_message = max(settings.max_message, 2 * token + _TOKEN_MARGIN)
        self.description = self._describe(name, external)
        self._warm_up()

    def make_session(self, binary: bool, scores: bool = False) -> Session:
        """A new sequence; see `ArraySession` for `binary`, `EventSession` for `scores`."""
        if self._task is not None:
            return EventSession(self._task, self._executor, scores)
        return ArraySession(self.batcher, binary)

    def refusal(self) -> str | None:
        """Why no further connection is taken; None where one is."""
        if self.is_stopping:
            return "the server is stopping; come back in a moment"
        if len(self.connections) >= self.settings.max_connections:
            return f"all {self.settings.max_connections} connections are taken; come back later"
        return None

    @property
    def has_one_float_output(self) -> bool:
        """Whether outputs can go out as plain float32."""
        outputs = self.model.metadata.outputs
        return self._task is None and len(outputs) == 1 and outputs[0].dtype.startswith("float")

    @contextmanager
    def admitted(self, connection: Peer) -> Iterator[None]:
        """Count a connection in, and out at the end."""
        self.connections.add(connection)
        self.metrics.accepted.inc()
        self.metrics.connections.inc()
        try:
            yield
        finally:
            self.connections.discard(connection)
            self.metrics.connections.dec()

    async def watch(self) -> None:
        """End connections that are idle, or whose clients do not read; runs until it is cancelled."""
        idle, unread = self.settings.idle_timeout, self.settings.send_timeout
        dismissals = set[asyncio.Task[None]]()
        while True:
            await asyncio.sleep(min(1.0, idle / 4, unread / 4))
            now = time.monotonic()
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
        farewells = [
            asyncio.ensure_future(c.dismiss(WSCloseCode.GOING_AWAY, "the server stops")) for c in self.connections
        ]
        if farewells:
            await asyncio.wait(farewells, timeout=self.settings.grace)
        for connection in list(self.connections):
            connection.abort()
        await asyncio.to_thread(self.batcher.close)
        self._executor.shutdown(wait=False)

    def _warm_up(self) -> None:
        """The first client shall not wait until the batcher's thread has its interpreter."""
        with suppress(StreamingError):  # a model that reads a source first takes no step yet
            arrays = [array[0] for array in self.model.inputs.zeros(self.model.chunk)]
            x = dict(zip(self.model.input_spec, arrays, strict=True)) if len(arrays) > 1 else arrays[0]
            self.batcher.submit(self.model.create_stream(), x).result()

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
            "limits": {"max_message": self.max_message, "idle_timeout": self.settings.idle_timeout},
        }

    def _describe_task(self) -> dict[str, Any]:
        if self._task is None:
            return {"takes": "steps"}
        found: dict[str, Any] = {"takes": self._task.takes}
        for name in ("labels", "columns", "targets", "sample_rate", "threshold"):
            value = getattr(self._task, name, None)
            if value is not None:
                found[name] = list(value) if isinstance(value, tuple) else value
        if self._task.takes == "rows":
            spec: Any = self._task.spec
            found |= {"missing": spec.missing, "time": spec.time, "resample": spec.resample}
        if isinstance(self._task, KeywordSpotter):
            found["background"] = list(self._task.spec.background)
        return found
