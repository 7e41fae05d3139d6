"""The zoo's layers against their equations, written again in NumPy, and against their own streams."""

import keras
import numpy as np
import pytest

from rnnzoo.layers import CharCNN, Latch, LookaheadConv, PaddedEmbedding


def lookahead_oracle(x, kernel, bias, context, lookahead, depthwise):
    """y[t] = b + sum_k x[t + k] W[k], loop by loop."""
    batch, steps, features = x.shape
    units = features if depthwise else kernel.shape[1]
    taps = kernel.reshape(context + 1 + lookahead, features, -1)
    y = np.zeros((batch, steps, units)) + bias
    for t in range(steps):
        for k in range(-context, lookahead + 1):
            if 0 <= t + k < steps:
                w = taps[k + context]
                y[:, t] += x[:, t + k] * w[:, 0] if depthwise else x[:, t + k] @ w
    return y


def stream(layer, x, chunk):
    """Feed a sequence chunk by chunk, then the zeros that the delay needs, and keep what is valid."""
    spec = layer.stream_spec((None, None, *x.shape[2:]))
    states = {name: np.full((len(x), *s["shape"]), s["initial"], s["dtype"]) for name, s in spec["states"].items()}
    steps, rest = x.shape[1], -(x.shape[1] + spec["delay"]) % chunk
    padded = np.pad(x, [(0, 0), (0, spec["delay"] + rest)] + [(0, 0)] * (x.ndim - 2))
    outputs, kept = [], []
    for start in range(0, padded.shape[1], chunk):
        valid = np.broadcast_to(np.arange(start, start + chunk) < steps, (len(x), chunk))
        y, valid, states = layer.stream_step(padded[:, start : start + chunk], valid, states)
        outputs.append(np.asarray(y))
        kept.append(np.asarray(valid))
    kept = np.concatenate(kept, axis=1)[0]
    return np.concatenate(outputs, axis=1)[:, kept]


