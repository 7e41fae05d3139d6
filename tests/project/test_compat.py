"""The private parts of Keras and TensorFlow that are used: all in `streaming._compat`, all there, each tested."""

from __future__ import annotations

import re
from pathlib import Path

import keras
import pytest
from keras import layers
from places import ROOT

from streaming import _compat
from streaming._compat import tensorflow as tensorflow_compat

FOLDER = ROOT / "streaming" / "_compat"
PRIVATE = re.compile(r"^\s*(?:from|import) (?:keras\.src|tensorflow\.(?:lite\.)?python)", re.MULTILINE)
ATTRIBUTES = re.compile(r"\._(?:flatten_layers|nodes_by_depth|inputs_struct|outputs_struct)\b")


@pytest.mark.parametrize("module", [_compat, tensorflow_compat], ids=lambda module: module.__name__)
def test_every_part_is_there(module: object) -> None:
    missing = [name for name in module.__all__ if getattr(module, name, None) is None]
    assert not missing, "Keras or TensorFlow has moved it: mend streaming/_compat"


def test_nobody_else_reaches_for_them() -> None:
    files = [path for package in ("streaming", "rnnzoo") for path in (ROOT / package).rglob("*.py")]
    wrong = [path for path in files if FOLDER not in path.parents and PRIVATE.search(path.read_text(encoding="utf-8"))]
    assert not wrong, "import it from streaming._compat"
    texts = {path: path.read_text(encoding="utf-8") for path in files if FOLDER not in path.parents}
    assert not [path for path, text in texts.items() if ATTRIBUTES.search(text)], (
        "use the function of streaming._compat"
    )


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_each_names_the_test_that_shows_it(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    blocks = [block for block in re.split(r"\n\n+", text) if PRIVATE.search(block)]
    assert blocks
    for block in blocks:
        named = re.findall(r"test_\w+\.py", block)
        assert named, block
        assert all(list((ROOT / "tests").rglob(name)) for name in named), block


def test_layers_and_calls_of_a_graph() -> None:
    x = keras.Input((None, 3), name="x")
    shared = layers.Dense(3, name="shared")
    inner = keras.Sequential([layers.Dense(2, name="inner")], name="body")
    model = keras.Model({"x": x}, {"y": inner(shared(shared(x)))})
    names = [layer.name for layer in _compat.layers_of(model, include_self=False)]
    assert {"shared", "body", "inner"} <= set(names)
    calls = [node.operation.name for node in _compat.nodes_of(model) if not node.is_input]
    assert calls == ["shared", "shared", "body"]
    assert set(_compat.inputs_of(model)) == {"x"}
    assert set(_compat.outputs_of(model)) == {"y"}
