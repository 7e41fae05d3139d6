"""The proof at conversion: it catches every kind of fault, names the layer, and refuses nothing that is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, ops
from small_models import randomize

import streaming
from streaming.conversion import masks, sliding
from streaming.conversion.lengths import Lengths
from streaming.conversion.plan import plan
from streaming.conversion.rules import attention, cells, whole
from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.rules.convolution import _Convolution
from streaming.conversion.rules.embedding import EmbeddingRule
from streaming.conversion.rules.pointwise import DenseRule, MaskedMerge
from streaming.conversion.rules.pooling import AveragePoolingRule
from streaming.conversion.rules.recurrent import RecurrentRule
from streaming.conversion.rules.reduction import RunningReduction
from streaming.conversion.rules.window import WindowRule

pytestmark = pytest.mark.filterwarnings(
    "ignore:.*does not support masking", "ignore:.*mask attached to it", "ignore:.*You are using a softmax"
)
WIDTH = 4
Patch = Callable[[pytest.MonkeyPatch], None]


def forget(state: str, chunks: bool = False) -> Patch:
    """A state of that name is not carried; with `chunks`, in signatures of several steps alone."""

    def patch(monkeypatch: pytest.MonkeyPatch) -> None:
        write = Env.write

        def wrong(env: Env, name: str, value: Any) -> None:
            lost = name.rsplit("/")[-1] == state and (env.chunk > 1 or not chunks)
            write(env, name, env.read(name) if lost else value)

        monkeypatch.setattr(Env, "write", wrong)

    return patch


def replace(owner: Any, name: str, make: Callable[[Any], Any]) -> Patch:
    """An attribute of a rule is replaced by what `make` makes of it."""
    return lambda monkeypatch: monkeypatch.setattr(owner, name, make(vars(owner)[name]))


def mix_streams(read: Any) -> Any:
    return lambda env, name: tf.roll(read(env, name), 1, axis=0) if env.batch > 1 else read(env, name)


def give_mask_beside_state(given: Any) -> Any:
    """The fault that this proof was built for: Keras drops the mask where an initial state is given."""

    def wrong(layer: Any, args: Any, kwargs: Any) -> Any:
        found, first, previous = given(layer, args, kwargs)
        if "initial_state" in kwargs and isinstance(layer, layers.GRU):
            found = {**found, "mask": previous}
        return found, first, previous

    return wrong


def off_by_one(held_back: Any) -> Any:
    def wrong(rule: Rule, env: Env, state: str, value: tf.Tensor) -> tf.Tensor:
        stored, steps = env.read(rule.key(state)), value.shape[1]
        line = tf.concat([stored, tf.cast(value, stored.dtype)], axis=1)
        env.write(rule.key(state), line[:, steps:])
        return tf.cast(line[:, 1 : steps + 1], value.dtype)

    return wrong


def transposed_recurrent(kind: Any) -> Any:
    class Wrong(kind):
        @property
        def recurrent(self) -> Any:
            return tf.transpose(super().recurrent)

        def value(self, name: str) -> Any:
            value = super().value(name)
            return value.T if name == "recurrent_kernel" else value

    return Wrong


def transposed_dense(rule: Any, x: Any, **kwargs: Any) -> Any:
    return tf.matmul(x, ops.convert_to_tensor(rule.call.op.kernel), transpose_b=True)


def convolution(x: Any, layer: Any = layers.Conv1D, **options: Any) -> Any:
    return layer(**{"filters": 3, "kernel_size": 3, "padding": "same", **options})(layers.Dense(WIDTH)(x))


def masking(x: Any) -> Any:
    return layers.Masking()(x)


def branches(x: Any) -> Any:
    y = layers.Conv1D(WIDTH, 5, padding="same")(x)
    return layers.Add()([x, y])


FAULTS: dict[str, tuple[Patch, Callable[[Any], Any], dict[str, Any], str]] = {
    "mask dropped": (
        replace(RecurrentRule, "_mask_signal", lambda _: lambda rule: None),
        lambda x: layers.GRU(3, return_sequences=True, name="faulty")(masking(x)),
        {},
        "faulty",
    ),
    "mask dropped by a mean": (
        replace(RunningReduction, "step", lambda step: lambda rule, env, inputs, mask=None: step(rule, env, inputs)),
        lambda x: layers.GlobalAveragePooling1D(name="faulty")(masking(x)),
        {},
        "faulty",
    ),
    "mask of a merge dropped": (
        replace(MaskedMerge, "heeds_masks", lambda _: False),
        lambda x: layers.Multiply(name="faulty")([masking(x), layers.Dense(WIDTH)(x)]),
        {},
        "faulty",
    ),
    "state of a recurrent layer": (
        forget("state"),
        lambda x: layers.GRU(3, return_sequences=True, name="faulty")(layers.Dense(4)(x)),
        {},
        "faulty",
    ),
    "state lost in chunks alone": (
        forget("state", chunks=True),
        lambda x: layers.GRU(3, name="faulty")(x),
        {"chunk": 4},
        "faulty",
    ),
    "recurrent weight transposed": (
        replace(cells, "_Weights", transposed_recurrent),
        lambda x: layers.SimpleRNN(3, name="faulty")(layers.Dense(4)(x)),
        {},
        "faulty",
    ),
    "dense weight transposed": (
        lambda monkeypatch: monkeypatch.setattr(DenseRule, "compute", transposed_dense, raising=False),
        lambda x: layers.Dense(WIDTH, use_bias=False, name="faulty")(x),
        {},
        "faulty",
    ),
    "wrong row of a table": (
        replace(
            EmbeddingRule, "step", lambda step: lambda rule, env, ids: step(rule, env, ids.like(full=ids.full // 2))
        ),
        lambda x: layers.Embedding(9, 3, name="faulty")(ops.cast(x[:, :, 0] > 0, "int32") * 5),
        {},
        "faulty",
    ),
    "edge of a convolution": (
        replace(WindowRule, "padded", lambda _: lambda rule, env, inputs, signal: inputs.full),
        lambda x: convolution(x, name="faulty"),
        {},
        "faulty",
    ),
    "past of a convolution": (forget("past"), lambda x: convolution(x, padding="causal", name="faulty"), {}, "faulty"),
    "kernel reversed": (
        replace(_Convolution, "compute", lambda compute: lambda rule, env, window: compute(rule, env, window[:, ::-1])),
        lambda x: convolution(x, padding="valid", name="faulty"),
        {},
        "faulty",
    ),
    "overlap of a transposed convolution": (
        forget("overlap"),
        lambda x: convolution(x, layers.Conv1DTranspose, strides=2, name="faulty"),
        {},
        "faulty",
    ),
    "edge of a mean": (
        replace(AveragePoolingRule, "compute", lambda _: lambda rule, env, window: rule.pool(window)),
        lambda x: layers.AveragePooling1D(3, 1, padding="same", name="faulty")(layers.Dense(3)(x)),
        {},
        "faulty",
    ),
    "count of a running mean": (
        forget("count"),
        lambda x: layers.GlobalAveragePooling1D(name="faulty")(x),
        {},
        "faulty",
    ),
    "delay off by one": (replace(Rule, "held_back", off_by_one), branches, {}, "delay"),
    "zeros before the start": (
        replace(Rule, "zeroed", lambda _: lambda rule, env, chunk, signal: chunk.full),
        lambda x: layers.ZeroPadding1D((0, 2), name="faulty")(layers.Dense(3)(x)),
        {},
        "faulty",
    ),
    "past of attention": (
        forget("keys"),
        lambda x: layers.MultiHeadAttention(2, 3, name="faulty")(x, x, use_causal_mask=True),
        {"attention_window": 6},
        "faulty",
    ),
    "right context": (
        forget("forward0"),
        lambda x: layers.Bidirectional(layers.GRU(3, return_sequences=True), name="faulty")(x),
        {"lookahead": 4},
        "faulty",
    ),
    "streams mixed": (
        replace(Env, "read", mix_streams),
        lambda x: layers.GRU(3, return_sequences=True, name="faulty")(x),
        {"batch_sizes": (1, 3)},
        "faulty",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_in_a_rule_is_caught_and_located(name: str, convert: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    patch, build, options, layer = FAULTS[name]
    x = keras.Input((None, WIDTH), name="x")
    model = randomize(keras.Model(x, build(x)))
    patch(monkeypatch)
    with pytest.raises(streaming.ParityError, match=rf"first in layer '[^']*{layer}"):
        convert(model, **options)


@pytest.mark.slow
def test_a_mask_too_many_is_caught(convert: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    x, h = keras.Input((None, WIDTH), name="x"), keras.Input((3,), name="h")
    y = layers.GRU(3, return_sequences=True, name="faulty")(masking(x), initial_state=h)
    model = randomize(keras.Model([x, h], y))
    replace(masks, "masks_of_call", give_mask_beside_state)(monkeypatch)
    with pytest.raises(streaming.ParityError, match="differs"):
        convert(model)


@pytest.mark.parametrize(
    ("owner", "name", "fault"),
    [
        (attention, "_seen", lambda _: lambda source, mask: source.exists),
        (whole, "_scan", lambda scan: lambda layer, x, keep, *rest: scan(layer, x, tf.ones_like(keep), *rest)),
    ],
)
def test_faults_of_an_encoder(owner: Any, name: str, fault: Any, convert: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    source, target = (keras.Input((None,), dtype="int32", name=name) for name in ("source", "target"))
    memory = layers.GRU(5, return_sequences=True)(layers.Embedding(9, 6, mask_zero=True)(source))
    model = randomize(keras.Model([source, target], layers.Attention()([layers.Embedding(9, 5)(target), memory])))
    replace(owner, name, fault)(monkeypatch)
    with pytest.raises(streaming.ParityError, match="differs"):
        convert(model, encode=["source"], max_length=6)


@pytest.mark.slow
def test_locate_names_the_layer_and_nothing_where_all_is_right(monkeypatch: pytest.MonkeyPatch) -> None:
    x = keras.Input((None, WIDTH), name="x")
    y = layers.GRU(3, return_sequences=True)(masking(x))
    model = randomize(keras.Model(x, layers.Dense(2)(layers.Conv1D(3, 3, padding="causal", name="faulty")(y))))
    assert streaming.locate(model, chunk=3) is None
    forget("past")(monkeypatch)
    found = streaming.locate(model)
    assert found is not None
    assert (found.layer, found.kind) == ("faulty", "Conv1D")
    assert found.max_abs_error > 1e-3
    assert "'faulty'" in str(found)


def stretched(computed: Any) -> Any:
    return lambda op, *rest: computed(op, *rest) * (1.01 if op.name == "faulty" else 1)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("patch", "build"),
    [
        (forget("past"), lambda x: layers.Flatten()(layers.LSTM(3)(convolution(x, padding="valid", name="faulty")))),
        (forget("ring0"), lambda x: layers.Dense(2)(layers.Flatten(name="faulty")(x))),
        (replace(sliding, "_computed", stretched), lambda x: layers.Dense(2)(layers.LSTM(3, name="faulty")(x))),
    ],
)
def test_a_fault_in_a_window_is_caught_and_located(
    patch: Any, build: Any, convert: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    x = keras.Input((8, WIDTH), name="x")
    model = randomize(keras.Model(x, build(x)))
    assert streaming.locate(model) is None
    patch(monkeypatch)
    found = streaming.locate(model)
    assert found is not None
    assert found.layer == "faulty"
    with pytest.raises(streaming.ParityError, match="first in layer 'faulty'"):
        convert(model)


class Total(layers.Layer):
    """A user's slip: right for one step, wrong for a chunk."""

    def call(self, x: Any) -> Any:
        return ops.cumsum(x, axis=1)

    def stream_spec(self, shape: Any) -> dict[str, Any]:
        return {"states": {"total": {"shape": (shape[-1],)}}}

    def stream_step(self, x: Any, valid: Any, states: Any) -> Any:
        total = states["total"] + ops.sum(x, axis=1)
        return ops.repeat(total[:, None], x.shape[1], axis=1), valid, {"total": total}


