"""A server of several processes is one server: streams go on in any of them, whichever are killed or replaced."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket as sockets
import subprocess
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

aiohttp = pytest.importorskip("aiohttp", reason="the extra `server` is not installed")
pytest.importorskip("prometheus_client", reason="the extra `server` is not installed")

from serving import FEATURES, Client, connected, convert_steps, process  # noqa: E402

import streaming  # noqa: E402
from streaming.cli import main  # noqa: E402
from streaming.errors import StreamingError  # noqa: E402
from streaming.server import capacity  # noqa: E402
from streaming.server.board import Board  # noqa: E402
from streaming.server.gathering import merge  # noqa: E402
from streaming.server.load import Load  # noqa: E402
from streaming.server.pace import Pace  # noqa: E402

X = np.random.default_rng(0).standard_normal((40, FEATURES)).astype("float32")


@pytest.fixture(scope="module")
def steps(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return convert_steps(tmp_path_factory.mktemp("steps") / "steps.tflite")


def children(pid: int) -> list[int]:
    return list(map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split()))


async def counts(url: str) -> dict[str, float]:
    async with aiohttp.ClientSession() as session, session.get(f"{url}/metrics") as answer:
        text = await answer.text()
    pairs = (line.rsplit(" ", 1) for line in text.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, value in pairs}


async def farewell(client: Client) -> tuple[str, int]:
    """The token that a server sends by itself, and the code with which it closes."""
    saved = await client.socket.receive_json(timeout=60)
    closed = await client.socket.receive(timeout=60)
    return saved["token"], closed.data


async def again(url: str, token: str, begin: int, end: int) -> list[Any]:
    """Connect, go on from a token with some steps, and leave."""
    while True:
        with contextlib.suppress(aiohttp.ClientError, ConnectionError):
            async with connected(f"{url}/stream") as client:
                assert (await client.say(type="resume", token=token))["position"] == begin
                return list((await client.say(type="feed", x=X[begin:end].tolist()))["y"])
        await asyncio.sleep(0.05)


def test_streams_go_on_in_any_worker(steps: Path) -> None:
    stream = streaming.load(steps).create_stream()
    expected = [stream.feed(X[:10]), stream.feed(X[10:20]), stream.feed(X[20:30])]

    async def talk(server: subprocess.Popen[str], url: str) -> None:
        workers = children(server.pid)
        assert len(workers) == 2
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connected(f"{url}/stream")) for _ in range(6)]
            for client in clients:
                rows = (await client.say(type="feed", x=X[:10].tolist()))["y"]
                np.testing.assert_array_equal(np.array(rows, "float32"), expected[0])
            tokens = [(await client.say(type="save"))["token"] for client in clients]
            before = await counts(url)
            assert (before["streaming_workers"], before["streaming_connections"]) == (2, 6)
            assert before["streaming_steps_total"] == 60
            os.kill(workers[0], signal.SIGKILL)
            # Each worker had three of them, and those of the other notice nothing.
            ends = [asyncio.ensure_future(client.socket.receive()) for client in clients]
            await asyncio.sleep(0.5)
            alive = [client for client, end in zip(clients, ends, strict=True) if not end.done()]
            assert len(alive) == 3
            for end in ends:
                end.cancel()
            for token in tokens:  # on the worker that is left, then on both
                rows = await again(url, token, 10, 20)
                np.testing.assert_array_equal(np.array(rows, "float32"), expected[1])
        while (await counts(url)).get("streaming_worker_restarts_total") != 1:
            await asyncio.sleep(0.1)
        async with contextlib.AsyncExitStack() as stack:
            clients = [await stack.enter_async_context(connected(f"{url}/stream")) for _ in range(4)]
            for client in clients:
                await client.say(type="feed", x=X[:20].tolist())
            server.send_signal(signal.SIGHUP)  # all are replaced, one after the other
            ends = [asyncio.ensure_future(farewell(client)) for client in clients]
            for token, code in await asyncio.gather(*ends):
                assert code == aiohttp.WSCloseCode.SERVICE_RESTART
                rows = await again(url, token, 20, 30)
                np.testing.assert_array_equal(np.array(rows, "float32"), expected[2])
        while (await counts(url)).get("streaming_worker_restarts_total") != 3:
            await asyncio.sleep(0.1)
        while len(children(server.pid)) != 2:
            await asyncio.sleep(0.1)
        assert not set(children(server.pid)) & set(workers)

    with process(steps, "--port", "0", "--workers", "2", "--grace", "2") as (server, url):
        asyncio.run(asyncio.wait_for(talk(server, url), 120))
        last = children(server.pid)
        server.send_signal(signal.SIGTERM)
        assert server.wait(30) == 0
        assert server.stderr is not None
        log = server.stderr.read()
        assert "has ended (SIGKILL)" in log
        assert "all workers are replaced" in log
        assert "Traceback" not in log
        assert not any(Path(f"/proc/{pid}").exists() for pid in last)


def test_limits_hold_for_all_workers_together(steps: Path) -> None:
    async def talk(url: str) -> None:
        async with connected(f"{url}/stream"), connected(f"{url}/stream"), aiohttp.ClientSession() as session:
            with pytest.raises(aiohttp.WSServerHandshakeError) as full:
                await session.ws_connect(f"{url}/stream")
            assert full.value.status == 503
            async with session.get(f"{url}/healthz") as health:
                assert (health.status, (await health.json())["connections"]) == (503, 2)

    with process(steps, "--port", "0", "--workers", "2", "--max-connections", "2") as (server, url):
        asyncio.run(talk(url))
        workers = children(server.pid)
        server.kill()  # who serves for a process that has gone ends as well
        server.wait()
        until = time.monotonic() + 30
        while any(Path(f"/proc/{pid}").exists() for pid in workers) and time.monotonic() < until:
            time.sleep(0.05)
        assert not any(Path(f"/proc/{pid}").exists() for pid in workers)


def test_what_cannot_start_says_so_in_one_line(steps: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    key = tmp_path / "key"

    def line(path: Path, *options: str) -> str:
        assert main(["serve", str(path), "--key", str(key), "--workers", "2", "--port", "0", *options]) == 2
        err = capfd.readouterr().err
        assert err.startswith("streaming: error: ")
        assert err.count("\n") == 1
        return err

    with sockets.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        assert "cannot listen on 127.0.0.1" in line(steps, "--port", str(taken.getsockname()[1]))
    assert "give --workers" in line(steps, "--workers", "100000")
    damaged = tmp_path / "damaged.tflite"
    damaged.write_bytes(steps.read_bytes()[:-200])
    assert "damaged" in line(damaged)
    key.chmod(0o644)
    assert "chmod 600" in line(steps)


def test_memory_bounds_the_workers(steps: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    each = capacity.worker_bytes(steps)
    monkeypatch.setattr(capacity, "machine_bytes", lambda: 3 * each + 1)
    capacity.check_memory(steps, 3)
    with pytest.raises(StreamingError, match="give --workers 3 or fewer"):
        capacity.check_memory(steps, 4)
    assert capacity.workers_for(steps) == 1  # by default half of it stays free
    monkeypatch.setattr(capacity, "machine_bytes", lambda: None)
    assert capacity.workers_for(steps) >= 1


def test_counters_of_workers_add_up() -> None:
    one = '# HELP a A.\n# TYPE a counter\na_total{x="1"} 2.0\nb 3\n# TYPE process_start_time_seconds gauge\n'
    other = '# HELP a A.\n# TYPE a counter\na_total{x="1"} 5.0\na_total{x="2"} 1.0\n'
    merged = merge([one + "process_start_time_seconds 9.0\n", other + "process_start_time_seconds 7.0\n"])
    assert merged.splitlines() == [
        *("# HELP a A.", "# TYPE a counter", 'a_total{x="1"} 7.0', 'a_total{x="2"} 1.0', "b 3.0"),
        *("# TYPE process_start_time_seconds gauge", "process_start_time_seconds 7.0"),
    ]


def test_a_loaded_server_takes_no_more_streams() -> None:
    now, work = 0.0, 0.0
    load = Load(0.1, lambda: now, lambda: work)
    assert load.refusal(100) is None
    for _ in range(400):  # answers after 200 ms for four seconds
        now += 0.01
        assert load.answered(0.2)
    reason = load.refusal(100)
    assert reason is not None
    assert "answers take" in reason
    assert load.refusal(1) is None  # a few streams are no load
    now += 2.0  # calm again, but not calm enough at once
    assert load.refusal(100) is not None
    now += 10.0
    assert load.refusal(100) is None
    assert not load.answered(0.01)
    work += 0.9
    now += 1.0
    load.measure()
    work += 0.9
    now += 1.0
    load.measure()
    assert "busy 90%" in str(load.refusal(100))


def test_dear_work_goes_to_threads() -> None:
    pace = Pace()
    assert not pace.allows(1)  # nothing is known yet
    pace.count(100, 0.01)
    assert pace.allows(49)
    assert not pace.allows(60)
    assert pace.run(10, sum, [1, 2]) == 3


def test_a_board_is_read_by_all() -> None:
    mine = Board(2)
    other = Board(2, mine.descriptor)
    mine.count(0, 3)
    other.count(1, 4)
    other.mark(1, True)
    assert (mine.streams, mine.is_full(0), mine.is_full(1)) == (7, False, True)
    mine.clear(1)
    assert (other.streams, other.is_full(1)) == (3, False)
