"""The calls of a stream for asyncio; none of them blocks the event loop."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterable, AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any

from streaming.runtime.outputs import Arrays

if TYPE_CHECKING:
    from typing import Self


class AsyncCalls:
    """`astep`, `afeed`, `afinish`, `aencode` and `arun` of a stream.

    They run in the thread of `StreamingModel.batcher`: those of one stream in the order in which they were called,
    those of different streams in shared invokes. A cancelled call leaves the stream as it was or, if it had just
    finished, as after the call; the text of the `CancelledError` says which. Internal state cannot be undone: a call
    that has begun is then completed.
    """

    async def astep(self, x: Any) -> Arrays:
        """`step` without blocking; raises what it raises."""
        return await self._turn("step", x)

    async def afeed(self, x: Any) -> Arrays:
        """`feed` without blocking; raises what it raises."""
        return await self._turn("submit", x)

    async def afinish(self) -> Arrays:
        """`finish` without blocking; raises what it raises."""
        return await self._turn("finish")

    async def aencode(self, x: Any) -> None:
        """`encode` without blocking; raises what it raises."""
        await self._turn("call", "encode", x)

    async def arun(self, source: AsyncIterable[Any] | Iterable[Any]) -> AsyncIterator[Arrays]:
        """`run` for `async for`: feed each item, yield its outputs, and those of `finish` after the last item.

        Args:
            source: an asynchronous iterable, or a plain one that does not block.
        """
        if isinstance(source, AsyncIterable):
            async for item in source:
                yield await self.afeed(item)
        else:
            for item in source:
                yield await self.afeed(item)
        yield await self.afinish()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._turn("call", "close")

    async def _turn(self, name: str, *args: Any) -> Any:
        import asyncio  # several MB that no other call needs

        stream: Any = self
        if name == "call":
            args = (getattr(stream, args[0]), *args[1:])
        future = getattr(stream.model.batcher, name)(stream, *args)
        waiting = asyncio.wrap_future(future)
        try:
            return await asyncio.shield(waiting)
        except asyncio.CancelledError:
            future.abandon()
            while not waiting.done():  # for one invoke at most: then nothing touches the stream any more
                with contextlib.suppress(asyncio.CancelledError):
                    await asyncio.wait([waiting])
            moved = not waiting.cancelled() and waiting.exception() is None
            state = "had finished, the stream has moved" if moved else "was cancelled, the stream is as it was"
            raise asyncio.CancelledError(f"the call {state}") from None
