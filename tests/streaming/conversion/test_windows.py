"""A stream of windows: row k is model(x[k * hop : k * hop + W]), however the input is cut."""

from __future__ import annotations

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from window_models import (
    MODELS,
    W,
    backwards,
    draw,
    ends_of,
    expected,
    keyword_cnn,
    streamed,
    text_classifier,
    transformer,
)

import streaming


@pytest.mark.parametrize("hop", [1, 5, W, W + 3])
@pytest.mark.parametrize("name", MODELS)
def test_windows_equal_the_model_on_them(name, hop, tmp_path):
    model = MODELS[name]()
    report = streaming.convert(model, tmp_path / "m.tflite", hop=hop)
    assert (report.window, report.hop) == (W, hop)
    loaded = streaming.load(tmp_path / "m.tflite")
    assert (loaded.window, loaded.hop) == (W, hop)
    for steps in (0, 1, W - 1, W, W + 1, 3 * W + 2):
        x = draw(model, steps, steps)
        cuts = sorted(np.random.default_rng(steps).integers(0, steps + 1, 3))
        wanted = expected(model, x, hop)
        assert len(wanted) == max(0, (steps - W) // hop + 1)
        np.testing.assert_allclose(streamed(loaded, x, cuts), wanted, atol=3e-6)


@pytest.mark.parametrize("hop", [1, 5])
@pytest.mark.parametrize("pad", ["pre", "post"])
@pytest.mark.parametrize("name", ["keyword cnn", "text", "transformer"])
def test_windows_that_are_not_full_are_padded(name, pad, hop, tmp_path):
    model = MODELS[name]()
    streaming.convert(model, tmp_path / "m.tflite", hop=hop, pad=pad)
    loaded = streaming.load(tmp_path / "m.tflite")
    for steps in (0, 1, 7, W, W + 1, 2 * W + 3):
        x = draw(model, steps, steps)
        cuts = sorted(np.random.default_rng(steps).integers(0, steps + 1, 2))
        np.testing.assert_allclose(streamed(loaded, x, cuts), expected(model, x, hop, pad), atol=3e-6)


@pytest.mark.slow
def test_a_text_of_seven_words_has_an_answer(tmp_path):
    model = text_classifier()
    streaming.convert(model, tmp_path / "m.tflite", pad="post")
    words = np.array([3, 7, 1, 12, 9, 4, 2], "float32")
    stream = streaming.load(tmp_path / "m.tflite").create_stream()
    np.testing.assert_allclose(stream.feed(words)[-1], model(np.pad(words, (0, W - 7))[None])[0], atol=3e-6)


def test_unknown_length_with_a_window_asked_for(tmp_path):
    model = transformer(None)
    report = streaming.convert(model, tmp_path / "m.tflite", window=7, hop=2)
    assert report.window == 7
    x = draw(model, 30)
    got = streamed(streaming.load(tmp_path / "m.tflite"), x, [11])
    np.testing.assert_allclose(got, expected(model, x, 2, window=7), atol=3e-6)


def test_a_row_of_numbers_that_the_model_shapes_into_steps(tmp_path):
    """As models whose recordings lie in one row: every fourth number completes a step."""
    x = keras.Input((4 * W,))
    y = layers.Conv1D(3, 3)(layers.Reshape((W, 4))(x))
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))
    report = streaming.convert(model, tmp_path / "m.tflite", hop=4)
    assert report.window == 4 * W
    data = np.random.default_rng(0).normal(size=4 * (W + 3)).astype("float32")
    got = streaming.load(tmp_path / "m.tflite").create_stream().feed(data)
    np.testing.assert_allclose(got, model(np.stack([data[4 * k : 4 * (k + W)] for k in range(4)])), atol=3e-6)


