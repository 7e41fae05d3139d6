"""Every layer that Keras exports streams, or is refused by name: a new one cannot slip by."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers, ops
from parity import check_parity
from small_models import model_of, randomize

import streaming
from streaming.conversion.rules.preprocessing import AUGMENTATIONS
from streaming.conversion.rules.refusals import explain

KERAS = {value for name, value in vars(layers).items() if inspect.isclass(value) and issubclass(value, layers.Layer)}
# Names without a call of their own.
ABSTRACT = {layers.Layer, layers.Wrapper, layers.InputLayer}


def image(x: Any) -> Any:
    return layers.Reshape((-1, 3, 4))(layers.Dense(12)(x))


def volume(x: Any) -> Any:
    return layers.Reshape((-1, 3, 4, 2))(layers.Dense(24)(x))


def ids(x: Any) -> Any:
    return ops.cast(ops.clip(ops.round(2 * x[:, :, 0] + 3), 0, 6), "int32")


def of_image(name: str, *args: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda x: getattr(layers, name)(*args, **options)(image(x))


def of_volume(name: str, *args: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda x: getattr(layers, name)(*args, **options)(volume(x))


def of(name: str, *args: Any, **options: Any) -> Callable[[Any], Any]:
    return lambda x: getattr(layers, name)(*args, **options)(x)


def joined(name: str) -> Callable[[Any], Any]:
    return lambda x: getattr(layers, name)()([x, layers.Dense(4)(x)])


def attention(x: Any) -> Any:
    return layers.MultiHeadAttention(2, 3)(x, x, use_causal_mask=True)


def tied(x: Any) -> Any:
    table = layers.ReversibleEmbedding(7, 5)
    return table(table(ids(x)), reverse=True)


def looked_up(x: Any) -> Any:
    known = layers.IntegerLookup(vocabulary=[5, 2, 3], mask_token=0)
    return layers.Embedding(5, 2)(known(ids(x)))


def spectral(x: Any) -> Any:
    return layers.SpectralNormalization(layers.Conv1D(3, 3, padding="same"))(x)


def over(layer: Callable[..., Any]) -> Callable[[Any], Any]:
    return lambda x: layer(layers.LSTM(3, return_sequences=True))(x)


# One or more for each class; a model is made of all that stand on one line.
GROUPS: dict[str, dict[str, Callable[[Any], Any]]] = {
    "recurrent": {
        "SimpleRNN": of("SimpleRNN", 3),
        "LSTM": of("LSTM", 3, return_sequences=True),
        "GRU": of("GRU", 3),
        "RNN": lambda x: layers.RNN(layers.LSTMCell(3))(x),
        "ConvLSTM1D": of_image("ConvLSTM1D", 2, 2),
        "ConvLSTM2D": of_volume("ConvLSTM2D", 2, 2),
        "ConvLSTM3D": lambda x: layers.ConvLSTM3D(2, 2)(layers.Reshape((-1, 2, 2, 3, 2))(volume(x))),
    },
    "convolutions": {
        "Conv1D": of("Conv1D", 3, 3, padding="same"),
        "Conv2D": of_image("Conv2D", 3, 3, padding="same"),
        "Conv3D": of_volume("Conv3D", 2, 2, padding="same"),
        "DepthwiseConv1D": of("DepthwiseConv1D", 3),
        "DepthwiseConv2D": of_image("DepthwiseConv2D", 2),
        "SeparableConv1D": of("SeparableConv1D", 3, 3),
        "SeparableConv2D": of_image("SeparableConv2D", 3, 2),
        "SpectralNormalization": spectral,
    },
    "transposed": {
        "Conv1DTranspose": of("Conv1DTranspose", 3, 3, 2),
        "Conv2DTranspose": of_image("Conv2DTranspose", 2, (3, 2), (2, 1), padding="same"),
        "Conv3DTranspose": of_volume("Conv3DTranspose", 2, 2, (2, 1, 1)),
        "wider": of_image("Conv2DTranspose", 2, (2, 3), (1, 2), padding="same"),
        "narrow": of_image("Conv2DTranspose", 2, (1, 2), (1, 3), padding="same"),
    },
    "pooling": {
        "MaxPooling1D": of("MaxPooling1D", 2, 1, padding="same"),
        "MaxPooling2D": of_image("MaxPooling2D", 2, 1, padding="same"),
        "MaxPooling3D": of_volume("MaxPooling3D", (2, 2, 3), (1, 1, 2), padding="same"),
        "AveragePooling1D": of("AveragePooling1D", 3, 1, padding="same"),
        "AveragePooling2D": of_image("AveragePooling2D", 3, 1, padding="same"),
        "AveragePooling3D": of_volume("AveragePooling3D", 3, (1, 2, 2), padding="same"),
        "strided": of_volume("AveragePooling3D", (3, 2, 2)),
    },
    "global": {
        "GlobalAveragePooling1D": of("GlobalAveragePooling1D"),
        "GlobalAveragePooling2D": of_image("GlobalAveragePooling2D"),
        "GlobalAveragePooling3D": of_volume("GlobalAveragePooling3D"),
        "GlobalMaxPooling1D": of("GlobalMaxPooling1D"),
        "GlobalMaxPooling2D": of_image("GlobalMaxPooling2D"),
        "GlobalMaxPooling3D": of_volume("GlobalMaxPooling3D"),
        "RepeatVector": lambda x: layers.RepeatVector(2)(layers.GlobalMaxPooling1D()(x)),
        "Dot": lambda x: layers.Dot(-1)([layers.GlobalMaxPooling1D()(x), layers.GRU(4)(x)]),
        "GroupNormalization": lambda x: layers.GroupNormalization(2)(layers.GlobalMaxPooling1D()(x)),
    },
    "edges": {
        "ZeroPadding1D": of("ZeroPadding1D", (2, 1)),
        "ZeroPadding2D": of_image("ZeroPadding2D", ((2, 1), (0, 3))),
        "ZeroPadding3D": of_volume("ZeroPadding3D", ((1, 2), (1, 0), (0, 2))),
        "Cropping1D": of("Cropping1D", (1, 2)),
        "Cropping2D": of_image("Cropping2D", ((2, 1), (1, 0))),
        "Cropping3D": of_volume("Cropping3D", ((0, 2), (0, 1), (1, 1))),
        "UpSampling1D": of("UpSampling1D", 2),
        "UpSampling2D": of_image("UpSampling2D", (2, 3)),
        "UpSampling3D": of_volume("UpSampling3D", (1, 2, 3)),
    },
    "shape": {
        "Reshape": of("Reshape", (-1, 2, 2)),
        "Flatten": lambda x: layers.Flatten()(layers.LSTM(3)(x)),
        "Permute": of_image("Permute", (1, 3, 2)),
        "TimeDistributed": lambda x: layers.TimeDistributed(layers.Conv1D(2, 2))(image(x)),
        "Masking": of("Masking"),
        "Lambda": lambda x: layers.Lambda(lambda t: t[:, :, ::-1])(x),
        "Embedding": lambda x: layers.Embedding(7, 3)(ids(x)),
        "ReversibleEmbedding": tied,
    },
    "features": {
        "Dense": of("Dense", 3, "relu"),
        "EinsumDense": of("EinsumDense", "btd,de->bte", (None, 3)),
        "PReLU": of("PReLU", shared_axes=[1]),
        "BatchNormalization": of("BatchNormalization"),
        "LayerNormalization": of("LayerNormalization"),
        "UnitNormalization": of("UnitNormalization"),
        "RMSNormalization": of("RMSNormalization"),
        "Softmax": of("Softmax"),
        "Activation": of("Activation", "gelu"),
        **{name: of(name) for name in ("ReLU", "LeakyReLU", "ELU")},
    },
    "merging": {name: joined(name) for name in "Add Subtract Multiply Average Maximum Minimum Concatenate".split()},
    "idle": {
        **{name: of(name) for name in ("Identity", "ActivityRegularization")},
        **{
            name: of(name, 0.3)
            for name in "Dropout SpatialDropout1D GaussianDropout GaussianNoise AlphaDropout".split()
        },
        "SpatialDropout2D": of_image("SpatialDropout2D", 0.3),
        "SpatialDropout3D": of_volume("SpatialDropout3D", 0.3),
    },
    "preprocessing": {
        "Rescaling": of("Rescaling", 0.5, 1.0),
        "Normalization": of("Normalization", mean=[0.1] * 4, variance=[2.0] * 4),
        "Discretization": lambda x: layers.Discretization([-1.0, 0.0, 1.0])(x),
        "CategoryEncoding": lambda x: layers.CategoryEncoding(7, output_mode="one_hot")(ids(x)[:, :, None]),
        "IntegerLookup": looked_up,
        "STFTSpectrogram": of("STFTSpectrogram", frame_length=4, frame_step=2, fft_length=8),
        "Pipeline": lambda x: layers.Pipeline([layers.Rescaling(2.0), layers.Dropout(0.5)])(x),
    },
    "augmentation": {
        cls.__name__: lambda x, cls=cls: cls(*_augmentation(cls))(layers.Reshape((-1, 4, 3))(layers.Dense(12)(x)))
        for cls in AUGMENTATIONS
    },
    "bounded": {
        "Bidirectional": lambda x: layers.Bidirectional(layers.GRU(3, return_sequences=True))(x),
        "MultiHeadAttention": attention,
    },
}
SOURCES = {
    layers.Attention,
    layers.AdditiveAttention,
}  # stream towards a source: test_encode.py


def _augmentation(cls: type) -> tuple[Any, ...]:
    """The arguments that a constructor requires."""
    wanted = [p for p in inspect.signature(cls.__init__).parameters.values() if p.default is p.empty]
    named = {"factor": 3 if cls.__name__ == "RandomPosterization" else 0.2, "height_factor": 0.2, "width_factor": 0.2}
    return tuple(named.get(p.name, 0.2) for p in wanted if p.name not in ("self", "args", "kwargs"))


@pytest.mark.parametrize("group", GROUPS)
def test_stream_equals_offline(group: str, convert: Any) -> None:
    model = randomize(model_of(lambda x: {name: build(x) for name, build in GROUPS[group].items()}, 4))
    bounds = {"lookahead": 3, "attention_window": 4} if group == "bounded" else {}
    report, path = convert(model, **bounds)
    assert report.verification.sequences >= 4
    # A bounded stream equals the offline model where the bounds hold the whole sequence.
    check_parity(model, path, steps=3 if bounds else 11, cuts=[[], [1, 2]] if bounds else ())


def test_every_layer_of_keras_streams_or_is_refused() -> None:
    shown = {getattr(layers, name, None) for group in GROUPS.values() for name in group} | SOURCES
    default = explain(object())
    refused = {kind for kind in KERAS if explain(kind.__new__(kind)) != default}
    missing = sorted(kind.__name__ for kind in KERAS - shown - refused - ABSTRACT)
    assert not missing, f"{missing} neither stream nor are refused: write a rule and an example, or a reason"
    assert not refused & shown


def refused(build: Callable[[Any], Any], match: str, tmp_path: Any) -> None:
    with pytest.raises(streaming.NotStreamableError, match=match):
        streaming.convert(model_of(build, 4), tmp_path / "m.tflite")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("build", "match"),
    [
        (lambda x: layers.AdaptiveMaxPooling1D(3)(x), "adaptive_max.*windows that depend on the length.*MaxPooling1D"),
        (lambda x: layers.Resizing(4, 4)(image(x)), "resizing.*whole images.*TimeDistributed"),
        (lambda x: layers.MelSpectrogram(16, 8)(x[:, :, 0]), "mel.*loudest of the whole recording.*power_to_db=False"),
        (lambda x: layers.Hashing(5)(ids(x)), "hashing.*strings or hashes.*before the stream"),
        (lambda x: layers.UpSampling2D(2, interpolation="bilinear")(image(x)), "up_sampling.*nearest"),
        (lambda x: layers.ZeroPadding2D(1, "channels_first")(image(x)), "zero_padding.*channels before time"),
        (lambda x: layers.IntegerLookup(vocabulary=[1], num_oov_indices=2)(ids(x)), "num_oov_indices=1"),
        (lambda x: layers.IntegerLookup(vocabulary=[1], output_mode="multi_hot")(ids(x)), "output_mode='int'"),
        (lambda x: layers.CategoryEncoding(7)(ids(x)), "encodes along time.*one_hot"),
        (lambda x: layers.Discretization([0.0], output_mode="count")(x), "discretization.*CategoryEncoding"),
        (lambda x: ops.pad(x, ((0, 0), (1, 0), (0, 0)), constant_values=2.0), "pad.*other values than zeros"),
        (lambda x: ops.pad(x, ((0, 0), (1, 0), (0, 0)), "reflect"), "pad.*pad time with zeros"),
        (lambda x: ops.pad(ids(x), ((0, 0), (1, 0))), "pad.*once it is float32"),
        (lambda x: x[:, -3:], r"selects positions in time.*x\[:, a:-b:s\]"),
        (lambda x: x[:, :5], "selects positions in time"),
    ],
)
def test_refuses_by_layer_reason_and_remedy(build: Any, match: str, tmp_path: Any) -> None:
    refused(build, match, tmp_path)


SLICES: dict[str, tuple[Callable[[Any], Any], int, int]] = {
    "first-cut": (lambda x: x[:, 2:], 2, 1),
    "last-cut": (lambda x: x[:, :-2, 1:], 2, 1),
    "strided": (lambda x: x[:, ::3], 0, 3),
    "strided-within": (lambda x: x[:, 1:-2:2], 2, 2),
    "difference": (lambda x: x[:, 1:] - x[:, :-1], 1, 1),
    "twice": (lambda x: x[:, ::2][:, 1::2], 0, 4),
    "pad": (lambda x: ops.pad(x, ((0, 0), (2, 1), (1, 0))), 0, 1),
    "pad-features": (lambda x: ops.pad(x, ((0, 0), (0, 0), (1, 2)), constant_values=3.0), 0, 1),
    "central-difference": (
        lambda x: (lambda p: p[:, 2:] - p[:, :-2])(ops.pad(x, ((0, 0), (1, 1), (0, 0)))),
        1,
        1,
    ),
    "causal-by-hand": (lambda x: layers.Conv1D(3, 3)(ops.pad(x, ((0, 0), (2, 0), (0, 0)))), 0, 1),
    "pad-of-last": (lambda x: ops.pad(x[:, -1], ((0, 0), (1, 0))), 0, 1),
    "ids": (lambda x: layers.Embedding(7, 3)(ids(x)[:, 1:-1]), 2, 1),
    "glu": (lambda x: keras.activations.glu(x), 0, 1),
}


@pytest.mark.parametrize("name", SLICES)
@pytest.mark.parametrize("factor", [1, 3])
def test_padding_and_slices(name: str, factor: int, convert: Any) -> None:
    build, delay, unit = SLICES[name]
    # Behind a bias, so that padding is not zero by chance.
    model = randomize(model_of(lambda x: build(layers.Dense(4)(x)), 4))
    report, path = convert(model, chunk=factor * unit)
    assert report.delay == delay
    x = np.random.default_rng(1).normal(size=(13, 4)).astype("float32")
    stream = streaming.load(path).create_stream()
    got = np.concatenate([stream.feed(x[:4]), stream.feed(x[4:]), stream.finish()])
    offline = np.asarray(model(x[None])[0])
    np.testing.assert_allclose(got if offline.ndim == 2 else got[-1], offline, rtol=1e-5, atol=1e-5)
