"""The JavaScript client in Node: vectors, saved streams from and to Python, misuse, the command, the package."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_js import package
from client_vectors import (
    ALIKE,
    BUNDLES,
    FORMS,
    ROOT,
    STRINGS,
    TASKS,
    bundle_path,
    bundle_vectors,
    check_command,
    command_input,
    form,
)
from forged import repacked

import streaming

QUICK_FORMS = ["delay", "two", "window", "padded", "internal", "kept", "salted", "texts", "intervals"]
QUICK_FORMS += ["chain", "interpolate", "endpoints"]


def node(script: str, *arguments: Any, given: bytes = b"", code: int = 0) -> bytes:
    """What a script of the package writes to its standard output, or where it fails to its standard error."""
    command = ["node", str(package() / script), *map(str, arguments)]
    found = subprocess.run(command, input=given, capture_output=True, timeout=300)
    assert found.returncode == code, found.stderr.decode(errors="replace")[-2000:]
    return found.stdout if code == 0 else found.stderr


def check_vectors(pairs: dict[str, tuple[Path, Path]]) -> None:
    """All in one process: starting LiteRT takes longer than most models."""
    found = node("tests/run.mjs", *(path for pair in pairs.values() for path in pair))
    assert dict(zip(pairs, map(json.loads, found.splitlines()), strict=True)) == {name: [] for name in pairs}


def test_vectors_of_every_bundle() -> None:
    package()
    check_vectors({name: (bundle_path(name), bundle_vectors(name)) for name in BUNDLES if name not in ALIKE})


def test_vectors_of_forms_of_file() -> None:
    package()
    check_vectors({name: form(name) for name in QUICK_FORMS})


@pytest.mark.slow
def test_vectors_of_all_the_others() -> None:
    package()
    others = {name: (bundle_path(name), bundle_vectors(name)) for name in ALIKE}
    check_vectors(others | {name: form(name) for name in [*FORMS, *STRINGS, *TASKS] if name not in QUICK_FORMS})


def test_vectors_that_are_wrong_fail(tmp_path: Path) -> None:
    package()
    found = json.loads(bundle_vectors("speaker-vowels").read_text())
    found["task"]["events"][3]["score"] += 0.01
    (tmp_path / "changed.json").write_text(json.dumps(found))
    (problems,) = json.loads(node("tests/run.mjs", bundle_path("speaker-vowels"), tmp_path / "changed.json"))
    assert problems.startswith("event 3.score")


def test_saved_streams_go_from_python_to_js_and_back(tmp_path: Path) -> None:
    package()
    path, _ = form("delay")
    model = streaming.load(path)
    x = np.random.default_rng(0).standard_normal((23, 4)).astype(np.float32)
    whole = model.create_stream()
    expected = np.concatenate([whole.feed(x), whole.finish()])
    stream = model.create_stream()
    rows = [stream.feed(x[:8])]
    (tmp_path / "in").write_bytes(stream.save())
    output = node("tests/blobs.mjs", path, tmp_path / "in", tmp_path / "out", given=x[8:19].tobytes())
    rows.append(np.frombuffer(output, np.float32).reshape(-1, expected.shape[1]))
    back = model.restore((tmp_path / "out").read_bytes())
    assert back.position == 19
    rows += [back.feed(x[19:]), back.finish()]
    np.testing.assert_allclose(np.concatenate(rows), expected, atol=1e-6)


def test_misuse_is_a_code_and_a_line() -> None:
    package()
    paths = bundle_path("tagger-en-ewt-stream"), form("delay")[0], bundle_path("translate-tatoeba-de-en")
    assert json.loads(node("tests/misuse.mjs", *paths)) == []


@pytest.mark.parametrize(
    ("key", "value", "line"),
    [
        ("schema", 9, "schema 9, this client reads 1 to 3"),
        ("inputs", [], "an input with steps, or an output, is missing or wrong"),
        (
            "outputs",
            [{"name": "logits", "dtype": "float32", "shape": [8]}],
            "tensor logits is another than streaming.json says",
        ),
        ("fingerprint", "0" * 64, "the model does not match its fingerprint"),
    ],
)
def test_files_that_contradict_themselves(key: str, value: Any, line: str, tmp_path: Path) -> None:
    (tmp_path / "model.tflite").write_bytes(repacked(bundle_path("speaker-vowels").read_bytes(), {key: value}))
    assert line in node("bin/stream.mjs", tmp_path / "model.tflite", code=2).decode()


@pytest.mark.parametrize("bundle", ["tagger-en-ewt-stream", "digits-kws-stream", "forecast-etth1", "charlm-lstm"])
def test_the_command_gives_the_events_of_vectors(bundle: str) -> None:
    found = json.loads(bundle_vectors(bundle).read_text(encoding="utf-8"))
    given, options = command_input(found)
    check_command(node("bin/stream.mjs", bundle_path(bundle), *options, given=given), found)


def test_raw_steps_and_lines_of_steps() -> None:
    package()
    path, _ = form("delay")
    x = np.random.default_rng(1).standard_normal((11, 4)).astype(np.float32)
    stream = streaming.load(path).create_stream()
    expected = np.concatenate([stream.feed(x), stream.finish()])
    rows = np.frombuffer(node("bin/stream.mjs", path, "--raw", given=x.tobytes()), np.float32).reshape(-1, 5)
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    lines = "\n".join(" ".join(map(repr, row.tolist())) for row in x).encode()
    found = [json.loads(line) for line in node("bin/stream.mjs", path, given=lines + b"\n").splitlines()]
    np.testing.assert_allclose([item["value"] for item in found], expected, atol=2e-6)
    path, out = form("salted")
    texts = json.loads(out.read_text())["steps"]["strings"]["words"]["texts"][3:]
    stream = streaming.load(path).create_stream()
    found = [json.loads(line) for line in node("bin/stream.mjs", path, given="\n".join(texts).encode()).splitlines()]
    np.testing.assert_allclose([item["value"] for item in found], stream.feed(texts), atol=2e-6)
    path, _ = form("delay")
    assert b"middle of a step" in node("bin/stream.mjs", path, "--raw", given=x.tobytes()[:-3], code=2)


def test_the_examples_of_the_guide_run() -> None:
    folder = package()
    page = (ROOT / "docs" / "browser.md").read_text(encoding="utf-8")
    loop, task, *_ = re.findall(r"^```js\n(.*?)^```", page, flags=re.M | re.S)
    read = 'new Uint8Array((await import("node:fs")).readFileSync(process.argv[{}]))'
    code = [
        "let count = 0;",
        "const use = (row) => (count += row.length === 11);",
        "async function* frames() { for (let i = 0; i < 9; i++) yield new Float32Array(128); }",
        loop.replace('"rnnzoo-streaming"', '"./dist/node.js"').replace(
            '"model.tflite", { wasm: "/litert/wasm/" }', read.format(2)
        ),
        "if (count + rest.count !== 9) throw new Error(`${count} rows`);",
        f"{{ const model = await open({read.format(3)});",
        task,
        "if (events[0].word !== 'Time') throw new Error('tags'); }",
    ]
    (folder / "guide.mjs").write_text("\n".join(code), encoding="utf-8")
    node("guide.mjs", bundle_path("digits-kws-stream"), bundle_path("tagger-en-ewt-stream"))


def test_the_package_holds_what_it_needs() -> None:
    command = ["npm", "pack", "--dry-run", "--json", "--ignore-scripts"]
    found = json.loads(subprocess.run(command, cwd=package(), check=True, capture_output=True, timeout=120).stdout)
    names = {item["path"] for item in found[0]["files"]}
    needed = {f"dist/{name}" for name in ("index.js", "index.d.ts", "node.js", "worker.js", "capture.js")}
    assert needed | {"package.json", "README.md", "bin/stream.mjs"} <= names
    assert not any(name.startswith(("tests/", "demo/", "node_modules/")) for name in names)
    dependencies = json.loads((ROOT / "clients" / "js" / "package.json").read_text())["dependencies"]
    assert list(dependencies) == ["@litertjs/core"]
