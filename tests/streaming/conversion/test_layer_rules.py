"""Every layer and option that changes time: edges, strides, paddings, branches, against the offline model."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from parity import check_parity
from small_models import model_of, randomize

import streaming
from streaming.conversion.plan import plan

# Layers along time stand behind a Dense with a bias, so that padding that should be zero is not zero by chance.
CASES: dict[str, Callable[[Any], Any]] = {}


def case(name: str, build: Callable[[Any], Any]) -> None:
    CASES[name] = lambda x: build(layers.Dense(4)(x))


for padding in ("causal", "valid", "same"):
    for stride, dilation in ((1, 1), (2, 1), (3, 1), (1, 2)):
        for size in (1, 2, 3, 5):
            options = {"strides": stride, "dilation_rate": dilation, "padding": padding}
            case(f"conv-{padding}-{size}-{stride}-{dilation}", lambda x, k=size, o=options: layers.Conv1D(3, k, **o)(x))
for padding in ("valid", "same"):
    for stride in (1, 2, 3):
        for size in (2, 3, 5):
            key = f"{padding}-{size}-{stride}"
            options = {"strides": stride, "padding": padding}
            case(f"max-{key}", lambda x, k=size, o=options: layers.MaxPooling1D(k, **o)(x))
            case(f"average-{key}", lambda x, k=size, o=options: layers.AveragePooling1D(k, **o)(x))
            case(f"transpose-{key}", lambda x, k=size, o=options: layers.Conv1DTranspose(3, k, **o)(x))
    case(f"separable-{padding}", lambda x, p=padding: layers.SeparableConv1D(3, 3, padding=p)(x))
    case(f"depthwise-{padding}", lambda x, p=padding: layers.DepthwiseConv1D(3, strides=2, padding=p)(x))


def image(x: Any) -> Any:
    return layers.Reshape((-1, 6, 2))(layers.Dense(12)(x))


def unet(x: Any) -> Any:
    a = layers.Conv1D(4, 3, padding="same", activation="relu")(x)
    b = layers.Conv1D(4, 3, padding="same")(layers.MaxPooling1D(2)(a))
    return layers.Conv1D(3, 3, padding="same")(layers.Concatenate()([a, layers.UpSampling1D(2)(b)]))


def inception(x: Any) -> Any:
    branches = [layers.Conv1D(3, size, padding="same")(x) for size in (1, 3, 5)]
    return layers.Concatenate()([*branches, layers.MaxPooling1D(3, 1, padding="same")(x)])


def reductions(x: Any) -> Any:
    return ops.mean(x, axis=1) + ops.max(x, axis=-2) + ops.sum(x, axis=1) - ops.min(x, axis=1)


def crnn(x: Any) -> Any:
    y = layers.Conv2D(3, (3, 3), strides=(1, 2), padding="same", activation="relu")(image(x))
    return layers.GRU(4, return_sequences=True)(layers.Reshape((-1, 9))(y))


def per_step(x: Any) -> Any:
    inner = keras.Sequential([keras.Input((4,)), layers.Reshape((4, 1)), layers.Conv1D(2, 3), layers.Flatten()])
    return layers.TimeDistributed(inner)(x)


case("stacked-same", lambda x: layers.Conv1D(3, 5, padding="same")(layers.Conv1D(4, 3, padding="same")(x)))
case("lstm-after-same", lambda x: layers.LSTM(3)(layers.Conv1D(4, 3, padding="same")(x)))
case("strided-stack", lambda x: layers.Conv1D(3, 3, 2, padding="same")(layers.Conv1D(4, 3, 2, padding="same")(x)))
case("strided-valid", lambda x: layers.Conv1D(3, 3, 2)(layers.Conv1D(4, 3, 3)(x)))
case("gru-after-stride", lambda x: layers.GRU(3, return_sequences=True)(layers.Conv1D(4, 4, 2)(x)))
case("residual-same", lambda x: layers.Add()([x, layers.Conv1D(4, 3, padding="same")(x)]))
case("inception", inception)
# Keras takes the second for a bias of the last axis where a chunk is one step, or three.
case(
    "add-column",
    lambda x: layers.Add()([layers.Reshape((-1, 2, 2))(x), layers.Reshape((-1, 2, 1))(layers.Dense(2)(x))]),
)
case("add-column-op", lambda x: ops.add(layers.Reshape((-1, 2, 2))(x), layers.Reshape((-1, 2, 1))(layers.Dense(2)(x))))
case("add-one", lambda x: layers.Add()([layers.Dense(3)(x), layers.Dense(1)(x)]))
case("add-one-op", lambda x: layers.Dense(3)(x) + layers.Dense(1)(x))
case("unet", unet)
case("pad-and-crop", lambda x: layers.Cropping1D((1, 3))(layers.Conv1D(3, 3)(layers.ZeroPadding1D((2, 4))(x))))
case("pad-by-hand", lambda x: layers.Conv1D(3, 3, dilation_rate=2)(layers.ZeroPadding1D((4, 0))(x)))
case("pad-by-hand-strided", lambda x: layers.Conv1D(3, 4, strides=2)(layers.ZeroPadding1D((3, 1))(x)))
case("pad-too-far", lambda x: layers.Conv1D(3, 2)(layers.ZeroPadding1D((4, 1))(x)))
case("pad-output", lambda x: layers.ZeroPadding1D((2, 1))(x))
case("pad-max", lambda x: layers.MaxPooling1D(2, 1)(layers.ZeroPadding1D((1, 0))(x)))
case("pad-branches", lambda x: layers.Add()([x, layers.Cropping1D((0, 2))(layers.ZeroPadding1D((2, 0))(x))]))
case("glu", lambda x: ops.multiply(*ops.split(x, 2, axis=-1)))
case("ds-cnn-end", lambda x: layers.GlobalAveragePooling2D()(layers.Conv2D(3, (3, 3), padding="same")(image(x))))
case("global-max-2d", lambda x: layers.GlobalMaxPooling2D()(image(x)))
case("upsample", lambda x: layers.Conv1D(2, 3, padding="causal")(layers.UpSampling1D(3)(x)))
case("global-average", lambda x: layers.GlobalAveragePooling1D()(layers.Conv1D(4, 3, padding="same")(x)))
case("global-max", lambda x: layers.GlobalMaxPooling1D()(layers.Conv1D(4, 4, padding="same")(x)))
case("reductions", reductions)
case("time-distributed", per_step)
case("reshape-permute", lambda x: layers.Permute((1, 3, 2))(layers.Reshape((-1, 2, 2))(x)))
case("conv2d-same", lambda x: layers.Conv2D(3, (3, 3), padding="same")(image(x)))
case("conv2d-strided", lambda x: layers.Conv2D(3, (5, 3), strides=(2, 2), padding="same")(image(x)))
case("conv2d-valid", lambda x: layers.Conv2D(3, (3, 2), dilation_rate=(2, 1))(image(x)))
case("depthwise2d", lambda x: layers.DepthwiseConv2D((3, 3), padding="same", depth_multiplier=2)(image(x)))
case("separable2d", lambda x: layers.SeparableConv2D(3, (3, 3), padding="same")(image(x)))
case(
    "pool2d",
    lambda x: layers.AveragePooling2D((2, 3), padding="same")(layers.MaxPooling2D((3, 2), 1, "same")(image(x))),
)
case("transpose2d", lambda x: layers.Conv2DTranspose(2, (3, 2), strides=(2, 1))(image(x)))
case("crnn", crnn)
case("convlstm1d", lambda x: layers.ConvLSTM1D(3, 3, padding="same", return_sequences=True)(image(x)))
case("convlstm2d", lambda x: layers.ConvLSTM2D(2, 2)(layers.Reshape((-1, 2, 3, 2))(image(x))))
case("conv3d", lambda x: layers.Conv3D(2, (2, 2, 2), padding="same")(layers.Reshape((-1, 2, 3, 2))(image(x))))
case("normalization", lambda x: layers.Normalization(mean=[0.1] * 4, variance=[2.0] * 4)(x))
case("dot", lambda x: layers.Dot(axes=-1)([layers.LSTM(3)(x), layers.GRU(3)(x)]))


@pytest.mark.parametrize("name", CASES)
def test_stream_equals_offline(name: str, convert: Any) -> None:
    model = randomize(model_of(CASES[name], 3))
    unit = plan(model).unit
    report, path = convert(model, chunk=3 * unit)
    assert report.verification.sequences >= 4
    steps = next(steps for steps in range(23, 60) if plan(model).exact(steps))
    check_parity(model, path, steps=steps)


@pytest.mark.parametrize("name", ["unet", "inception", "strided-stack", "crnn", "transpose-valid-5-2", "pool2d"])
def test_on_every_runtime(name: str, runtime: str, convert: Any) -> None:
    model = randomize(model_of(CASES[name], 3))
    _, path = convert(model, verify=False)
    steps = next(steps for steps in range(21, 60) if plan(model).exact(steps))
    check_parity(model, path, runtime, steps)


@pytest.mark.parametrize(
    ("build", "delay", "unit"),
    [
        (lambda x: layers.Conv1D(3, 5, padding="same")(x), 2, 1),
        (lambda x: layers.Conv1D(3, 5)(x), 4, 1),
        (lambda x: layers.Conv1D(3, 5, padding="causal", strides=4)(x), 0, 4),
        (lambda x: layers.MaxPooling1D(2)(layers.MaxPooling1D(3)(x)), 0, 6),
        (lambda x: layers.UpSampling1D(2)(layers.MaxPooling1D(2)(x)), 0, 2),
        (inception, 2, 1),
        (lambda x: layers.Conv1D(3, 3, dilation_rate=4)(layers.ZeroPadding1D((8, 0))(x)), 0, 1),
        (lambda x: layers.DepthwiseConv1D(10)(layers.ZeroPadding1D((9, 0))(x)), 0, 1),
    ],
)
def test_delay_and_smallest_chunk(build: Any, delay: int, unit: int) -> None:
    planned = plan(model_of(build, 4))
    assert (planned.delay, planned.unit) == (delay, unit)


def test_lengths_that_same_padding_cannot_meet_are_said(convert: Any) -> None:
    model = randomize(model_of(lambda x: layers.Conv1D(3, 4, strides=3, padding="same")(x), 3))
    report, path = convert(model)
    assert any("'conv1d" in note and "modulo 3 is 0" in note for note in report.notes)
    x = np.random.default_rng(0).normal(size=(9, 3)).astype("float32")
    stream = streaming.load(path).create_stream()
    got = np.concatenate([stream.feed(x), stream.finish()])
    np.testing.assert_allclose(got, model(x[None])[0], rtol=1e-5, atol=1e-5)


def test_a_chunk_that_is_not_whole_is_refused(tmp_path: Any) -> None:
    model = model_of(lambda x: layers.MaxPooling1D(4)(x))
    with pytest.raises(streaming.InputError, match=r"chunk is 6, but .* takes multiples of 4 steps; give chunk=4"):
        streaming.convert(model, tmp_path / "m.tflite", chunk=6)


def test_rates_that_do_not_meet_are_refused(tmp_path: Any) -> None:
    def broken(x: Any) -> Any:
        return layers.Concatenate()([x, layers.MaxPooling1D(2)(x)])

    with pytest.raises(streaming.NotStreamableError, match=r"concatenate.*rates \(1 from .*, 1/2 from 'max_pool"):
        streaming.convert(model_of(broken), tmp_path / "m.tflite")
    with pytest.raises(streaming.NotStreamableError, match=r"concatenate.*different lengths \(\[100, 98\]|\[98, 100\]"):
        streaming.convert(model_of(lambda x: layers.Concatenate()([x, layers.Conv1D(3, 3)(x)])), tmp_path / "m.tflite")


def test_two_inputs_meet_at_one_rate_or_are_refused_by_name(convert: Any, tmp_path: Any) -> None:
    """All inputs of a stream take as many steps: one that came more slowly is no input of its own."""
    fast, slow = keras.Input((None, 3), name="fast"), keras.Input((None, 2), name="slow")
    pooled, more = layers.MaxPooling1D(2, name="pool")(fast), layers.UpSampling1D(2, name="up")(slow)
    for pair, match in (
        ([pooled, slow], r"layer 'meet' joins .*rates \(1/2 from 'pool', 1 from 'slow', per input step\); all inputs"),
        ([fast, more], r"layer 'meet' joins .*rates \(1 from 'fast', 2 from 'up', per input step\); all inputs"),
    ):
        model = keras.Model([fast, slow], layers.Concatenate(name="meet")(pair))
        with pytest.raises(streaming.NotStreamableError, match=match):
            streaming.convert(model, tmp_path / "m.tflite")
    means = layers.AveragePooling1D(2)(slow)
    joined = layers.GRU(4, return_sequences=True)(layers.Concatenate()([pooled, means]))
    model = randomize(keras.Model([fast, slow], layers.Dense(2)(joined)))
    _, path = convert(model)
    generator = np.random.default_rng(0)
    x = {"fast": generator.normal(size=(11, 3)).astype("f"), "slow": generator.normal(size=(11, 2)).astype("f")}
    stream = streaming.load(path).create_stream()
    parts = [stream.feed({name: rows[a:b] for name, rows in x.items()}) for a, b in ((0, 3), (3, 4), (4, 11))]
    got = np.concatenate([*parts, stream.finish()])
    np.testing.assert_allclose(got, model([x["fast"][None], x["slow"][None]])[0], rtol=1e-5, atol=1e-5)
    stream.reset()
    with pytest.raises(streaming.InputError, match="different numbers of steps"):
        stream.feed({"fast": x["fast"], "slow": x["slow"][:5]})


def test_preprocessing_of_ids_and_bins(runtime: str, convert: Any) -> None:
    ids = keras.Input((None, 1), dtype="int32", name="ids")
    values = keras.Input((None,), name="values")
    hot = layers.CategoryEncoding(7, output_mode="one_hot")(ids)
    bins = layers.Embedding(4, 3)(layers.Discretization(bin_boundaries=[-1.0, 0.0, 1.0])(values))
    model = randomize(keras.Model([ids, values], layers.GRU(3)(layers.Concatenate()([hot, bins]))))
    _, path = convert(model, verify=False)
    generator = np.random.default_rng(0)
    x = {"ids": generator.integers(0, 7, (9, 1)).astype("int32"), "values": generator.normal(size=9).astype("float32")}
    got = streaming.load(path, runtime=runtime).create_stream().feed(x)
    np.testing.assert_allclose(got[-1], model([x["ids"][None], x["values"][None]])[0], rtol=1e-5, atol=1e-6)


def test_masking_and_means_over_unmasked_steps(convert: Any) -> None:
    x = keras.Input((None, 4))
    y = layers.Masking()(x)
    model = randomize(keras.Model(x, [layers.LSTM(3)(y), layers.GlobalAveragePooling1D()(y)]))
    _, path = convert(model)
    data = np.random.default_rng(0).normal(size=(9, 4)).astype("float32")
    data[[1, 4, 8]] = 0
    stream = streaming.load(path).create_stream()
    rows = list(stream.feed(data).values())
    for got, expected in zip(rows, model(data[None]), strict=True):
        np.testing.assert_allclose(got[-1], expected[0], rtol=1e-5, atol=1e-6)


def test_initial_state_from_a_static_input(convert: Any) -> None:
    x, speaker = keras.Input((None, 4), name="x"), keras.Input((2,), name="speaker")
    states = [layers.Dense(5)(speaker), layers.Dense(5)(speaker)]
    model = randomize(keras.Model([x, speaker], layers.LSTM(5, return_sequences=True)(x, initial_state=states)))
    report, _ = convert(model, chunk=3)
    assert report.max_abs_error < 1e-5


def test_stateful_layers_start_from_zeros(convert: Any) -> None:
    x = keras.Input((None, 4), batch_size=2)
    layer = layers.LSTM(3, stateful=True, return_sequences=True)
    model = randomize(keras.Model(x, layer(x)))
    data = np.random.default_rng(0).normal(size=(2, 5, 4)).astype("float32")
    first = np.asarray(model(data))
    kept = [np.asarray(state) for state in layer.states]
    _, path = convert(model)
    assert all(np.array_equal(a, b) for a, b in zip(kept, layer.states, strict=True))
    np.testing.assert_allclose(streaming.load(path).create_stream().feed(data[0]), first[0], rtol=1e-5, atol=1e-6)


@pytest.mark.slow
@pytest.mark.parametrize("mode", ["concat", "sum", "ave", "mul"])
def test_bidirectional_with_lookahead(mode: str, convert: Any) -> None:
    lstm = layers.LSTM(4, return_sequences=True)
    model = randomize(model_of(lambda x: layers.Dense(2)(layers.Bidirectional(lstm, merge_mode=mode)(x)), 3))
    report, path = convert(model, lookahead=6, chunk=4)
    assert report.delay == 6
    assert any("sees 6 steps ahead" in note for note in report.notes)
    assert report.approximation.max_abs_error > report.max_abs_error
    x = np.random.default_rng(0).normal(size=(30, 3)).astype("float32")
    stream = streaming.load(path).create_stream()
    got = np.concatenate([stream.feed(x), stream.finish()])
    offline = np.asarray(model(x[None])[0])
    assert got.shape == offline.shape
    # The last steps see the end of the sequence, as offline.
    np.testing.assert_allclose(got[-7:], offline[-7:], rtol=1e-5, atol=1e-5)
    more, _ = convert(model, lookahead=20, chunk=4)
    assert more.approximation.rms_error < report.approximation.rms_error


def test_bidirectional_is_refused_without_lookahead(tmp_path: Any) -> None:
    model = model_of(lambda x: layers.Bidirectional(layers.GRU(3, return_sequences=True))(x))
    with pytest.raises(streaming.NotStreamableError, match=r"bidirectional.*backwards.*lookahead=N"):
        streaming.convert(model, tmp_path / "m.tflite")


def test_causal_attention_over_a_bounded_past(convert: Any) -> None:
    def block(x: Any) -> Any:
        return x + layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)

    model = randomize(model_of(block, 4))
    report, path = convert(model, attention_window=8, chunk=3)
    x = np.random.default_rng(0).normal(size=(20, 4)).astype("float32")
    stream = streaming.load(path).create_stream()
    got = stream.feed(x)
    # Each output equals the offline model over the last 8 steps alone.
    for t in (0, 5, 7, 12, 19):
        expected = np.asarray(model(x[None, max(0, t - 7) : t + 1])[0, -1])
        if len(got) > t:
            np.testing.assert_allclose(got[t], expected, rtol=1e-4, atol=1e-5)
    assert report.max_abs_error < 1e-5
    with pytest.raises(streaming.NotStreamableError, match="attention_window=W"):
        convert(model)
