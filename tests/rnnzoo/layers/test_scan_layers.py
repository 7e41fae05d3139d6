"""The layers that scan: long sequences, options and arguments, against a loop over their cells."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import ops

from rnnzoo.layers import (
    LRU,
    MLSTM,
    QRNN,
    RGLRU,
    SRU,
    Bidirectional,
    MinGRU,
    MinLSTM,
    linear_scan,
)

SLOW = pytest.mark.slow
D = 4
# More than one chunk of each scan, and no whole number of them.
STEPS = 70
LAYERS = {
    "lru": (LRU, {}),
    "rg-lru": (RGLRU, {}),
    "min-gru": (MinGRU, {}),
    "min-lstm": (MinLSTM, {}),
    "sru": (SRU, {"peepholes": False}),
    "qrnn": (QRNN, {"window": 3, "pooling": "ifo"}),
    "mlstm": (MLSTM, {"heads": 2}),
}


def made(name, **options):
    kind, own = LAYERS[name]
    return kind(D, **{"return_sequences": True, "seed": 3, **own, **options})


def pair(name, **options):
    """The layer, and Keras's loop over its cell, with the same weights."""
    layer = made(name, **options)
    of_layer = {k: v for k, v in options.items() if k not in ("dropout", "recompute")}
    kind, own = LAYERS[name]
    cell = kind.cell_class(D, seed=3, dtype=options.get("dtype"), dropout=options.get("dropout", 0.0), **own)
    loop = keras.layers.RNN(cell, **{"return_sequences": True, **of_layer})
    generator = np.random.default_rng(0)
    for one in (layer, loop):
        one.build((2, STEPS, D))
    weights = [w.numpy() + generator.normal(scale=0.1, size=w.shape) for w in layer.trainable_variables]
    for one in (layer, loop):
        for variable, value in zip(one.trainable_variables, weights, strict=True):
            variable.assign(value)
    return layer, loop


def example(dtype="float64"):
    generator = np.random.default_rng(1)
    keep = generator.random((2, STEPS)) < 0.7
    return generator.normal(size=(2, STEPS, D)).astype(dtype), keep


def made_again(layer, **changes):
    again = type(layer).from_config({**layer.get_config(), **changes})
    again.build((2, STEPS, D))
    again.set_weights(layer.get_weights())
    return again


def slopes(layer, x, mask, start, compiled=False):
    """Outputs and last states, and the gradients of all that goes in."""

    def both(x, *start):
        with tf.GradientTape() as tape:
            tape.watch((x, *start))
            found = layer(x, mask=mask, initial_state=list(start))
            loss = tf.add_n([tf.reduce_sum(tf.sin(y) * (1 + i)) for i, y in enumerate(found[:2])])
        sources = [*layer.trainable_variables, x, *start]
        return found, tape.gradient(loss, sources, unconnected_gradients="zero")

    run = tf.function(both) if compiled else both
    found, gradients = run(tf.constant(x), *map(tf.constant, start))
    return [np.asarray(value) for value in (*found, *gradients)]


FAST = [("min-gru", False), ("qrnn", True), ("mlstm", True)]
REST = [(name, True) for name in LAYERS if (name, True) not in FAST]


@pytest.mark.parametrize(("name", "masked"), [*FAST, *(pytest.param(*case, marks=SLOW) for case in REST)])
def test_all_that_goes_in_has_the_gradient_of_the_loop(name, masked):
    layer, loop = pair(name, return_state=True, dtype="float64")
    x, keep = example()
    generator = np.random.default_rng(2)
    sizes = layer.cell.state_size if isinstance(layer.cell.state_size, list) else [layer.cell.state_size]
    start = [generator.normal(size=(2, size)) for size in sizes]
    mask = tf.constant(keep) if masked else None
    expected = slopes(loop, x, mask, start, compiled=True)
    for one in (layer, made_again(layer, recompute=True)):
        found = slopes(one, x, mask, start)
        for wanted, got in zip(expected, found, strict=True):
            np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-9)


@SLOW
def test_recomputed_and_of_any_length_in_a_compiled_step():
    layer, _ = pair("min-gru", return_state=True, dtype="float64")
    x, keep = example()
    start = [np.zeros((2, D))]
    expected = slopes(layer, x, tf.constant(keep), start)
    again = made_again(layer, recompute=True)

    @tf.function(input_signature=[tf.TensorSpec((None, None, D), tf.float64), tf.TensorSpec((None, None), tf.bool)])
    def both(x, keep):
        with tf.GradientTape() as tape:
            found = again(x, mask=keep)
            loss = tf.add_n([tf.reduce_sum(tf.sin(y) * (1 + i)) for i, y in enumerate(found[:2])])
        return (*found, *tape.gradient(loss, again.trainable_variables))

    for wanted, got in zip(expected, both(x, keep), strict=False):
        np.testing.assert_allclose(got, wanted, rtol=1e-7, atol=1e-9)


