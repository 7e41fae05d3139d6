"""Code that people wrote: functions, subclasses of Keras layers, calls that read sizes, models of one step."""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from parity import check_parity, check_stream
from small_models import model_of, randomize

import streaming
from streaming.conversion.rules.base import Rule


class Shim(layers.LSTM):
    """The usual shim for files of Keras 2."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.pop("time_major", None)
        super().__init__(*args, **kwargs)


class CausalConv(layers.Conv1D):
    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, padding="causal", **kwargs)


class CellInLayer(layers.RNN):
    """As CfC and LTC of ncps: an RNN over a cell of its own."""

    def __init__(self, units: int, **kwargs: Any) -> None:
        super().__init__(layers.GRUCell(units), **kwargs)


class Doubled(layers.LSTM):
    """Has a `call` of its own, which asks its base."""

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        return 2 * super().call(sequences, initial_state=initial_state, mask=mask, training=training)


class GatedConv(layers.Conv1D):
    def call(self, x: Any) -> Any:
        return super().call(ops.tanh(x)) * 0.5


class OtherStep(layers.GRU):
    """Overrides what `call` uses."""

    def inner_loop(self, *args: Any, **kwargs: Any) -> Any:
        return super().inner_loop(*args, **kwargs)


CLASSES: dict[str, Callable[[], keras.Layer]] = {
    "shim": lambda: Shim(3, time_major=False),
    "causal": lambda: CausalConv(4, 3),
    "cell": lambda: CellInLayer(3, return_sequences=True),
    "doubled": lambda: Doubled(3, return_sequences=True),
    "other-step": lambda: OtherStep(3),
    "norm": lambda: type("MyNorm", (layers.LayerNormalization,), {})(),
    "identity": lambda: layers.Lambda(lambda t: t),
    "scale": lambda: layers.Lambda(lambda t: t / 255.0),
    "last": lambda: layers.Lambda(lambda t: t[:, -1, :]),
    "mean": lambda: layers.Lambda(lambda t: ops.mean(t, axis=1)),
    "of-tensorflow": lambda: layers.Lambda(lambda t: tf.nn.relu(t) * tf.sin(t)),
    "last-of-tensorflow": lambda: layers.Lambda(lambda t: tf.gather(t, tf.shape(t)[1] - 1, axis=1)),
}


def test_functions_and_subclasses(convert: Any) -> None:
    model = randomize(model_of(lambda x: {name: build()(x) for name, build in CLASSES.items()}))
    report, path = convert(model, chunk=3)
    assert report.delay == 0
    check_parity(model, path)


def test_a_call_that_asks_its_base_keeps_the_rule_of_the_base(convert: Any) -> None:
    report, _ = convert(randomize(model_of(lambda x: GatedConv(3, 3, padding="same")(x))))
    assert report.delay == 1


class Start(layers.Layer):
    """Makes the initial state of its layer from the number of sequences: zeros, and a learned row."""

    def __init__(self) -> None:
        super().__init__()
        self.memory = layers.LSTM(3, return_sequences=True)

    def build(self, shape: Any) -> None:
        self.first = self.add_weight(shape=(1, 3), initializer="random_normal")
        self.memory.build(shape)

    def call(self, x: Any) -> Any:
        batch = ops.shape(x)[0]
        return self.memory(x, initial_state=[ops.tile(self.first, [batch, 1]), ops.zeros((batch, 3))])


class Marked(layers.Layer):
    """Joins a column of ones, made for the size of its input, and drops the last step."""

    def call(self, x: Any) -> Any:
        batch, steps = ops.shape(x)[0], ops.shape(x)[1]
        return ops.concatenate([x, ops.ones((batch, steps, 1))], axis=-1)[:, : steps - 1]


class Rooms(layers.Layer):
    """Two memories over each of three rooms: rooms are laid into the batch and taken out again."""

    def __init__(self) -> None:
        super().__init__()
        self.memory, self.last, self.mix = layers.LSTM(5, return_sequences=True), layers.GRU(3), layers.Dense(2)

    def call(self, x: Any) -> Any:
        batch, steps = ops.shape(x)[0], ops.shape(x)[1]
        rooms = ops.transpose(ops.reshape(x, (batch, steps, 3, 2)), (2, 0, 1, 3))
        y = self.memory(ops.reshape(rooms, (3 * batch, steps, 2)))
        ends = ops.transpose(ops.reshape(self.last(y), (3, batch, 3)), (1, 0, 2))
        return ops.transpose(ops.reshape(self.mix(y), (3, batch, steps, 2)), (1, 2, 0, 3)), ends


class Frames(layers.Layer):
    """Sees steps as a batch of pictures."""

    def __init__(self) -> None:
        super().__init__()
        self.conv, self.pool = layers.Conv1D(4, 2), layers.LSTM(3)

    def call(self, x: Any) -> Any:
        pictures = ops.reshape(x, (-1, 3, 2))
        return ops.reshape(self.pool(self.conv(pictures)), (-1, ops.shape(x)[1], 3))


@pytest.mark.slow
def test_calls_that_read_sizes(convert: Any) -> None:
    def build(x: Any) -> dict[str, Any]:
        rooms, ends = Rooms()(x)
        return {"start": Start()(x), "rooms": rooms, "ends": ends, "frames": Frames()(x)}

    model = randomize(model_of(build))
    _, path = convert(model, chunk=3, batch_sizes=(1, 2))
    check_parity(model, path)
    shapes = {name: info.shape for name, info in streaming.load(path).output_spec.items()}
    assert shapes == {"ends": (3, 3), "frames": (3,), "rooms": (3, 2), "start": (3,)}


def test_a_slice_that_counts_from_the_end(convert: Any) -> None:
    model = model_of(lambda x: Marked()(x))
    report, path = convert(model)
    assert report.delay == 1
    check_parity(model, path)


class FeedBack(keras.Model):
    """TensorFlow's forecasting tutorial: a cell goes on from what it gave, several rows for each step."""

    def __init__(self, steps: int = 4) -> None:
        super().__init__()
        self.steps, self.cell, self.dense = steps, layers.LSTMCell(6), layers.Dense(5)
        self.rnn = layers.RNN(self.cell, return_state=True)

    def call(self, x: Any, training: Any = None) -> Any:
        x, *state = self.rnn(x)
        found = [self.dense(x)]
        for _ in range(1, self.steps):
            x, state = self.cell(found[-1], state, training=training)
            found.append(self.dense(x))
        return ops.transpose(ops.stack(found), [1, 0, 2])


