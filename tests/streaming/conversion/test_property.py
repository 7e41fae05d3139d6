"""The promise: any cut of any input through any model of supported layers equals the offline model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from random_graphs import BLOCKS, FEATURES, HEADS, build, run
from runtimes import RUNTIMES, installed

import streaming

# Keras warns that its convolutions drop masks; that the stream does too is what is tested.
pytestmark = pytest.mark.filterwarnings("ignore:.*does not support masking", "ignore:.*mask attached to it")


@settings(
    max_examples=3,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    blocks=st.lists(st.sampled_from(sorted(BLOCKS)), min_size=2, max_size=6),
    head=st.sampled_from(sorted(HEADS)),
    embedded=st.booleans(),
    chunk=st.sampled_from([None, 3]),
    steps=st.integers(1, 20),
    data=st.data(),
)
def test_any_cut_equals_offline(
    blocks: list[str], head: str, embedded: bool, chunk: int | None, steps: int, data: Any
) -> None:
    model = build(blocks, head, embedded)
    generator = np.random.default_rng(steps)
    x = generator.integers(0, 13, steps) if embedded else generator.normal(size=(steps, FEATURES))
    x = x.astype("int32" if embedded else "float32")
    offline = [np.asarray(y)[0] for y in keras.tree.flatten(model(x[None], training=False))]
    cuts = [data.draw(st.lists(st.integers(0, steps), max_size=6)) for _ in range(2)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        streaming.convert(model, path, chunk=chunk, verify=False)
        for runtime in filter(installed, RUNTIMES):
            loaded = streaming.load(path, runtime=runtime)
            stream = loaded.create_stream()
            for cut in (*cuts, list(range(steps))):
                stream.reset()
                for got, expected, out in zip(run(stream, x, cut), offline, loaded.metadata.outputs, strict=True):
                    got = got[-1] if out.running else got
                    scale = max(1.0, np.abs(expected).max())
                    assert got.shape == expected.shape
                    assert np.abs(got - expected).max() <= 1e-5 * scale, (blocks, head, embedded, chunk, runtime, cut)