class Change(layers.Layer):
    """A user's slip: forgets to carry the last row."""

    def call(self, x: Any) -> Any:
        return x - ops.pad(x, [[0, 0], [1, 0], [0, 0]])[:, :-1]

    def stream_spec(self, shape: Any) -> dict[str, Any]:
        return {"states": {"past": {"shape": (1, shape[-1])}}}

    def stream_step(self, x: Any, valid: Any, states: Any) -> Any:
        line = ops.concatenate([states["past"], x], axis=1)
        return line[:, 1:] - line[:, :-1], valid, {"past": states["past"]}


def test_every_chunk_is_proven(convert: Any) -> None:
    x = keras.Input((None, 2))
    with pytest.raises(streaming.ParityError, match="Total"):
        convert(keras.Model(x, Total()(x)), chunk=500)


@pytest.mark.slow
def test_what_lies_behind_a_long_stride_is_proven(convert: Any) -> None:
    x = keras.Input((None, 1))
    y = layers.Conv1D(8, 512, strides=512, padding="causal")(x)
    with pytest.raises(streaming.ParityError, match="Change"):
        convert(keras.Model(x, Change()(y)))


def dilated(x: Any) -> Any:
    for rate in (1, 2, 4, 8, 16, 32, 64, 128):
        x = layers.Conv1D(3, 3, dilation_rate=rate)(x)
    return x