@pytest.mark.slow
def test_a_cell_in_a_loop_of_its_own(convert: Any) -> None:
    model = FeedBack()
    x = np.random.default_rng(0).normal(size=(1, 9, 5)).astype("float32")
    model(x)
    _, path = convert(randomize(model))
    rows = streaming.load(path).create_stream().feed(x[0])
    assert rows.shape == (9, 4, 5)
    np.testing.assert_allclose(rows[6], model(x[:, :7])[0], atol=1e-5)


class Pair(keras.Model):
    """Takes a dict or a list in one argument, and holds a Sequential without Input."""

    def __init__(self, names: bool) -> None:
        super().__init__()
        self.names, self.out = names, layers.Dense(2)
        self.body = keras.Sequential([layers.Dense(4), layers.GRU(3, return_sequences=True)])

    def call(self, inputs: Any, training: bool = False) -> Any:
        a, b = (inputs["a"], inputs["b"]) if self.names else inputs
        return self.out(ops.concatenate([self.body(a), b], axis=-1))


@pytest.mark.parametrize("names", [False, True])
def test_subclassed_models_with_several_inputs_in_one_argument(names: bool, convert: Any) -> None:
    model, arrays = Pair(names), [np.ones((1, 7, 2), "f4"), np.ones((1, 7, 3), "f4")]
    model(dict(zip("ab", arrays, strict=True)) if names else arrays)
    _, path = convert(randomize(model))
    generator = np.random.default_rng(2)
    x = {name: generator.normal(size=(7, size)).astype("f4") for name, size in zip("ab", (2, 3), strict=True)}
    inputs = dict(zip(streaming.load(path).input_spec, x.values(), strict=True))

    def offline(given: Any) -> Any:
        return model(dict(zip("ab", given.values(), strict=True)) if names else [*given.values()])

    check_stream(offline, path, inputs)


