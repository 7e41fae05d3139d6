"""The wheel in a fresh environment with its base dependencies only: what a device gets, and what it costs."""

import json
import os
import subprocess
import sys
import venv

import pytest
from places import ROOT

from rnnzoo.registry.layout import bundle_paths, config_paths
from rnnzoo.runs.building import build_model
from rnnzoo.runs.config import load_config
from rnnzoo.runs.export import export_run
from rnnzoo.runs.store import Run, load_run
from streaming.runtime.text import WordEncoder

TAGGER = "tagger-en-ewt-stream"
# Of the processor time that numpy takes, on the same machine in the same moment.
MAX_IMPORT_SHARE = 1.5
# NumPy 2, which Python 3.12 and later get, takes some more.
MAX_RESIDENT_BYTES = 80e6 if sys.version_info < (3, 12) else 90e6
REPEATS = 7

IMPORT_TIME = """
import time
times = [time.process_time()]  # a busy machine is no slow program
import numpy
times.append(time.process_time())
import streaming
streaming.load, streaming.pipeline
times.append(time.process_time())
print((times[2] - times[1]) / (times[1] - times[0]))
"""

STEPS = """
import json, pathlib, re, resource, sys
import streaming
tagger = streaming.pipeline(sys.argv[1])
words = "She ca n't park near the park , so her dog walks .".split()
tags = [token.tag for token in tagger.stream(words)]
loaded = sorted(set(sys.modules) & {"tensorflow", "keras"})
status = pathlib.Path("/proc/self/status")
if status.exists():  # Linux counts into ru_maxrss what the parent had before exec
    peak = int(re.search(r"VmHWM:\\s+(\\d+) kB", status.read_text())[1]) * 1024
else:
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(json.dumps({"tags": tags, "loaded": loaded, "peak": peak}))
"""


def run(*command, **more):
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=environment, timeout=500, **more
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "-w", folder, ROOT, cwd=folder)
    (made,) = folder.glob("rnnzoo-*.whl")
    return made


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The Python of an environment in which only the wheel and its base dependencies are."""
    folder = tmp_path_factory.mktemp("edge")
    venv.create(folder, with_pip=True)
    found = folder / ("Scripts" if os.name == "nt" else "bin") / "python"
    run(found, "-m", "pip", "install", "-qq", "-c", ROOT / "constraints.txt", wheel, cwd=folder)
    return found


@pytest.fixture(scope="module")
def tagger(tmp_path_factory):
    """The pretrained tagger's file; until there is one, a tagger of the same size with random weights."""
    path = tmp_path_factory.mktemp("tagger") / "tagger.tflite"
    if TAGGER in bundle_paths():
        found = load_run(bundle_paths()[TAGGER])
    else:
        config = load_config(config_paths()[TAGGER])
        words = [f"word{i}" for i in range(10_000)]
        encoder = WordEncoder.fit([words], [f"T{i}" for i in range(17)], min_count=1, affix_min_count=1)
        found = Run(path, config, build_model(config, encoder), encoder, {})
    export_run(found, path)
    return path


def test_nothing_heavy_is_installed(python, tmp_path):
    names = {row["name"].lower() for row in json.loads(run(python, "-m", "pip", "list", "--format=json"))}
    assert not names & {"tensorflow", "keras", "torch", "jax"}
    print(f"\ninstalled: {sorted(names - {'pip', 'setuptools'})}")
    done = subprocess.run([python, "-c", "import tensorflow"], capture_output=True, cwd=tmp_path, check=False)
    assert b"ModuleNotFoundError" in done.stderr


def test_import_is_quick(python, tmp_path):
    run(python, "-c", IMPORT_TIME, cwd=tmp_path)  # writes the byte code
    share = sorted(float(run(python, "-c", IMPORT_TIME, cwd=tmp_path)) for _ in range(REPEATS))[REPEATS // 2]
    print(f"\nimport streaming: {share:.2f} of the time of import numpy (median of {REPEATS})")
    assert share < MAX_IMPORT_SHARE


def test_a_running_tagger_is_small(python, tagger, tmp_path):
    found = json.loads(run(python, "-c", STEPS, tagger, cwd=tmp_path).splitlines()[-1])
    print(f"\npeak resident: {found['peak'] / 1e6:.0f} MB, file {tagger.stat().st_size / 1e6:.2f} MB, {found['tags']}")
    assert len(found["tags"]) == 13
    assert found["loaded"] == []
    assert found["peak"] < MAX_RESIDENT_BYTES


def test_commands_that_need_the_extra_say_so(python, tmp_path):
    for command in (["-m", "rnnzoo", "demo"], ["-c", "import streaming; streaming.convert"]):
        done = subprocess.run([python, *command], capture_output=True, text=True, cwd=tmp_path, check=False)
        assert done.returncode != 0
        assert "pip install 'rnnzoo[train]'" in done.stderr.splitlines()[-1]
