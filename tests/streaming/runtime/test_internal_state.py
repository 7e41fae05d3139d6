"""State inside the interpreter: the same results as outside, and a reset that is a reset."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from small_models import Decay, model_of, randomize

import streaming


def build(x: Any) -> Any:
    y = layers.Conv1D(6, 3, padding="same")(x)
    y = layers.RNN(Decay(6), return_sequences=True)(y)
    return layers.Dense(2)(layers.LSTM(5, return_sequences=True)(y))


@pytest.mark.parametrize("chunk", [None, 3])
def test_equals_external_state_on_every_runtime(chunk: int | None, runtime: str, convert: Any) -> None:
    model = randomize(model_of(build))
    outside, path = convert(model, chunk=chunk)
    report, internal = convert(model, chunk=chunk, state="internal")
    assert report.max_abs_error < 1e-5
    assert report.state_bytes == outside.state_bytes > 0
    assert "reset" in report.signatures
    x = np.random.default_rng(0).normal(size=(11, 6)).astype("float32")
    results = []
    for file in (path, internal):
        stream = streaming.load(file, runtime=runtime).create_stream()
        for cuts in ([4, 5], [4, 5]):
            stream.reset()
            results.append(np.concatenate([*(stream.feed(part) for part in np.split(x, cuts)), stream.finish()]))
    for result in results[1:]:
        np.testing.assert_allclose(result, results[0], rtol=1e-6, atol=1e-6)
    # Resets are exact, initial states that are not zero included.
    assert np.array_equal(results[2], results[3])


def test_two_streams_of_one_model_do_not_meet(convert: Any) -> None:
    model = randomize(model_of(build))
    _, path = convert(model, state="internal")
    loaded = streaming.load(path)
    x, y = np.random.default_rng(0).normal(size=(2, 8, 6)).astype("float32")
    alone = loaded.create_stream().feed(x)
    one, other = loaded.create_stream(), loaded.create_stream()
    rows = []
    for a, b in zip(x, y, strict=True):
        rows.append(one.feed(a[None]))
        other.feed(b[None])
    np.testing.assert_allclose(np.concatenate(rows), alone, rtol=1e-6, atol=1e-6)


@pytest.mark.slow
def test_integer_states_are_kept_too(convert: Any) -> None:
    class Last(keras.layers.Layer):
        """y[t] = x[t - 1] over integers."""

        def call(self, x: Any) -> Any:
            return keras.ops.pad(x, [[0, 0], [1, 0]])[:, :-1]

        def stream_spec(self, shape: Any) -> dict[str, Any]:
            return {"states": {"last": {"shape": (1,), "dtype": "int32"}}, "delay": 0}

        def stream_step(self, x: Any, valid: Any, states: Any) -> Any:
            line = keras.ops.concatenate([states["last"], x], axis=1)
            return line[:, :-1], valid, {"last": line[:, -1:]}

    ids = keras.Input((None,), dtype="int32")
    model = randomize(keras.Model(ids, layers.GRU(3, return_sequences=True)(layers.Embedding(9, 4)(Last()(ids)))))
    for state in ("external", "internal"):
        report, _ = convert(model, state=state)
        assert report.max_abs_error < 1e-5


def test_what_internal_state_cannot_do_is_refused(tmp_path: Any) -> None:
    model, path = model_of(build), tmp_path / "m.tflite"
    with pytest.raises(streaming.InputError, match="that of one stream"):
        streaming.convert(model, path, state="internal", batch_sizes=(1, 4))
    with pytest.raises(streaming.InputError, match="state is 'hidden'"):
        streaming.convert(model, path, state="hidden")