class Tagger(keras.Model):
    """Takes several arguments, one of them by name."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.memory, self.out = (
            layers.Embedding(9, 4),
            layers.GRU(5, return_sequences=True),
            layers.Dense(2),
        )

    def call(self, ids: Any, values: Any, speaker: Any = None) -> Any:
        x = self.memory(ops.concatenate([self.table(ids), values], -1))
        return self.out(x + ops.expand_dims(speaker, 1))


@pytest.mark.slow
def test_subclassed_models_with_several_arguments_are_said_by_a_functional_one(convert: Any, tmp_path: Any) -> None:
    model = Tagger()
    model(np.zeros((1, 7), "i4"), np.zeros((1, 7, 3), "f4"), speaker=np.zeros((1, 5), "f4"))
    with pytest.raises(
        streaming.NotStreamableError, match=r"'values' too.*keras\.Model\(inputs, model\(\*\*inputs\)\)"
    ):
        streaming.convert(model, tmp_path / "m.tflite")
    shapes = {"ids": ((None,), "int32"), "values": ((None, 3), "float32"), "speaker": ((5,), "float32")}
    inputs = {name: keras.Input(shape, dtype=dtype, name=name) for name, (shape, dtype) in shapes.items()}
    functional = keras.Model(inputs, model(**inputs))
    _, path = convert(functional)
    check_parity(functional, path)


def test_a_model_that_was_never_called_is_refused_until_it_is(convert: Any, tmp_path: Any) -> None:
    class Ids(keras.Model):
        def __init__(self) -> None:
            super().__init__()
            self.table, self.memory = layers.Embedding(9, 4), layers.LSTM(3)

        def call(self, ids: Any) -> Any:
            return self.memory(self.table(ids))

    model = Ids()
    with pytest.raises(streaming.InputError, match="not built; call it on data first"):
        streaming.convert(model, tmp_path / "m.tflite")
    model(np.zeros((1, 4), "int32"))
    _, path = convert(model)
    assert next(iter(streaming.load(path).input_spec.values())).dtype == "int32", "what only tables read are ids"


def within_steps(x: Any) -> dict[str, Any]:
    """Recurrent layers inside of a step: over frequency, over characters with a mask, over what they make."""
    bins = layers.Reshape((-1, 3, 2))(x)
    letters = keras.Input((6,), dtype="int32")
    word = layers.LSTM(4)(layers.Embedding(5, 3, mask_zero=True)(letters))
    ids = ops.cast(ops.clip(ops.round(x + 1), 0, 4), "int32")
    rows = layers.RepeatVector(3)(layers.GRU(4)(x))
    return {
        "frequency": layers.TimeDistributed(layers.Bidirectional(layers.LSTM(3, return_sequences=True)))(bins),
        "characters": layers.TimeDistributed(keras.Model(letters, word))(ids),
        "backwards": layers.TimeDistributed(layers.GRU(3, go_backwards=True))(bins),
        "twice": layers.TimeDistributed(layers.TimeDistributed(layers.Dense(3)))(bins),
        "running": layers.TimeDistributed(layers.Dense(2))(rows),
        "group": layers.TimeDistributed(layers.GroupNormalization(2))(bins),
    }


@pytest.mark.slow
def test_recurrent_layers_inside_a_step(convert: Any) -> None:
    model = randomize(model_of(within_steps))
    report, path = convert(model, chunk=2)
    assert report.delay == 0
    check_parity(model, path)


def step_model() -> keras.Model:
    """One step of an attending decoder: a word, the source and the state; scores, the new state and the weights."""
    word, source, h = (
        keras.Input((1,), dtype="int32", name="word"),
        keras.Input((4, 3), name="source"),
        keras.Input((3,), name="h"),
    )
    weights = ops.softmax(ops.sum(source * ops.expand_dims(h, 1), axis=-1), axis=-1)
    context = ops.sum(source * ops.expand_dims(weights, -1), axis=1, keepdims=True)
    y, state = layers.GRU(3, return_state=True)(layers.Concatenate()([layers.Embedding(9, 2)(word), context]))
    return keras.Model([word, source, h], {"scores": layers.Dense(9)(y), "state": state, "weights": weights})


def test_a_model_of_one_step_carries_its_states(convert: Any) -> None:
    model = randomize(step_model())
    report, path = convert(model, states={"h": "state"}, chunk=2, batch_sizes=(1, 2))
    assert report.state_bytes == 12
    words, source = np.array([3, 1, 4, 1, 5], "int32"), np.random.default_rng(1).normal(size=(4, 3)).astype("float32")
    rows = streaming.load(path).create_stream().feed({"word": words, "source": source})
    h = tf.zeros((1, 3))
    for index, word in enumerate(words):
        expected = model([tf.constant([[word]]), tf.constant(source[None]), h])
        h = expected["state"]
        for name in ("scores", "weights"):
            np.testing.assert_allclose(rows[name][index], expected[name][0], atol=1e-6)


@pytest.mark.parametrize(
    ("states", "match"),
    [
        ({"h": "scores"}, r"'h' of shape \(3,\) with output 'scores' of shape \(9,\)"),
        ({"q": "state"}, "pairs 'q' with 'state', expected an input of word, source, h"),
        ({"h": 1}, "expected a dict of names"),
    ],
)
def test_states_that_do_not_pair(states: Any, match: str, tmp_path: Any) -> None:
    with pytest.raises(streaming.InputError, match=match):
        streaming.convert(step_model(), tmp_path / "m.tflite", states=states)


def test_a_model_of_one_step_is_told_of_its_states(convert: Any, tmp_path: Any) -> None:
    with pytest.raises(streaming.NotStreamableError, match=r"states=\{'h': 'state'\}"):
        streaming.convert(step_model(), tmp_path / "m.tflite")


class Attending(keras.Model):
    """The step of a captioner as the tutorials write it: word, regions and state are arguments of `call`."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.query, self.key, self.score = (
            layers.Embedding(9, 4),
            layers.Dense(5),
            layers.Dense(5),
            layers.Dense(1),
        )
        self.memory, self.out = layers.GRU(6, return_sequences=True, return_state=True), layers.Dense(9)

    def call(self, word: Any, regions: Any, hidden: Any) -> Any:
        scores = self.score(ops.tanh(self.query(ops.expand_dims(hidden, 1)) + self.key(regions)))
        weights = ops.softmax(scores, axis=1)
        context = ops.sum(weights * regions, axis=1)
        y, state = self.memory(ops.concatenate([ops.expand_dims(context, 1), self.table(word)], axis=-1))
        return self.out(ops.reshape(y, (-1, 6))), state, weights


