"""One connection, one stream: takes messages in order and answers each before it reads the next."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import json
import time
from collections.abc import AsyncGenerator
from typing import TYPE_CHECKING, Any

from aiohttp import WSCloseCode, WSMessage, WSMsgType, web

from streaming.errors import InputError, StreamingError
from streaming.server.protocol import Request, parse
from streaming.server.sessions import Answer

if TYPE_CHECKING:
    from streaming.server.hub import Hub

# Bytes of a `resume` message besides its token.
_RESUME_BYTES = 64
# Characters of a message that is large.
_LARGE = 1 << 12
_ENCODER = json.JSONEncoder(ensure_ascii=False, allow_nan=False, separators=(",", ":"))
# Why a connection ends where the library gives no more than a number.
_REASONS: dict[int, bytes] = {
    WSCloseCode.PROTOCOL_ERROR: b"that is no frame of the WebSocket protocol",
    WSCloseCode.INVALID_TEXT: b"a text message is no UTF-8",
}


class Socket(web.WebSocketResponse):
    """A WebSocket that says why it closes where the library would not."""

    async def close(self, *, code: int = WSCloseCode.OK, message: bytes = b"", drain: bool = True) -> bool:
        """Receives a message as aiohttp does, and names one that is too large."""
        if code == WSCloseCode.MESSAGE_TOO_BIG and not message:
            message = f"a message has more than {self._max_msg_size} bytes; send smaller ones".encode()
        message = message or _REASONS.get(code, b"")
        return await super().close(code=code, message=message, drain=drain)

    def release(self) -> None:
        """Cancel the timers: they keep a connection that has ended, with its buffers, for half a minute."""
        self._cancel_heartbeat()


class Connection:
    """A client and its stream.

    Memory is bounded: the next message is read when the last one is answered, and a piece of an answer is computed
    when the piece before it is on its way.

    Args:
        hub: what all connections share.
        request: the handshake.
        socket: not yet prepared.
        binary: whether outputs go out as float32.
        scores: whether outputs hold the scores of labels, where the task has them.
    """

    def __init__(
        self, hub: Hub, request: web.Request, socket: Socket, binary: bool = False, scores: bool = False
    ) -> None:
        self._hub, self._request, self._socket = hub, request, socket
        self._make_session = functools.partial(hub.make_session, binary, scores)
        self._session = self._make_session()
        self._lock = asyncio.Lock()
        # When the message in hand arrived (`time.perf_counter`), and the turn of the loop in which it was answered.
        self._began, self._turn = 0.0, -1
        # Whether the client has said anything: until then it may hold a token of an earlier connection.
        self._has_spoken = False
        # When the last message came, and since when the client has not read what is sent; `time.monotonic`.
        self.last_message = time.monotonic()
        self.sending_since: float | None = None

    async def run(self) -> None:
        """Serve until either side closes."""
        try:
            with contextlib.suppress(ConnectionError):  # the client has gone, and its stream with it
                async with self._lock:
                    await self._socket.prepare(self._request)
                    await self._socket.send_frame(self._hub.ready, WSMsgType.TEXT)
                async for message in self._socket:
                    if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                        break
                    if self._turn == self._hub.clock.turn:
                        await asyncio.sleep(0)  # who sends many messages at once waits for the others after each
                    async with self._lock:
                        self._has_spoken = True
                        await self._serve(message)
                    self._turn, self.last_message = self._hub.clock.turn, time.monotonic()
        finally:
            self._socket.release()

    @property
    def is_waiting(self) -> bool:
        """Whether the next message is to come from the client."""
        return not self._lock.locked()

    async def dismiss(self, code: int, reason: str) -> None:
        """Close between two messages, with a token to go on from where there can be one.

        A client that has said nothing gets none: its `resume` may be on the way, and it would take the token of an
        empty stream for that of its own.
        """
        async with self._lock:
            if self._has_spoken:
                with contextlib.suppress(ConnectionError, StreamingError):
                    await self._save({})
            await self._socket.close(code=code, message=reason.encode())

    def abort(self) -> None:
        """Drop the connection at once."""
        if self._request.transport is not None:
            self._request.transport.abort()

    async def _serve(self, message: WSMessage) -> None:
        self._began = self._hub.clock.arrival()
        kind = "unknown"
        try:
            request = await self._read(message)
            kind = request.kind
            await _ANSWERS[kind](self, request.body)
        except StreamingError as error:
            self._hub.metrics.errors.labels(type(error).__name__).inc()
            line = " ".join(str(error).split())
            await self._send({"type": "error", "message": line, "position": self._session.position})
        except (ConnectionError, asyncio.CancelledError):
            raise
        except Exception as error:
            # Nobody knows what the stream is like now: the client hears so and begins anew.
            self._hub.metrics.errors.labels(type(error).__name__).inc()
            line = (
                f"the server failed on this message ({type(error).__name__}); connect again and resume your last token"
            )
            await self._send({"type": "error", "message": line, "position": self._session.position})
            await self._socket.close(code=WSCloseCode.INTERNAL_ERROR, message=b"the server failed on a message")
        self._hub.metrics.counts[kind].inc()
        self._hub.metrics.seconds.observe(time.perf_counter() - self._began)

    async def _read(self, message: WSMessage) -> Request:
        if message.type is WSMsgType.BINARY:
            return Request("feed", {"pieces": self._session.read_binary(message.data)})
        # A large message is read by a thread, so that nobody else waits for it.
        large = len(message.data) >= _LARGE
        return await asyncio.to_thread(self._parsed, message.data) if large else self._parsed(message.data)

    def _parsed(self, text: str) -> Request:
        request = parse(text)
        if request.kind != "feed":
            return request
        session = self._session
        if strange := sorted(set(request.body) - {*session.fields, *session.beside}):
            came, wanted = strange[0], " or ".join(map(repr, session.fields))
            raise InputError(f"this model is fed {wanted}, got {came!r}")
        return Request("feed", {"pieces": session.read(request.body)})

    async def _feed(self, body: dict[str, Any]) -> None:
        before = self._session.position
        pieces = body["pieces"]
        answer = await self._session.quick(pieces)
        if answer is None:
            await self._output(self._session.feed(pieces), pieces.is_long)
        else:
            await self._answer(*answer, self._hub.answered(time.perf_counter() - self._began))
        self._hub.metrics.steps.inc(max(0, self._session.position - before))

    async def _finish(self, body: dict[str, Any]) -> None:
        await self._output(self._session.finish(), False)

    async def _reset(self, body: dict[str, Any]) -> None:
        before, self._session = self._session.threshold, self._make_session()
        if before != self._session.threshold:
            self._session.set_threshold(before)
        await self._send({"type": "reset", "position": 0})

    async def _set(self, body: dict[str, Any]) -> None:
        self._session.set_threshold(body["threshold"])
        await self._send({"type": "set", "threshold": self._session.threshold, "position": self._session.position})

    async def _encode(self, body: dict[str, Any]) -> None:
        await self._session.encode(body["x"])
        await self._send({"type": "encoded", "position": 0})

    async def _save(self, body: dict[str, Any]) -> None:
        token = self._hub.signer.sign(*await self._session.save())
        if len(token) + _RESUME_BYTES > self._hub.max_message:
            raise InputError(
                f"the state takes a token of {len(token)} bytes, more than a message of {self._hub.max_message} holds; "
                "finish the sequence, or start the server with a larger --max-message"
            )
        answer = {"type": "saved", "token": token, "lifetime": self._hub.signer.lifetime}
        await self._send({**answer, "position": self._session.position})

    async def _resume(self, body: dict[str, Any]) -> None:
        saved = self._hub.signer.read(body["token"])
        session = self._make_session()
        session.restore(*saved)
        self._session = session
        await self._send({"type": "resumed", "position": session.position})

    async def _output(self, answers: AsyncGenerator[Answer, None], is_long: bool) -> None:
        """Send answers as they come; what is long waits for its turn before each of them."""
        last = False
        async with contextlib.aclosing(answers):
            while not last:
                async with self._hub.long_turns if is_long else contextlib.nullcontext():
                    fields, last = await anext(answers)
                await self._answer(fields, last, False)
                is_long = True

    async def _answer(self, fields: dict[str, Any], last: bool, late: bool) -> None:
        """Send an output. `late`: it says that it is; a message that takes long by itself is not."""
        if binary := fields.pop("binary", None):
            await self._send(binary)
        milliseconds = round((time.perf_counter() - self._began) * 1e3, 3)
        status = {"type": "output", "position": self._session.position, "ms": milliseconds, "done": last}
        if late:
            status["late"] = True
            self._hub.metrics.late.inc()
        await self._send({**status, **fields})

    async def _send(self, message: dict[str, Any] | bytes) -> None:
        """Send, and wait while the client has too much unread; `Hub.watch` ends it where that takes too long."""
        self.sending_since = time.monotonic()
        try:
            if isinstance(message, bytes):
                await self._socket.send_bytes(message)
            else:
                await self._socket.send_frame(_dumped(message), WSMsgType.TEXT)
        finally:
            self.sending_since = None


def _dumped(message: dict[str, Any]) -> bytes:
    try:
        return _ENCODER.encode(message).encode()
    except UnicodeEncodeError:  # half a surrogate pair has no UTF-8; JSON can name it
        return json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    except ValueError:
        raise InputError("the outputs hold NaN or infinity; send a 'reset' to start anew") from None


# By the type of a message. Not of the object: it would refer to itself, and stay in memory for long after its end.
_ANSWERS = {
    "feed": Connection._feed,
    "finish": Connection._finish,
    "reset": Connection._reset,
    "encode": Connection._encode,
    "save": Connection._save,
    "resume": Connection._resume,
    "set": Connection._set,
}
