"""docs/layers.md has every public layer, with its equation as the docstring has it, and runs."""

import inspect
import re

import keras
import pytest
from places import DOCS

import rnnzoo.layers

TEXT = (DOCS / "layers.md").read_text(encoding="utf-8")
ENTRIES = dict(re.findall(r"^### `(\w+)`\n(.*?)(?=^##|\Z)", TEXT, re.MULTILINE | re.DOTALL))
PUBLIC = [getattr(rnnzoo.layers, name) for name in rnnzoo.layers.__all__]
LAYERS = {k.__name__: k for k in PUBLIC if inspect.isclass(k) and issubclass(k, keras.layers.Layer | keras.losses.Loss)}


def test_every_public_layer_has_an_entry_and_no_other_has():
    assert sorted(ENTRIES) == sorted(LAYERS)


@pytest.mark.parametrize("name", LAYERS)
def test_an_entry_is_whole_and_has_the_equation_of_the_docstring(name):
    entry = ENTRIES[name]
    for label in ("Paper", "State", "Step", "Parallel form"):
        assert re.search(rf"^- {label}: \S", entry, re.MULTILINE), label
    (equation,) = re.findall(r"^```text\n(.*?)^```$", entry, re.MULTILINE | re.DOTALL)
    idea = inspect.getdoc(LAYERS[name]).split("\nArgs:")[0].split("\nRaises:")[0]
    documented = [line.strip() for line in idea.splitlines() if line.startswith("    ")]
    given = [line.strip() for line in equation.splitlines()]
    assert given
    if documented:
        assert given == documented


def test_the_example_of_the_proof_runs(capsys):
    (code,) = re.findall(r"^```python\n(.*?)^```$", TEXT, re.MULTILINE | re.DOTALL)
    exec(compile(code, "layers.md", "exec"), {"__name__": "guide"})
    assert "10 properties checked" in capsys.readouterr().out
