"""What the base install takes of a device: bytes on disk by package, time to import, memory with the tagger running."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import venv
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
TAGGER = ROOT / "pretrained" / "tagger-en-ewt-stream"
TOOLS = ("pip", "setuptools", "pkg_resources", "_distutils_hack", "distutils-precedence.pth")

# Prints as JSON: milliseconds of processor time that the import takes beyond numpy's, and peak memory in the end.
PROGRAM = """
import json, pathlib, re, sys, time
import numpy
began = time.process_time()
import streaming
streaming.load, streaming.pipeline
imported = time.process_time() - began
tagger = streaming.pipeline(sys.argv[1])
list(tagger.stream("She ca n't park near the park , so her dog walks .".split()))
peak = re.search(r"VmHWM:\\s+(\\d+) kB", pathlib.Path("/proc/self/status").read_text())[1]
print(json.dumps({"import_ms": 1e3 * imported, "peak_mb": int(peak) * 1024 / 1e6}))
"""


def main() -> None:
    """Print the table."""
    with tempfile.TemporaryDirectory() as folder:
        python = install(Path(folder))
        sizes = package_sizes(python)
        runs = [measure(python, TAGGER) for _ in range(5)]
    print("The base install (pip install .), MB on disk")
    for name, size in sorted(sizes.items(), key=lambda item: -item[1]):
        print(f"  {name:24} {size / 1e6:8.1f}")
    print(f"  {'together':24} {sum(sizes.values()) / 1e6:8.1f}")
    print(f"import streaming: {min(run['import_ms'] for run in runs):.0f} ms of processor time beyond numpy's")
    print(f"{TAGGER.name} running: {min(run['peak_mb'] for run in runs):.0f} MB at most")


def install(folder: Path) -> Path:
    """The Python of an environment in which only this project and its base dependencies are."""
    venv.create(folder / "edge", with_pip=True)
    python = folder / "edge" / ("Scripts" if os.name == "nt" else "bin") / "python"
    wheels = folder / "wheels"
    run(sys.executable, "-m", "pip", "wheel", "-qq", "--no-deps", "-w", wheels, ROOT)
    run(python, "-m", "pip", "install", "-qq", "-c", ROOT / "constraints.txt", *wheels.glob("*.whl"))
    return python


def package_sizes(python: Path) -> dict[str, int]:
    """Bytes of what lies in site-packages, by its first folder; metadata of all packages as one."""
    site = Path(run(python, "-c", "import sysconfig; print(sysconfig.get_paths()['purelib'])").strip())
    sizes: dict[str, int] = {}
    for path in site.rglob("*"):
        name = path.relative_to(site).parts[0]
        if path.is_file() and not name.startswith(TOOLS):
            name = "metadata" if name.endswith(".dist-info") else name
            sizes[name] = sizes.get(name, 0) + path.stat().st_size
    return sizes


def measure(python: Path, model: Path) -> dict[str, Any]:
    """One run of PROGRAM."""
    result: dict[str, Any] = json.loads(run(python, "-c", PROGRAM, model, cwd=python.parent).splitlines()[-1])
    return result


def run(*command: Any, cwd: Path | None = None) -> str:
    """Standard output of a command, without this process's Python path."""
    environment = {name: value for name, value in os.environ.items() if name not in ("PYTHONPATH", "PYTHONHOME")}
    done = subprocess.run(
        list(map(str, command)), capture_output=True, text=True, env=environment, cwd=cwd, check=False
    )
    if done.returncode:
        sys.exit(f"benchmarks: {' '.join(map(str, command[:4]))} failed: {done.stderr[-2000:]}")
    return done.stdout


if __name__ == "__main__":
    main()
