"""Models that Keras quantized: streams of their weights in float32, or one line that names what to do."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import streaming
from streaming.conversion import dequantize
from streaming.conversion.dequantize import dequantized
from streaming.errors import NotStreamableError


def rich_model() -> Any:
    """A model with layers of every kind that Keras quantizes, inside a nested model too."""
    keras.utils.set_random_seed(0)
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(30, 16, name="table")(ids)
    x = layers.LSTM(12, return_sequences=True)(x)
    inner = keras.Input((None, 12))
    nested = keras.Model(inner, layers.Dense(10, activation="relu", name="inside")(inner), name="nested")
    x = layers.Dense(8, activation="tanh")(nested(x))
    x = layers.EinsumDense("btc,cde->btde", output_shape=(None, 3, 4), bias_axes="de")(x)
    x = layers.EinsumDense("btde,def->btf", output_shape=(None, 6), name="merged")(x)
    return keras.Model(ids, layers.Dense(5, use_bias=False)(x))


def rounded(kernel: Any, axis: int | tuple[int, ...]) -> np.ndarray:
    """Weights as absolute-maximum int8 keeps them: q = round(127 w / max |w|), w = q max |w| / 127."""
    values = np.asarray(kernel, "float64")
    scale = 127 / np.maximum(np.abs(values).max(axis=axis, keepdims=True), 1e-7)
    return np.round(values * scale) / scale


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.slow
def test_weights_are_those_that_the_model_computes_with() -> None:
    model = rich_model()
    before = [(weight.path, np.asarray(weight)) for weight in model.weights]
    model.quantize("int8")
    plain, difference = dequantized(model)
    assert difference is not None
    assert 0 < difference.max_abs_error < 0.05 * difference.scale
    # The axes over which a scale is shared, where it is not the first.
    axes = {"table": 1, "merged": (0, 1)}
    for (path, old), new in zip(before, plain.weights, strict=True):
        layer, _, name = path.rpartition("/")
        value = np.asarray(new)
        if name in ("kernel", "embeddings") and "lstm" not in path:
            assert np.abs(value - old).max() > 0
            np.testing.assert_allclose(value, rounded(old, axes.get(layer, 0)), atol=1e-6, err_msg=path)
        else:
            np.testing.assert_array_equal(value, old, err_msg=path)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
@pytest.mark.parametrize("mode", ["int8", pytest.param("int4", marks=pytest.mark.slow), "float8"])
def test_streams_equal_the_model_but_for_the_rounding_of_inputs(mode: str, tmp_path: Any, convert: Any) -> None:
    keras.utils.set_random_seed(0)
    x = keras.Input((None, 6))
    y = layers.Dense(5)(layers.GRU(7, return_sequences=True)(layers.Dense(8, activation="relu")(x)))
    model = keras.Model(x, y)
    model.quantize(mode)
    report, path = convert(model)
    assert report.policy is not None
    assert any(mode in name for name in report.policy.policies)
    assert report.max_abs_error < 1e-5
    rows = np.random.default_rng(0).normal(size=(20, 6)).astype("float32")
    stream = streaming.load(path).create_stream()
    wanted = np.asarray(model(rows[None])[0])
    # A number of eight bits, three of them after the point, is rounded by up to a sixteenth of itself.
    tolerance = 0.1 if mode == "float8" else 0.05
    np.testing.assert_allclose(stream.feed(rows), wanted, atol=tolerance * np.abs(wanted).max())


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_what_cannot_be_undone_says_what_to_do(convert: Any) -> None:
    x = keras.Input((None,), dtype="int32")
    table = layers.ReversibleEmbedding(20, 6, name="own")
    model = keras.Model(x, layers.LSTM(4, return_sequences=True)(table(x)))
    rows = np.random.default_rng(0).integers(0, 20, (1, 9))
    keep = keras.models.clone_model(model)
    keep.set_weights(model.get_weights())
    model.quantize("int8")
    with pytest.raises(NotStreamableError, match=r"layer 'own'.*before model.quantize, with quantize='dynamic'"):
        convert(model)
    # The remedy works.
    _, path = convert(keep, quantize="dynamic")
    found = streaming.load(path).create_stream().feed(rows[0])
    np.testing.assert_allclose(found, keep(rows)[0], atol=0.1)


@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize` method")
def test_a_model_that_its_weights_do_not_explain_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    x = keras.Input((None, 6))
    model = keras.Model(x, layers.Dense(3, name="odd")(x))
    model.quantize("int8")
    assert dequantized(model)[1] is not None
    monkeypatch.setattr(dequantize, "TOLERANCE", 1e-6)
    with pytest.raises(NotStreamableError, match=r"differs by .* before model.quantize"):
        dequantized(model)
