"""Test vectors, and the reference client that was written from docs/format.md, on every bundle and kind of file."""

from __future__ import annotations

import importlib
import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import runtime_models as models
from client_vectors import (
    ALIKE,
    BUNDLES,
    FORMS,
    INTEGERS,
    ROOT,
    STREAMED,
    STRINGS,
    TASKS,
    bundle_path,
    bundle_vectors,
    bundles,
    form,
)

import streaming
from streaming import vectors
from streaming.cli import main


@pytest.fixture(scope="module")
def client() -> Any:
    """The modules of the reference client."""
    sys.path.insert(0, str(ROOT / "clients" / "python"))
    try:
        yield importlib.import_module("stream"), importlib.import_module("tasks")
    finally:
        sys.path.pop(0)


def rows_of(client: Any, path: Path, found: dict[str, Any]) -> dict[str, np.ndarray]:
    """Output rows of the steps of vectors, by the reference client, fed in the pieces that they name."""
    model = client[0].Model(str(path))
    stream = client[0].Stream(model)
    steps = found["steps"]
    if "encode" in steps:
        stream.encode({name: vectors.array_of(item) for name, item in steps["encode"].items()})
    arrays = {name: vectors.array_of(item) for name, item in steps["inputs"].items()}
    timed = {info["name"] for info in model.meta["inputs"] if info["time"]}
    pieces, begin = [], 0
    for end in steps["cuts"]:
        pieces.append(stream.feed({n: a[begin:end] if n in timed else a for n, a in arrays.items()}))
        begin = end
    pieces.append(stream.finish())
    return {name: np.concatenate([piece[name] for piece in pieces]) for name in steps["outputs"]}


def check_rows(found: dict[str, np.ndarray], expected: dict[str, Any], tolerance: float) -> None:
    for name, item in expected.items():
        assert list(found[name].shape) == item["shape"]
        assert str(found[name].dtype) == item["dtype"]
        values = vectors.array_of({**item, "shape": [-1]})
        got = found[name].ravel()[:: item["stride"]]
        scale = max(1.0, float(np.abs(values.astype(float)).max(initial=0)))
        np.testing.assert_allclose(got.astype(float), values.astype(float), rtol=0, atol=tolerance * scale)


def check_value(found: Any, expected: Any, where: str) -> None:
    """Equal, floats to what six digits after the point leave."""
    if isinstance(expected, float) and not isinstance(found, bool):
        assert found == pytest.approx(expected, rel=1e-4, abs=2e-5), where
    elif isinstance(expected, dict):
        assert set(found) == set(expected), where
        for key, value in expected.items():
            check_value(found[key], value, f"{where}.{key}")
    elif isinstance(expected, list):
        assert len(found) == len(expected), where
        for index, value in enumerate(expected):
            check_value(found[index], value, f"{where}[{index}]")
    else:
        assert found == expected, where


def given_of(item: dict[str, Any]) -> dict[str, Any]:
    """The input of a task as the reference client takes it."""
    given = dict(item)
    if "samples" in given:
        given["samples"] = vectors.array_of(given["samples"]) / 128
    if "array" in given:
        given["array"] = vectors.array_of(given["array"]).astype(np.float64)
    if "rows" in given:
        given["rows"] = np.array(given["rows"], np.float64)  # null is NaN
    return given


@pytest.mark.parametrize("bundle", bundles({*BUNDLES} - ALIKE))
def test_the_reference_client_gives_the_events_of_every_bundle(bundle: str, client: Any) -> None:
    path, out = bundle_path(bundle), bundle_vectors(bundle)
    found = json.loads(out.read_text(encoding="utf-8"))
    assert out.stat().st_size < 40_000
    check_rows(rows_of(client, path, found), found["steps"]["outputs"], found["tolerance"])
    if bundle in STREAMED:
        return
    model = client[0].Model(str(path))
    task = found["task"]
    # Sound that is made up holds no wake word.
    assert task["events"] or bundle.startswith("wake-word")
    check_value(client[1].events(model, given_of(task["input"])), task["events"], "events")
    if "words" in task["input"]:
        arrays = client[1].Words(model.files).encode(task["input"]["words"])
        assert {name: array.tolist() for name, array in arrays.items()} == task["arrays"]
    if "text" in task["input"]:
        codec = client[1].Codec(model.files["source.json" if "source.json" in model.files else "target.json"])
        assert codec.encode(task["input"]["text"]) == task["arrays"]["ids"]


