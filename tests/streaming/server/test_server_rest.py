"""Long messages leave the processor to short ones."""

import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("aiohttp", reason="the extra `server` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `server` is not installed")

from serving import convert_steps

import streaming
from streaming.server.hub import Hub
from streaming.server.settings import Settings
from streaming.server.sooner import run_sooner


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    folder = tmp_path_factory.mktemp("rest")
    model = streaming.load(convert_steps(folder / "steps.tflite"))
    hub = Hub(model, Settings(key_file=folder / "key", max_wait=0.0), "steps")
    yield hub
    hub.batcher.close()


def seconds(hub: Hub, beside: bool = False) -> float:
    """Of work for a long message, `beside` a short one that is answered: the least of some tries."""
    x, times = np.zeros((8, *hub.model.metadata.inputs[0].shape), np.float32), []
    for _ in range(5):
        if beside:
            hub.answered(0.0)
        stream, began = hub.model.create_stream(), time.perf_counter()
        hub.batcher.submit(stream, x).result()
        times.append(time.perf_counter() - began)
    return min(times)


@pytest.mark.slow
def test_many_long_messages_rest_where_short_ones_are_answered(hub: Hub) -> None:
    async def work() -> None:
        alone = seconds(hub)
        assert seconds(hub, beside=True) < 4 * alone  # the long ones are few
        while not hub.long_turns.locked():
            await hub.long_turns.acquire()
        assert seconds(hub, beside=True) > 4 * alone
        await asyncio.sleep(0.3)
        assert seconds(hub) < 4 * alone  # no short one for a while

    asyncio.run(work())


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux has slices of a thread")
def test_short_slices_are_those_of_one_thread_and_not_of_those_that_it_starts() -> None:
    def slice_of_this_thread() -> str:
        text = Path(f"/proc/self/task/{threading.get_native_id()}/sched").read_text()
        return next((line.split(":")[1].strip() for line in text.splitlines() if line.startswith("se.slice")), "")

    slices: list[str] = []

    def work() -> None:
        if not run_sooner():
            return
        slices.append(slice_of_this_thread())
        inner = threading.Thread(target=lambda: slices.append(slice_of_this_thread()))
        inner.start()
        inner.join()

    before = slice_of_this_thread()
    if not before:
        pytest.skip("this kernel does not say what slices its threads have")
    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if not slices or slices[0] == before:
        pytest.skip("this kernel gives no slices (Linux before 6.12)")
    assert float(slices[0]) < float(before)
    assert slices[1] == before
