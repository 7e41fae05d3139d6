"""The contract over random graphs of everything that streams: any cut, chunk and batch equals the offline model."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from hypothesis import HealthCheck, Phase, assume, given, settings
from hypothesis import strategies as st
from keras import layers
from random_graphs import BLOCKS as STEADY
from random_graphs import run
from runtimes import RUNTIMES, installed
from small_models import randomize

import streaming
from streaming.conversion.plan import plan

WIDTH = 4


def inception(x: Any) -> Any:
    return layers.Concatenate()([layers.Conv1D(2, size, padding="same")(x) for size in (1, 3, 4)])


def skip(x: Any) -> Any:
    return layers.Add()([x, layers.Conv1D(x.shape[-1], 3, padding="same", activation="tanh")(x)])


def down_and_up(x: Any) -> Any:
    y = layers.UpSampling1D(2)(layers.AveragePooling1D(2)(x))
    return layers.Concatenate()([x, layers.Conv1D(2, 2, padding="same")(y)])


MOVING = {
    "same": lambda x: layers.Conv1D(WIDTH, 4, padding="same")(x),
    "valid": lambda x: layers.Conv1D(WIDTH, 3)(x),
    "strided": lambda x: layers.Conv1D(WIDTH, 3, strides=2, padding="causal")(x),
    "strided_same": lambda x: layers.Conv1D(WIDTH, 4, strides=2, padding="same")(x),
    "max": lambda x: layers.MaxPooling1D(2)(x),
    "average_same": lambda x: layers.AveragePooling1D(3, 1, padding="same")(x),
    "separable": lambda x: layers.SeparableConv1D(WIDTH, 3, padding="same")(x),
    "transpose": lambda x: layers.Conv1DTranspose(WIDTH, 3, strides=2)(x),
    "upsample": lambda x: layers.UpSampling1D(2)(x),
    "pad": lambda x: layers.ZeroPadding1D((1, 2))(x),
    "crop": lambda x: layers.Cropping1D((1, 1))(x),
    "inception": inception,
    "skip": skip,
    "down_and_up": down_and_up,
}
BLOCKS = {**STEADY, **MOVING}
HEADS = {
    "sequence": lambda x: layers.Dense(3)(x),
    "last": lambda x: layers.Dense(3)(layers.GRU(WIDTH)(x)),
    "mean": lambda x: layers.Dense(2)(layers.GlobalAveragePooling1D()(x)),
}
TOLERANCE = {None: 1e-5, "float16": 0.05, "dynamic": 0.5}


@settings(
    max_examples=4,
    deadline=None,
    derandomize=True,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
@given(
    blocks=st.lists(st.sampled_from(sorted(MOVING)), min_size=1, max_size=3),
    between=st.sampled_from(sorted(STEADY)),
    head=st.sampled_from(sorted(HEADS)),
    factor=st.integers(1, 3),
    batch=st.sampled_from([1, 3]),
    state=st.sampled_from(["external", "external", "internal"]),
    quantize=st.sampled_from([None, None, "float16", "dynamic"]),
    extra=st.integers(0, 9),
    data=st.data(),
)
def test_any_graph(
    blocks: list[str],
    between: str,
    head: str,
    factor: int,
    batch: int,
    state: str,
    quantize: str | None,
    extra: int,
    data: Any,
) -> None:
    keras.utils.clear_session()
    source = x = keras.Input((None, 3))
    for index, name in enumerate(blocks):
        x = BLOCKS[name](x)
        if index == 0:
            x = BLOCKS[between](x)
    model = randomize(keras.Model(source, HEADS[head](x)), seed=extra)
    planned = plan(model)
    assume(planned.unit <= 8)
    exact = [steps for steps in range(1, 120) if planned.exact(steps)]
    steps = exact[min(extra, len(exact) - 1)]
    x = np.random.default_rng(extra).normal(size=(steps, 3)).astype("float32")
    expected = np.asarray(model(x[None], training=False))[0]
    scale = max(1.0, np.abs(expected).max())
    cuts = data.draw(st.lists(st.integers(0, steps), max_size=6))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        chunk = factor * planned.unit
        batch = batch if state == "external" else 1
        options = {"chunk": chunk, "batch_sizes": (1, batch), "state": state, "quantize": quantize}
        streaming.convert(model, path, verify=False, **options)
        for runtime in filter(installed, RUNTIMES):
            loaded = streaming.load(path, runtime=runtime)
            stream = loaded.create_stream()
            got = run(stream, x, cuts)[0]
            got = got[-1] if loaded.metadata.outputs[0].running else got
            assert got.shape == expected.shape
            assert np.abs(got - expected).max() <= TOLERANCE[quantize] * scale, (blocks, between, head, runtime)
            if steps >= chunk:
                streams = [loaded.create_stream() for _ in range(batch)]
                alone = loaded.create_stream().step(x[:chunk])
                for row in loaded.step_streams(streams, [x[:chunk]] * batch):
                    np.testing.assert_allclose(row, alone, rtol=1e-4, atol=1e-4 if quantize is None else 0.1)
