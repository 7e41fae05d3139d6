"""The swap-in recurrent layers against Keras's own: outputs to 1e-5, gradients to 1e-4, over all options."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnzoo.layers
import streaming
from rnnzoo.layers import GRU, LSTM, LayerNormLSTM, SimpleRNN
from rnnzoo.layers.recurrent import forms, tensorflow_layer

B, D, U = 3, 4, 5
PLAIN = {"return_sequences": True, "return_state": True}
GATES = {"SimpleRNN": 1, "LSTM": 4, "GRU": 3}
# (arguments of the layer, T, mask, whether it starts from a given state)
OPTIONS = [
    ({}, 1, None, False),
    ({}, 5, None, True),
    (PLAIN, 30, None, False),
    ({**PLAIN, "go_backwards": True}, 23, None, True),
    ({"return_state": True, "go_backwards": True}, 7, "random", True),
    (PLAIN, 21, "left", True),
    (PLAIN, 10, "right", False),
    ({"return_sequences": True, "zero_output_for_mask": True}, 8, "random", True),
    ({"zero_output_for_mask": True}, 8, "random", False),
    ({**PLAIN, "unroll": True}, 6, "left", True),
    ({**PLAIN, "use_bias": False}, 7, None, False),
    ({**PLAIN, "activation": "relu"}, 7, "random", False),
    ({**PLAIN, "activation": "softsign"}, 7, "random", False),
    ({**PLAIN, "stateful": True}, 7, None, False),
]
CASES = [(kind, *case) for kind in ("SimpleRNN", "LSTM", "GRU") for case in OPTIONS]
CASES += [("LSTM", {**PLAIN, "recurrent_activation": name}, 7, "random", True) for name in ("tanh", "hard_sigmoid")]
CASES += [
    ("GRU", {**PLAIN, "reset_after": False, "use_bias": bias}, steps, mask, True)
    for bias, steps, mask in ((True, 23, None), (False, 7, "random"))
]


def masks(kind, steps):
    if kind is None:
        return None
    positions, bounds = np.arange(steps)[None], np.array([0, steps // 2, steps])[:, None]
    random = np.random.default_rng(1).random((B, steps)) < 0.6
    return tf.constant({"left": positions >= bounds, "right": positions < bounds, "random": random}[kind])


def pair(kind, dtype=None, **options):
    """Our layer and Keras's with the same random weights."""
    generator = np.random.default_rng(2)
    layers = [getattr(module, kind)(U, dtype=dtype, **options) for module in (rnnzoo.layers, keras.layers)]
    for layer in layers:
        layer.build((B, None if not options.get("stateful") else 7, D))
    for ours, theirs in zip(*(layer.trainable_weights for layer in layers), strict=True):
        value = generator.normal(size=ours.shape) * 0.5
        ours.assign(value)
        theirs.assign(value)
    return layers


def derive(layer, x, states, mask, jit=None):
    """Outputs, and the gradients of a loss that uses all of them; jit: None runs eagerly."""

    def run(x, *states):
        with tf.GradientTape() as tape:
            tape.watch([x, *states])
            outputs = keras.tree.flatten(layer(x, initial_state=list(states) or None, mask=mask, training=True))
            loss = sum(
                tf.reduce_sum(tf.square(y) * tf.cast(tf.sin(tf.range(y.shape[-1], dtype="float32")), y.dtype))
                for y in outputs
            )
        return outputs, tape.gradient(loss, [x, *states, *(v.value for v in layer.trainable_weights)])

    if jit is None:
        return run(x, *states)
    signature = [tf.TensorSpec((None, None, D)), *(tf.TensorSpec((None, U)) for _ in states)]
    return tf.function(run, jit_compile=jit, input_signature=signature)(x, *states)


def data(kind, steps, started, dtype="float32"):
    generator = np.random.default_rng(3)
    count = (2 if kind == "LSTM" else 1) if started else 0
    x = tf.constant(generator.normal(size=(B, steps, D)), dtype)
    return x, [tf.constant(generator.normal(size=(B, U)), dtype) for _ in range(count)]


def assert_equal(found, expected, outputs=1e-5, gradients=1e-4):
    for y, wanted in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(tf.cast(y, "float32"), tf.cast(wanted, "float32"), rtol=0, atol=outputs)
    for d, wanted in zip(found[1], expected[1], strict=True):
        scale = max(1.0, float(tf.reduce_max(tf.abs(wanted))))
        np.testing.assert_allclose(d, wanted, rtol=0, atol=gradients * scale)


@pytest.mark.parametrize(("kind", "options", "steps", "mask", "started"), CASES)
def test_equals_keras(kind, options, steps, mask, started):
    ours, theirs = pair(kind, **options)
    x, states = data(kind, steps, started)
    found, expected = (derive(layer, x, states, masks(mask, steps)) for layer in (ours, theirs))
    assert_equal(found, expected)
    if ours.stateful:
        assert_equal(derive(ours, x, states, None), derive(theirs, x, states, None))


