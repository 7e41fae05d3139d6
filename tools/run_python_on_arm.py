"""Runs the edge install under emulation of ARM processors, against vectors made on this machine.

The step rows and the events of every published model are made anew there by `streaming`, on armhf (32 bits) with
tflite-runtime and on aarch64 with LiteRT, and each stream is cut elsewhere, saved, restored and reset. Needs Debian 12
with qemu-user-static; Python 3.11, NumPy and their libraries come from its archive, runtimes from the package index.
`run_python_on_arm.py armhf|aarch64 [NAME ...]`; `make test-arm` runs both.
"""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = (
    "libc6 libgcc-s1 libstdc++6 python3.11-minimal libpython3.11-minimal libpython3.11-stdlib python3-numpy libblas3 "
    "liblapack3 libgfortran5 zlib1g libexpat1 libffi8 libssl3 libbz2-1.0 liblzma5"
).split()


@dataclass(frozen=True)
class Processor:
    """A kind of processor: its name at Debian, what emulates it, where libraries are, and the runtime that it has."""

    debian: str
    emulator: tuple[str, ...]
    libraries: str
    platforms: tuple[str, ...]
    wheels: tuple[str, ...]
    runtime: str


PROCESSORS = {
    "armhf": Processor(
        "armhf",
        ("qemu-arm-static",),
        "arm-linux-gnueabihf",
        ("manylinux_2_34_armv7l",),
        ("tflite-runtime==2.14.0",),
        "tflite_runtime",
    ),
    "aarch64": Processor(
        "arm64",
        ("qemu-aarch64-static", "-cpu", "cortex-a72"),
        "aarch64-linux-gnu",
        ("manylinux_2_27_aarch64", "manylinux_2_17_aarch64"),
        ("ai-edge-litert", "ml_dtypes"),
        "litert",
    ),
}


def system(folder: Path, processor: Processor) -> Path:
    """The root of a system for ARM with Python, NumPy and a runtime; nothing of this machine's own is changed."""
    root, debs = folder / "root", folder / "debs"
    for part in ("state/lists/partial", "cache/archives/partial", "debs", "root/site", "root/proc"):
        (folder / part).mkdir(parents=True)
    import run_on_arm

    # Without a processor to read of, LiteRT ends when it counts cores.
    (root / "proc" / "cpuinfo").write_text(run_on_arm.PROCESSOR)
    settings = {
        "Dir::State": folder / "state",
        "Dir::Cache": folder / "cache",
        "Dir::State::status": "/dev/null",
        "APT::Architecture": processor.debian,
        "APT::Architectures::": processor.debian,
    }
    apt = ["apt-get", "-qq", *(f"-o{key}={value}" for key, value in settings.items())]
    # Of other archives than Debian's an index for ARM may be missing.
    subprocess.run([*apt, "update"], check=False, capture_output=True)
    subprocess.run([*apt, "download", *PACKAGES], check=True, cwd=debs, stderr=subprocess.DEVNULL)
    for package in sorted(debs.glob("*.deb")):
        subprocess.run(["dpkg-deb", "-x", package, root], check=True)
    libraries = root / "usr" / "lib" / processor.libraries
    for name in ("blas", "lapack"):
        for library in (libraries / name).glob("*.so*"):
            shutil.copy(library, libraries)
    platforms = [f"--platform={name}" for name in processor.platforms]
    target = ["--python-version=3.11", "--implementation=cp", "--abi=cp311", *platforms]
    pip = [sys.executable, "-m", "pip", "download", "-q", "--no-deps", "--only-binary=:all:", *target]
    # In the versions that are installed here.
    wheels = [name if "==" in name else f"{name}=={importlib.metadata.version(name)}" for name in processor.wheels]
    subprocess.run([*pip, *wheels, "-d", folder], check=True)
    for wheel in folder.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            archive.extractall(root / "site")
    return root


def differences(found: Any, expected: Any, tolerance: float, where: str) -> list[str]:
    """The places at which two sets of vectors differ by more than rounding."""
    import numpy as np

    from streaming.vectors import array_of

    if isinstance(expected, dict) and "stride" in expected:
        arrays = [array_of({**item, "shape": [-1]}).astype(np.float64) for item in (found, expected)]
        if found["shape"] != expected["shape"]:
            return [f"{where} has shape {found['shape']}, expected {expected['shape']}"]
        error = np.abs(arrays[0] - arrays[1]).max(initial=0) / max(1.0, np.abs(arrays[1]).max(initial=0))
        return [f"{where} differs by {error:.2g}"] if error > tolerance else []
    if isinstance(expected, dict):
        pairs = [(found.get(key), item, key) for key, item in expected.items()]
    elif isinstance(expected, list):
        if len(found) != len(expected):
            return [f"{where} has {len(found)} items, expected {len(expected)}"]
        pairs = [(*pair, str(place)) for place, pair in enumerate(zip(found, expected, strict=True))]
    elif isinstance(expected, float):
        return [] if abs(found - expected) <= 2e-5 + 1e-4 * abs(expected) else [f"{where} is {found}, not {expected}"]
    else:
        return [] if found == expected else [f"{where} is {found!r}, not {expected!r}"]
    return [line for a, b, key in pairs for line in differences(a, b, tolerance, f"{where}.{key}")]


