"""A short, seeded run of each fuzzer of foreign input; `tools/fuzz_inputs.py` runs them for as long as one likes."""

import contextlib
import sys

import numpy as np
import pytest
from places import ROOT

sys.path.insert(0, str(ROOT / "tools"))

from fuzz_guided import Bytes
from fuzz_inputs import attack
from fuzz_targets import TARGETS

# Cases that take some two seconds.
COUNTS = {
    "blob": 300,
    "session": 300,
    "metadata": 60,
    "manifest": 30,
    "configuration": 150,
    "text": 40,
    "websocket": 40,
    "wav": 600,
    "csv": 60,
    "bundle": 4,
}


@pytest.mark.parametrize("name", TARGETS)
def test_damaged_input_ends_in_a_result_or_in_one_line(name):
    if name == "websocket":
        pytest.importorskip("aiohttp", reason="the extra `server` is not installed")
        pytest.importorskip("prometheus_client", reason="the extra `server` is not installed")
    found = attack(TARGETS[name], seed=1, first=0, count=COUNTS[name], seconds=60)
    assert not found["failures"], found["failures"]
    assert found["refused"] or name in ("text", "websocket")
    assert found["read"] or name == "manifest"  # most of its bytes count


def test_a_reader_that_fails_is_told():
    @contextlib.contextmanager
    def target():
        def case(generator):
            kind = int(generator.integers(4))
            if kind < 3:
                raise (ValueError("two\nlines"), KeyError("x"), ValueError("one line"))[kind]

        yield case, (ValueError,)

    found = attack(target, seed=0, first=0, count=20, seconds=60)
    assert found["cases"] == 20 == found["read"] + found["refused"] + len(found["failures"])
    assert {item["problem"].split(",")[0].split(":")[0] for item in found["failures"]} == {
        "an error of several lines",
        "KeyError",
    }


def test_bytes_that_coverage_guides_damage_examples_as_a_generator_does():
    draw = Bytes(bytes([7, 200, 1, 2, 3, 4, 5]))
    assert [draw.integers(5), draw.random(), draw.choice((1, 2, 3))] == [7 % 5, 200 / 256, 2]
    assert list(draw.integers(0, 4, 2)) == [2, 3]
    assert Bytes(b"").choice(4, 3).tolist() == [0, 0, 0]
    rng, ends = np.random.default_rng(0), set()
    with TARGETS["wav"]() as (case, promised):
        for _ in range(100):
            try:
                case(Bytes(rng.bytes(60)))
                ends.add("read")
            except promised:
                ends.add("refused")
    assert ends == {"read", "refused"}