@pytest.mark.parametrize(("steps", "mask", "bias"), [(23, None, True), (21, "random", False)])
def test_wide_lstms_whose_gates_are_products_of_their_own_equal_keras(steps, mask, bias, monkeypatch):
    monkeypatch.setattr(tensorflow_layer, "JOINED", 0)
    ours, theirs = pair("LSTM", use_bias=bias, **PLAIN)
    x, states = data("LSTM", steps, True)
    assert_equal(*(derive(layer, x, states, masks(mask, steps)) for layer in (ours, theirs)))


@pytest.mark.parametrize("jit", [False, True])
@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_equals_keras_in_a_graph_of_unknown_length(kind, jit):
    ours, theirs = pair(kind, **PLAIN)
    for steps in (3, 23):
        x, states = data(kind, steps, True)
        assert_equal(derive(ours, x, states, None, jit), derive(theirs, x, states, None))


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_half_precision_stays_near(kind):
    x, _ = data(kind, 9, False)
    for dtype in ("mixed_float16", "mixed_bfloat16"):
        half, _ = pair(kind, dtype, **PLAIN)
        single, _ = pair(kind, **PLAIN)
        found, expected = (derive(layer, x, [], None) for layer in (half, single))
        assert found[0][0].dtype == dtype.removeprefix("mixed_")
        assert_equal(found, expected, outputs=0.05, gradients=0.05)


def test_layer_norm_lstm_equals_the_loop_over_its_cell():
    layer = LayerNormLSTM(U, **PLAIN)
    layer.build((B, 9, D))
    for weight in layer.trainable_weights:
        weight.assign(np.random.default_rng(4).normal(size=weight.shape))
    x, states = data("LSTM", 9, True)
    plain = keras.layers.RNN(layer.cell, **PLAIN)
    assert_equal(*(derive(one, x, states, masks("random", 9)) for one in (layer, plain)))


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_dropout_draws_what_keras_draws(kind):
    x, _ = data(kind, 6, False)
    for options in ({"dropout": 0.5}, {"dropout": 0.3, "recurrent_dropout": 0.4}, {"recurrent_dropout": 0.4}):
        ours, theirs = pair(kind, seed=7, return_sequences=True, **options)
        assert_equal(*(derive(layer, x, [], None) for layer in (ours, theirs)))


@pytest.fixture
def hand_derived(monkeypatch):
    """The number of masks of each run of a hand-derived loop."""
    counts, run = [], tensorflow_layer._run
    monkeypatch.setattr(tensorflow_layer, "_run", lambda *given: counts.append(len(given[5])) or run(*given))
    return counts


@pytest.mark.parametrize(
    ("kind", "options", "form"),
    [
        *(("LSTM", {}, form) for form in forms.FORMS),
        *(("GRU", {"use_bias": bias}, "xla-2") for bias in (True, False)),
        ("SimpleRNN", {"dropout": 0.3}, "graph-2"),
    ],
)
def test_recurrent_dropout_of_each_form_is_that_of_keras(kind, options, form, monkeypatch, hand_derived):
    monkeypatch.setattr(tensorflow_layer, "find_form", lambda *_: forms.FORMS[form])
    ours, theirs = pair(kind, seed=7, recurrent_dropout=0.4, **PLAIN, **options)
    x, states = data(kind, 13, True)
    assert_equal(
        *(tf.function(derive, autograph=False)(layer, x, states, masks("random", 13)) for layer in (ours, theirs))
    )
    assert hand_derived == [GATES[kind]] * forms.FORMS[form].parts


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("LSTM", {"recurrent_dropout": 1.0}),
        ("SimpleRNN", {"recurrent_dropout": 1.0}),
        ("GRU", {"recurrent_dropout": 0.4, "reset_after": False}),
        ("GRU", {"recurrent_dropout": 0.4, "dropout": 0.3}),
    ],
)
def test_recurrent_dropout_without_a_derivative_of_ours_is_that_of_keras(kind, options, hand_derived):
    ours, theirs = pair(kind, seed=7, **PLAIN, **options)
    x, states = data(kind, 6, True)
    assert_equal(*(derive(layer, x, states, None) for layer in (ours, theirs)))
    assert hand_derived == []


@pytest.mark.parametrize("kind", GATES)
def test_recurrent_dropout_draws_new_masks_for_each_call_of_a_stateful_layer(kind, hand_derived):
    ours, theirs = pair(kind, seed=7, recurrent_dropout=0.4, stateful=True, **PLAIN)
    x, _ = data(kind, 7, False)
    calls = [[derive(layer, x, [], None) for _ in range(2)] for layer in (ours, theirs)]
    for found, expected in zip(*calls, strict=True):
        assert_equal(found, expected)
    assert hand_derived == [GATES[kind]] * 2


