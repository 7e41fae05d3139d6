"""Each rule against the offline model; each refusal by name."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from parity import check_parity
from small_models import Decay, model_of, randomize, sequence

import streaming


def residual(x: Any) -> Any:
    y = layers.LSTM(6, return_sequences=True)(x)
    return layers.Dense(3)(layers.Add()([x, y]))


def shared(x: Any) -> Any:
    lstm, dense = layers.LSTM(5, return_sequences=True), layers.Dense(6)
    return lstm(dense(lstm(x)))


def nested(x: Any) -> Any:
    inner_input = keras.Input((None, 6))
    inner = keras.Model(inner_input, layers.GRU(6, return_sequences=True)(inner_input), name="inner")
    tail = keras.Sequential([keras.Input((None, 6)), layers.Dense(4), layers.ReLU()], name="tail")
    return tail(inner(inner(x)))


def arithmetic(x: Any) -> Any:
    y = ops.tanh(x[:, :, :3] * 2.0 - x[:, :, 3:])
    z = ops.concatenate([y, ops.mean(x, axis=-1, keepdims=True)], axis=-1)
    return ops.where(z > 0, z, 0.1 * z) @ np.eye(4, 5, dtype="float32")


def normalized(x: Any) -> Any:
    x = layers.BatchNormalization()(x)
    return layers.UnitNormalization()(layers.LayerNormalization()(layers.RMSNormalization()(x)))


def noisy(x: Any) -> Any:
    for layer in (layers.Dropout(0.5), layers.SpatialDropout1D(0.5), layers.GaussianNoise(1.0)):
        x = layer(x)
    return layers.Dense(2)(layers.AlphaDropout(0.5)(layers.GaussianDropout(0.5)(x)))


def activations(x: Any) -> Any:
    parts = [layers.ReLU(max_value=1.0)(x), layers.LeakyReLU()(x), layers.ELU()(x), layers.Softmax()(x)]
    parts += [layers.PReLU(shared_axes=[1])(x), layers.Rescaling(2.0, 1.0)(x)]
    parts += [layers.Activation(name)(x) for name in ("gelu", "swish", "softplus", "hard_sigmoid", "softmax")]
    return layers.Concatenate()(parts)


def merged(x: Any) -> Any:
    y = layers.Dense(6, activation="tanh")(x)
    kinds = (layers.Add, layers.Subtract, layers.Multiply, layers.Average, layers.Maximum, layers.Minimum)
    return layers.Concatenate()([kind()([x, y]) for kind in kinds])


def stacked(x: Any) -> Any:
    return layers.RNN([layers.LSTMCell(4), layers.GRUCell(5), layers.SimpleRNNCell(3)], return_sequences=True)(x)


ARCHITECTURES = {
    "dense": lambda x: layers.Dense(3, activation="tanh")(x),
    "simple_rnn": lambda x: layers.SimpleRNN(5, return_sequences=True)(x),
    "simple_rnn_relu_no_bias": lambda x: layers.SimpleRNN(5, "relu", use_bias=False, return_sequences=True)(x),
    "lstm": lambda x: layers.LSTM(5, return_sequences=True)(x),
    "lstm_options": lambda x: layers.LSTM(5, "relu", "hard_sigmoid", use_bias=False, return_sequences=True)(x),
    "gru": lambda x: layers.GRU(5, return_sequences=True)(x),
    "gru_reset_before": lambda x: layers.GRU(5, reset_after=False, return_sequences=True)(x),
    "gru_no_bias": lambda x: layers.GRU(5, use_bias=False, return_sequences=True)(x),
    "lstm_last": lambda x: layers.Dense(3)(layers.LSTM(5)(x)),
    "gru_states": lambda x: layers.GRU(5, return_sequences=True, return_state=True)(x),
    "lstm_states": lambda x: layers.LSTM(5, return_state=True)(x),
    "stacked_cells": stacked,
    "custom_cell": lambda x: layers.RNN(Decay(6), return_sequences=True)(x),
    "last_by_index": lambda x: layers.Dense(2)(layers.GRU(4, return_sequences=True)(x)[:, -1]),
    "causal_conv": lambda x: layers.Conv1D(4, 3, padding="causal", activation="relu")(x),
    "dilated_conv": lambda x: layers.Conv1D(4, 3, padding="causal", dilation_rate=2)(x),
    "grouped_conv": lambda x: layers.Conv1D(4, 2, padding="causal", groups=2)(x),
    "conv_stack": lambda x: layers.Conv1D(3, 2, padding="causal")(layers.Conv1D(4, 3, padding="causal")(x)),
    "residual": residual,
    "shared": shared,
    "nested": nested,
    "arithmetic": arithmetic,
    "normalized": normalized,
    "noisy": noisy,
    "activations": activations,
    "merged": merged,
}


@pytest.mark.parametrize("name", ARCHITECTURES)
@pytest.mark.parametrize("chunk", [None, 4])
def test_stream_equals_offline(name: str, chunk: int | None, convert: Any) -> None:
    model = randomize(model_of(ARCHITECTURES[name]))
    report, path = convert(model, chunk=chunk, batch_sizes=(1, 3))
    assert set(report.signatures.values()) == {(b, c) for b in (1, 3) for c in {1, chunk or 1}}
    check_parity(model, path)


def test_causal_running_output_equals_every_prefix(convert: Any) -> None:
    model = randomize(model_of(lambda x: layers.Dense(3)(layers.LSTM(5)(x))))
    _, path = convert(model)
    x = np.random.default_rng(0).normal(size=(8, 6)).astype("float32")
    rows = streaming.load(path).create_stream().feed(x)
    for t in range(8):
        np.testing.assert_allclose(rows[t], model(x[None, : t + 1])[0], rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("zero_output", [False, True])
def test_masked_steps_hold_the_state(zero_output: bool, convert: Any) -> None:
    ids = keras.Input((None,), dtype="int32")
    x = layers.Embedding(9, 6, mask_zero=True)(ids)
    y = layers.LSTM(5, return_sequences=True, zero_output_for_mask=zero_output)(layers.Dropout(0.3)(x))
    z = layers.GRU(4)(y)
    model = randomize(keras.Model(ids, [y, z]))
    _, path = convert(model)
    x = np.array([0, 3, 0, 0, 5, 8, 0], "int32")
    expected = model(x[None])
    stream = streaming.load(path).create_stream()
    pieces = [stream.feed(part) for part in np.split(x, [2, 3])]
    rows = [np.concatenate(column) for column in zip(*(p.values() for p in pieces), strict=True)]
    np.testing.assert_allclose(rows[0], expected[0][0], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(rows[1][-1], expected[1][0], rtol=1e-5, atol=1e-6)


def test_explicit_mask_from_the_graph(convert: Any) -> None:
    x = sequence()
    mask = ops.any(ops.not_equal(x, 0.0), axis=-1)
    model = randomize(keras.Model(x, layers.GRU(4, return_sequences=True)(x, mask=mask)))
    _, path = convert(model)
    data = np.random.default_rng(1).normal(size=(7, 6)).astype("float32")
    data[[0, 3, 4]] = 0
    np.testing.assert_allclose(
        streaming.load(path).create_stream().feed(data), model(data[None])[0], rtol=1e-5, atol=1e-6
    )


def test_several_inputs_and_outputs_by_name(convert: Any) -> None:
    ids = keras.Input((None,), dtype="int32", name="ids")
    side = keras.Input((None, 2), name="side")
    speaker = keras.Input((1, 3), name="speaker")
    x = layers.Concatenate()([layers.Embedding(11, 4)(ids), side])
    h = layers.LSTM(5, return_sequences=True)(x)
    condition = layers.Dense(5)(speaker)
    outputs = {"tags": layers.Dense(3)(h + condition), "last": layers.GRU(2)(h)}
    model = randomize(keras.Model({"ids": ids, "side": side, "speaker": speaker}, outputs))
    report, path = convert(model, batch_sizes=(1, 2), chunk=3)
    assert report.max_abs_error < 1e-5
    loaded = streaming.load(path)
    assert set(loaded.input_spec) == {"ids", "side", "speaker"}
    assert loaded.input_spec["ids"].high == 11
    assert set(loaded.output_spec) == {"tags", "last"}
    assert loaded.output_spec["last"].running
    assert not loaded.input_spec["speaker"].time


class Delay(keras.layers.Layer):
    """y[t] = x[t + steps], zeros beyond the end: the smallest layer with a delay."""

    def __init__(self, steps: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.steps = steps

    def call(self, x: Any) -> Any:
        return ops.pad(x, [[0, 0], [0, self.steps], [0, 0]])[:, self.steps :]

    def stream_spec(self, input_shape: Any) -> dict[str, Any]:
        return {"states": {}, "delay": self.steps}

    def stream_step(self, x: Any, valid: Any, states: Any) -> Any:
        # Delayed by `steps`, the future is what comes in now.
        return x, valid, states


def test_branches_of_different_delay_are_aligned(convert: Any) -> None:
    x = sequence()
    h = layers.LSTM(6, return_sequences=True)(layers.Dense(6)(x))
    y = h + Delay(2)(layers.Dense(6)(x)) + Delay(1)(x)
    z = layers.GRU(4, return_sequences=True)(y)
    model = randomize(keras.Model(x, [z, h]))
    report, path = convert(model, chunk=3)
    assert report.delay == 2
    loaded = streaming.load(path)
    stream = loaded.create_stream()
    data = np.random.default_rng(0).normal(size=(5, 6)).astype("float32")
    fed, rest = stream.feed(data), stream.finish()
    names = list(loaded.output_spec)
    assert [len(fed[n]) for n in names] == [3, 5]
    assert [len(rest[n]) for n in names] == [2, 0]
    expected = model(data[None])
    for index, name in enumerate(names):
        got = np.concatenate([fed[name], rest[name]])
        np.testing.assert_allclose(got, expected[index][0], rtol=1e-5, atol=1e-6)


REFUSALS = {
    "go_backwards": (lambda x: layers.LSTM(3, go_backwards=True)(x), "lstm.*backwards.*go_backwards=False"),
    "channels_first": (
        lambda x: layers.MaxPooling1D(2, data_format="channels_first")(x),
        "max_pooling.*channels before",
    ),
    "glu": (lambda x: layers.Activation("glu")(x), "activation.*halves the width.*activations.glu"),
    "group_norm": (lambda x: layers.GroupNormalization(2)(x), "group_normalization.*over time"),
    "flatten": (lambda x: layers.Reshape((-1, 4))(x), "reshape.*steps are mixed"),
    "attention": (lambda x: layers.Attention()([x, x]), "attention.*whole sequence"),
    "softmax_time": (lambda x: layers.Softmax(axis=1)(x), "softmax.*known only at the end"),
    "position": (lambda x: x[:, -3], "selects positions in time.*-1"),
    "roll": (lambda x: ops.roll(x, 1, axis=1), "roll.*along the time axis"),
    "product": (lambda x: ops.matmul(x, ops.transpose(x, (0, 2, 1))), "(transpose|matmul)"),
    "mixed": (lambda x: x + layers.RepeatVector(1)(layers.LSTM(6)(x)), "add.*known only at the end"),
    "initial_state": (
        lambda x: layers.LSTM(3)(x, initial_state=layers.LSTM(3, return_state=True)(x)[1:]),
        "lstm.*initial state",
    ),
}


@pytest.mark.parametrize("name", REFUSALS)
def test_refuses_by_layer_reason_and_remedy(name: str, tmp_path: Any) -> None:
    build, match = REFUSALS[name]
    keras.utils.clear_session()
    model = model_of(build)
    path = tmp_path / "m.tflite"
    with pytest.raises(streaming.NotStreamableError, match=match) as caught:
        streaming.convert(model, path)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)
    assert not path.exists()


def test_refuses_models_it_cannot_see_into(tmp_path: Any) -> None:
    class Own(keras.Model):
        def call(self, x: Any) -> Any:
            return x

    cases = [
        (Own(), streaming.InputError, "not built; call it on data first"),
        (keras.Sequential([layers.Dense(2)]), streaming.InputError, "not built"),
        ("model.keras", streaming.InputError, r"the path 'model\.keras'; load it first"),
    ]
    for model, kind, match in cases:
        with pytest.raises(kind, match=match):
            streaming.convert(model, tmp_path / "m.tflite")
    flat = keras.Sequential([keras.Input((20,), name="row"), layers.Dense(3)])
    with pytest.raises(
        streaming.NotStreamableError, match=r"no input has a time.*'row' is \(None, 20\).*None, features.*window=20"
    ):
        streaming.convert(flat, tmp_path / "m.tflite")
    whole = model_of(ARCHITECTURES["dense"])
    with pytest.raises(streaming.InputError, match="encode names every input"):
        streaming.convert(whole, tmp_path / "m.tflite", encode=[whole.inputs[0].name], max_length=4)
    double = keras.Sequential([keras.Input((None, None, 3)), layers.Dense(3)])
    with pytest.raises(streaming.NotStreamableError, match="unknown sizes"):
        streaming.convert(double, tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("policy", ["mixed_float16", "mixed_bfloat16", "float64"])
def test_casts_to_other_precisions_are_refused_by_layer(policy: str, tmp_path: Any) -> None:
    """Dtype policies are test_precision.py's: a cast in the graph is a number that the stream cannot hold."""
    dtype = policy.removeprefix("mixed_")
    x = keras.Input((None, 4))
    cast = keras.Model(x, ops.cast(ops.cast(x, dtype) * 2, "float32"))
    with pytest.raises(
        streaming.NotStreamableError, match=rf"layer 'cast.*' \(Cast\) gives {dtype}, expected float32; "
    ):
        streaming.convert(cast, tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"chunk": 0}, "chunk is 0"),
        ({"batch_sizes": ()}, "batch_sizes"),
        ({"batch_sizes": (0,)}, "batch_sizes"),
        ({"batch_sizes": 4}, "batch_sizes is 4"),
        ({"chunk": True}, "chunk is True"),
        ({"tolerance": "fine"}, "tolerance is 'fine'"),
        ({"chunk": 10**12}, "chunk is 1000000000000, expected a whole number of steps, 1 to 65536"),
        ({"batch_sizes": (10**12,)}, "expected whole numbers of streams, 1 to 65536"),
        ({"encode": 3}, "encode is 3, expected names"),
        ({"metadata": 3}, "metadata is 3, expected a dict"),
        ({"metadata": {"task": "tagger"}}, "the task 'tagger', expected a dict"),
        ({"quantize": "int8", "calibration": [[[1, 2], [1]]]}, "rows of different lengths"),
        ({"calibration": []}, "calibration set is empty"),
        ({"calibration": [np.zeros((0, 6))]}, "calibration sequence 0: input .* has 0 steps"),
        ({"calibration": [np.zeros((5, 4))]}, r"has shape \(5, 4\), expected \('steps', 6\)"),
        ({"calibration": [np.zeros((2, 5, 6))]}, "without a batch axis"),
        ({"calibration": [np.full((5, 6), np.nan)]}, "holds NaN"),
        ({"calibration": [np.full((5, 6), 1e300)]}, "what float32 cannot hold"),
        ({"calibration": [np.full((5, 6), "a")]}, "is <U1, not float32"),
        ({"lookahead": -1}, "lookahead is -1"),
        ({"attention_window": 0}, "attention_window is 0"),
        ({"quantize": "int4"}, "quantize is 'int4'"),
        ({"metadata": {"tasks": 1}}, "unknown key 'tasks'"),
    ],
)
def test_bad_options(options: Any, match: str, tmp_path: Any) -> None:
    model = model_of(ARCHITECTURES["dense"])
    with pytest.raises(streaming.InputError, match=match):
        streaming.convert(model, tmp_path / "m.tflite", **options)
    assert not list(tmp_path.iterdir())


