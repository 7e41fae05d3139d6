"""Writes `RESULTS.md`, what the benchmarks print, with the machine and versions: `python -m benchmarks results many`.

Each benchmark runs in a process of its own and has a section; those that are not named keep theirs. Pictures go to the
folder `pictures` beside the file.
"""

from __future__ import annotations

import ast
import datetime
import importlib.metadata
import os
import platform
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FILE, PICTURES = ROOT / "benchmarks" / "RESULTS.md", ROOT / "benchmarks" / "pictures"
# Set for the benchmarks that draw: the folder of their pictures.
VARIABLE = "BENCHMARKS_PICTURES"
_PACKAGES = (
    *("numpy", "ai-edge-litert", "tensorflow", "keras", "aiohttp", "onnxruntime", "torch", "jax", "apache-beam"),
)
_SECTION = re.compile(r"^## `(\w+)`\n.*?(?=^## `|\Z)", re.MULTILINE | re.DOTALL)
_HEAD = """# What the benchmarks measure

Written by `python -m benchmarks results`, which runs them one after the other; with names of benchmarks it renews
their sections alone. Compare only figures of one section: each was measured in one run, its alternatives in turn. A
spread is the range of the middle half of the rounds, by the median.

"""


def write(names: Sequence[str]) -> None:
    """Run benchmarks and renew their sections."""
    PICTURES.mkdir(exist_ok=True)
    sections = read()
    for name in names:
        print(f"benchmarks: {name} ...", file=sys.stderr, flush=True)
        environment = {**os.environ, VARIABLE: str(PICTURES)}
        command = [sys.executable, "-m", "benchmarks", name]
        load = os.getloadavg()[0]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, env=environment)
        if done.returncode:
            print(f"benchmarks: {name} failed; its section stays as it was", file=sys.stderr)
            continue
        sections[name] = section(name, done.stdout, load)
        FILE.write_text(_HEAD + "\n".join(sections[each] for each in sorted(sections)))


def read() -> dict[str, str]:
    """The sections of the file by the names of their benchmarks."""
    text = FILE.read_text() if FILE.exists() else ""
    return {found.group(1): found.group().rstrip() + "\n" for found in _SECTION.finditer(text)}


def section(name: str, output: str, load: float) -> str:
    """The section of a benchmark that printed this; `load`: of the system before it, in processors."""
    source = ROOT / "benchmarks" / f"{name}.py"
    about = (ast.get_docstring(ast.parse(source.read_text())) or "").strip()
    pictures = "".join(f"![{path.stem}](pictures/{path.name})\n\n" for path in sorted(PICTURES.glob(f"{name}*.png")))
    today = datetime.date.today().isoformat()
    head = f"{today}: {machine()}, load before {load:.1f}; {versions()}."
    return f"## `{name}`\n\n{about}\n\n{head}\n\n```\n{output.rstrip()}\n```\n\n{pictures}"


def machine() -> str:
    """The processor, its number of cores, and the system."""
    model = platform.processor() or platform.machine()
    if (info := Path("/proc/cpuinfo")).exists():
        match = re.search(r"model name\s*:\s*(.+)", info.read_text())
        model = match.group(1).strip() if match else model
    return f"{model}, {os.cpu_count()} cores, {platform.system()}, Python {platform.python_version()}"


def versions() -> str:
    """The versions of what the benchmarks use, as far as it is installed."""
    names = []
    for name in _PACKAGES:
        try:
            names.append(f"{name} {importlib.metadata.version(name)}")
        except importlib.metadata.PackageNotFoundError:
            continue
    return ", ".join(names)


def picture_folder() -> Path | None:
    """Where a benchmark draws; None where it does not."""
    return Path(os.environ[VARIABLE]) if VARIABLE in os.environ else None
