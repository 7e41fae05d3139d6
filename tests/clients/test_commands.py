"""The commands of all clients and `streaming run`: the same model and the same input give the same JSON lines."""

from __future__ import annotations

import functools
import importlib.util
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_js import package
from client_vectors import ROOT, bundle_path, bundle_vectors, wav

import streaming
from streaming import vectors
from streaming.cli import main
from streaming.runtime.tasks import Sketcher, task_for
from streaming.runtime.tasks.strokes import SketcherSession

# Python also names the line of a table, its columns, and quantiles of forecasts, and of a sound the sample.
PYTHON_ALONE = {"line", "columns", "quantiles"}, {"sample", "begin_sample", "end_sample"}
_folder = tempfile.TemporaryDirectory()


def table(columns: int, seed: int, steps: int = 14) -> bytes:
    """Two sequences of rows."""
    rows = np.random.default_rng(seed).standard_normal((steps, columns)).round(3).tolist()
    lines = [",".join(map(str, row)) for row in rows]
    return "\n".join([*lines[: steps // 2], "", *lines[steps // 2 :], ""]).encode()


def gaps() -> bytes:
    """A table of weather with cells that are missing."""
    rows = [line.split(",") for line in table(14, 5, 30).decode().splitlines()]
    for number, row in enumerate(rows):
        if number in (3, 4, 11) and len(row) > 1:
            row[2 * number % 14] = "nan"
    return "\n".join([*map(",".join, rows), ""]).encode()


def sound() -> bytes:
    given = json.loads(bundle_vectors("digits-kws-stream").read_text(encoding="utf-8"))["task"]["input"]["samples"]
    return wav(vectors.array_of(given), 8000)


def picture_shape(bundle: str) -> tuple[int, ...]:
    encode = streaming.load(bundle_path(bundle)).metadata.encode
    assert encode is not None
    (info,) = encode.inputs
    return tuple(info.shape)


def picture(bundle: str) -> bytes:
    """A picture as a line of numbers, as the clients take it; Python takes it as an array."""
    return " ".join(map(str, np.random.default_rng(7).integers(0, 256, picture_shape(bundle)).ravel())).encode() + b"\n"


# Bundle -> input, options.
Inputs = dict[str, tuple[Callable[[], bytes], tuple[str, ...]]]
INPUTS: Inputs = {
    "tagger-en-ewt-stream": (lambda: "The dog saw Zürich in 1999\n\nStop now\n".encode(), ()),
    "intent-clinc": (lambda: b"book a flight to paris\nhello\n", ()),
    "translate-en-de-waitk": (lambda: b"two dogs run\nnow\n", ()),
    "translate-tatoeba-de-en": (lambda: "Ich bin müde.\n".encode(), ()),
    "charlm-lstm": (lambda: b"ROMEO", ("--max-length", "12")),
    "speaker-vowels": (lambda: table(12, 0), ()),
    "ecg-beats-stream": (lambda: table(2, 1, 300), ()),
    "anomaly-nab": (lambda: table(1, 2), ()),
    "forecast-etth1": (lambda: table(7, 3), ()),
    "digits-kws-stream": (sound, ()),
    "asr-digits-stream": (sound, ()),
    "emotion-goemotions": (lambda: b"i love this\nwhat an odd day\n", ()),
    "summarize-tldr": (lambda: b"I went home and then I slept .\n", ()),
    "music-jsb": (lambda: table(88, 4), ()),
    "weather-nyc": (gaps, ()),
    "compose-chorales": (lambda: b"31 34 37 40\n", ("--max-length", "12")),
    "caption-emoji": (lambda: picture("caption-emoji"), ()),
    "draw-kanji": (lambda: b"0,0,1\n\n40,-12,0\n0,90,1\n", ("--max-length", "12", "--temperature", "0")),
}
# Others of the same tasks.
ALIKE: Inputs = {
    "activity-motion": (lambda: table(6, 6), ()),
    "caption-nlvr": (lambda: picture("caption-nlvr"), ()),
    "charlm-mingru": (lambda: b"ROMEO", ("--max-length", "12")),
    "handwriting-digits": (lambda: table(5, 8), ()),
    "molecules": (lambda: b"CC", ("--max-length", "12")),
    "names-language": (lambda: b"Nguyen\nMcAllister\n", ()),
    "qa-babi": (lambda: b"Mary went to the kitchen . Where is Mary ?\n", ()),
    "sentiment-lines": (lambda: b"a fine film\n", ()),
    "translate-de-en": (lambda: "Ein Hund läuft.\n".encode(), ()),
    "translate-en-de": (lambda: b"A dog runs.\n", ()),
}


def library() -> str:
    found = importlib.util.find_spec("ai_edge_litert")
    path = Path(next(iter(found.submodule_search_locations or []), "")) / "libLiteRt.so" if found else None
    if path is None or not path.exists():
        pytest.skip("libLiteRt.so of ai-edge-litert is not installed")
    if shutil.which("cc") is None:
        pytest.skip("no C compiler is installed")
    return str(path)


@functools.cache
def in_c() -> tuple[list[str], dict[str, str]]:
    environment, folder = {"STREAMING_LITERT": library()}, ROOT / "clients" / "c"
    program = str(Path(_folder.name) / "stream")
    sources = [str(folder / name) for name in ("stream.c", "streaming.c")]
    command = ["cc", "-std=c11", "-O1", "-w", f"-I{folder}", "-o", program, *sources, "-ldl", "-lm"]
    subprocess.run(command, check=True, timeout=300)
    return [program], environment


@functools.cache
def in_node() -> tuple[list[str], dict[str, str]]:
    return ["node", str(package() / "bin" / "stream.mjs")], {}


@functools.cache
def in_java() -> tuple[list[str], dict[str, str]]:
    if shutil.which("javac") is None:
        pytest.skip("no JDK is installed")
    folder, built = ROOT / "clients" / "java", str(Path(_folder.name) / "java")
    environment = {"STREAMING_LITERT": library(), "STREAMING_JAVA": built}
    subprocess.run(["sh", str(folder / "build.sh"), built], check=True, timeout=300)
    return ["sh", str(folder / "stream")], environment


CLIENTS = {"C": in_c, "Node": in_node, "Java": in_java}


@functools.cache
def given(bundle: str) -> Path:
    data = (INPUTS | ALIKE)[bundle][0]()
    path = Path(_folder.name) / f"{bundle}.{'wav' if data.startswith(b'RIFF') else 'txt'}"
    path.write_bytes(data)
    return path


_expected: dict[str, list[dict[str, Any]]] = {}


def expected(bundle: str, capsys: Any) -> list[dict[str, Any]]:
    """What Python's command writes."""
    if bundle not in _expected:
        capsys.readouterr()
        options, source = [*(INPUTS | ALIKE)[bundle][1]], given(bundle)
        if options:
            options += ["--temperature", "0"]
        if bundle.startswith("caption"):
            source = source.with_suffix(".npy")
            np.save(source, np.loadtxt(given(bundle)).astype(np.uint8).reshape(picture_shape(bundle)))
        assert main(["run", str(bundle_path(bundle)), str(source), *options]) == 0
        _expected[bundle] = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    return _expected[bundle]


@pytest.mark.parametrize("client", CLIENTS)
@pytest.mark.parametrize("inputs", [INPUTS, pytest.param(ALIKE, marks=pytest.mark.slow)], ids=["tasks", "alike"])
def test_all_commands_write_the_same_lines(client: str, inputs: Inputs, capsys: Any) -> None:
    command, environment = CLIENTS[client]()
    for bundle, (_, options) in inputs.items():
        wanted = expected(bundle, capsys)
        assert wanted, bundle
        done = subprocess.run(
            [*command, str(bundle_path(bundle)), *options],
            input=given(bundle).read_bytes(),
            capture_output=True,
            timeout=300,
            env={**os.environ, **environment},
        )
        assert done.returncode == 0, (bundle, done.stderr.decode(errors="replace")[-2000:])
        lines = [json.loads(line) for line in done.stdout.decode().splitlines()]
        assert len(lines) == len(wanted), bundle
        for mine, theirs in zip(lines, wanted, strict=True):
            alone = PYTHON_ALONE["event" in theirs] if theirs.keys() & {"sequence", "event"} else set()
            # Of a row's label the clients do not count the row.
            alone = alone | ({"row"} if {"sequence", "label"} <= theirs.keys() else set())
            assert mine.keys() == theirs.keys() - alone, bundle
            for key, value in mine.items():
                same_values(value, theirs[key], f"{bundle}: {key} of {theirs}")


def drawn(client: str, *options: str, given: bytes = b"0,0,1\n") -> subprocess.CompletedProcess[bytes]:
    command, environment = CLIENTS[client]()
    command = [*command, str(bundle_path("draw-kanji")), *options]
    return subprocess.run(command, input=given, capture_output=True, timeout=300, env={**os.environ, **environment})


def points(client: str, *options: str, given: bytes = b"0,0,1\n") -> list[dict[str, Any]]:
    done = drawn(client, *options, given=given)
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return [json.loads(line) for line in done.stdout.decode().splitlines()]


@pytest.mark.parametrize("client", ["Node", "Java"])
def test_a_seed_gives_the_same_drawings_in_all_clients_but_python(client: str) -> None:
    options, two = ("--seed", "4294967295", "--max-length", "6"), b"0,0,1\n\n0,0,1\n"
    mine, theirs = points(client, *options, given=two), points("C", *options, given=two)
    assert len(mine) == len(theirs) > 2
    for one, other in zip(mine, theirs, strict=True):
        same_values([*one.values()], [*other.values()], str(other))
    first, second = ([point["dx"] for point in theirs if point["sequence"] == place] for place in (0, 1))
    assert first[0] != second[0]
    assert points(client, "--seed", "1", "--max-length", "1")[0]["dx"] != mine[0]["dx"]


@pytest.mark.parametrize("temperature", [0.5, 2.0])
def test_what_clients_draw_has_the_moments_of_what_python_draws(temperature: float) -> None:
    count, beginning = 600, b"40,-12,0\n0,90,0\n\n"
    found = points("C", "--max-length", "1", "--temperature", str(temperature), given=beginning * count)
    assert len(found) == count
    task = task_for(streaming.load(bundle_path("draw-kanji")))
    assert isinstance(task, Sketcher)
    session = SketcherSession(task, temperature=temperature, max_length=1, seed=5)
    expected = []
    for _ in range(count):
        expected += [*session.feed(np.array([[40, -12, 0], [0, 90, 0]])), *session.finish()]
    for name in ("dx", "dy", "lift", "end", "score"):
        mine, theirs = np.array([point[name] for point in found]), np.array([getattr(p, name) for p in expected])
        for power in (1, 2):
            a, b = mine.astype(float) ** power, theirs.astype(float) ** power
            # The difference of two means, in units of its own deviation.
            error = np.sqrt((a.var() + b.var()) / count)
            assert abs(a.mean() - b.mean()) <= 4 * error, (name, power)


@pytest.mark.parametrize("client", CLIENTS)
def test_bad_options_and_rows_of_drawings_get_one_line(client: str) -> None:
    wrong = [
        ("--temperature", "-1"),
        ("--temperature", "nan"),
        ("--max-length", "0"),
        ("--seed", "4294967296"),
        ("--seed", "-1"),
    ]
    for options in wrong:
        check_refused(drawn(client, *options), "expected")
    check_refused(drawn(client, given=b"0,0,2\n"), "lift is 2 in row 1, expected 1 after the last point")
    check_refused(drawn(client, given=b"0,1\n"), "a row has 2 numbers, expected 3")
    command, environment = CLIENTS[client]()
    command = [*command, str(bundle_path("speaker-vowels")), "--seed", "1"]
    done = subprocess.run(command, input=b"", capture_output=True, timeout=300, env={**os.environ, **environment})
    check_refused(done, "--temperature and --seed go with sketchers")


def check_refused(done: subprocess.CompletedProcess[bytes], line: str) -> None:
    assert (done.returncode, done.stdout) == (2, b"")
    lines = [text for text in done.stderr.decode().splitlines() if text.startswith("stream: ")]
    assert [line in text for text in lines] == [True], lines
    assert "    at " not in done.stderr.decode()  # a stack trace


def same_values(mine: Any, theirs: Any, where: str) -> None:
    """Numbers are rounded to 6 digits after the point, and kernels differ in the last bits."""
    if isinstance(theirs, list) and theirs and not isinstance(theirs[0], str):
        np.testing.assert_allclose(mine, theirs, rtol=1e-4, atol=2e-5, err_msg=where)
    elif isinstance(theirs, float):
        assert mine == pytest.approx(theirs, rel=1e-4, abs=2e-5), where
    else:
        assert mine == theirs, where