@pytest.mark.parametrize("name", ["min-gru", pytest.param("qrnn", marks=SLOW), pytest.param("mlstm", marks=SLOW)])
def test_one_mask_of_the_inputs_for_all_steps(name):
    layer, loop = pair(name, dropout=0.5)
    x = np.ones((2, STEPS, D), "float32")
    keras.utils.set_random_seed(0)
    expected = ops.convert_to_numpy(loop(x, training=True))
    found = ops.convert_to_numpy(layer(x, training=True))
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert not np.allclose(found, ops.convert_to_numpy(layer(x, training=False)), atol=1e-2)


@pytest.mark.parametrize("name", [pytest.param("lru", marks=SLOW), "qrnn", "mlstm"])
def test_stateful_pieces_are_the_whole(name):
    whole, _ = pair(name)
    x, _ = example("float32")
    pieces = type(whole).from_config({**whole.get_config(), "stateful": True})
    pieces.build((2, STEPS, D))
    pieces.set_weights(whole.get_weights())
    expected = ops.convert_to_numpy(whole(x))
    for _ in range(2):
        found = [ops.convert_to_numpy(pieces(x[:, a:b])) for a, b in ((0, 1), (1, 40), (40, STEPS))]
        np.testing.assert_allclose(np.concatenate(found, axis=1), expected, atol=1e-5)
        pieces.reset_state()


@pytest.mark.parametrize("name", ["qrnn", pytest.param("mlstm", marks=SLOW)])
def test_masked_outputs_are_repeated_or_zero(name):
    layer, _ = pair(name)
    x, keep = example("float32")
    # Keras begins with an output of zeros.
    keep[:, 0] = False
    plain = ops.convert_to_numpy(layer(x, mask=tf.constant(keep)))
    zeros = ops.convert_to_numpy(made_again(layer, zero_output_for_mask=True)(x, mask=tf.constant(keep)))
    np.testing.assert_array_equal(zeros, np.where(keep[..., None], plain, 0))
    for row in range(2):
        last = np.zeros(D)
        for t in range(STEPS):
            last = zeros[row, t] if keep[row, t] else last
            np.testing.assert_array_equal(plain[row, t], last)


@pytest.mark.parametrize("wrapper", [Bidirectional, keras.layers.Bidirectional], ids=["ours", "keras"])
def test_both_directions(wrapper):
    both = wrapper(made("mlstm", return_sequences=True))
    x, _ = example("float32")
    lengths = np.array([STEPS, 30])
    mask = tf.sequence_mask(lengths, STEPS)
    found = ops.convert_to_numpy(both(x, mask=mask))
    for row, n in enumerate(lengths):
        alone = x[row : row + 1, :n]
        forward, backward = both.forward_layer(alone), ops.flip(both.backward_layer(alone), axis=1)
        if getattr(both.backward_layer, "go_backwards", False) is False:
            backward = ops.flip(both.backward_layer(ops.flip(alone, axis=1)), axis=1)
        expected = np.concatenate([forward, backward], axis=-1)
        np.testing.assert_allclose(found[row : row + 1, :n], expected, atol=1e-5)


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16"])
@pytest.mark.parametrize("name", ["rg-lru", pytest.param("sru", marks=SLOW), pytest.param("mlstm", marks=SLOW)])
def test_half_precision_does_not_drift_over_many_steps(name, policy):
    keras.utils.set_random_seed(0)
    x = np.random.default_rng(0).normal(size=(1, 4096, D)).astype("float32")
    full, half = made(name), made(name, dtype=policy)
    expected = ops.convert_to_numpy(full(x))
    half.build(x.shape)
    half.set_weights(full.get_weights())
    found = half(x)
    assert found.dtype == half.compute_dtype
    error = np.abs(ops.convert_to_numpy(ops.cast(found, "float32")) - expected)
    # Of most: where an mLSTM divides by nearly nothing, any error is a large one.
    early, late = (np.quantile(part, 0.9) for part in (error[:, :1024], error[:, -1024:]))
    assert early < {"float16": 0.004, "bfloat16": 0.04}[half.compute_dtype] * np.std(expected)
    assert late < 2 * early


def test_half_precision_is_scanned_in_float32():
    generator = np.random.default_rng(0)
    a, b = generator.uniform(0.99, 1, (1, 4096, 2)).astype("float16"), generator.normal(size=(1, 4096, 2))
    h = np.zeros((1, 2))
    for t in range(4096):
        h = a[:, t].astype("float64") * h + b[:, t].astype("float16")
    found = linear_scan(a, b.astype("float16"))
    assert found.dtype == "float32"
    np.testing.assert_allclose(found[:, -1], h, rtol=1e-5)


