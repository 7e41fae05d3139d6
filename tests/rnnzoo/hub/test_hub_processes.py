"""Downloads by processes that are killed, that run at once, and on a machine with nothing but the base packages."""

import os
import random
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from fault_server import LARGE, make_zoo, serve
from places import ROOT, SUPPORT

from rnnzoo.hub import Cache

PROGRAM = SUPPORT / "hub_process.py"
AT_ONCE = 16


@pytest.fixture
def place(tmp_path):
    """(server, manifest, environment of a child)."""
    manifest = make_zoo(tmp_path / "zoo")
    with serve(tmp_path / "zoo") as server:
        environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
        environment |= {"RNNZOO_URL": server.url, "RNNZOO_CACHE": str(tmp_path / "cache"), "PYTHONPATH": str(ROOT)}
        yield server, manifest, environment


def start(environment, *arguments):
    command = [sys.executable, str(PROGRAM), *map(str, arguments)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def finish(process):
    out, error = process.communicate(timeout=120)
    assert process.returncode == 0, error[-2000:]
    return out


def check_absent_or_right(tmp_path, manifest):
    cache = Cache(tmp_path / "cache")
    folder = cache.folder(manifest.bundles["first"])
    if folder.exists():
        assert cache.problem(manifest.bundles["first"]) is None
    outside = {path.name for path in tmp_path.iterdir()} - {"zoo", "cache"}
    assert outside == set()
    return folder.exists()


def kill_often(place, tmp_path, times, seed):
    _, manifest, environment = place
    events = int(finish(start(environment, "first", "right", 0)).split()[0])
    assert events > 40
    cache = Cache(tmp_path / "cache")
    finished = 0
    for point in random.Random(seed).sample(range(1, events - 2), times):
        cache.prune([])
        for _ in range(2):  # the second one meets what the first has left
            process = start(environment, "first", random.Random(point).choice(["right", "none"]), point)
            process.communicate(timeout=120)
            finished += check_absent_or_right(tmp_path, manifest)
        finish(start(environment, "first", "right", 0))
        assert check_absent_or_right(tmp_path, manifest)
        assert not list(tmp_path.rglob("*.part"))
    return finished


def test_killed_downloads_leave_nothing_wrong(place, tmp_path):
    kill_often(place, tmp_path, 4, seed=1)


@pytest.mark.slow
def test_killed_downloads_leave_nothing_wrong_at_many_points(place, tmp_path):
    assert kill_often(place, tmp_path, 50, seed=2) < 100


@pytest.mark.parametrize("locks", ["right", "none", pytest.param("refused", marks=pytest.mark.slow)])
def test_many_processes_at_once(locks, place, tmp_path):
    server, manifest, environment = place
    processes = [start(environment, "first", locks, 0) for _ in range(AT_ONCE)]
    folders = {finish(process).split()[1] for process in processes}
    assert len(folders) == 1
    assert check_absent_or_right(tmp_path, manifest)
    assert not list(tmp_path.rglob("*.part"))
    asked = [path for path, *_ in server.requests if path.endswith("large.bin")]
    if locks == "right":
        assert len(asked) == 1


def test_a_slow_writer_is_no_danger_to_a_quick_one(place, tmp_path):
    """The folder of a download in progress is copied from and removed while it is used; both end right."""
    server, manifest, environment = place

    def slowly(handler, data):
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(data)))
        handler.end_headers()
        for begin in range(0, len(data), 1000):
            handler.wfile.write(data[begin : begin + 1000])
            handler.wfile.flush()
            if not overtaken.is_set():
                time.sleep(0.05)

    overtaken = threading.Event()
    server.fault, server.left = slowly, 1
    slow = start(environment, "first", "none", 0)
    while not list((tmp_path / "cache").glob("bundles/first/.*.part/files/large.bin")):
        assert slow.poll() is None
        time.sleep(0.01)
    finish(start(environment, "first", "none", 0))
    overtaken.set()
    assert check_absent_or_right(tmp_path, manifest)
    finish(slow)
    assert check_absent_or_right(tmp_path, manifest)


CLEAN = """
import sys, time
began = time.process_time()  # a busy machine is no slow program
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras", "tensorflow_datasets", "safetensors"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Block())
from rnnzoo.cli import main
code = main(["download", "first*"])
print(time.process_time() - began)
sys.exit(code)
"""


def test_a_clean_machine_has_a_model_in_two_seconds(place, tmp_path):
    *_, environment = place
    seconds = []
    for attempt in range(3):
        environment["RNNZOO_CACHE"] = str(tmp_path / "cache" / str(attempt))
        done = subprocess.run([sys.executable, "-c", CLEAN], env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        seconds.append(float(done.stdout.split()[-1]))
        assert (Path(done.stdout.split()[0]) / "large.bin").read_bytes() == LARGE
    print(f"\nrnnzoo download from a local server: {min(seconds):.2f} s (best of {len(seconds)})")
    assert min(seconds) < 2


def test_the_tool_is_the_same_command(place, tmp_path):
    *_, environment = place
    tool = [sys.executable, str(ROOT / "tools" / "download_zoo.py")]
    done = subprocess.run([*tool, "sec*"], env=environment, capture_output=True, text=True, cwd=tmp_path, check=True)
    assert Path(done.stdout.strip()).parent.name == "second"
    done = subprocess.run([*tool, "thrid"], env=environment, capture_output=True, text=True, cwd=tmp_path, check=False)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