@pytest.mark.slow
def test_what_is_decided(tmp_path):
    path = tmp_path / "m.tflite"
    x = keras.Input((W, 3))
    every = keras.Model(x, layers.LSTM(4, return_sequences=True)(x))
    last = keras.Model(x, layers.LSTM(4)(x))
    one = keras.Input(batch_shape=(1, 1, 3))
    held = keras.Model(one, layers.LSTM(4, stateful=True)(one))
    assert streaming.convert(every, path).window is None
    assert streaming.convert(last, path).window == W
    assert streaming.convert(last, path, window="carry").window is None
    assert streaming.convert(held, path).window is None
    # Seen from outside: a carried stream goes on from the rows before, also beyond the length of the model.
    data = np.random.default_rng(0).normal(size=(20, 3)).astype("float32")
    rows = streaming.load(path).create_stream().feed(data)
    held.layers[-1].reset_state()
    np.testing.assert_allclose(rows, [np.asarray(held(row[None, None]))[0] for row in data], atol=3e-6)


@pytest.mark.parametrize("kind", ["functional", "sequential", "nested", "shared", "reshaped", "literal"])
def test_fixed_lengths_are_carried(kind, tmp_path):
    dense = layers.Dense(4)
    parts = [layers.Conv1D(4, 3, padding="causal"), layers.GRU(4, return_sequences=True)]
    x = keras.Input((W, 4))
    if kind == "sequential":
        model = keras.Sequential([keras.Input((W, 4)), *parts, dense])
    elif kind == "nested":
        model = keras.Model(x, dense(keras.Sequential([keras.Input((W, 4)), *parts])(x)))
    elif kind == "shared":
        model = keras.Model(x, dense(parts[1](dense(parts[0](x)))))
    elif kind == "reshaped":
        model = keras.Model(x, dense(parts[1](layers.Reshape((W, 4))(layers.Reshape((W, 2, 2))(x)))))
    elif kind == "literal":
        x = keras.Input(batch_shape=(1, W, 4))
        y = keras.ops.reshape(dense(keras.ops.reshape(x, (1, W, 2, 2))), (1, W, 8))
        model = keras.Model(x, layers.GRU(4, return_sequences=True, stateful=True)(y))
    else:
        model = keras.Model(x, dense(parts[1](parts[0](x))))
    report = streaming.convert(model, tmp_path / "m.tflite")
    assert report.window is None
    data = draw(model, W)
    got = streamed(streaming.load(tmp_path / "m.tflite"), data, [3, 4])
    np.testing.assert_allclose(got, model(data[None])[0], atol=3e-6)


@pytest.mark.parametrize("options", [{"chunk": 10}, {"state": "internal"}, {"batch_sizes": (1, 3)}, {"chunk": 20}])
def test_chunks_batches_and_internal_state(options, tmp_path):
    model = keyword_cnn()
    streaming.convert(model, tmp_path / "m.tflite", hop=5, **options)
    loaded = streaming.load(tmp_path / "m.tflite")
    x = [draw(model, 40, seed) for seed in range(3)]
    streams = [loaded.create_stream() for _ in x]
    got = [[] for _ in x]
    for begin in range(0, 40, loaded.chunk):
        rows = loaded.step_streams(streams, [data[begin : begin + loaded.chunk] for data in x])
        for column, row in zip(got, rows, strict=True):
            column.append(row)
    for data, column in zip(x, got, strict=True):
        np.testing.assert_allclose(np.concatenate(column), expected(model, data, 5), atol=3e-6)


def test_save_restore_and_fork(tmp_path):
    model = keyword_cnn()
    streaming.convert(model, tmp_path / "m.tflite", hop=5)
    loaded = streaming.load(tmp_path / "m.tflite")
    x = draw(model, 50)
    stream = loaded.create_stream()
    stream.feed(x[:23])
    assert stream.position == 23
    again, other = loaded.restore(stream.save()), stream.fork()
    rest = stream.feed(x[23:])
    assert len(rest) == len(ends_of(50, 5)) - len(ends_of(23, 5))
    np.testing.assert_array_equal(again.feed(x[23:]), rest)
    np.testing.assert_array_equal(other.feed(x[23:]), rest)


@pytest.mark.parametrize("quantize", ["float16", "dynamic", "int8"])
def test_quantized_windows(quantize, tmp_path):
    model = keyword_cnn()
    data = [draw(model, 60, seed) for seed in range(3)]
    calibration = data if quantize == "int8" else None
    streaming.convert(model, tmp_path / "m.tflite", quantize=quantize, calibration=calibration)
    got = streamed(streaming.load(tmp_path / "m.tflite"), data[0], [20])
    np.testing.assert_allclose(got, expected(model, data[0]), atol=0.05)


