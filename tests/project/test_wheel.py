"""The wheel alone is a zoo: no clone, no network."""

import os
import shutil
import subprocess
import sys
import zipfile

import pytest
from places import ROOT

pytest.importorskip("setuptools", minversion="77")


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built from a copy of what the repository holds, so that nothing is left behind in it."""
    source, out = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheel")
    for name in ("rnnzoo", "streaming", "zoo_configs", "pretrained"):
        shutil.copytree(ROOT / name, source / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "setup.py", "MANIFEST.in", "README.md", "CHANGELOG.md", "LICENSE"):
        shutil.copy(ROOT / name, source)
    pip("wheel", source, "--no-build-isolation", "--no-index", "--wheel-dir", out)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def site(wheel, tmp_path_factory):
    """A folder of packages with the wheel in it, and nothing else of the project."""
    folder = tmp_path_factory.mktemp("site")
    pip("install", wheel, "--no-index", "--target", folder)
    return folder


def pip(command, *arguments):
    subprocess.run(
        [sys.executable, "-m", "pip", command, *map(str, arguments), "--no-deps", "--quiet"],
        check=True,
        env=os.environ | {"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
    )


# No socket but those of the machine itself, and, in `LIGHT`, none of the heavy packages.
GUARD = """
import socket, sys
def refuse(*_):
    raise OSError("the test closes every socket")
socket.socket.connect = refuse
"""
LIGHT = """
class Block:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("tensorflow", "keras"):
            raise ModuleNotFoundError(f"{name} is blocked", name=name)
sys.meta_path.insert(0, Block())
"""


@pytest.fixture
def run(site, tmp_path):
    def call(code, guard=GUARD + LIGHT):
        names = ("RNNZOO_URL", "RNNZOO_CACHE", "RNNZOO_OFFLINE", "RNNZOO_PUBLIC_KEY")
        environment = {key: value for key, value in os.environ.items() if key not in names}
        environment |= {"PYTHONPATH": str(site), "XDG_CACHE_HOME": str(tmp_path / "cache")}
        return subprocess.run(
            [sys.executable, "-c", guard + code], capture_output=True, text=True, cwd=tmp_path, env=environment
        )

    return call


@pytest.fixture
def rnnzoo(run):
    def call(*arguments):
        return run(f"from rnnzoo.cli import main\nsys.exit(main({list(arguments)!r}))")

    return call


def test_it_is_small_and_whole(wheel):
    with zipfile.ZipFile(wheel) as archive:
        files = {info.filename: info.file_size for info in archive.infolist()}
    zoo = {name: size for name, size in files.items() if name.startswith("rnnzoo/registry/zoo/")}
    assert sum(size for name, size in zoo.items() if "/zoo_configs/" not in name) <= 6_000_000
    for path in (ROOT / "zoo_configs").rglob("*.*"):
        assert f"rnnzoo/registry/zoo/{path.relative_to(ROOT).as_posix()}" in zoo
    for name in ("rnnzoo/py.typed", "streaming/py.typed", "streaming/server/page/index.html"):
        assert name in files
    assert "rnnzoo/data/sets/checksums.tsv" in files
    assert "rnnzoo/layers/recurrent/forms.csv" in files


def test_it_is_the_installed_one_that_is_tested(run, site):
    done = run("import rnnzoo, streaming\nprint(rnnzoo.__file__, streaming.__file__, rnnzoo.__version__)")
    assert done.stdout.split()[:2] == [str(site / name / "__init__.py") for name in ("rnnzoo", "streaming")]
    (metadata,) = site.glob("rnnzoo-*.dist-info/METADATA")
    assert f"Version: {done.stdout.split()[2]}\n" in metadata.read_text()


def test_models_are_listed_and_described(rnnzoo):
    done = rnnzoo("list")
    assert done.returncode == 0, done.stderr
    rows = {line.split()[0]: line.split()[-1] for line in done.stdout.splitlines() if line}
    assert (rows["speaker-vowels"], rows["tagger-en-ewt"], rows["translate-en-de-cho"]) == ("yes", "download", "no")
    assert "elman-1990" in rnnzoo("paper", "--list").stdout
    done = rnnzoo("info", "digits-kws-stream")
    assert done.returncode == 0, done.stderr
    assert "topology: keyword_spotter" in done.stdout
    assert "206,571 parameters" in done.stdout
    assert "rnnzoo download tagger-en-ewt" in rnnzoo("info", "tagger-en-ewt").stdout


def test_the_demo_tags(rnnzoo):
    done = rnnzoo("demo", "--fast", "--text", "Time flies like an arrow.")
    assert done.returncode == 0, done.stderr
    assert "Time/NOUN flies/VERB like/ADP an/DET arrow/NOUN" in done.stdout
    assert "int8" in done.stdout


def test_a_model_of_the_wheel_runs(run):
    done = run(
        "import numpy as np, rnnzoo, streaming\n"
        "speaker = streaming.pipeline(rnnzoo.download('speaker-vowels'))\n"
        "print(speaker.classify(np.zeros((12, 12), np.float32)).label)\n"
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip().isdigit()


def test_one_that_it_does_not_hold_says_how_to_set_an_address(rnnzoo):
    done = rnnzoo("download", "charlm-lstm")
    assert done.returncode == 2
    assert "charlm-lstm does not come with this installation: set RNNZOO_URL" in done.stderr
    assert len(done.stderr.splitlines()) == 1


TRAINING = """
import pathlib, keras, numpy as np, rnnzoo
from rnnzoo.cli import main
model = rnnzoo.create("speaker-vowels", units=8)
print("created", model.count_params())
rng = np.random.default_rng(0)
for split in ("train", "dev", "test"):
    for place, label in enumerate(("low", "high")):
        folder = pathlib.Path("own", split, label)
        folder.mkdir(parents=True)
        for number in range(4):
            np.savetxt(folder / f"{number}.csv", rng.normal(3.0 * place, 1.0, (6, 2)), delimiter=",")
own = ["data.dataset=rows:own", "training.epochs=1", "training.batch_size=4", "model.units=8"]
assert main(["train", "speaker-vowels", *own, "--out", "run"]) == 0
assert main(["diagnose", "speaker-vowels", *own, "--out", "plots"]) == 0
assert main(["info", "run"]) == 0
"""


@pytest.mark.slow
def test_a_model_of_its_list_is_made_trained_and_diagnosed(run, tmp_path):
    done = run(TRAINING, GUARD)
    assert done.returncode == 0, done.stderr
    # 3 x 8 units of a GRU over 12 coefficients, with two biases, and nine speakers.
    assert f"created {3 * 8 * (12 + 8 + 2) + 9 * (8 + 1)}" in done.stdout
    assert "saved run: dev accuracy" in done.stdout
    assert "wrote plots/speaker-vowels-gradients.png" in done.stdout
    assert (tmp_path / "run" / "weights.safetensors").is_file()