class Speaking(keras.Model):
    """A decoder whose states are a list."""

    def __init__(self) -> None:
        super().__init__()
        self.table, self.out = layers.Embedding(9, 4), layers.Dense(9)
        self.memory = layers.LSTM(6, return_sequences=True, return_state=True)

    def call(self, word: Any, states: Any) -> Any:
        y, *states = self.memory(self.table(word), initial_state=states)
        return self.out(y), states


@pytest.mark.slow
def test_subclassed_models_of_one_step_with_states_as_arguments(convert: Any, tmp_path: Any) -> None:
    regions, words = np.random.default_rng(1).normal(size=(7, 3)).astype("float32"), np.array([3, 1, 4, 1], "int32")
    model = Attending()
    model(np.zeros((2, 1), "int32"), np.zeros((2, 7, 3), "float32"), np.zeros((2, 6), "float32"))
    randomize(model)
    with pytest.raises(streaming.NotStreamableError, match=r"states=\{'hidden': '(\w+)'\}") as refusal:
        streaming.convert(model, tmp_path / "m.tflite")
    state = str(refusal.value).split("'")[-2]
    _, path = convert(model, states={"hidden": state})
    rows = streaming.load(path).create_stream().feed({"word": words, "regions": regions})
    h = np.zeros((1, 6), "float32")
    for index, word in enumerate(words):
        scores, h, weights = model(np.array([[word]]), regions[None], h)
        for got, expected in zip(sorted(rows.values(), key=np.ndim), (scores, weights), strict=True):
            np.testing.assert_allclose(got[index], expected[0], atol=1e-6)