@pytest.mark.slow
def test_static_and_sequence_inputs(tmp_path):
    x, image = keras.Input((W, 3), name="x"), keras.Input((8, 2), name="image")
    y = layers.Concatenate(axis=1)([layers.Dense(2)(x), image])
    model = keras.Model([x, image], layers.Dense(2)(layers.GRU(4)(y)))
    path = tmp_path / "m.tflite"
    with pytest.raises(streaming.NotStreamableError, match=r"'x' 12, 'image' 8.*window=8 or window=12"):
        streaming.convert(model, path)
    streaming.convert(model, path, window=W)
    generator = np.random.default_rng(0)
    data = generator.normal(size=(W + 4, 3)).astype("float32")
    still = generator.normal(size=(8, 2)).astype("float32")
    rows = streaming.load(path).create_stream().feed({"x": data, "image": still})
    wanted = [np.asarray(model([data[k : k + W][None], still[None]]))[0] for k in range(5)]
    np.testing.assert_allclose(rows, wanted, atol=3e-6)


def test_what_is_kept_is_computed_once(tmp_path):
    """At hop 1 a step of a convolutional keyword spotter costs a small part of the whole window."""
    x = keras.Input((49, 40))
    y = layers.Conv1D(16, 5, activation="relu")(x)
    y = layers.Conv1D(16, 5, activation="relu")(y)
    model = keras.Model(x, layers.Dense(4)(layers.Flatten()(y)))
    report = streaming.convert(model, tmp_path / "m.tflite")
    whole = 45 * 5 * 40 * 16 + 41 * 5 * 16 * 16 + 41 * 16 * 4
    assert report.costs["step"].multiply_adds <= 0.15 * whole
    plan = {row.name: row.anew for row in streaming.load(tmp_path / "m.tflite").metadata.plan}
    assert [plan[layer.name] for layer in model.layers[1:]] == [False, False, True, True]
    assert any("computed anew" in note for note in report.notes)


@pytest.mark.parametrize("options", [{}, {"hop": 5}, {"hop": 5, "chunk": 10}, {"state": "internal"}])
def test_nothing_is_computed_before_a_window_is_full(options, tmp_path):
    model = backwards()
    report = streaming.convert(model, tmp_path / "m.tflite", **options)
    assert report.costs["fill"].multiply_adds == 0
    assert report.costs["step"].multiply_adds > 0
    loaded = streaming.load(tmp_path / "m.tflite")
    x = draw(model, 3 * W)
    for size in (1, 7, 3 * W):
        rows = loaded.create_stream().feed(x[:size])
        np.testing.assert_allclose(rows, expected(model, x[:size], report.hop), atol=3e-6)
    stream = loaded.create_stream()
    steps = [stream.step(x[k : k + loaded.chunk]) for k in range(0, 3 * W - loaded.chunk + 1, loaded.chunk)]
    wanted = expected(model, x[: loaded.chunk * len(steps)], report.hop)
    np.testing.assert_allclose(np.concatenate(steps), wanted, atol=3e-6)


BAD = [
    ({"window": 0}, r"window is 0, expected a whole number"),
    ({"window": -3}, r"window is -3"),
    ({"window": 65_537}, r"window is 65537"),
    ({"window": "all"}, r"window is 'all'"),
    ({"window": 7}, r"window is 7, but .* 12 steps"),
    ({"hop": 0}, r"hop is 0"),
    ({"pad": "both"}, r"pad is 'both'"),
    ({"window": W, "lookahead": 3}, r"lookahead does not go with window"),
    ({"window": W, "attention_window": 3}, r"attention_window does not go with window"),
    ({"window": "carry", "hop": 2}, r"hop and pad are those of windows"),
    ({"hop": 4, "chunk": 6}, r"chunk is 6, but windows come every 4 steps; give chunk=4"),
]


@pytest.mark.parametrize(("options", "match"), BAD)
def test_bad_options(options, match, tmp_path):
    with pytest.raises(streaming.InputError, match=match):
        streaming.convert(keyword_cnn(), tmp_path / "m.tflite", **options)
    assert not list(tmp_path.iterdir())


