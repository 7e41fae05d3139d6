#!/usr/bin/env python3
"""Change one operator, number or keyword of the code at a time, run the tests that import it, and count who notices.

The changes are cosmic-ray's (`pip install 'rnnzoo[mutants]'`; `make mutants` does both). A sample is drawn; those
in annotations alone are left out. Tests run in a copy, in a process that has imported NumPy, Keras and TensorFlow
already, so that a change costs seconds. What survives is printed as a diff: look at each.
"""

import argparse
import ast
import contextlib
import difflib
import importlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).resolve().parent.parent
# What is changed where nothing else is said.
FOLDERS = ("streaming/runtime", "streaming/conversion", "rnnzoo/layers")
COPIED = ("streaming", "rnnzoo", "tests", "clients", "pretrained", "zoo_configs", "pyproject.toml", "tools")
# Imported once, before the code that is changed.
HEAVY = (
    "tflite_runtime.interpreter",
    "ai_edge_litert.interpreter",
    "numpy",
    "keras",
    "tensorflow",
    "pytest",
    "hypothesis",
)
# Tests that reach their code by public functions alone, so that no import tells of it: of a file, or of a folder.
_MICRO = ("test_micro.py", "test_micro_int8.py", "test_esphome.py")
GENERAL = {
    "streaming/conversion/boundary": _MICRO,
    "streaming/conversion/esphome": _MICRO,
    "streaming/conversion/micro": _MICRO,
    "streaming/conversion": ("test_conversion.py", "test_keras_ops.py", "test_layer_rules.py", "test_proof.py"),
    "rnnzoo/layers/linear": ("test_layer_cases.py", "test_scan.py", "test_scan_layers.py"),
    "rnnzoo/layers": ("test_cells.py", "test_layer_cases.py", "test_layers.py"),
}
# What pytest says, in the copy.
OUTPUT = "output.txt"
# A test that runs so many times as long as without a change will not end.
SLOW = 5


class Mutant(NamedTuple):
    """A change: the file, its line, the operator and the code with it."""

    path: Path
    line: int
    operator: str
    code: str


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help=f"files or folders ({', '.join(FOLDERS)})")
    parser.add_argument("--sample", type=int, default=60, help="so many changes at most (60)")
    parser.add_argument("--seconds", type=float, default=1800, help="begin none after so long (1800)")
    parser.add_argument("--seed", type=int, default=0, help="of the sample (0)")
    parser.add_argument("--tests", nargs="+", help="test files (those that import the file's package)")
    arguments = parser.parse_args(argv)
    names = arguments.files or FOLDERS
    if missing := [name for name in names if not (ROOT / name).exists()]:
        print(f"mutate: error: {missing[0]} is no file of {ROOT}; name files or folders", file=sys.stderr)
        return 2
    rng, end = random.Random(arguments.seed), time.monotonic() + arguments.seconds
    chosen = list(sample(source_files(names), arguments.sample, rng))
    for name in HEAVY:
        with contextlib.suppress(ImportError):
            importlib.import_module(name)
    survivors, done = [], 0
    with tempfile.TemporaryDirectory() as folder:
        copy = copied(Path(folder))
        usual: dict[tuple[str, ...], float] = {}
        for mutant in chosen:
            if time.monotonic() > end:
                break
            tests = tuple(arguments.tests or tests_of(mutant.path))
            if tests not in usual:
                begin = time.monotonic()
                if run(copy, tests, 3600) != 0:
                    print((copy / OUTPUT).read_text(errors="replace")[-2000:], file=sys.stderr)
                    print(f"mutate: error: these fail without any change: {' '.join(tests)}", file=sys.stderr)
                    return 2
                usual[tests] = time.monotonic() - begin
            target = copy / mutant.path.relative_to(ROOT)
            target.write_text(mutant.code, encoding="utf-8")
            code = run(copy, tests, SLOW * usual[tests] + 10)
            target.write_bytes(mutant.path.read_bytes())
            done += 1
            said = "survived" if code == 0 else "killed"
            print(f"{said}  {mutant.path.relative_to(ROOT)}:{mutant.line}  {mutant.operator}", flush=True)
            if code == 0:
                survivors.append(mutant)
    for mutant in survivors:
        print("\n".join(diff(mutant)))
    killed = done - len(survivors)
    print(f"{killed} of {done} changes were noticed ({killed / max(1, done):.0%})")
    return 0


def source_files(names: Sequence[str]) -> list[Path]:
    """The Python files of files and folders."""
    paths = [
        path for name in names for path in ([ROOT / name] if (ROOT / name).is_file() else (ROOT / name).rglob("*.py"))
    ]
    return sorted(path for path in paths if path.name != "__init__.py")