@pytest.mark.parametrize("name", [*FORMS, *TASKS, *INTEGERS])
def test_the_reference_client_steps_every_form_of_file(name: str, client: Any) -> None:
    path, out = form(name)
    found = json.loads(out.read_text(encoding="utf-8"))
    check_rows(rows_of(client, path, found), found["steps"]["outputs"], 1e-6)
    assert any(item["shape"][0] for item in found["steps"]["outputs"].values())
    if "task" in found:
        assert found["task"]["events"]
        model = client[0].Model(str(path))
        check_value(client[1].events(model, given_of(found["task"]["input"])), found["task"]["events"], "events")


@pytest.mark.parametrize("name", ["filter", "lookup", "pairs", "internal"])
def test_files_of_the_first_schema(name: str, client: Any, tmp_path: Path) -> None:
    path = models.write(tmp_path / "old.tflite", models.MODELS[name]())
    found = vectors.make_vectors(streaming.load(path))
    check_rows(rows_of(client, path, found), found["steps"]["outputs"], 1e-6)


@pytest.fixture(scope="module")
def small() -> Any:
    """The class of the client that docs/format.md shows."""
    page = (ROOT / "docs" / "format.md").read_text(encoding="utf-8")
    (code,) = re.findall(r"^```python\n(import hashlib.*?)^```", page, flags=re.M | re.S)
    assert len(code.splitlines()) <= 60
    names: dict[str, Any] = {}
    exec(code, names)
    return names["Stream"]


# What the small client says that it does not have.
NOT_SMALL = {"two", "internal", "internal window", "encode", "kept", "wake word", *STRINGS}


@pytest.mark.parametrize("name", [*bundles({*BUNDLES} - ALIKE), *FORMS, *STRINGS, *INTEGERS])
def test_the_client_in_the_page_steps_what_it_says(name: str, small: Any) -> None:
    path, out = (bundle_path(name), bundle_vectors(name)) if name in BUNDLES else form(name)
    found = json.loads(out.read_text(encoding="utf-8"))
    if name in NOT_SMALL or "encode" in found["steps"]:
        with pytest.raises(ValueError, match="this client has no"):
            small(str(path))
        return
    stream, begin, pieces = small(str(path)), 0, []
    arrays = {name: vectors.array_of(item) for name, item in found["steps"]["inputs"].items()}
    for end in found["steps"]["cuts"]:
        pieces += stream.feed({name: array[begin:end] for name, array in arrays.items()})
        begin = end
    pieces += stream.finish()
    rows = {name: np.concatenate([piece[name] for piece in pieces]) for name in found["steps"]["outputs"]}
    check_rows(rows, found["steps"]["outputs"], found["tolerance"])


def test_the_client_in_the_page_refuses_a_damaged_file(small: Any, tmp_path: Path) -> None:
    content = bytearray(bundle_path("speaker-vowels").read_bytes())
    content[9000] ^= 1
    (tmp_path / "model.tflite").write_bytes(content)
    with pytest.raises(ValueError, match="damaged"):
        small(str(tmp_path / "model.tflite"))


def test_numbers_follow_the_rule() -> None:
    assert vectors.numbers(0, 2).tolist() == [1013904223, 1196435762]
    item = {"dtype": "float32", "shape": [2], "seed": 0}
    expected = np.array([1013904223 >> 8, 1196435762 >> 8]) / 2**23 - 1
    np.testing.assert_array_equal(vectors.array_of(item), expected.astype(np.float32))
    item = {"dtype": "int32", "shape": [2], "seed": 0, "low": -3, "high": 4}
    assert vectors.array_of(item).tolist() == [-3 + (1013904223 >> 8) % 7, -3 + (1196435762 >> 8) % 7]


def test_the_reference_client_needs_nothing_but_numpy_and_an_interpreter() -> None:
    import ast

    for path in (ROOT / "clients" / "python").glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            for name in names:
                top = name.split(".")[0]
                assert top in sys.stdlib_module_names | {"__future__", "numpy", "ai_edge_litert", "stream"}


def test_the_command_writes_them(tmp_path: Path, capsys: Any) -> None:
    out = tmp_path / "vectors.json"
    assert main(["vectors", str(bundle_path("speaker-vowels")), str(out)]) == 0
    assert f"{out.stat().st_size} bytes" in capsys.readouterr().out
    made, known = (json.loads(path.read_text()) for path in (out, bundle_vectors("speaker-vowels")))
    rows, known_rows = made["steps"].pop("outputs"), known["steps"].pop("outputs")
    assert rows.keys() == known_rows.keys()
    for name, item in known_rows.items():  # processors differ in the last bits
        values = [vectors.array_of({**found, "shape": [-1]}) for found in (rows[name], item)]
        np.testing.assert_allclose(*values, rtol=0, atol=1e-5)
        assert item | {"base64": None} == rows[name] | {"base64": None}
    check_value(made.pop("task"), known.pop("task"), "task")
    assert made == known
