"""The forms of the recurrent loops compute what Keras computes, and the table of the benchmark says which is taken."""

import itertools

import keras
import numpy as np
import pytest
import tensorflow as tf

import rnnzoo.layers
from benchmarks import widths
from rnnzoo.layers.recurrent import forms, tensorflow_layer
from rnnzoo.layers.recurrent.forms import FORMS, PLAIN, Form, choose

B, T, D, U = 5, 7, 4, 6
KINDS = ("LSTM", "GRU", "SimpleRNN", "LayerNormLSTM")
# (arguments of the layer, whether it has a mask, whether it starts from a given state)
OPTIONS = [
    ({"return_sequences": True, "return_state": True}, False, True),
    ({"go_backwards": True, "return_state": True}, True, True),
    ({"return_sequences": True, "zero_output_for_mask": True}, True, False),
]
CASES = [
    (name, kind, *OPTIONS[place % len(OPTIONS)]) for place, (name, kind) in enumerate(itertools.product(FORMS, KINDS))
]
CASES += [(name, "GRU", {"reset_after": False}, True, True) for name in ("graph-2", "xla", "xla-2")]
CASES += [(name, "LSTM", {"use_bias": False, "activation": "relu"}, True, False) for name in ("xla-2", "graph-2")]


def pair(kind, **options):
    """Our layer and Keras's with the same random weights."""
    generator = np.random.default_rng(2)
    ours = getattr(rnnzoo.layers, kind)(U, **options)
    ours.build((B, T, D))
    for weight in ours.weights:
        weight.assign(generator.normal(size=weight.shape) * 0.5)
    if kind == "LayerNormLSTM":
        return ours, keras.layers.RNN(ours.cell, **options)
    theirs = getattr(keras.layers, kind)(U, **options)
    theirs.build((B, T, D))
    theirs.set_weights(ours.get_weights())
    return ours, theirs


def derive(layer, x, mask=None, states=(), signature=None):
    """Outputs, and the gradients of a loss that uses all of them, in a graph."""

    def run(x, *states):
        with tf.GradientTape() as tape:
            tape.watch([x, *states])
            outputs = tf.nest.flatten(layer(x, initial_state=list(states) or None, mask=mask, training=True))
            loss = sum(tf.reduce_sum(tf.square(y) * tf.sin(tf.range(y.shape[-1], dtype="float32"))) for y in outputs)
        return outputs, tape.gradient(loss, [x, *states, *(weight.value for weight in layer.trainable_weights)])

    return tf.function(run, input_signature=signature, autograph=False)(x, *states)


def compiled_functions(layer, signature, training):
    """The functions in the graph of a layer that XLA compiles."""
    run = tf.function(lambda x: layer(x, training=training), input_signature=[signature], autograph=False)
    library = run.get_concrete_function().graph.as_graph_def().library.function
    return [each.signature.name for each in library if each.attr["_XlaMustCompile"].b]


@pytest.mark.parametrize(("name", "kind", "options", "masked", "started"), CASES)
def test_a_form_computes_what_keras_computes(name, kind, options, masked, started, monkeypatch):
    ours, theirs = pair(kind, **options)
    generator = np.random.default_rng(3)
    x = tf.constant(generator.normal(size=(B, T, D)), "float32")
    count = (2 if "LSTM" in kind else 1) if started else 0
    states = [tf.constant(generator.normal(size=(B, U)), "float32") for _ in range(count)]
    mask = tf.constant(generator.random((B, T)) < 0.6) if masked else None
    monkeypatch.setattr(tensorflow_layer, "find_form", lambda *_: FORMS[name])
    found, expected = (derive(layer, x, mask, states) for layer in (ours, theirs))
    for y, wanted in zip(found[0], expected[0], strict=True):
        np.testing.assert_allclose(y, wanted, rtol=0, atol=1e-5)
    for d, wanted in zip(found[1], expected[1], strict=True):
        np.testing.assert_allclose(d, wanted, rtol=0, atol=1e-4 * max(1.0, float(tf.reduce_max(tf.abs(wanted)))))


