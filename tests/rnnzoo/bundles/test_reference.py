"""References: what is stored of wide outputs, and that a stream that differs is noticed."""

import keras
import numpy as np
import pytest
from safetensors.numpy import load

import streaming
from rnnzoo.bundles.reference import make_reference, prove


def wide(units, shape=None):
    inputs = keras.Input((None, 3), name="x")
    x = keras.layers.GRU(units, return_sequences=shape is not None or units < 1000)(inputs)
    if shape:
        x = keras.layers.Reshape((-1, *shape))(x)
    return keras.Model({"x": inputs}, x)


@pytest.mark.parametrize(
    ("model", "kept"), [(wide(256), 256), (wide(257), 129), (wide(600, (3, 200)), 200), (wide(1000), 250)]
)
def test_of_a_wide_step_every_so_many_th_value_is_stored(model, kept, tmp_path):
    keras.utils.set_random_seed(0)
    path = tmp_path / "step.tflite"
    streaming.convert(model, path)
    stream = streaming.load(path)
    stored = make_reference(model, stream)
    (tmp_path / "reference.safetensors").write_bytes(stored)
    arrays = load(stored)
    (name,) = stream.output_spec
    for number in range(5):
        x = arrays[f"{number}/in/x"].astype(np.float32)
        rows = model.predict_on_batch({"x": x[None]})[0]
        expected = rows.reshape(-1, model.layers[1].units)
        found = arrays[f"{number}/out/{name}"]
        assert found.shape[-1] == kept
        step = -(-expected.shape[1] // 256)
        np.testing.assert_allclose(found.reshape(-1, kept), expected[:, ::step], atol=1e-6)
    assert prove(stream, tmp_path / "reference.safetensors").max_abs_error < 1e-5
    model.layers[1].cell.bias.assign_add(np.full(model.layers[1].cell.bias.shape, 0.1))
    streaming.convert(model, path)
    assert prove(streaming.load(path), tmp_path / "reference.safetensors").max_abs_error > 1e-3
