"""The Java client, over JNI on the C client: events of vectors, raw steps, what it refuses."""

from __future__ import annotations

import importlib.util
import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from client_vectors import ROOT, bundle_path, bundle_vectors, bundles, check_command, command_input, form
from scripts import load_script

import streaming

SOURCE = ROOT / "clients" / "java"
_WHEEL = importlib.util.find_spec("ai_edge_litert")

pytestmark = [
    pytest.mark.skipif(shutil.which("javac") is None, reason="no JDK is installed"),
    pytest.mark.skipif(shutil.which("cc") is None, reason="no C compiler is installed"),
    pytest.mark.skipif(_WHEEL is None, reason="libLiteRt.so is not installed"),
]

TEST = """
import streaming.*;

public class Check {
  static void refused(int code, Runnable call) {
    try {
      call.run();
    } catch (StreamingException error) {
      if (error.code == code && !error.getMessage().isEmpty() && !error.getMessage().contains("\\n")) return;
      throw new AssertionError("code " + error.code + ": " + error.getMessage());
    }
    throw new AssertionError("nothing was refused, expected code " + code);
  }

  public static void main(String[] arguments) {
    refused(2, () -> new Model("/nowhere.tflite"));
    Model model = new Model(arguments[0]);
    Stream stream = new Stream(model);
    float[] steps = new float[5 * model.inputElements(0)];
    java.util.Arrays.fill(steps, 0.5f);
    refused(6, () -> stream.feed(4, steps));
    refused(6, () -> stream.feed(5, new int[steps.length]));
    refused(6, () -> stream.feed(5, steps, steps));
    refused(6, () -> stream.feed(5, (Object) null));
    float[] wrong = steps.clone();
    wrong[3] = Float.NaN;
    refused(6, () -> stream.feed(5, wrong));
    refused(9, () -> new Session(model));
    float[][] first = stream.feed(5, steps);
    byte[] blob = stream.save();
    float[] whole = stream.finish()[0];
    refused(7, () -> stream.feed(5, steps));
    refused(7, stream::finish);
    Stream other = new Stream(model);
    refused(8, () -> other.restore(new byte[50]));
    refused(1, () -> other.restore(null));
    try (Model foreign = new Model(arguments[1]); Stream strange = new Stream(foreign)) {
      refused(8, () -> other.restore(strange.save()));
    }
    other.restore(blob);
    if (other.position() != 5) throw new AssertionError("position");
    if (!java.util.Arrays.equals(whole, other.finish()[0])) throw new AssertionError("restored");
    other.reset();
    if (!java.util.Arrays.equals(first[0], other.feed(5, steps)[0])) throw new AssertionError("reset");
    other.close();
    other.close();
    refused(7, other::reset);
    refused(1, () -> new Model(null));
    refused(1, () -> model.stringSteps(0, "a"));
    refused(6, () -> model.stringSteps(0, "\\ud800"));
    refused(6, () -> model.file("a\\0b"));
    model.close();
    model.close();
    refused(7, model::chunk);
    refused(7, stream::position);
    stream.close();
    System.out.println("ok");
  }
}
"""


@pytest.fixture(scope="module")
def build(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("java")
    subprocess.run(["sh", SOURCE / "build.sh", folder], check=True, timeout=300)
    return folder


def run(build: Path, command: list[Any], given: bytes = b"") -> bytes:
    assert _WHEEL is not None
    library = Path(next(iter(_WHEEL.submodule_search_locations or []))) / "libLiteRt.so"
    environment = {**os.environ, "STREAMING_LITERT": str(library), "STREAMING_JAVA": str(build)}
    found = subprocess.run(list(map(str, command)), input=given, capture_output=True, timeout=300, env=environment)
    assert found.returncode == 0, found.stderr.decode(errors="replace")[-2000:]
    return found.stdout


QUICK = {
    "tagger-en-ewt-stream",
    "digits-kws-stream",
    "forecast-etth1",
    "caption-nlvr",
    "translate-en-de-waitk",
    "charlm-lstm",
    "draw-kanji",
}


@pytest.mark.parametrize("bundle", bundles(QUICK, events=True))
def test_events_of_vectors(bundle: str, build: Path) -> None:
    found = json.loads(bundle_vectors(bundle).read_text(encoding="utf-8"))
    if "task" not in found:
        pytest.skip("a signal is the affair of each client; rows are those of the C client")
    rate = (streaming.load(bundle_path(bundle)).metadata.task or {}).get("sample_rate", 8000)
    given, options = command_input(found, int(rate or 8000))
    check_command(run(build, [SOURCE / "stream", bundle_path(bundle), *options], given), found)


@pytest.mark.parametrize("name", ["two", "encode"])
def test_rows_of_vectors(name: str, build: Path) -> None:
    tool = load_script("run_on_java")
    path, out = form(name)
    classes = build / "classes"
    subprocess.run(["javac", "-cp", classes, "-d", classes, SOURCE / "tests" / "Rows.java"], check=True)
    assert _WHEEL is not None
    library = Path(next(iter(_WHEEL.submodule_search_locations or []))) / "libLiteRt.so"
    vectors = json.loads(out.read_text())
    assert tool.differences(build, library, path, vectors, 8000) == []
    first = next(iter(vectors["steps"]["outputs"].values()))
    first["base64"] = first["base64"][4:8] + first["base64"][4:]
    assert "differs by" in tool.differences(build, library, path, vectors, 8000)[0]


def test_raw_steps(build: Path) -> None:
    path, _ = form("delay")
    x = np.random.default_rng(1).standard_normal((11, 4)).astype(np.float32)
    stream = streaming.load(path).create_stream()
    expected = np.concatenate([stream.feed(x), stream.finish()])
    rows = np.frombuffer(run(build, [SOURCE / "stream", path, "--raw"], x.tobytes()), np.float32).reshape(-1, 5)
    np.testing.assert_allclose(rows, expected, atol=1e-6)
    lines = "\n".join(" ".join(map(repr, row.tolist())) for row in x).encode() + b"\n\n" + b"1 2 3 4\n"
    found = [json.loads(line) for line in run(build, [SOURCE / "stream", path], lines).splitlines()]
    assert [item["sequence"] for item in found] == [0] * 11 + [1]
    np.testing.assert_allclose([item["value"] for item in found[:11]], expected, atol=2e-6)


@pytest.mark.parametrize("name", ["salted", "texts"])
def test_words_and_texts_are_steps(name: str, build: Path) -> None:
    path, out = form(name)
    texts = json.loads(out.read_text())["steps"]["strings"][{"salted": "words", "texts": "text"}[name]]["texts"]
    texts = [text for text in texts if text.strip()]
    stream = streaming.load(path).create_stream()
    expected = np.concatenate([stream.feed(texts), stream.finish()])
    lines = run(build, [SOURCE / "stream", path], "\n".join(texts).encode()).splitlines()
    np.testing.assert_allclose([json.loads(line)["value"] for line in lines], expected, atol=2e-6)


def test_blobs_and_what_is_refused(build: Path, tmp_path: Path) -> None:
    (tmp_path / "Check.java").write_text(TEST)
    classes = build / "classes"
    subprocess.run(["javac", "-cp", classes, "-d", classes, tmp_path / "Check.java"], check=True)
    library = f"-Dstreaming.library={build / 'libstreaming_jni.so'}"
    models = form("delay")[0], bundle_path("speaker-vowels")
    output = run(build, ["java", "-Xcheck:jni", library, "-cp", classes, "Check", *models])
    assert output.decode().splitlines()[-1] == "ok"