@pytest.mark.parametrize("batch", [1, 2, 3])
def test_halves_of_a_batch_of_unknown_size(batch, monkeypatch):
    monkeypatch.setattr(tensorflow_layer, "find_form", lambda *_: FORMS["graph-2"])
    ours, theirs = pair("LSTM", return_sequences=True)
    x = tf.random.normal((batch, T, D), seed=1)
    signature = [tf.TensorSpec((None, None, D))]
    found, expected = (tf.nest.flatten(derive(each, x, signature=signature)) for each in (ours, theirs))
    for value, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(value, wanted, atol=2e-5)


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table of two rows for LSTM without a mask, one for GRU with one."""
    path = tmp_path / "forms.csv"
    path.write_text(
        "layer,masked,units,batch,form,without_xla\nLSTM,no,16,32,xla-2,graph-2\nLSTM,no,256,32,graph,graph\n"
        "LSTM,no,16,1,xla,graph\nLSTM,yes,64,32,xla-2,graph-2\n"
    )
    rows = forms.read(path)
    monkeypatch.setattr(forms, "read", lambda: rows)


@pytest.mark.parametrize(
    ("arguments", "name"),
    [
        (("LSTM", False, 16, 32, True), "xla-2"),
        (("LSTM", False, 16, 32, False), "graph-2"),
        (("LSTM", False, 60, 32, True), "xla-2"),
        (("LSTM", False, 70, 40, True), "graph"),
        (("LSTM", False, 5000, 4096, True), "graph"),
        (("LSTM", False, 8, 2, True), "xla"),
        (("LSTM", False, 16, None, True), "xla-2"),
        (("LSTM", True, 16, 1, True), "xla-2"),
        (("GRU", False, 16, 32, True), "graph"),
    ],
)
def test_the_nearest_row_says_the_form(arguments, name, table):
    assert choose(*arguments).name == name


@pytest.mark.parametrize(
    ("shape", "training", "expected"),
    [
        ((32, 9, D), True, Form(True, 2)),
        ((1, 9, D), True, Form(True)),
        ((None, 9, D), True, Form(True, 2)),
        ((32, None, D), True, Form(False, 2)),
        ((32, 9, D), False, PLAIN),
    ],
)
def test_xla_is_for_training_with_a_known_number_of_steps(shape, training, expected, table, monkeypatch):
    taken, find = [], tensorflow_layer.find_form
    monkeypatch.setattr(tensorflow_layer, "_one_thread", lambda: False)
    monkeypatch.setattr(tensorflow_layer, "find_form", lambda *given: taken.append(find(*given)) or taken[-1])
    layer = rnnzoo.layers.LSTM(16)
    layer.build((None, None, D))
    compiled = compiled_functions(layer, tf.TensorSpec(shape), training)
    assert taken[-1] == expected
    assert bool(compiled) == expected.compiled


def test_one_core_runs_no_halves(table, monkeypatch):
    layer = rnnzoo.layers.LSTM(16)

    def find():
        with tf.Graph().as_default():
            return tensorflow_layer.find_form(layer, tf.zeros((32, 9, D)), False, True)

    monkeypatch.setattr(tensorflow_layer.os, "cpu_count", lambda: 2)
    monkeypatch.delenv("TF_NUM_INTEROP_THREADS", raising=False)
    assert find() == Form(True, 2)
    monkeypatch.setenv("TF_NUM_INTEROP_THREADS", "1")
    assert find() == PLAIN
    monkeypatch.delenv("TF_NUM_INTEROP_THREADS")
    monkeypatch.setattr(tensorflow_layer.os, "cpu_count", lambda: 1)
    assert find() == PLAIN


def test_eager_calls_and_other_types_take_the_plain_form(table):
    layer = rnnzoo.layers.LSTM(16)
    assert tensorflow_layer.find_form(layer, tf.zeros((32, 9, D)), False, True) == PLAIN
    with tf.Graph().as_default():
        assert tensorflow_layer.find_form(layer, tf.zeros((32, 9, D), "float16"), False, True) == PLAIN


@pytest.mark.slow
def test_a_model_that_was_trained_compiled_is_saved_and_converted(tmp_path, monkeypatch):
    monkeypatch.setattr(tensorflow_layer, "find_form", lambda *given: FORMS["xla-2"] if given[-1] else PLAIN)
    model = keras.Sequential([keras.Input((T, D)), rnnzoo.layers.LSTM(U, return_sequences=True)])
    model.compile("sgd", "mse")
    x = np.random.default_rng(0).normal(size=(7, T, D)).astype("float32")
    losses = model.fit(x, np.zeros((7, T, U)), batch_size=4, epochs=2, verbose=0).history["loss"]
    assert losses[1] < losses[0]
    model.save(tmp_path / "model.keras")
    np.testing.assert_array_equal(keras.saving.load_model(tmp_path / "model.keras")(x), model(x))
    model.export(tmp_path / "saved", verbose=False)
    exported = tf.saved_model.load(tmp_path / "saved")
    np.testing.assert_allclose(exported.serve(x), model(x), atol=1e-6)


def test_the_table_is_what_the_benchmark_measured(tmp_path):
    times = widths.load()
    assert {each.cell for each in times} == set(widths.CELLS)
    widths.write_table(times, tmp_path / "forms.csv")
    assert (tmp_path / "forms.csv").read_text() == forms.TABLE.read_text()
    keys = {row[:4] for row in forms.read()}
    assert keys == {(c.layer, c.masked, c.units, c.batch) for c in widths.CELLS if c.layer != "Bidirectional"}