def contract(model: Any) -> list[str]:
    """What a stream promises: other cuts, a reset and a restored stream give the same rows, bit for bit."""
    import numpy as np

    if model.metadata.encode is not None or model.metadata.chunk > 1 or len(model.metadata.inputs) > 1:
        return []
    info = model.metadata.inputs[0]
    rng = np.random.default_rng(0)
    low, high = info.low or 0, info.high or 2
    drawn = rng.standard_normal if np.dtype(info.dtype).kind == "f" else lambda shape: rng.integers(low, high, shape)
    x = np.asarray(drawn((9, *info.shape)), info.dtype)
    stream = model.create_stream()
    whole = np.concatenate([stream.feed(x), stream.finish()])
    stream.reset()
    parts = [stream.feed(x[:4])]
    other = model.restore(stream.save())
    parts += [other.feed(x[4:]), other.finish()]
    return [] if np.array_equal(np.concatenate(parts), whole) else ["a restored stream gives other rows"]


def inside(folder: Path, runtime: str) -> int:
    """Under emulation: the vectors of a folder against those that are made here; gives how many models are wrong."""
    import streaming
    from streaming.vectors import make_vectors

    wrong = 0
    for path in sorted(folder.glob("*.json")):
        name, _, kind = path.stem.partition(".")
        expected = json.loads(path.read_text(encoding="utf-8"))
        try:
            model = streaming.load(ROOT / "pretrained" / name / f"{kind}.tflite", runtime=runtime)
            lines = differences(make_vectors(model), expected, expected["tolerance"], name) + contract(model)
        except (streaming.StreamingError, ValueError, RuntimeError) as error:
            lines = [str(error)]
        wrong += bool(lines)
        print(f"{path.stem}: {'; '.join(lines[:3]) or 'ok'}", flush=True)
    return wrong


def missing(processor: Processor) -> list[str]:
    """The programs that are needed and not here."""
    return [name for name in (processor.emulator[0], "apt-get", "dpkg-deb") if shutil.which(name) is None]


def command(folder: Path, given: Path, processor: Processor) -> tuple[list[str], dict[str, str]]:
    """What checks the vectors in the folder `given`, called NAME.KIND.json, under emulation, and its environment."""
    root = system(folder, processor)
    paths = [ROOT, root / "site", root / "usr/lib/python3/dist-packages"]
    environment = {**os.environ, "PYTHONHOME": str(root / "usr"), "PYTHONPATH": os.pathsep.join(map(str, paths))}
    python = [*processor.emulator, "-L", str(root), str(root / "usr/bin/python3.11"), "-B", "-S"]
    return [*python, __file__, "--inside", str(given), processor.runtime], environment


def main(kind: str, names: list[str]) -> None:
    """Run the published models of those names, all of them without any; the exit status is how many are wrong."""
    import streaming
    from streaming.vectors import make_vectors

    processor = PROCESSORS[kind]
    if absent := missing(processor):
        sys.exit(f"run_python_on_arm: {', '.join(absent)} is not installed; see tools/run_python_on_arm.py")
    known = sorted(path.parent.name for path in (ROOT / "pretrained").glob("*/float32.tflite"))
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        given = folder / "vectors"
        given.mkdir()
        for model in names or known:
            vectors = make_vectors(streaming.load(ROOT / "pretrained" / model / "float32.tflite"))
            (given / f"{model}.float32.json").write_text(json.dumps(vectors, allow_nan=False), encoding="utf-8")
        line, environment = command(folder, given, processor)
        sys.exit(subprocess.run(line, env=environment, check=False).returncode)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--inside"]:
        sys.exit(inside(Path(sys.argv[2]), sys.argv[3]))
    if sys.argv[1:2] and sys.argv[1] in PROCESSORS:
        main(sys.argv[1], sys.argv[2:])
    sys.exit(f"run_python_on_arm: expected {' or '.join(PROCESSORS)}, and names of models")
