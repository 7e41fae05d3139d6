"""The C client: vectors, saved streams from and to Python, misuse, damage, the command, the C++ classes."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
import unicodedata
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_vectors import (
    ALIKE,
    BUNDLES,
    FORMS,
    INTEGERS,
    ROOT,
    STRINGS,
    TASKS,
    bundle_path,
    bundle_vectors,
    bundles,
    check_command,
    command_input,
    form,
    wav,
)

import streaming
from streaming import vectors
from streaming.cli import main
from streaming.runtime import artifact
from streaming.runtime.codec import TextCodec
from streaming.runtime.text import Vocabulary, affixes

SOURCE = ROOT / "clients" / "c"
SANITIZED = ("-g", "-O0", "-fsanitize=address,undefined", "-fno-sanitize-recover=all")
PLAIN = ("-O1",)
# Program -> its sources and options; those under tests include the source, or are compiled with it.
PROGRAMS = {
    "vectors": (["tests/vectors.c"], SANITIZED),
    "fuzz": (["tests/fuzz.c"], SANITIZED),
    "misuse": (["tests/misuse.c", "streaming.c"], SANITIZED),
    "blobs": (["tests/blobs.c", "streaming.c"], PLAIN),
    "stream": (["stream.c", "streaming.c"], PLAIN),
}
SECONDS = os.environ.get("RNNZOO_FUZZ_SECONDS", "2")


def _library() -> Path | None:
    found = importlib.util.find_spec("ai_edge_litert")
    path = Path(next(iter(found.submodule_search_locations or []), "")) / "libLiteRt.so" if found else None
    return path if path is not None and path.exists() else None


pytestmark = [
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed"),
    pytest.mark.skipif(_library() is None, reason="libLiteRt.so is not installed"),
]


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """built(name) -> the path of a program, compiled when it is first asked for."""
    folder = tmp_path_factory.mktemp("c")

    def program(name: str) -> Path:
        path = folder / name
        if not path.exists():
            sources, options = PROGRAMS[name]
            flags = ["-std=c11", "-Wall", "-Wextra", "-Werror", f"-I{SOURCE}", *options]
            command = ["cc", *flags, "-o", str(path), *(str(SOURCE / item) for item in sources), "-ldl", "-lm"]
            subprocess.run(command, check=True, timeout=300)
        return path

    return program


def run(program: Path, *arguments: Any, given: bytes = b"", code: int = 0) -> bytes:
    """What a program writes to its standard output; it must end with that code."""
    environment = {**os.environ, "STREAMING_LITERT": str(_library())}
    command = [str(program), *map(str, arguments)]
    found = subprocess.run(command, input=given, capture_output=True, timeout=300, env=environment)
    assert found.returncode == code, found.stderr.decode(errors="replace")[-2000:]
    return found.stdout if code == 0 else found.stderr


def records(output: bytes) -> list[dict[str, Any]]:
    return [json.loads(line) for line in output.decode().splitlines()]


@pytest.mark.parametrize("bundle", bundles({*BUNDLES} - ALIKE, events=True))
def test_vectors_of_every_bundle(bundle: str, built: Any) -> None:
    assert run(built("vectors"), bundle_path(bundle), bundle_vectors(bundle)) == b"ok\n"


@pytest.mark.parametrize("name", [*FORMS, *STRINGS, *TASKS, *INTEGERS])
def test_vectors_of_every_form_of_file(name: str, built: Any) -> None:
    assert run(built("vectors"), *form(name)) == b"ok\n"


def test_vectors_that_are_wrong_fail(built: Any, tmp_path: Path) -> None:
    found = json.loads(bundle_vectors("speaker-vowels").read_text())
    found["task"]["events"][3]["score"] += 0.01
    changed = tmp_path / "changed.json"
    changed.write_text(json.dumps(found))
    assert b"event 3" in run(built("vectors"), bundle_path("speaker-vowels"), changed, code=1)


def strange_words(seed: int, count: int) -> list[str]:
    """Words of characters of any script that Unicode has long had, and what lower case is hard for."""
    rng = np.random.default_rng(seed)
    known = [c for c in map(chr, range(0x21, 0x2FA20)) if unicodedata.ucd_3_2_0.category(c)[0] not in "CZ"]
    plain = list("aZ09\u0130\u03a3\u03c3\u1e9e\u00df\u0307\u0660\u00b2\u2160\u01c5'-_\u2581")
    pick = lambda: known[rng.integers(len(known))] if rng.random() < 0.5 else plain[rng.integers(len(plain))]  # noqa: E731
    words = ["".join(pick() for _ in range(rng.integers(1, 26))) for _ in range(count)]
    return [*words, "\u039f\u03a3", "\u03a3", "A\u0307\u03a3\u00ad", "\u03a3A", "x" * 20, "y" * 21]


def test_words_of_all_scripts(built: Any, tmp_path: Path, monkeypatch: Any) -> None:
    source = artifact.read(bundle_path("tagger-en-ewt-stream"))
    words = strange_words(1, 60)
    parts = sorted({part for word in words for part in affixes(word)})
    files = dict(source.files)
    files["words.txt"] = Vocabulary(sorted({word.lower() for word in words})).to_bytes()
    files["chars.txt"] = Vocabulary(sorted({c for word in words for c in word})[:108]).to_bytes()
    files["affixes.txt"] = Vocabulary(parts).to_bytes()
    path, out = tmp_path / "model.tflite", tmp_path / "vectors.json"
    path.write_bytes(artifact.pack(source.flatbuffer, source.metadata, files))
    monkeypatch.setattr(vectors, "_WORDS", words)
    found = vectors.make_vectors(streaming.load(path))
    assert 1 not in found["task"]["arrays"]["words"]
    out.write_text(json.dumps(found))
    assert run(built("vectors"), path, out) == b"ok\n"


@pytest.mark.parametrize("kind", ["characters", "words", "subwords"])
def test_texts_of_all_scripts(kind: str, built: Any, tmp_path: Path, monkeypatch: Any) -> None:
    source = artifact.read(bundle_path("translate-tatoeba-de-en"))
    words = strange_words(2, 12)
    text = "  " + " \u3000".join(words)[:20] + "\t\n"
    codec = TextCodec.fit([text.lower(), " ".join(words).lower()], kind, size=1000, lower=True)
    path, out = tmp_path / "model.tflite", tmp_path / "vectors.json"
    path.write_bytes(
        artifact.pack(source.flatbuffer, source.metadata, {**source.files, "source.json": codec.to_bytes()})
    )
    monkeypatch.setattr(vectors, "_text", lambda codec, count: text)
    found = vectors.make_vectors(streaming.load(path))
    assert len(set(found["task"]["arrays"]["ids"])) > 3
    out.write_text(json.dumps(found))
    assert run(built("vectors"), path, out) == b"ok\n"


@pytest.mark.parametrize("name", ["delay", "window"])
def test_saved_streams_go_from_python_to_c_and_back(name: str, built: Any, tmp_path: Path) -> None:
    path, _ = form(name)
    model = streaming.load(path)
    x = np.random.default_rng(0).standard_normal((23, 4)).astype(np.float32)
    whole = model.create_stream()
    expected = np.concatenate([whole.feed(x), whole.finish()])
    stream = model.create_stream()
    rows = [stream.feed(x[:8])]
    (tmp_path / "in").write_bytes(stream.save())
    output = run(built("blobs"), path, tmp_path / "in", tmp_path / "out", given=x[8:19].tobytes())
    rows.append(np.frombuffer(output, np.float32).reshape(-1, expected.shape[1]))
    back = model.restore((tmp_path / "out").read_bytes())
    assert back.position == 19
    rows += [back.feed(x[19:]), back.finish()]
    np.testing.assert_allclose(np.concatenate(rows), expected, atol=1e-6)


def test_misuse_is_a_code_and_a_line(built: Any) -> None:
    found = run(built("misuse"), form("delay")[0], bundle_path("digits-kws-stream"))
    assert found == b"ok\n"


@pytest.mark.parametrize("bundle", ["speaker-vowels", "digits-kws-stream", "charlm-lstm"])
def test_damage_ends_in_a_line(bundle: str, built: Any) -> None:
    """RNNZOO_FUZZ_SECONDS makes it longer."""
    assert run(built("fuzz"), bundle_path(bundle), SECONDS, 11).startswith(b"ok")


def test_files_that_are_damaged_or_newer(built: Any, tmp_path: Path) -> None:
    content = form("delay")[0].read_bytes()
    for name, data in {
        "cut": content[:-1],
        "short": content[:100],
        "flipped": content[:60] + b"\xff" + content[61:],
    }.items():
        (tmp_path / name).write_bytes(data)
        line = run(built("stream"), tmp_path / name, code=2)
        assert b"damaged" in line or b"truncated" in line


def test_the_command_says_what_python_says(built: Any, tmp_path: Path, capsys: Any) -> None:
    given = json.loads(bundle_vectors("digits-kws-stream").read_text())["task"]["input"]["samples"]
    sound = wav(vectors.array_of(given), 8000)
    rows = np.random.default_rng(3).standard_normal((9, 12)).round(3)
    files = {
        "tagger-en-ewt-stream": b"The dog saw Zurich in 1999\nStop now\n",
        "intent-clinc": b"book a flight to paris\n",
        "speaker-vowels": "\n".join(",".join(map(str, row)) for row in rows).encode() + b"\n\n1" + b",1" * 11 + b"\n",
        "digits-kws-stream": sound,
        "asr-digits-stream": sound,
        "translate-tatoeba-de-en": "Ich bin müde.\n".encode(),
    }
    for bundle, data in files.items():
        path = tmp_path / ("in.wav" if data.startswith(b"RIFF") else "in.txt")
        path.write_bytes(data)
        capsys.readouterr()
        assert main(["run", str(bundle_path(bundle)), str(path)]) == 0
        expected = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
        found = records(run(built("stream"), bundle_path(bundle), given=data))
        assert len(found) == len(expected), bundle
        for mine, theirs in zip(found, expected, strict=True):
            # Of tables Python also says which line and time an event is of.
            assert mine == pytest.approx({key: theirs[key] for key in mine}, abs=2e-5), bundle
    found = records(run(built("stream"), bundle_path("charlm-lstm"), "--max-length", 20, given=b"ROMEO"))
    task = streaming.pipeline(bundle_path("charlm-lstm"))
    assert "".join(item["text"] for item in found) == task.generate("ROMEO", temperature=0, max_length=20)


@pytest.mark.parametrize(
    "bundle", ["forecast-etth1", "anomaly-nab", "translate-en-de-waitk", "caption-nlvr", "ecg-beats-stream"]
)
def test_the_command_gives_the_events_of_vectors(bundle: str, built: Any) -> None:
    found = json.loads(bundle_vectors(bundle).read_text())
    given, options = command_input(found)
    check_command(run(built("stream"), bundle_path(bundle), *options, given=given), found)


def test_raw_steps_and_lines_of_steps(built: Any) -> None:
    path, _ = form("delay")
    x = np.random.default_rng(1).standard_normal((11, 4)).astype(np.float32)
    stream = streaming.load(path).create_stream()
    expected = np.concatenate([stream.feed(x), stream.finish()])
    rows = np.frombuffer(run(built("stream"), path, "--raw", given=x.tobytes()), np.float32).reshape(-1, 5)
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    lines = "\n".join(" ".join(map(repr, row.tolist())) for row in x).encode()
    found = records(run(built("stream"), path, given=lines + b"\n"))
    np.testing.assert_allclose([item["value"] for item in found], expected, atol=2e-6)
    assert b"middle of a step" in run(built("stream"), path, "--raw", given=x.tobytes()[:-3], code=2)


@pytest.mark.parametrize("name", ["words", "tokens"])
def test_lines_of_words_and_texts(name: str, built: Any) -> None:
    path, out = form(name)
    (strings,) = json.loads(out.read_text())["steps"]["strings"].values()
    texts = [text for text in strings["texts"] if text.strip()]
    stream = streaming.load(path).create_stream()
    expected = np.concatenate([*(stream.feed([text]) for text in texts), stream.finish()])
    found = records(run(built("stream"), path, given="\n".join(texts).encode()))
    np.testing.assert_allclose([item["value"] for item in found], expected, atol=2e-6)


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler is installed")
def test_the_classes_of_the_wrapper(built: Any, tmp_path: Path) -> None:
    program, source = tmp_path / "wrapper", tmp_path / "streaming.o"
    subprocess.run(["cc", "-std=c11", "-c", f"-I{SOURCE}", "-o", source, SOURCE / "streaming.c"], check=True)
    flags = ["-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{SOURCE}"]
    command = ["c++", *flags, "-o", program, SOURCE / "tests" / "wrapper.cpp", source, "-ldl", "-lm"]
    subprocess.run(command, check=True, timeout=300)
    assert run(program, form("delay")[0]) == b"ok\n"


@pytest.mark.skipif(shutil.which("c++") is None, reason="no C++ compiler is installed")
def test_vectors_by_the_classes(tmp_path: Path) -> None:
    tests, program = SOURCE / "tests", tmp_path / "vectors"
    objects = [tmp_path / "vectors.o", tmp_path / "wrapped.o"]
    flags = ["-Wall", "-Wextra", "-Werror", f"-I{SOURCE}", "-c"]
    subprocess.run(["cc", "-std=c11", "-DST_WRAPPED", *flags, "-o", objects[0], tests / "vectors.c"], check=True)
    subprocess.run(["c++", "-std=c++17", *flags, "-o", objects[1], tests / "wrapped.cpp"], check=True)
    subprocess.run(["c++", "-o", program, *objects, "-ldl", "-lm"], check=True)
    for bundle in ("tagger-en-ewt-stream", "digits-kws-stream", "translate-tatoeba-de-en", "anomaly-nab"):
        assert run(program, bundle_path(bundle), bundle_vectors(bundle)) == b"ok\n"
    assert run(program, *form("words")) == b"ok\n"


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("cmake") is None, reason="cmake is not installed")
def test_cmake_builds_and_installs(tmp_path: Path) -> None:
    build, prefix = tmp_path / "build", tmp_path / "prefix"
    subprocess.run(
        ["cmake", "-S", SOURCE, "-B", build, f"-DCMAKE_INSTALL_PREFIX={prefix}"], check=True, capture_output=True
    )
    subprocess.run(["cmake", "--build", build], check=True, capture_output=True)
    subprocess.run(["cmake", "--install", build], check=True, capture_output=True)
    for name in ("include/streaming.h", "include/streaming.hpp", "bin/stream"):
        assert (prefix / name).exists()
    (pc,) = prefix.rglob("streaming.pc")
    assert f"prefix={prefix}" in pc.read_text()


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("valgrind") is None, reason="valgrind is not installed")
def test_valgrind_finds_nothing(tmp_path: Path) -> None:
    program = tmp_path / "vectors"
    command = ["cc", "-std=c11", "-g", "-O1", "-o", program, SOURCE / "tests" / "vectors.c", "-ldl", "-lm"]
    subprocess.run(command, check=True)
    known = f"--suppressions={SOURCE / 'tests' / 'litert.supp'}"
    valgrind = ["valgrind", "-q", "--error-exitcode=9", "--leak-check=no", known, program, *form("delay")]
    environment = {**os.environ, "STREAMING_LITERT": str(_library())}
    found = subprocess.run([str(item) for item in valgrind], env=environment, capture_output=True, timeout=600)
    assert found.returncode == 0, found.stderr.decode(errors="replace")[-2000:]
