"""The soak finds no fault in half a minute, and says so where there is one; `make soak` runs it for an hour."""

import subprocess
import sys

import pytest
from places import ROOT

from benchmarks.crowd import frame, frames_in
from benchmarks.soak.verdict import Verdict

pytest.importorskip("aiohttp", reason="the extra `server` is not installed")


@pytest.mark.slow
@pytest.mark.parametrize("part", ["server", "conversions", "pipeline"])
def test_half_a_minute_without_a_fault(part):
    if part == "pipeline":
        pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")
    command = [sys.executable, "-m", "benchmarks.soak", "--minutes", "0.5", "--part", part]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "no fault" in done.stdout


def test_growing_memory_is_a_fault(capsys):
    verdict = Verdict()
    verdict.check_flat("flat", [90_000_000] * 10 + [100_000_000 + 10_000 * (i % 3) for i in range(90)])
    verdict.check_flat("growing", [100_000_000 + 1_000_000 * i for i in range(100)])
    with pytest.raises(SystemExit) as status:
        verdict.end()
    assert status.value.code == 1
    out = capsys.readouterr().out
    assert "FAULT: growing grows" in out
    assert "FAULT: flat" not in out


@pytest.mark.parametrize("size", [0, 125, 126, 65_535, 65_536])
def test_frames_of_clients_are_those_of_the_protocol(size):
    """RFC 6455: a server's frame is a client's without the mask."""
    payload = bytes(range(256)) * (size // 256) + bytes(size % 256)
    made = bytearray(frame(payload, True))
    head = 2 if size < 126 else 4 if size < 65_536 else 10
    assert made[head : head + 4] == bytes(4)
    del made[head : head + 4]
    made[1] &= 0x7F
    rest = bytes(made[:1])
    assert frames_in(made[:-1] if size else bytearray()) == []
    received = bytearray(made + rest)
    assert frames_in(received) == [(1, payload)]
    assert received == rest
