"""Sums over time: every step of a stream gives what the offline model gives for the steps so far."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from parity import check_parity

import streaming

STEPS = 12


def check(model: keras.Model, path: Path, causal: bool = True, **options: Any) -> None:
    """Rows of running outputs against the model on every beginning of the input, sequences against the whole."""
    report = streaming.convert(model, path, verify=False, **options)
    shape = model.inputs[0].shape[2:]
    x = np.random.default_rng(0).standard_normal((STEPS, *shape)).astype("float32")
    stream = streaming.load(path).create_stream()
    pieces = [stream.feed(x[:5]), stream.feed(x[5:6]), stream.feed(x[6:]), stream.finish()]
    infos = streaming.load(path).metadata.outputs
    assert report.path
    for index, info in enumerate(infos):
        parts = [piece[info.name] if isinstance(piece, dict) else piece for piece in pieces]
        rows = np.concatenate(parts)

        def offline(steps: int, index: int = index) -> np.ndarray:
            # Two sequences: Keras takes what has one axis larger than 1 for a bias.
            values = keras.tree.flatten(model(np.stack([x[:steps]] * 2), training=False))
            return np.asarray(values[index])[0]

        if not info.running:
            np.testing.assert_allclose(rows, offline(STEPS), rtol=2e-5, atol=2e-5)
            continue
        for steps in (2, 6, STEPS) if causal else (STEPS,):
            wanted = offline(steps)
            got = rows[-1] if steps == STEPS else rows[steps - 1]
            size = max(1.0, float(np.abs(wanted).max()))
            np.testing.assert_allclose(got, wanted, rtol=0, atol=2e-5 * size, err_msg=f"{info.name} at {steps}")


def encoded(x: Any) -> tuple[Any, Any]:
    """States of a recurrent layer, and a score for each."""
    h = layers.GRU(5, return_sequences=True)(x)
    return h, layers.Dense(1)(h)


def by_hand(h: Any, s: Any) -> Any:
    e = ops.exp(s - ops.max(s, axis=1, keepdims=True))
    return ops.sum(h * (e / ops.sum(e, axis=1, keepdims=True)), axis=1)


def unshifted(h: Any, s: Any) -> Any:
    e = ops.squeeze(ops.exp(s), -1)
    e = e / (ops.sum(e, axis=1, keepdims=True) + 1e-7)
    return ops.sum(h * ops.expand_dims(e, -1), axis=1)


def masked_scores(h: Any, s: Any) -> Any:
    keep = ops.cast(ops.abs(ops.mean(h, axis=-1, keepdims=True)) > 0.05, "float32")
    return ops.sum(ops.softmax(s + (1 - keep) * -1e9, axis=1) * h, axis=1)


def hierarchical(h: Any, s: Any) -> Any:
    a = layers.Activation("softmax")(layers.Flatten()(s))
    a = layers.Permute([2, 1])(layers.RepeatVector(5)(a))
    return ops.sum(layers.Multiply()([h, a]), axis=-2)


def attentive_statistics(h: Any, s: Any) -> Any:
    a = layers.Softmax(axis=1)(layers.Dense(5)(h))
    mean = ops.sum(a * h, axis=1, keepdims=True)
    variance = ops.sum(a * ops.square(h - mean), axis=1)
    return ops.concatenate([ops.squeeze(mean, 1), ops.sqrt(variance + 1e-6)], axis=-1)


POOLINGS = {
    "softmax layer": lambda h, s: ops.sum(layers.Softmax(axis=1)(s) * h, axis=1),
    "large scores": lambda h, s: ops.sum(ops.softmax(300 * s, axis=-2) * h, axis=1),
    "by hand": by_hand,
    "unshifted": unshifted,
    "masked scores": masked_scores,
    "hierarchical": hierarchical,
    "dot": lambda h, s: layers.Dot(axes=1)([h, layers.Activation("softmax")(layers.Reshape((-1,))(s))]),
    "permuted": lambda h, s: ops.matmul(layers.Activation("softmax")(layers.Permute((2, 1))(s)), h),
    "mean of weighted": lambda h, s: layers.GlobalAveragePooling1D()(h * ops.softmax(s, axis=1)),
    "log softmax": lambda h, s: ops.mean(ops.log_softmax(h, axis=1), axis=1),
    "weights of a step": lambda h, s: ops.average(h, axis=1, weights=ops.exp(s) * ops.ones_like(h)),
    "where": lambda h, s: ops.sum(ops.where(h > 0, ops.softmax(s, axis=1) * h, 0.0), axis=1),
    "time and features": lambda h, s: ops.sum(layers.Softmax(axis=(1, 2))(h) * h, axis=(1, 2)),
}
HEADS = {
    "transpose": lambda a, h: ops.matmul(ops.transpose(a, (0, 2, 1)), h),
    "layer": lambda a, h: layers.Dot(axes=(1, 1))([a, h]),
    "einsum": lambda a, h: ops.einsum("btr,btf->brf", a, h),
    "einsum of plain": lambda a, h: ops.einsum("btr,btf->bfr", h, h),
}
STATISTICS = {
    "var": lambda x: ops.var(x, axis=1),
    "std of all": lambda x: ops.std(x, axis=(1, 2), keepdims=True),
    "var by hand": lambda x: ops.mean(ops.square(x + 20 - ops.mean(x + 20, axis=1, keepdims=True)), axis=1),
    "mean of all": lambda x: ops.mean(x, axis=(1, 2)),
    "logsumexp": lambda x: ops.logsumexp(40 * x, axis=1),
    "logsumexp of all": lambda x: ops.logsumexp(x, axis=(1, 2, 3)),
    "min": lambda x: ops.min(x, axis=1),
    "max": lambda x: ops.max(x, axis=(1, 3), keepdims=True),
    "prod": lambda x: ops.prod(x, axis=1),
    "any": lambda x: ops.cast(ops.any(x > 1.5, axis=1), "int32"),
    "all": lambda x: ops.cast(ops.all(x > -1.5, axis=(1, 2)), "int32"),
    "count": lambda x: ops.count_nonzero(x > 0, axis=1),
    "whole numbers": lambda x: ops.sum(ops.cast(3 * x, "int32"), axis=1),
    "norm": lambda x: ops.norm(x, axis=1),
    "norm 1": lambda x: ops.norm(x, ord=1, axis=1, keepdims=True),
    "norm inf": lambda x: ops.norm(x, ord=np.inf, axis=1),
    "argmax": lambda x: ops.argmax(x, axis=1),
    "argmin": lambda x: ops.argmin(x, axis=1),
    "unit": lambda x: ops.sum(layers.UnitNormalization(axis=1)(x), axis=1),
    "cumsum": lambda x: ops.cumsum(x, axis=1),
    "cumprod": lambda x: ops.cumprod(x, axis=1),
    "first step": lambda x: x[:, 0],
    "channels first": lambda x: layers.GlobalAveragePooling2D(data_format="channels_first")(
        ops.transpose(x, (0, 3, 1, 2))
    ),
}


def outputs(graph: dict[str, Any], *args: Any) -> list[Any]:
    return [layers.Identity(name="is_" + name.replace(" ", "_"))(build(*args)) for name, build in graph.items()]


@pytest.mark.slow
@pytest.mark.parametrize("options", [{}, {"batch_sizes": (1, 2), "chunk": 4}], ids=["step", "chunk"])
def test_attention_pooling_is_a_running_value(tmp_path: Path, options: dict[str, Any]) -> None:
    x = keras.Input((None, 6))
    h, s = encoded(x)
    check(keras.Model(x, outputs(POOLINGS, h, s)), tmp_path / "a.tflite", **options)


@pytest.mark.parametrize("axes", [1, (1, 2)])
def test_scores_that_are_all_masked_weigh_alike(axes: Any, tmp_path: Path) -> None:
    """Beside -1e9 the logarithm of a sum is lost in float32: over one axis Keras does without, over several not."""
    x = keras.Input((None, 4))
    weights = layers.Softmax(axis=axes)(x * 1e-3 - 1e9)
    check(keras.Model(x, ops.sum(weights * x, axis=axes)), tmp_path / "a.tflite")
    streaming.convert(keras.Model(x, ops.sum(weights * x, axis=axes)), tmp_path / "b.tflite")


@pytest.mark.slow
def test_several_heads_are_summed_over_time(tmp_path: Path) -> None:
    x = keras.Input((None, 6))
    h, _ = encoded(x)
    a = layers.Softmax(axis=1)(layers.Dense(3)(h))
    found = [*outputs(HEADS, a, h), attentive_statistics(h, a)]
    check(keras.Model(x, found), tmp_path / "a.tflite")


@pytest.mark.slow
def test_statistics_over_time_and_features(tmp_path: Path) -> None:
    x = keras.Input((None, 4, 3))
    check(keras.Model(x, outputs(STATISTICS, x)), tmp_path / "a.tflite")


@pytest.mark.slow
def test_positions_from_the_first_step_on_are_held(tmp_path: Path) -> None:
    x = keras.Input((None, 6))
    h = layers.Conv1D(4, 3, padding="same")(layers.GRU(5, return_sequences=True)(x))  # a delay before it
    found = [h[:, 2], x[:, 3:4, ::2], ops.take(h, 1, axis=1), x[:, 0, 1:], h[:, :1], layers.Dense(3)(h[:, 4])]
    model = keras.Model(x, found)
    streaming.convert(model, tmp_path / "a.tflite", chunk=3)
    check_parity(model, tmp_path / "a.tflite")


def test_gates_of_the_whole_sequence_reach_a_mean(tmp_path: Path) -> None:
    x = keras.Input((None, 6))
    h = layers.Conv1D(8, 3, padding="same")(x)  # two branches of different delay
    gate = layers.Dense(8, "sigmoid")(layers.Dense(2, "relu")(layers.GlobalAveragePooling1D(keepdims=True)(h)))
    check(
        keras.Model(x, layers.GlobalAveragePooling1D()(layers.Multiply()([h, gate]))),
        tmp_path / "a.tflite",
        causal=False,
    )


@pytest.mark.slow
def test_long_chunks_loop(tmp_path: Path) -> None:
    x = keras.Input((None, 2))
    model = keras.Model(x, [ops.sum(ops.softmax(x, axis=1) * x, axis=1), ops.std(x, axis=1)])
    report = streaming.convert(model, tmp_path / "a.tflite", chunk=80)
    assert "WHILE" in report.ops
    check_parity(model, tmp_path / "a.tflite", steps=170, cuts=[[], [3, 90]])


REFUSED = {
    "output": (lambda h, s: ops.softmax(s, axis=1), "known only at the end of the sequence; leave it out"),
    "recurrent": (lambda h, s: layers.LSTM(3)(ops.softmax(s, axis=1) * h), "sum or average its input over time first"),
    "nonlinear": (lambda h, s: ops.sum(ops.tanh(h - ops.mean(h, axis=1, keepdims=True)), axis=1), "sum or average"),
    "quadratic": (lambda h, s: ops.softmax(ops.matmul(h, ops.transpose(h, (0, 2, 1)))), "window=W"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_every_step_would_need_of_the_end_is_refused(name: str, tmp_path: Path) -> None:
    x = keras.Input((None, 6))
    build, said = REFUSED[name]
    with pytest.raises(streaming.NotStreamableError, match=said):
        streaming.convert(keras.Model(x, build(*encoded(x))), tmp_path / "a.tflite")


def test_a_mask_of_steps_that_keras_refuses_too_is_named_and_the_remedy_works(tmp_path: Path) -> None:
    x = keras.Input((None, 3))
    h = layers.Dense(2)(layers.Masking()(x))
    with pytest.raises(streaming.NotStreamableError, match=r"mask of 2 axes for an input of 3.*ops\.softmax"):
        streaming.convert(keras.Model(x, ops.sum(layers.Softmax(axis=1)(h) * h, axis=1)), tmp_path / "a.tflite")
    model = keras.Model(x, ops.sum(ops.softmax(h, axis=1) * h, axis=1))
    streaming.convert(model, tmp_path / "b.tflite")
    data = np.random.default_rng(0).standard_normal((1, 12, 3)).astype("float32")
    got = streaming.load(tmp_path / "b.tflite").create_stream().feed(data[0])
    np.testing.assert_allclose(got[-1], np.asarray(model(data))[0], atol=1e-5)