def pooled(x: Any) -> Any:
    for _ in range(9):
        x = layers.MaxPooling1D(2)(layers.Conv1D(3, 5, padding="same")(x))
    return layers.GlobalAveragePooling1D()(x)


def spectrum(x: Any) -> Any:
    y = layers.STFTSpectrogram(mode="log", frame_length=400, frame_step=160, fft_length=512)(x)
    return layers.LSTM(4, return_sequences=True)(y)


@pytest.mark.parametrize("build", [dilated, pooled, spectrum])
def test_a_late_first_output_is_no_ground_for_refusal(build: Any, convert: Any) -> None:
    x = keras.Input((None, 1))
    report, _ = convert(keras.Model(x, build(x)))
    assert report.max_abs_error is not None
    assert report.verification.steps > 2000


def test_lengths_follow_the_plan() -> None:
    x = keras.Input((None, 1))
    lengths = Lengths(plan(keras.Model(x, dilated(x))))
    assert (lengths.least, lengths.memory) == (511, 510)
    chosen = lengths.chosen(400, lambda length: True)
    assert {511, 512, 801} <= set(chosen)
    assert max(chosen) == 1199
    assert lengths.below(510) is None
    assert lengths.below(600) == 600


POSITIVE: dict[str, Callable[[Any], Any]] = {
    "log": lambda x: ops.log(x + 1e-7),
    "sqrt": ops.sqrt,
    "power": lambda x: x**0.3,
    "log1p": ops.log1p,
    "logit": lambda x: ops.log(x) - ops.log(1.0 - x),
}


@pytest.mark.parametrize("name", POSITIVE)
def test_models_of_numbers_that_are_never_negative(name: str, convert: Any) -> None:
    x = keras.Input((None, 5), name="x")
    report, _ = convert(keras.Model(x, layers.GRU(3, return_sequences=True)(POSITIVE[name](x))))
    assert report.verification.domain == ("between 0 and 1" if name == "logit" else "positive")
    assert report.verification.sequences >= 6


def test_a_model_that_no_random_numbers_suit_asks_for_calibration_and_takes_it(convert: Any) -> None:
    x = keras.Input((None, 2), name="x")
    model = keras.Model(x, layers.GRU(3, return_sequences=True)(ops.sqrt(x - 50.0)))
    with pytest.raises(streaming.InputError, match="calibration"):
        convert(model)
    data = [np.random.default_rng(0).uniform(60, 70, (40, 2)).astype("float32")]
    report, _ = convert(model, calibration=data)
    assert report.verification.domain == "calibration data"
    with pytest.raises(streaming.InputError, match="NaN or infinity on calibration sequence 0"):
        convert(model, calibration=[np.zeros((40, 2), "float32")])
