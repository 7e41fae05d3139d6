"""Models of other dtype policies stream in float32, with the same weights, and are as they were afterwards."""

from __future__ import annotations

import keras
import numpy as np
import pytest
from keras import layers

import streaming


def network(policy, steps=None):
    x = keras.Input((steps, 6))
    y = layers.Conv1D(5, 3, padding="causal", activation="relu", dtype=policy)(x)
    y = layers.BatchNormalization(dtype=policy)(y)
    y = layers.Bidirectional(layers.GRU(4, dtype=policy), dtype=policy)(y) if steps else layers.LSTM(4, dtype=policy)(y)
    return keras.Model(x, layers.Dense(3, dtype=policy)(y))


@pytest.mark.parametrize("steps", [None, 8])
@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float16", "float64"])
def test_streams_equal_the_model_in_float32(policy, steps, tmp_path):
    model, plain = network(policy, steps), network("float32", steps)
    plain.set_weights([np.asarray(value, "float32") for value in model.get_weights()])
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    before = np.asarray(model(x[None]))
    report = streaming.convert(model, tmp_path / "m.tflite")
    rows = streaming.load(tmp_path / "m.tflite").create_stream().feed(x)
    np.testing.assert_allclose(rows[-1], np.asarray(plain(x[None]))[0], atol=2e-6)
    assert report.policy.policies == (policy,)
    assert 0 < report.policy.max_abs_error < (0.1 if policy != "float64" else 1e-4)
    # The user's model is untouched.
    after = np.asarray(model(x[None]))
    assert after.dtype == before.dtype
    np.testing.assert_array_equal(after, before)
    assert model.layers[-1].dtype_policy.name == policy


def test_one_layer_of_another_policy(tmp_path):
    x = keras.Input((None, 4))
    y = layers.LSTM(4, return_sequences=True, dtype="mixed_float16")(layers.Dense(4)(x))
    report = streaming.convert(keras.Model(x, layers.Dense(2, dtype="float32")(y)), tmp_path / "m.tflite")
    assert report.policy.policies == ("mixed_float16",)
    assert report.max_abs_error < 1e-5


def test_global_policy_and_subclassed_model(tmp_path):
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:

        class Own(keras.Model):
            def __init__(self):
                super().__init__()
                self.memory, self.head = layers.GRU(4, return_sequences=True), layers.Dense(2)

            def call(self, x):
                return self.head(self.memory(x))

        model = Own()
        model(np.zeros((1, 5, 3), "float32"))
        report = streaming.convert(model, tmp_path / "m.tflite")
        assert keras.config.dtype_policy().name == "mixed_bfloat16"
    finally:
        keras.config.set_dtype_policy("float32")
    assert report.policy.policies == ("mixed_bfloat16",)
    assert report.max_abs_error < 1e-5


def test_float32_models_have_no_policy_to_report(tmp_path):
    assert streaming.convert(network("float32"), tmp_path / "m.tflite").policy is None


def recorded_casts(policy):
    """A graph that records the dtype of the policy: a Masking's input, a cast to another tensor's dtype, one_hot."""
    inner = [layers.Masking(dtype=policy), layers.GRU(4, return_sequences=True, dtype=policy)]
    z = keras.Input((None, 4))
    y = keras.Model(z, inner[1](inner[0](z)))(x := keras.Input((None, 4)))
    gate = keras.ops.cast(x[..., :1] > 0, y.dtype)
    return keras.Model(x, y * gate + keras.ops.one_hot(keras.ops.argmax(y, -1), 4, dtype=y.dtype))


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_dtypes_that_the_graph_recorded(policy, tmp_path):
    model, plain = recorded_casts(policy), recorded_casts("float32")
    plain.set_weights([np.asarray(value, "float32") for value in model.get_weights()])
    x = np.random.default_rng(1).normal(size=(9, 4)).astype("float32")
    x[3:6] = 0
    before = np.asarray(model(x[None]))
    streaming.convert(model, tmp_path / "m.tflite")
    rows = streaming.load(tmp_path / "m.tflite").create_stream().feed(x)
    np.testing.assert_allclose(rows, np.asarray(plain(x[None]))[0], atol=2e-6)
    after = np.asarray(model(x[None]))
    assert after.dtype == before.dtype
    np.testing.assert_array_equal(after, before)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_inputs_of_other_floats(dtype, tmp_path):
    x = keras.Input((None, 4), dtype=dtype)
    model = keras.Model(x, layers.LSTM(3, return_sequences=True)(x) + keras.ops.cast(x[..., :3], "float32"))
    report = streaming.convert(model, tmp_path / "m.tflite")
    rows = np.float32([[1, 0.5, -2, 0], [0.25, 1, 4, 8]])
    got = streaming.load(tmp_path / "m.tflite").create_stream().feed(rows)
    np.testing.assert_allclose(got, np.asarray(model(rows[None]))[0], atol=2e-6)
    assert report.policy.policies == (dtype,)
