"""The same damaged files and wrong inputs in every client: a code and one line, never a crash, never a row."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from client_js import package
from client_vectors import ROOT, bundle_path, form
from forged import checksummed, repacked

import streaming
from streaming.cli import main
from streaming.errors import StreamingError

C, JAVA = ROOT / "clients" / "c", ROOT / "clients" / "java"
_WHEEL = importlib.util.find_spec("ai_edge_litert")
FILE, VERSION = "file", "version"
CODES = {"2": FILE, "3": VERSION}
Opens = Callable[[list[Path]], list[tuple[str, str]]]

pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed"),
    pytest.mark.skipif(_WHEEL is None, reason="libLiteRt.so is not installed"),
]


def environment(**more: str) -> dict[str, str]:
    assert _WHEEL is not None
    library = Path(next(iter(_WHEEL.submodule_search_locations or []))) / "libLiteRt.so"
    return {**os.environ, "STREAMING_LITERT": str(library), **more}


@pytest.fixture(scope="module")
def java(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("javac") is None:
        pytest.skip("no JDK is installed")
    folder = tmp_path_factory.mktemp("java")
    subprocess.run(["sh", JAVA / "build.sh", folder], check=True, timeout=300)
    classes = folder / "classes"
    subprocess.run(["javac", "-cp", classes, "-d", classes, JAVA / "tests" / "Refused.java"], check=True, timeout=300)
    return folder


@pytest.fixture(scope="module")
def damaged(tmp_path_factory: pytest.TempPathFactory) -> dict[Path, str]:
    """Files that have to be refused, and the code of each."""
    content, tables = bundle_path("speaker-vowels").read_bytes(), form("words")[0].read_bytes()
    meta = streaming.load(bundle_path("speaker-vowels")).metadata
    graph = bytearray(content[: meta.flatbuffer_bytes])
    graph[len(graph) // 2] ^= 1
    table = str(streaming.load(form("words")[0]).metadata.inputs[0].table)
    shape = [{"name": meta.inputs[0].name, "dtype": "float32", "shape": [13]}]
    cases = {
        "empty": (b"", FILE),
        "text": (b"hello " * 100, FILE),
        "foreign": (content[: meta.flatbuffer_bytes], FILE),
        "cut": (content[:-1], FILE),
        "half": (content[: len(content) // 2], FILE),
        "flipped": (content[:9000] + bytes([content[9000] ^ 1]) + content[9001:], FILE),
        "graph": (repacked(content, {}, graph=bytes(graph)), FILE),
        "fingerprint": (repacked(content, {"fingerprint": "0" * 64}), FILE),
        "hash": (repacked(content, {"files": {}}), FILE),
        "newer": (repacked(content, {"schema": 9}), VERSION),
        "no schema": (repacked(content, {"schema": None}), FILE),
        "shape": (repacked(content, {"inputs": shape}), FILE),
        "signatures": (repacked(content, {"signatures": {}}), FILE),
        "name": (repacked(content, {}, {"../labels.txt": b"a"}), FILE),
        "json": (repacked(content, {"inputs": "x"}), FILE),
        "checksum": (checksummed(content[:-64] + b"x" * 64)[:-1] + b"?", FILE),
        "table": (
            repacked(tables, {}, {table: b'{"version": 1, "kind": "lookup", "words": {"a": -1}, "unknown": 0}'}),
            FILE,
        ),
        "newer table": (repacked(tables, {}, {table: b'{"version": 2}'}), FILE),
    }
    folder = tmp_path_factory.mktemp("damaged")
    found = {folder / f"{name}.tflite": pair for name, pair in cases.items()}
    for path, (data, _) in found.items():
        path.write_bytes(data)
    return {path: code for path, (_, code) in found.items()}


def test_python_refuses_damaged_files(damaged: dict[Path, str]) -> None:
    for path in damaged:
        with pytest.raises(StreamingError) as caught:
            streaming.load(path)
        assert "\n" not in str(caught.value)


def check(damaged: dict[Path, str], found: list[tuple[str, str]]) -> None:
    assert len(found) == len(damaged)
    for (path, code), (mine, line) in zip(damaged.items(), found, strict=True):
        assert (path.stem, mine) == (path.stem, code)
        assert len(line) > 20


def pairs(output: bytes) -> list[tuple[str, str]]:
    lines = [line.partition("\t") for line in output.decode().splitlines()]
    return [(CODES.get(code, code), line) for code, _, line in lines]


def test_c_refuses_damaged_files(damaged: dict[Path, str], tmp_path: Path) -> None:
    program, flags = tmp_path / "refused", ["-std=c11", "-g", "-fsanitize=address,undefined"]
    sources = [C / "tests" / "refused.c", C / "streaming.c"]
    command = ["cc", *flags, f"-I{C}", "-o", program, *sources, "-ldl", "-lm"]
    subprocess.run(command, check=True, timeout=300)
    done = subprocess.run([program, *damaged], capture_output=True, check=True, timeout=300, env=environment())
    check(damaged, pairs(done.stdout))


def test_java_refuses_damaged_files(damaged: dict[Path, str], java: Path) -> None:
    library = f"-Dstreaming.library={java / 'libstreaming_jni.so'}"
    command = ["java", library, "-cp", java / "classes", "streaming.Refused", *damaged]
    done = subprocess.run(command, capture_output=True, check=True, timeout=300, env=environment())
    check(damaged, pairs(done.stdout))


def test_javascript_refuses_damaged_files(damaged: dict[Path, str]) -> None:
    command = ["node", package() / "tests" / "refused.mjs", *damaged]
    done = subprocess.run(command, capture_output=True, check=True, timeout=300)
    check(damaged, [tuple(json.loads(line)) for line in done.stdout.splitlines()])


# Model, options and standard input.
WRONG: dict[str, tuple[str, list[str], bytes]] = {
    "too few numbers": ("speaker-vowels", [], b"1 2 3\n"),
    "no numbers": ("speaker-vowels", [], b"a b c d e f g h i j k l\n"),
    "NaN": ("speaker-vowels", [], b"1 2 3 4 5 NaN 7 8 9 10 11 12\n"),
    "infinity in a step": ("speaker-vowels", ["--steps"], b"1 2 3 4 5 inf 7 8 9 10 11 12\n"),
    "a step too short": ("speaker-vowels", ["--steps"], b"1 2 3\n"),
    "the middle of a step": ("speaker-vowels", ["--raw"], b"12345"),
    "an id that is too large": ("charlm-lstm", ["--steps"], b"1000000\n"),
    "half an id": ("charlm-lstm", ["--steps"], b"0.5\n"),
    "no sound": ("digits-kws-stream", [], b"hello"),
    "steps before encode": ("translate-tatoeba-de-en", ["--steps"], b"5\n"),
}


def refused(command: list[Any], given: bytes, **more: str) -> str:
    """The line of a command that has to end with 2 and no rows."""
    done = subprocess.run(
        list(map(str, command)), input=given, capture_output=True, timeout=300, env=environment(**more)
    )
    assert (done.returncode, done.stdout) == (2, b""), (command, done.stderr[-500:])
    # LiteRT writes its log there, too.
    lines = [line for line in done.stderr.decode().splitlines() if line.startswith("stream: ")]
    assert len(lines) == 1, done.stderr[-500:]
    return lines[0]


def test_c_refuses_wrong_input(tmp_path: Path) -> None:
    program = tmp_path / "stream"
    sources = [C / "stream.c", C / "streaming.c"]
    subprocess.run(["cc", "-std=c11", f"-I{C}", "-o", program, *sources, "-ldl", "-lm"], check=True, timeout=300)
    for bundle, options, given in WRONG.values():
        refused([program, bundle_path(bundle), *options], given)


def test_java_refuses_wrong_input(java: Path) -> None:
    for bundle, options, given in WRONG.values():
        refused(["sh", JAVA / "stream", bundle_path(bundle), *options], given, STREAMING_JAVA=str(java))


def test_javascript_refuses_wrong_input() -> None:
    # A process takes longest to start here.
    for bundle, options, given in list(WRONG.values())[::2]:
        refused(["node", package() / "bin" / "stream.mjs", bundle_path(bundle), *options], given)


def test_python_refuses_wrong_input(tmp_path: Path, capsys: Any) -> None:
    for name in ("too few numbers", "no numbers", "NaN"):
        bundle, _, given = WRONG[name]
        (tmp_path / "rows.txt").write_bytes(given)
        assert main(["run", str(bundle_path(bundle)), str(tmp_path / "rows.txt")]) != 0
        assert len(capsys.readouterr().err.splitlines()) == 1


def with_little_memory(megabytes: int, what: str) -> list[str]:
    """The lines of `little_memory.py`."""
    script = ROOT / "tests" / "support" / "little_memory.py"
    paths = bundle_path("speaker-vowels"), bundle_path("tagger-en-ewt-stream")
    command = [sys.executable, str(script), str(megabytes << 20), what, *map(str, paths)]
    more = {"PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]), "OMP_NUM_THREADS": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env={**os.environ, **more})
    assert done.returncode == 0, done.stderr[-500:]
    return [*done.stderr.splitlines(), *done.stdout.splitlines()]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="the memory of a process is limited on Linux alone")
def test_python_without_memory_says_so_in_a_line() -> None:
    ends = [with_little_memory(megabytes, "load")[-1] for megabytes in (2, 8, 14, 17, 20, 300)]
    assert ends[0].startswith("OutOfMemoryError: there is no memory for ")
    assert ends[-1] == "done"
    # LiteRT itself gives no reason where it has none.
    assert all(re.match(r"done|\w+: .*there is no memory", line) for line in ends), ends
    assert with_little_memory(3, "streams")[-1].partition(":")[0] in ("MemoryError", "OutOfMemoryError")
    *lines, code = with_little_memory(6, "run")
    assert code == "code 2"
    said = [line for line in lines if line.startswith("streaming: error: ")]
    assert len(said) == 2  # the first is of the empty input before
    assert "there is no memory for " in said[1]


def test_java_without_memory_is_a_code_and_a_line(java: Path, tmp_path: Path) -> None:
    home, classes = Path(str(shutil.which("javac"))).resolve().parents[1], java / "classes"
    flags = ["-std=c11", "-fPIC", "-shared", f"-I{home / 'include'}", f"-I{home / 'include' / 'linux'}", f"-I{C}"]
    library = tmp_path / "libmemory.so"
    source = JAVA / "tests" / "memory.c"
    subprocess.run(["cc", *flags, "-o", library, source, "-ldl", "-lm"], check=True, timeout=300)
    subprocess.run(["javac", "-cp", classes, "-d", classes, JAVA / "tests" / "Memory.java"], check=True, timeout=300)
    options = ["-Xcheck:jni", "-Xmx16m", f"-Dstreaming.library={library}", "-cp", classes]
    paths = bundle_path("speaker-vowels"), bundle_path("names-language"), form("words")[0]
    command = ["java", *options, "streaming.Memory", *paths]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, env=environment())
    assert done.returncode == 0, done.stderr[-500:]
    # It would warn of calls while an error is pending.
    assert done.stdout.splitlines() == ["ok"]


def test_javascript_without_memory_is_a_code_and_a_line() -> None:
    command = ["node", package() / "tests" / "memory.mjs", bundle_path("digits-kws-stream")]
    done = subprocess.run(command, capture_output=True, check=True, timeout=300)
    assert json.loads(done.stdout) == []


@pytest.mark.parametrize("model", [pytest.param("speaker-vowels", marks=pytest.mark.slow), "words"])
def test_memory_that_fails_is_a_code_and_a_line(model: str, tmp_path: Path) -> None:
    program, flags = tmp_path / "memory", ["-std=c11", "-g", "-fsanitize=address,undefined", f"-I{C}"]
    subprocess.run(["cc", *flags, "-o", program, C / "tests" / "memory.c", "-ldl", "-lm"], check=True, timeout=300)
    path = form(model)[0] if model == "words" else bundle_path(model)
    done = subprocess.run([program, path], capture_output=True, timeout=300, env=environment())
    assert done.stdout.startswith(b"ok "), done.stderr[-500:]