def sample(files: Sequence[Path], count: int, rng: random.Random) -> Iterator[Mutant]:
    """So many changes, of files drawn by their sizes and operators drawn by their kinds."""
    sizes, seen, tries = [path.stat().st_size for path in files], set(), 0
    while len(seen) < count and tries < 20 * count:
        (path,), tries = rng.choices(files, sizes), tries + 1
        before = path.read_text(encoding="utf-8")
        line, operator, occurrence = _place(before, rng)
        code = _mutated(before, operator, occurrence) if operator else None
        if code is not None and _plain(code) not in (None, _plain(before)) and (path, code) not in seen:
            seen.add((path, code))
            yield Mutant(path, line, operator.partition("/")[2], code)


def _place(code: str, rng: random.Random) -> tuple[int, str, int]:
    """Line, operator, and which of its places, of a change of one kind; an empty operator where code has none."""
    from cosmic_ray.ast import ast_nodes, get_ast
    from cosmic_ray.plugins import get_operator, operator_names

    nodes, kinds = list(ast_nodes(get_ast(code))), {}
    for name in operator_names():
        if not get_operator(name).arguments():
            kinds.setdefault(name.rpartition("_")[0] or name, []).append(name)
    for kind in rng.sample(sorted(kinds), len(kinds)):
        name = rng.choice(kinds[kind])
        operator = get_operator(name)()
        lines = [span[0][0] for node in nodes for span in operator.mutation_positions(node)]
        if lines:
            occurrence = rng.randrange(len(lines))
            return lines[occurrence], name, occurrence
    return 0, "", 0


def _mutated(code: str, operator: str, occurrence: int) -> str | None:
    from cosmic_ray.mutating import mutate_code
    from cosmic_ray.plugins import get_operator

    changed: str | None = mutate_code(code, get_operator(operator)(), occurrence)
    return changed


def _plain(code: str) -> str | None:
    """The syntax tree without annotations; None for what does not compile."""
    try:
        tree = ast.parse(code)
    except SyntaxError:
        return None
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            node.returns = None
        elif isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.AnnAssign):
            node.annotation = ast.Constant(None)
    return ast.dump(tree)


def tests_of(path: Path) -> list[str]:
    """The quick tests of a file: those that import it or its package, or the general ones of its folder."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    folder = ROOT / "tests" / parts[0] / parts[1]
    owners = ("/".join(parts[:end]) for end in range(len(parts), 1, -1))
    tests = [folder / name for name in next((GENERAL[owner] for owner in owners if owner in GENERAL), ())]
    files = sorted(folder.glob("test_*.py"))
    for module in (".".join(parts), ".".join(parts[:-1])):
        direct = [file for file in files if module in file.read_text(encoding="utf-8")]
        if len(module.split(".")) > 2 and direct:
            tests = [*direct, *(file for file in tests if file not in direct)]
            break
    return [str(file.relative_to(ROOT)) for file in tests or files]


def copied(folder: Path) -> Path:
    """A copy of what tests need, compiled so that a change of a file is noticed by its bytes."""
    for name in COPIED:
        source, target = ROOT / name, folder / name
        if source.is_dir():
            shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__", "build"), symlinks=True)
        else:
            shutil.copyfile(source, target)
    command = [sys.executable, "-m", "compileall", "-q", "--invalidation-mode", "checked-hash"]
    subprocess.run([*command, "streaming", "rnnzoo"], cwd=folder, check=True)
    return folder


def run(copy: Path, tests: Sequence[str], seconds: float) -> int:
    """The exit code of pytest in a copy, in a process that is forked from this one; 124 where it takes too long."""
    child = os.fork()
    if child:
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.05)
        os.killpg(child, signal.SIGKILL)
        os.waitpid(child, 0)
        return 124
    os.setpgid(0, 0)
    code: Any = 1
    try:
        output = os.open(copy / OUTPUT, os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(output, stream)
        os.chdir(copy)
        sys.dont_write_bytecode = True
        sys.path[:0] = [str(copy)]
        os.environ["PYTHONPATH"] = str(copy)
        import pytest

        # Of what is imported already.
        quiet = ["-W", "ignore::pytest.PytestAssertRewriteWarning"]
        code = pytest.main(["-x", "-q", "-p", "no:cacheprovider", *quiet, "-m", "not slow", *tests])
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(int(code))


def diff(mutant: Mutant) -> list[str]:
    """The lines of a change."""
    name, before = str(mutant.path.relative_to(ROOT)), mutant.path.read_text(encoding="utf-8")
    return list(difflib.unified_diff(before.splitlines(), mutant.code.splitlines(), name, name, n=1, lineterm=""))


if __name__ == "__main__":
    sys.exit(main())