def test_hop_of_a_carried_model(tmp_path):
    x = keras.Input((None, 3))
    model = keras.Model(x, layers.LSTM(4)(x))
    with pytest.raises(streaming.InputError, match="give window=W with them"):
        streaming.convert(model, tmp_path / "m.tflite", hop=3)


@pytest.mark.slow
def test_the_length_that_a_layer_needs_is_named(tmp_path):
    x = keras.Input((W, 3))
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(layers.GRU(4, return_sequences=True)(x))))
    with pytest.raises(streaming.NotStreamableError, match=r"layer .*(Flatten|Dense).*window=12"):
        streaming.convert(model, tmp_path / "m.tflite", window="carry")
    assert streaming.convert(model, tmp_path / "m.tflite", window=W).window == W


def test_weights_per_step_carried_name_the_length_in_one_plain_line(tmp_path):
    x = keras.Input((W, 3))
    model = keras.Model(x, layers.EinsumDense("btd,tde->bte", output_shape=(W, 2))(x))
    with pytest.raises(streaming.NotStreamableError, match=r"'einsum_dense.*window=12 for windows") as error:
        streaming.convert(model, tmp_path / "m.tflite", window="carry")
    assert str(error.value).isprintable()
    assert "Exception encountered" not in str(error.value)


def test_a_model_that_does_not_run_itself(tmp_path):
    x = keras.Input((W, 3))
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(x)))
    model.layers[-1].call = lambda *args, **kwargs: (_ for _ in ()).throw(RuntimeError("no such device"))
    with pytest.raises(streaming.StreamingError, match="no such device"):
        streaming.convert(model, tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


def test_command_line(tmp_path, capsys):
    from streaming.cli import main

    transformer().save(tmp_path / "m.keras")
    arguments = ["convert", str(tmp_path / "m.keras"), str(tmp_path / "m.tflite"), "--window", "12", "--hop", "3"]
    assert main([*arguments, "--pad", "pre"]) == 0
    assert "window 12, hop 3" in capsys.readouterr().out
    assert main(["inspect", str(tmp_path / "m.tflite")]) == 0
    shown = capsys.readouterr().out
    assert "the model of the last 12 steps every 3 steps, filled with zeros (pre)" in shown
    assert "anew" in shown
    assert main(["convert", str(tmp_path / "m.keras"), str(tmp_path / "n.tflite"), "--window", "0"]) == 2
    assert "window is 0, expected" in capsys.readouterr().err


def convolves_channels_first():
    """Whether TensorFlow does so here: on a GPU, and on some processors."""
    try:
        tf.nn.conv2d(tf.zeros((1, 2, 4, 4)), tf.zeros((3, 3, 2, 2)), 1, "VALID", data_format="NCHW")
    except tf.errors.UnimplementedError:
        return False
    return True


@pytest.mark.parametrize("kind", ["conv1d", "conv2d", "grouped"])
def test_forms_that_builtin_operations_lack(kind, tmp_path):
    first = {"data_format": "channels_first"}
    x = keras.Input((W, 6, 2) if kind == "conv2d" else (W, 6))
    if kind == "conv1d":
        y = layers.MaxPooling1D(2)(layers.Conv1D(8, 3, activation="relu", **first)(x))
    elif kind == "conv2d":
        y = layers.AveragePooling2D((2, 1), **first)(layers.Conv2D(4, (3, 2), **first)(x))
    else:
        y = layers.Conv1DTranspose(3, 4, strides=2)(layers.Conv1D(6, 3, groups=3, padding="same")(x))
    model = keras.Model(x, layers.Dense(2)(layers.Flatten()(y)))
    data = draw(model, W + 3)
    proven = kind == "grouped" or convolves_channels_first()
    if not proven:  # XLA computes on any processor what TensorFlow's own convolution does not
        with pytest.raises(streaming.InputError, match=r"conv.*channels first.*on a GPU only.*verify=False"):
            streaming.convert(model, tmp_path / "m.tflite")
    streaming.convert(model, tmp_path / "m.tflite", verify=proven)
    compiled = tf.function(lambda x: model(x, training=False), jit_compile=True)
    want = np.concatenate([compiled(data[None, k : k + W]) for k in range(4)])
    np.testing.assert_allclose(streamed(streaming.load(tmp_path / "m.tflite"), data, [5]), want, atol=3e-6)