@pytest.mark.parametrize("dtype", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("kind", GATES)
def test_recurrent_dropout_in_half_precision_stays_near_keras(kind, dtype, hand_derived):
    x, _ = data(kind, 6, False)
    # The gradients of Keras's own loop are as inexact as ours.
    assert_equal(
        *(derive(layer, x, [], None) for layer in pair(kind, dtype, seed=7, recurrent_dropout=0.4, **PLAIN)),
        outputs=0.05,
        gradients=0.1,
    )
    assert hand_derived == [GATES[kind]]


def test_recurrent_dropout_of_both_directions_is_that_of_keras_also_after_loading(tmp_path, hand_derived):
    def model(module):
        keras.utils.set_random_seed(3)
        inner = module.LSTM(U, return_sequences=True, recurrent_dropout=0.4, seed=7)
        return keras.Sequential([keras.Input((6, D)), keras.layers.Bidirectional(inner)])

    x, _ = data("LSTM", 6, False)
    ours, theirs = model(rnnzoo.layers), model(keras.layers)
    ours.save(tmp_path / "model.keras")
    loaded, expected = keras.saving.load_model(tmp_path / "model.keras"), theirs(x, training=True)
    for layer in (ours, loaded):
        np.testing.assert_allclose(layer(x, training=True), expected, atol=1e-5)
    assert hand_derived == [4] * 4


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_a_checkpoint_and_a_config_of_keras_load(kind, tmp_path):
    def model(module):
        layer = getattr(module, kind)(U, return_sequences=True)
        return keras.Sequential([keras.Input((None, D)), layer])

    theirs, ours = model(keras.layers), model(rnnzoo.layers)
    theirs.save_weights(tmp_path / "keras.weights.h5")
    ours.load_weights(tmp_path / "keras.weights.h5")
    x = np.random.default_rng(0).normal(size=(B, 6, D)).astype("float32")
    np.testing.assert_allclose(ours(x), theirs(x), atol=1e-6)
    config = theirs.layers[0].get_config()
    assert getattr(rnnzoo.layers, kind).from_config(config).get_config() == config


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (
            lambda: LSTM(3, peepholes=True),
            r"LSTMCell and SRUCell have it: .*rnnzoo\.layers\.LSTMCell\(units, peepholes=True\)",
        ),
        (lambda: LSTM(3, projection=2), r"LSTMCell\(units, projection=2\)"),
        (lambda: GRU(3, coupled=True), r"GRU: expected the arguments of keras\.layers\.GRU.*LSTMCell\(units, coupled"),
        (lambda: LSTM(3, epsilon=0.1), r"LayerNormLSTMCell and LayerNormGRUCell have it"),
        (lambda: LayerNormLSTM(3, peepholes=True), r"LayerNormLSTMCell: .*LSTMCell and SRUCell have it"),
        (lambda: SimpleRNN(3, reset_after=True), r"GRUCell has it"),
    ],
)
def test_an_option_of_a_cell_says_which_cell_has_it(build, message):
    with pytest.raises(ValueError, match=message) as caught:
        build()
    code = str(caught.value).rpartition("have it: " if "have it" in str(caught.value) else "has it: ")[2]
    layer = eval(code, {"keras": keras, "rnnzoo": rnnzoo, "units": 3})
    assert layer(np.zeros((1, 4, 2), "float32")).shape[0] == 1


def test_streams_as_keras_does(tmp_path):
    x = keras.Input((None, D))
    y = LSTM(U, return_sequences=True)(SimpleRNN(U, return_sequences=True)(x))
    y = GRU(U)(LayerNormLSTM(U, return_sequences=True)(y))
    report = streaming.convert(keras.Model(x, y), tmp_path / "model.tflite")
    assert report.max_abs_error < 1e-5


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU", pytest.param("LayerNormLSTM", marks=pytest.mark.slow)])
def test_a_second_derivative_is_refused(kind):
    layer, x = getattr(rnnzoo.layers, kind)(U), tf.ones((B, 7, D))

    def twice():
        with tf.GradientTape() as outer:
            outer.watch(x)
            with tf.GradientTape() as inner:
                inner.watch(x)
                y = tf.reduce_sum(layer(x))
            first = inner.gradient(y, x)
        return outer.gradient(first, x)

    with pytest.raises(NotImplementedError, match="a second one was asked for"):
        twice()


@pytest.mark.parametrize("kind", ["SimpleRNN", "LSTM", "GRU"])
def test_eager_layers_of_other_widths_and_lengths_may_run_before(kind):
    for units, steps in ((3, 4), (5, 6), (8, 3), (2, 7)):
        ours, theirs = (getattr(module, kind)(units, return_sequences=True) for module in (rnnzoo.layers, keras.layers))
        x = tf.random.normal((2, steps, units + 1), seed=units)
        ours(x)
        theirs.build(x.shape)
        theirs.set_weights(ours.get_weights())
        with tf.GradientTape() as tape:
            y = ours(x)
            loss = tf.reduce_sum(y**2)
        assert y.shape == (2, steps, units)
        np.testing.assert_allclose(y, theirs(x), atol=1e-5)
        assert [g.shape for g in tape.gradient(loss, ours.trainable_variables)] == [w.shape for w in ours.weights]