@pytest.mark.slow
def test_a_step_model_that_is_converted_as_a_window_says_so(convert: Any) -> None:
    model = Speaking()
    model(np.zeros((2, 1), "int32"), [np.zeros((2, 6), "float32")] * 2)
    randomize(model)
    report, _ = convert(model)
    pairs = ast.literal_eval(report.notes[0].split("states=")[1].split("}")[0] + "}")
    assert report.window == 1
    assert list(pairs) == ["states_0", "states_1"]
    _, path = convert(model, states=pairs)
    words, states = np.array([3, 1, 4], "int32"), [np.zeros((1, 6), "float32")] * 2
    for row, word in zip(streaming.load(path).create_stream().feed(words), words, strict=True):
        scores, states = model(np.array([[word]]), states)
        np.testing.assert_allclose(row, scores[0, 0], atol=1e-6)


class Total(layers.Layer):
    """Works along time by TensorFlow, so that it can be neither followed nor taken step by step."""

    def call(self, x: Any) -> Any:
        return tf.cumsum(x, axis=1, reverse=True)


def test_a_cell_as_a_model_is_told_of_its_states(convert: Any, tmp_path: Any) -> None:
    """No input has a time axis, and both states have one shape."""
    x, h, c = (keras.Input((size,), name=name) for size, name in ((4, "x"), (5, "h"), (5, "c")))
    y, (h_next, c_next) = layers.LSTMCell(5)(x, [h, c])
    model = keras.Model([x, h, c], {"y": layers.Dense(2)(y), "h_next": h_next, "c_next": c_next})
    with pytest.raises(streaming.NotStreamableError, match=r"states=\{'h': 'h_next', 'c': 'c_next'\}"):
        streaming.convert(model, tmp_path / "m.tflite")
    _, path = convert(model, states={"h": "h_next", "c": "c_next"})
    rows = np.random.default_rng(0).normal(size=(4, 4)).astype("float32")
    state, expected = [np.zeros((1, 5), "float32")] * 2, []
    for row in rows:
        outputs = {key: np.asarray(value) for key, value in model([row[None], *state]).items()}
        state = [outputs["h_next"], outputs["c_next"]]
        expected.append(outputs["y"][0])
    np.testing.assert_allclose(streaming.load(path).create_stream().feed(rows), expected, atol=1e-6)


def test_what_cannot_be_followed_nor_taken_step_by_step_is_refused_by_name(convert: Any, tmp_path: Any) -> None:
    model = model_of(lambda x: Total(name="total")(x))
    with pytest.raises(
        streaming.NotStreamableError, match=r"layer 'total' \(Total\).*cannot be followed.*register_rule"
    ):
        streaming.convert(model, tmp_path / "m.tflite")
    report, _ = convert(model_of(lambda x: layers.GlobalAveragePooling1D()(Total()(x))), window=4)
    assert report.window == 4


@pytest.mark.parametrize("kinds", [(), ("LSTM",)])
def test_register_rule_takes_classes(kinds: Any) -> None:
    with pytest.raises(streaming.InputError, match="expected classes of layers"):
        streaming.register_rule(*kinds)
    with pytest.raises(streaming.InputError, match="expected a subclass of"):
        streaming.register_rule(Total)(Total)
    assert issubclass(streaming.register_rule(type("Mine", (layers.Layer,), {}))(Rule), Rule)
