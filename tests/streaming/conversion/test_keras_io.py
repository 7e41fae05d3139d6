"""The table of docs/keras-io.md is what `streaming.convert` does with each example."""

from __future__ import annotations

import re

import keras
import pytest
from keras_io_examples import EXAMPLES
from places import DOCS

import streaming

ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)
TABLE = {
    name: (options.strip(), verdict.strip())
    for name, options, verdict in ROW.findall((DOCS / "keras-io.md").read_text(encoding="utf-8"))
}


def test_every_example_has_its_row():
    assert set(TABLE) == set(EXAMPLES)


@pytest.mark.slow
@pytest.mark.parametrize("name", EXAMPLES)
def test_rows_are_true(name, tmp_path):
    text, verdict = TABLE[name]
    options = eval(f"dict({text.strip('`')})") if text != "none" else {}
    keras.utils.set_random_seed(0)
    model = EXAMPLES[name]()
    if options:
        # The refusal names what the row grants.
        with pytest.raises(streaming.NotStreamableError, match="|".join(options)):
            streaming.convert(model, tmp_path / "m.tflite")
    report = streaming.convert(model, tmp_path / "m.tflite", **options)
    assert verdict.startswith("carried" if report.window is None else f"window of {report.window}")