@pytest.mark.parametrize("units", [None, 5])
@pytest.mark.parametrize(("context", "lookahead"), [(0, 2), (2, 2), (1, 0), (0, 0)])
def test_lookahead_conv_is_its_equation(units, context, lookahead, rng):
    layer = LookaheadConv(units, lookahead, context)
    x = rng.normal(size=(3, 7, 4)).astype("float32")
    layer.build(x.shape)
    layer.set_weights([rng.normal(size=w.shape) for w in layer.get_weights()])
    kernel, bias = layer.get_weights()
    expected = lookahead_oracle(x, kernel, bias, context, lookahead, units is None)
    np.testing.assert_allclose(layer(x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("units", [None, 5])
@pytest.mark.parametrize(("context", "lookahead"), [(0, 2), (2, 2), (1, 0), (0, 0), (0, 5)])
@pytest.mark.parametrize("chunk", [1, 3])
def test_lookahead_conv_stream_equals_layer(units, context, lookahead, chunk, rng):
    layer = LookaheadConv(units, lookahead, context, activation="tanh")
    layer.build((None, None, 4))
    for steps in (1, 2, 8):
        x = rng.normal(size=(2, steps, 4)).astype("float32")
        np.testing.assert_allclose(stream(layer, x, chunk), layer(x), rtol=1e-5, atol=1e-6)


def test_lookahead_conv_needs_no_validity_to_step(rng):
    layer = LookaheadConv(3, 1)
    x = rng.normal(size=(1, 4, 2)).astype("float32")
    whole = np.asarray(layer(x))
    states = {"inputs": np.zeros((1, 1, 2), "float32"), "valid": np.zeros((1, 1), "float32")}
    y, valid, _ = layer.stream_step(x, None, states)
    assert valid is None
    np.testing.assert_allclose(np.asarray(y)[:, 1:], whole[:, :-1], rtol=1e-5, atol=1e-6)


def test_lookahead_conv_mask_equals_shorter_sequence(rng):
    layer = LookaheadConv(3, lookahead=2, context=1)
    x = rng.normal(size=(1, 6, 2)).astype("float32")
    mask = np.arange(6)[None] < 4
    np.testing.assert_allclose(np.asarray(layer(x, mask=mask))[:, :4], layer(x[:, :4]), rtol=1e-5, atol=1e-6)


def test_padded_embedding_looks_up_and_zeroes_padding():
    layer = PaddedEmbedding(5, 3)
    ids = np.array([[[1, 0], [4, 2]]])
    y = np.asarray(layer(ids))
    table = layer.get_weights()[0]
    assert y.shape == (1, 2, 6)
    np.testing.assert_array_equal(y[0, 0], np.concatenate([table[1], np.zeros(3)]))
    np.testing.assert_array_equal(y[0, 1], np.concatenate([table[4], table[2]]))
    np.testing.assert_array_equal(np.asarray(layer(ids[..., 0]))[0, 1], table[4])


def test_char_cnn_is_its_equation(rng):
    layer = CharCNN(char_size=3, filters=4, widths=(2, 3))
    x = rng.normal(size=(2, 2, 5 * 3)).astype("float32")
    x[0, 1] = 0
    layer.build(x.shape)
    layer.thresholds.assign(rng.uniform(size=8))
    *kernels, thresholds = layer.get_weights()
    for b, t in np.ndindex(2, 2):
        expected = []
        for width, kernel in zip((2, 3), kernels, strict=True):
            left = (width - 1) // 2
            padded = np.pad(x[b, t].reshape(5, 3), [(left, width - 1 - left), (0, 0)])
            windows = np.stack([padded[i : i + width] for i in range(5)])
            expected.append(np.einsum("iwc,wcf->if", windows, kernel).max(axis=0))
        expected = np.maximum(np.concatenate(expected) - thresholds, 0)
        np.testing.assert_allclose(np.asarray(layer(x))[b, t], expected, rtol=1e-4, atol=1e-5)
    assert not np.asarray(layer(x))[0, 1].any()


def test_unknown_rate_hides_known_words_in_training_only():
    layer = PaddedEmbedding(5, 1, unknown_rate=0.5, unknown=1, seed=3)
    ids = np.array([[0, 2, 3, 4] * 200], "int32")
    layer.build(ids.shape)
    layer.set_weights([np.arange(5.0)[:, None]])
    np.testing.assert_array_equal(layer(ids)[..., 0], ids)
    dropped = np.asarray(layer(ids, training=True))[..., 0]
    changed = dropped != ids
    assert (dropped[changed] == 1).all()
    assert not changed[ids == 0].any()
    assert 0.4 < changed[ids != 0].mean() < 0.6


LAYERS = {
    "lookahead": (LookaheadConv(6, 2, 1, "relu", name="layer"), (2, 5, 3)),
    "row": (LookaheadConv(None, 2, use_bias=False, name="layer"), (2, 5, 3)),
    "embedding": (PaddedEmbedding(9, 3, name="layer"), (2, 5, 4)),
    "chars": (CharCNN(3, 4, (2, 3), name="layer"), (2, 5, 12)),
    "unknown": (PaddedEmbedding(9, 3, unknown_rate=0.2, seed=1, name="layer"), (2, 5)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_config_and_model_survive_saving(name, tmp_path, rng):
    layer, shape = LAYERS[name]
    ids = name in ("embedding", "unknown")
    x = rng.integers(0, 9, shape) if ids else rng.normal(size=shape)
    x = x.astype("int32" if ids else "float32")
    inputs = keras.Input((None, *shape[2:]), dtype=x.dtype.name)
    model = keras.Model(inputs, layer(inputs))
    assert model.output_shape == (None, None, *np.asarray(layer(x)).shape[2:])
    model.save(tmp_path / "model.keras")
    again = keras.models.load_model(tmp_path / "model.keras")
    assert again.get_layer("layer").get_config() == layer.get_config()
    np.testing.assert_array_equal(again.predict_on_batch(x), model.predict_on_batch(x))


def test_a_stateful_latch_holds_from_batch_to_batch():
    ids = np.array([[0, 7, 1, 2, 9, 0, 1], [6, 0, 0, 8, 0, 2, 0]], "int32")
    inputs = keras.Input(batch_shape=(2, None), dtype="int32")
    model = keras.Model(inputs, Latch(6, 2, stateful=True, name="latch")(inputs))
    for _ in range(2):
        found = [model.predict_on_batch(ids[:, a:b]) for a, b in ((0, 1), (1, 3), (3, 4), (4, 7))]
        assert np.concatenate(found, axis=1).tolist() == [[0, 2, 2, 0, 4, 4, 4], [1, 1, 1, 3, 3, 0, 0]]
        model.layers[-1].reset_state()


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: LookaheadConv(3, lookahead=-1), "lookahead=-1"),
        (lambda: LookaheadConv(0), "units=0"),
        (lambda: Latch(0), "first=0"),
        (lambda: Latch(5, clear=5), "clear=5"),
        (lambda: Latch(5, stateful=True).build((None, 3)), "(None, 3)"),
        (lambda: CharCNN(5, widths=()), "widths=()"),
        (lambda: CharCNN(5).build((None, None, 12)), "(None, None, 12)"),
        (lambda: PaddedEmbedding(5, 3, unknown_rate=1.0), "unknown_rate=1.0"),
    ],
)
def test_impossible_sizes_are_named(make, said):
    with pytest.raises(ValueError, match="expected") as error:
        make()
    assert said in str(error.value)


@pytest.fixture
def rng():
    return np.random.default_rng(0)