@pytest.mark.parametrize("reverse", [False, True])
@pytest.mark.parametrize("pairs", [False, True], ids=["real", "complex"])
def test_the_gradient_of_a_scan_by_finite_differences(reverse, pairs):
    generator = np.random.default_rng(3)
    shapes = [(2, STEPS, 1), (2, STEPS, 3), (2, 3)]
    values = [generator.uniform(-0.9, 0.9, shape) for shape in shapes for _ in range(1 + pairs)]
    weight = generator.normal(size=(1 + pairs, 2, STEPS, 3))
    keep = tf.constant(generator.random((2, STEPS)) < 0.8)

    def loss(*values):
        operands = [values[2 * k : 2 * k + 2] for k in range(3)] if pairs else values
        found = linear_scan(*operands, mask=keep, reverse=reverse)
        return ops.sum(weight * ops.stack(found if pairs else [found]))

    tensors = [tf.constant(v) for v in values]
    with tf.GradientTape() as tape:
        tape.watch(tensors)
        result = loss(*tensors)
    for place, slope in enumerate(tape.gradient(result, tensors)):
        move = generator.normal(size=values[place].shape)
        sides = [loss(*(v + s * 1e-6 * move if i == place else v for i, v in enumerate(values))) for s in (1, -1)]
        assert np.sum(slope.numpy() * move) == pytest.approx(float(sides[0] - sides[1]) / 2e-6, rel=1e-6, abs=1e-6)


@pytest.mark.parametrize("gate", [pytest.param(-60.0, marks=SLOW), pytest.param(0.0, marks=SLOW), 60.0])
def test_a_matrix_memory_over_65536_steps_in_float32(gate):
    """Input gates of exp(gate + noise) against the equations in float64."""
    generator = np.random.default_rng(0)
    layer = MLSTM(2, return_sequences=True)
    x = generator.normal(size=(1, 65536, 2)).astype("float32")
    layer.build(x.shape)
    layer.cell.gate_bias.assign([gate, 6.0])
    w = {v.name: v.numpy().astype("float64") for v in layer.weights}
    q, k, v, o = np.split(x[0] @ w["kernel"] + w["bias"], 4, axis=-1)
    i, f = (x[0] @ w["gate_kernel"] + w["gate_bias"]).T
    k, o, i, f = k / np.sqrt(2), 1 / (1 + np.exp(-o)), np.exp(i), 1 / (1 + np.exp(-f))
    memory, n, expected = np.zeros((2, 2)), np.zeros(2), []
    for t in range(65536):
        memory, n = f[t] * memory + i[t] * np.outer(k[t], v[t]), f[t] * n + i[t] * k[t]
        expected.append(o[t] * (q[t] @ memory) / max(abs(q[t] @ n), 1))
    found, expected = ops.convert_to_numpy(layer(x))[0], np.array(expected)
    # Where q n is near zero, both rules divide by what rounding left of it.
    error = np.abs(found - expected) / np.maximum(1, np.abs(expected))
    assert np.isfinite(found).all()
    assert np.quantile(error, 0.99) < 1e-4


@SLOW
@pytest.mark.parametrize("name", ["lru", "min-gru", "mlstm"])
def test_memory_is_linear_in_the_number_of_steps(name):
    layer = made(name)

    def sizes(steps):
        """Elements of all tensors of a training step."""

        @tf.function
        def step(x):
            with tf.GradientTape() as tape:
                loss = tf.reduce_sum(layer(x) ** 2)
            return tape.gradient(loss, layer.trainable_variables)

        graph = step.get_concrete_function(tf.TensorSpec((1, steps, D))).graph
        return sum(y.shape.num_elements() or 0 for op in graph.get_operations() for y in op.outputs if y.shape.rank)

    assert sizes(8192) < 2.1 * sizes(4096)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: MLSTM(6, heads=4), "heads that divide the units. Received: units=6, heads=4"),
        (lambda: MLSTM(4, forget_gate="relu"), "forget_gate among sigmoid, exponential. Received: forget_gate='relu'"),
        (lambda: MLSTM(4, activation="tanh"), "has no option activation"),
        (lambda: QRNN(4, pooling="io"), "pooling among f, fo, ifo. Received: pooling='io'"),
        (lambda: SRU(4, peephole=True), "expected options among .*highway_bias.* Received: peephole=True"),
    ],
)
def test_bad_input_is_named(call, said):
    with pytest.raises(ValueError, match=said):
        call()