def test_path_that_cannot_be_written(tmp_path: Any) -> None:
    with pytest.raises(streaming.InputError, match="does not exist"):
        streaming.convert(model_of(ARCHITECTURES["dense"]), tmp_path / "nowhere" / "m.tflite")
    with pytest.raises(streaming.InputError, match="is a folder; give the path"):
        streaming.convert(model_of(ARCHITECTURES["dense"]), tmp_path)
    assert not list(tmp_path.iterdir())
    for path in (None, "", "m\0.tflite"):
        with pytest.raises(streaming.InputError, match="expected the path of"):
            streaming.convert(model_of(ARCHITECTURES["dense"]), path)


def test_a_variable_that_the_model_does_not_track_is_refused(tmp_path: Any) -> None:
    hidden = keras.Variable(np.ones((6,), "float32"))

    class Scale(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * ops.convert_to_tensor(hidden)

        def stream_spec(self, input_shape: Any) -> dict[str, Any]:
            return {"states": {}, "delay": 0}

        def stream_step(self, x: Any, valid: Any, states: Any) -> Any:
            return self(x), valid, states

    with pytest.raises(streaming.NotStreamableError, match=r"layer 'scale' \(Scale\) reads a variable"):
        streaming.convert(model_of(lambda x: Scale(name="scale")(x)), tmp_path / "m.tflite")


def test_an_untracked_variable_of_tensorflow_is_refused_in_arithmetic(tmp_path: Any) -> None:
    hidden = tf.Variable(np.ones((6,), "float32"))

    class Shift(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x + ops.convert_to_tensor(hidden)

    with pytest.raises(streaming.NotStreamableError, match=r"layer 'shift/add.*reads a variable"):
        streaming.convert(model_of(lambda x: Shift(name="shift")(x)), tmp_path / "m.tflite")


def test_verification_refuses_a_stream_that_differs(tmp_path: Any) -> None:
    class Wrong(Delay):
        """Says delay 1 and does nothing."""

        def call(self, x: Any) -> Any:
            return 2.0 * x

        def stream_step(self, x: Any, valid: Any, states: Any) -> Any:
            return 3.0 * x, valid, states

    model = model_of(lambda x: Wrong(0)(x))
    path = tmp_path / "m.tflite"
    with pytest.raises(streaming.ParityError, match="differs from the offline model"):
        streaming.convert(model, path)
    assert not path.exists()


@pytest.mark.parametrize("quantize", ["float16", "dynamic"])
def test_quantized_files_run_on_every_runtime(quantize: str, runtime: str, convert: Any) -> None:
    model = model_of(lambda x: layers.Dense(4)(layers.LSTM(48, return_sequences=True)(x)), 32)
    exact, _ = convert(model)
    report, path = convert(model, quantize=quantize)
    assert report.size_bytes < (0.75 if quantize == "float16" else 0.6) * exact.size_bytes
    x = np.random.default_rng(0).normal(size=(12, 32)).astype("float32")
    got = streaming.load(path, runtime=runtime).create_stream().feed(x)
    expected = np.asarray(model(x[None])[0])
    assert 0 < np.abs(got - expected).max() < 0.1 * np.abs(expected).max()


def test_weights_that_are_float16_numbers_take_half_the_bytes(runtime: str, convert: Any) -> None:
    model = model_of(lambda x: layers.Dense(4)(layers.LSTM(48, return_sequences=True)(layers.Dense(40)(x))), 32)
    whole, _ = convert(model)
    model.set_weights([weight.astype("float16") for weight in model.get_weights()])
    report, path = convert(model, compact=True)
    assert report.size_bytes < 0.6 * whole.size_bytes
    assert report.max_abs_error < 1e-6
    x = np.random.default_rng(0).normal(size=(12, 32)).astype("float32")
    got = streaming.load(path, runtime=runtime).create_stream().feed(x)
    np.testing.assert_allclose(got, model(x[None])[0], rtol=1e-5, atol=1e-6)
    # One weight that is none keeps its matrix as it is.
    weights = model.get_weights()
    weights[0][0, 0] = 0.1
    model.set_weights(weights)
    assert report.size_bytes < convert(model, compact=True)[0].size_bytes < whole.size_bytes
    with pytest.raises(streaming.InputError, match="compact goes with quantize=None, received 'dynamic'"):
        convert(model, compact=True, quantize="dynamic")


class Block(keras.layers.Layer):
    """A user's composite layer: no rule, no protocol, just Keras layers and keras.ops."""

    def __init__(self, **kwargs: Any):
        super().__init__(**kwargs)
        self.conv = layers.Conv1D(6, 3, padding="same", activation="relu")
        self.lstm = layers.LSTM(6, return_sequences=True)
        self.drop = layers.Dropout(0.5)

    def build(self, input_shape: Any) -> None:
        self.conv.build(input_shape)
        self.lstm.build((*input_shape[:2], 6))

    def call(self, x: Any, training: bool = False) -> Any:
        return self.drop(self.lstm(self.conv(x)), training=training) + ops.tanh(x)


def test_composite_layers_are_followed(convert: Any) -> None:
    model = randomize(model_of(lambda x: layers.Dense(2)(Block()(Block()(x)))))
    report, path = convert(model)
    assert report.delay == 2
    check_parity(model, path)


def test_subclassed_models_are_followed_and_compared_with_themselves(convert: Any) -> None:
    class Own(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.block, self.head = Block(), layers.Dense(2)

        def call(self, x: Any) -> Any:
            return self.head(self.block(x))

    model = Own()
    x = np.random.default_rng(0).normal(size=(1, 9, 6)).astype("float32")
    model(x)
    _, path = convert(randomize(model))
    stream = streaming.load(path).create_stream()
    got = np.concatenate([stream.feed(x[0]), stream.finish()])
    np.testing.assert_allclose(got, model(x)[0], rtol=1e-5, atol=1e-5)


def test_calls_that_cannot_be_followed_are_refused(tmp_path: Any) -> None:
    class Eager(keras.layers.Layer):
        def call(self, x: Any) -> Any:
            return x * float(np.asarray(x).mean()) if not isinstance(x, keras.KerasTensor) else x[:, ::-1]

        def compute_output_shape(self, shape: Any) -> Any:
            return shape

    with pytest.raises(streaming.NotStreamableError, match="eager"):
        streaming.convert(model_of(lambda x: Eager(name="eager")(x)), tmp_path / "m.tflite")


def test_weights_are_shared_between_signatures(convert: Any) -> None:
    model = model_of(lambda x: layers.LSTM(128, return_sequences=True)(x), 64)
    one, _ = convert(model, chunk=2)
    many, _ = convert(model, chunk=2, batch_sizes=(1, 4, 16))
    assert many.size_bytes < 1.25 * one.size_bytes


def test_only_allowed_operations(convert: Any) -> None:
    from streaming.conversion.tflite import ALLOWED

    report, _ = convert(model_of(stacked))
    assert set(report.ops) <= ALLOWED
    assert "WHILE" not in report.ops
    assert report.ops["FULLY_CONNECTED"] >= 3


def test_the_report_says_what_each_signature_costs(convert: Any) -> None:
    model = model_of(lambda x: layers.Dense(3, use_bias=False)(layers.LSTM(5, return_sequences=True)(x)))
    report, _ = convert(model, chunk=4, batch_sizes=(1, 2))
    one = (6 + 5) * 20 + 5 * 3
    assert {name: cost.multiply_adds for name, cost in report.costs.items()} == {
        "step": one,
        "step_b2": 2 * one,
        "chunk_4": 4 * one,
        "chunk_4_b2": 8 * one,
    }
    assert all(cost.weight_bytes >= 4 * ((6 + 5) * 20 + 20 + 15) for cost in report.costs.values())


def test_conversion_leaves_the_model_as_it_was(convert: Any) -> None:
    model = model_of(nested)
    before = [np.array(w) for w in model.get_weights()]
    nodes = {layer.name: len(layer._inbound_nodes) for layer in model._flatten_layers()}
    convert(model)
    assert all(np.array_equal(a, b) for a, b in zip(before, model.get_weights(), strict=True))
    assert nodes == {layer.name: len(layer._inbound_nodes) for layer in model._flatten_layers()}
