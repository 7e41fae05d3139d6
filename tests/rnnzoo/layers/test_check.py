"""`rnnzoo.layers.check` finds what is wrong: for each property, a cell that breaks it and no other before."""

import keras
import numpy as np
import pytest
from keras import ops

import rnnzoo.layers
from rnnzoo.layers import LayerCheckError, check

ALL = ("shape", "oracle", "gradient", "loop", "mask", "chunked", "config", "saving", "mixed_precision", "streaming")


class Leaky(keras.layers.Layer):
    """h[t] = h[t-1] / 2 + tanh(x[t] W): a user's own cell, registered nowhere."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = self.state_size = self.output_size = units

    def build(self, input_shape):
        self.kernel = self.add_weight(shape=(input_shape[-1], self.units), name="kernel")

    def call(self, x, states):
        h = states[0] / 2 + ops.tanh(ops.matmul(x, self.kernel))
        return h, [h]

    def get_config(self):
        return {**super().get_config(), "units": self.units}


def leaky(w, x, states):
    h = states[0] / 2 + np.tanh(x @ w["kernel"])
    return h, [h]


def test_a_users_own_cell_is_proven_with_one_call():
    result = check(Leaky(4), oracle=leaky)
    assert tuple(result.proven) == ALL
    assert not result.skipped
    assert max(value for name, value in result.proven.items() if name != "mixed_precision") < 1e-5
    assert "10 properties checked" in str(result)


@pytest.mark.slow
def test_the_layers_of_keras_are_proven_too():
    layer = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True))
    result = check(layer, streams=False)
    assert {"gradient", "mask", "streaming"} <= set(result.proven)
    assert result.skipped["loop"] == "has no cell"


class Promises(Leaky):
    def compute_output_spec(self, *args, **kwargs):
        return keras.KerasTensor((None, self.units + 1)), [keras.KerasTensor((None, self.units))]


class Random(Leaky):
    def call(self, x, states):
        y, states = super().call(x, states)
        return y + keras.random.normal(ops.shape(y)), states


class NoGradient(Leaky):
    def call(self, x, states):
        h = ops.stop_gradient(states[0]) / 2 + ops.tanh(ops.matmul(x, self.kernel))
        return h, [h]


class Fickle(keras.layers.RNN):
    """Says that it runs the cell, and doubles it."""

    def call(self, sequences, initial_state=None, mask=None, training=False):
        found = super().call(sequences, initial_state, mask, training)
        return [2 * found[0], *found[1:]] if self.return_state else 2 * found


class Deaf(keras.layers.RNN):
    def call(self, sequences, initial_state=None, mask=None, training=False):
        return super().call(sequences, initial_state, None, training)


class Forgetful(keras.layers.RNN):
    def inner_loop(self, sequences, initial_state, mask, training=False):
        zeros = [0 * state for state in initial_state]
        return super().inner_loop(sequences, zeros, mask, training)


class LosesConfig(Leaky):
    def __init__(self, units=2, factor=1.0, **kwargs):
        super().__init__(units, **kwargs)
        self.factor = factor

    def get_config(self):
        config = super().get_config()
        return {**config, "factor": self.factor + 1}


class LosesWeights(Leaky):
    def save_own_variables(self, store):
        store["0"] = 0 * self.kernel

    def load_own_variables(self, store):
        self.kernel.assign(store["0"])


class Overflows(Leaky):
    def call(self, x, states):
        y, states = super().call(x, states)
        return (y * 1e5) / 1e5, states


class AlwaysFloat32(Leaky):
    def call(self, x, states):
        y, states = super().call(x, states)
        return y, [ops.cast(s, "float32") for s in states]


class Fractional(keras.layers.Layer):
    """Streams something else than it computes."""

    def call(self, x):
        return 2 * x

    def stream_spec(self, input_shape):
        return {"states": {}, "delay": 0}

    def stream_step(self, x, valid, states):
        return 3 * x, valid, states


def sequences(kind):
    return lambda: kind(Leaky(4), return_sequences=True, name="layer")


BROKEN = {
    "shape": (lambda: keras.layers.RNN(Random(4)), "two calls with training=False"),
    "gradient": (lambda: NoGradient(4), "finite differences give"),
    "loop": (sequences(Fickle), "taken step by step, by"),
    "mask": (sequences(Deaf), "changes the outputs by"),
    "config": (lambda: LosesConfig(4), "'factor' was 2.0 and comes back as 3.0"),
    "saving": (lambda: LosesWeights(4), "the loaded model differs by"),
    "mixed_precision": (lambda: Overflows(4), "not finite"),
    "streaming": (lambda: Fractional(), "the stream (delay 0) differs from the layer by"),
}


@pytest.mark.parametrize("prop", BROKEN)
def test_a_broken_property_is_named_with_the_figure(prop):
    make, said = BROKEN[prop]
    with pytest.raises(LayerCheckError) as error:
        check(make(), properties=[prop])
    assert error.value.property == prop
    assert f": {prop}: " in str(error.value)
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def test_a_state_that_is_not_carried_over_is_found():
    with pytest.raises(LayerCheckError, match="chunked: a sequence in pieces differs from the whole by"):
        check(sequences(Forgetful)(), properties=["chunked"])
    with pytest.raises(LayerCheckError, match="loop: the layer differs from its cell"):
        check(sequences(Forgetful)(), properties=["loop"])


def test_a_chunked_stream_step_is_held_against_the_layer():
    with pytest.raises(LayerCheckError, match="chunked"):
        check(Fractional(), properties=["chunked"])


def test_an_output_of_the_wrong_shape_is_found():
    class Wrong(keras.layers.Layer):
        def call(self, x):
            return 2 * x

        def compute_output_spec(self, x):
            return keras.KerasTensor((*x.shape[:-1], 9))

    with pytest.raises(LayerCheckError, match=r"promises \(None, None, 9\) and gives \(3, 7, 5\)"):
        check(Wrong())


def test_wrong_equations_are_found():
    with pytest.raises(LayerCheckError, match=r"Leaky: oracle: the outputs differ from the equations by 0\.\d+"):
        check(Leaky(4), oracle=lambda w, x, states: leaky(w, x, [states[0] * 1.1]))


def test_a_layer_that_streams_though_it_should_not_is_found():
    with pytest.raises(LayerCheckError, match="was converted, though no stream can be equal to it"):
        check(Leaky(4), streams=False, properties=["streaming"])


def test_an_error_inside_of_a_property_names_it():
    layer = keras.layers.Bidirectional(keras.layers.LSTM(3, return_sequences=True))
    with pytest.raises(LayerCheckError, match="Bidirectional: streaming: raised NotStreamableError"):
        check(layer, properties=["streaming"])


def test_nan_in_a_recurrent_weight_is_named():
    cell = rnnzoo.layers.GRUCell(4)
    cell.build((None, 5))
    value = np.array(cell.recurrent_kernel)
    value[1, 2] = np.nan
    cell.recurrent_kernel.assign(value)
    with pytest.raises(LayerCheckError, match=r"weights: .*recurrent_kernel has 1 values that are NaN or infinite"):
        check(cell)


@pytest.mark.parametrize("kind", [rnnzoo.layers.GRUCell, rnnzoo.layers.LRU, rnnzoo.layers.RGLRUCell])
def test_the_seed_decides_all_that_is_examined(kind):
    def weights(process, seed):
        keras.utils.set_random_seed(process)
        layer = kind(5)
        check(layer, properties=["shape"], seed=seed)
        return layer.get_weights()

    for first, second, other in zip(weights(1, 7), weights(2, 7), weights(1, 8), strict=True):
        np.testing.assert_array_equal(first, second)
        assert not np.array_equal(first, other)


def test_a_built_layer_keeps_its_weights():
    cell = Leaky(4)
    cell.build((None, 5))
    before = cell.get_weights()
    check(cell)
    np.testing.assert_array_equal(cell.get_weights(), before)


def test_skipping_needs_a_known_property_and_gives_a_reason():
    result = check(Leaky(4), properties=["shape", "mask"], skip={"mask": "of no use"})
    assert result.skipped == {"mask": "of no use"}
    with pytest.raises(ValueError, match="Received: 'maks'"):
        check(Leaky(4), properties=["maks"])
    with pytest.raises(ValueError, match=r"Received: \(3,\)"):
        check(Leaky(4), input_shape=(3,))
