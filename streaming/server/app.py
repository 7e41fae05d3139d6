"""The HTTP side: page, health, metrics, handshakes, start and stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import mimetypes
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from importlib import resources

from aiohttp import web

from streaming.runtime.model import StreamingModel
from streaming.server import origins
from streaming.server.clock import new_loop
from streaming.server.connection import Connection, Socket
from streaming.server.door import Door
from streaming.server.gate import Gate, QuietErrors, allow_files, quiet_library
from streaming.server.heap import share_arenas
from streaming.server.hub import Hub
from streaming.server.listening import announce
from streaming.server.metrics import CONTENT_TYPE
from streaming.server.settings import Settings
from streaming.server.sooner import run_sooner

HUB = web.AppKey("hub", Hub)
GATE = web.AppKey("gate", Gate)
# What gives the counters of all workers, where there are several; empty otherwise.
TOTAL = web.AppKey("total", list[Callable[[], Awaitable[str]]])
_HEARTBEAT_SECONDS = 30.0
_UNAVAILABLE = 503
_SWITCH_SECONDS = 0.0005
# Everything the page needs comes from this server; nobody may frame it.
_HEADERS = {
    "Content-Security-Policy": "default-src 'self'; connect-src 'self' ws: wss:; img-src 'self' data:; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cache-Control": "no-cache",
}


def create_app(model: StreamingModel, settings: Settings, name: str = "model") -> web.Application:
    """The server as an aiohttp application: `/` the page, `/stream`, `/healthz` and `/metrics`.

    Raises:
        ArtifactError: the key file is unfit.
        InputError: a setting does not fit the model.
    """
    app = web.Application()
    app[TOTAL] = []
    hub = app[HUB] = Hub(model, settings, name)
    app[GATE] = Gate(settings, lambda reason: hub.metrics.refused.labels(reason).inc())
    app.add_routes([web.get("/stream", _stream), web.get("/healthz", _health), web.get("/metrics", _metrics)])
    folder = resources.files("streaming.server") / "page"
    for item in folder.iterdir():
        app.router.add_get("/" if item.name == "index.html" else f"/{item.name}", _file(item.name, item.read_bytes()))
    app.cleanup_ctx.append(_watched)
    app.on_shutdown.append(lambda app: app[HUB].stop())
    return app


def serve(app: web.Application) -> None:
    """Serve what `create_app` made until SIGTERM or SIGINT; prints the address on standard error once it listens.

    Raises:
        StreamingError: the address is taken or not this machine's.
    """
    with asyncio.Runner(loop_factory=new_loop) as runner:
        runner.run(_serve(app, app[HUB].settings))


def prepare_loop(app: web.Application) -> web.AppRunner:
    """Prepare the running event loop and this process to serve; returns what runs the application."""
    asyncio.get_running_loop().set_exception_handler(QuietErrors())
    # Threads that work on long messages hand over soon: whoever answers a short one needs several turns.
    sys.setswitchinterval(_SWITCH_SECONDS)
    run_sooner()
    share_arenas()
    # What was loaded stays; a collection that looks through it delays every stream.
    gc.freeze()
    quiet_library()
    allow_files(app[HUB].settings)
    # A handler whose client has left is cancelled: it frees its place at once, whatever a thread still computes for it.
    grace = app[HUB].settings.grace
    return web.AppRunner(app, access_log=None, handle_signals=False, shutdown_timeout=grace, handler_cancellation=True)


async def _serve(app: web.Application, settings: Settings) -> None:
    stop, loop = asyncio.Event(), asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C ends asyncio.run by itself
            loop.add_signal_handler(number, stop.set)
    runner = prepare_loop(app)
    await runner.setup()
    try:
        here = _Here(runner, app[GATE])
        door = here.door = Door(settings, lambda: [here], lambda reason: app[HUB].metrics.refused.labels(reason).inc())
        try:
            door.open()
            announce(door.port, settings)
            await stop.wait()
        finally:
            door.close()
    finally:
        await runner.cleanup()


class _Here:
    """The only worker: this process."""

    is_full = False
    door: Door

    def __init__(self, runner: web.AppRunner, gate: Gate) -> None:
        self._runner, self._gate = runner, gate
        self.connections: dict[int, str] = {}

    def take(self, number: int, connection: socket.socket) -> None:
        """Serve a connection."""
        assert self._runner.server is not None
        self._gate.take(self._runner.server, connection, lambda: self.door.forget(self, number))


async def _watched(app: web.Application) -> AsyncIterator[None]:
    task = asyncio.create_task(app[HUB].watch())
    yield
    task.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await task


async def _stream(request: web.Request) -> web.StreamResponse:
    hub = request.app[HUB]
    reason = origins.refusal(request.headers, hub.settings)
    if reason:
        hub.metrics.refused.labels("origin").inc()
        raise web.HTTPForbidden(text=f"{reason}\n")
    reason = hub.refusal()
    if reason:
        hub.metrics.refused.labels("limit" if hub.is_taken else "load").inc()
        raise web.HTTPServiceUnavailable(text=f"{reason}\n", headers={"Retry-After": "5"})
    binary = request.query.get("format") == "binary"
    if binary and not hub.has_one_float_output:
        raise web.HTTPBadRequest(text="binary outputs are for models with one output of floats; connect without\n")
    # No compression: it costs some hundred kilobytes a connection, and steps are small.
    socket = Socket(max_msg_size=hub.max_message, heartbeat=_HEARTBEAT_SECONDS, compress=False, timeout=2.0)
    connection = Connection(hub, request, socket, binary, scores=request.query.get("scores") == "1")
    request.app[GATE].leave(request.protocol)
    with hub.admitted(connection):
        await connection.run()
    return socket


async def _health(request: web.Request) -> web.Response:
    hub = request.app[HUB]
    reason = hub.refusal()
    body = {"status": reason or "ok", "connections": hub.streams, "fingerprint": hub.model.fingerprint}
    return web.json_response(body, status=_UNAVAILABLE if reason else 200)


async def _metrics(request: web.Request) -> web.Response:
    body = request.app[HUB].metrics.text()
    for total in request.app[TOTAL]:
        body = (await total()).encode()
    return web.Response(body=body, headers={"Content-Type": CONTENT_TYPE})


def _file(name: str, content: bytes) -> Callable[[web.Request], Awaitable[web.Response]]:
    kind = mimetypes.guess_type(name)[0] or "application/octet-stream"

    async def answer(request: web.Request) -> web.Response:
        return web.Response(body=content, content_type=kind, charset="utf-8", headers=_HEADERS)

    return answer
