"""Length-aware layers, pools, tied tables, log-mel features and large softmaxes beyond what the harness examines."""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
import pytest
from keras import layers
from parity import check_parity

import streaming
from rnnzoo.layers import (
    AdaptiveSoftmax,
    AttentionPooling,
    Bidirectional,
    CharRNN,
    LogMel,
    MeanOutput,
    SampledSoftmax,
    TiedEmbedding,
    TransformerBlock,
    TransformerDecoderBlock,
)
from streaming.runtime import audio

LENGTHS = (7, 3, 1)
MASK = np.arange(7) < np.array(LENGTHS)[:, None]


@keras.saving.register_keras_serializable(package="tests")
class Unmasked(layers.Layer):
    """A recurrent layer that knows no masks: a cumulative sum, in either direction."""

    stateful = return_state = False
    input_spec = None

    def __init__(self, go_backwards: bool = False, return_sequences: bool = True, **kwargs: Any):
        super().__init__(**kwargs)
        self.go_backwards, self.return_sequences = go_backwards, return_sequences

    def compute_output_shape(self, shape: Any) -> Any:
        return shape if self.return_sequences else (shape[0], shape[2])

    def call(self, x: Any, initial_state: Any = None) -> Any:
        y = keras.ops.cumsum(keras.ops.flip(x, axis=1) if self.go_backwards else x, axis=1)
        return y if self.return_sequences else y[:, -1]

    def get_config(self) -> dict[str, Any]:
        return {**super().get_config(), "go_backwards": self.go_backwards, "return_sequences": self.return_sequences}


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("merge", ["concat", "sum", "ave", "mul", None])
@pytest.mark.parametrize("kind", [layers.GRU, Unmasked])
def test_bidirectional_does_not_see_padding(kind: Any, merge: Any, sequences: bool) -> None:
    arguments = {} if kind is Unmasked else {"units": 4}
    layer = Bidirectional(kind(return_sequences=sequences, **arguments), merge_mode=merge)
    x = np.random.default_rng(0).normal(size=(3, 7, 4)).astype("float32")
    outputs = keras.tree.flatten(layer(x, mask=keras.ops.convert_to_tensor(MASK)))
    for row, length in enumerate(LENGTHS):
        alone = keras.tree.flatten(layer(x[row : row + 1, :length]))
        for whole, expected in zip(outputs, alone, strict=True):
            got = np.asarray(whole[row])
            if sequences:
                assert not got[length:].any()
                got = got[:length]
            np.testing.assert_allclose(got, expected[0], rtol=1e-5, atol=1e-6)


def test_backward_without_masks_is_the_sum_of_what_comes() -> None:
    x = np.arange(7, dtype="float32").reshape(1, 7, 1)
    y = Bidirectional(Unmasked())(x, mask=np.arange(7)[None] < 4)
    np.testing.assert_array_equal(y[0], [[0, 6], [1, 6], [3, 5], [6, 3], [0, 0], [0, 0], [0, 0]])


def test_pool_of_what_is_not_masked() -> None:
    layer, x = AttentionPooling(3), np.random.default_rng(0).normal(size=(3, 7, 4)).astype("float32")
    pooled = layer(x, mask=MASK)
    for row, length in enumerate(LENGTHS):
        np.testing.assert_allclose(pooled[row], layer(x[row : row + 1, :length])[0], rtol=1e-5, atol=1e-6)
    assert not np.any(layer(x, mask=np.zeros_like(MASK)))


def test_a_tied_table_is_one_weight_and_streams_both_ways(tmp_path: Any) -> None:
    ids = keras.Input((None,), dtype="int32")
    table = TiedEmbedding(9, 4)
    model = keras.Model(ids, table(layers.GRU(4, return_sequences=True)(table(ids)), reverse=True))
    for weight in table.weights:
        weight.assign(np.random.default_rng(0).normal(size=weight.shape))
    assert len(table.weights) == 2
    h = np.random.default_rng(1).normal(size=(1, 2, 4)).astype("float32")
    expected = h @ np.asarray(table.weights[0]).T + np.asarray(table.weights[1])
    np.testing.assert_allclose(table(h, reverse=True), expected, rtol=1e-5)
    streaming.convert(model, tmp_path / "m.tflite")
    check_parity(model, tmp_path / "m.tflite")
    model.save(tmp_path / "m.keras")
    again, x = keras.models.load_model(tmp_path / "m.keras"), np.array([[3, 0, 8]])
    np.testing.assert_array_equal(again(x), model(x))
    with pytest.raises(ValueError, match="vectors of width 4"):
        table(keras.Input((None, 5)), reverse=True)


# Slaney's scale by the Auditory Toolbox (1998): 15 mels at 1 kHz, 27 more for a factor of 6.4; HTK: 1000 mels at 1 kHz.
@pytest.mark.parametrize(
    ("scale", "hz", "mel"),
    [("slaney", 60, 0.9), ("slaney", 1000, 15), ("slaney", 6400, 42), ("htk", 1000, 999.9855), ("htk", 700, 781.17)],
)
def test_mel_scales_at_published_points(scale: str, hz: float, mel: float) -> None:
    assert audio.features.hz_to_mel(np.array(hz), scale) == pytest.approx(mel, rel=1e-4)


@pytest.mark.parametrize("scale", ["htk", "slaney"])
@pytest.mark.parametrize("norm", [None, "slaney"])
@pytest.mark.parametrize("power", [1.0, 2.0])
@pytest.mark.parametrize("center", [False, True])
def test_the_layer_equals_the_device_and_streams(scale: str, norm: Any, power: float, center: bool) -> None:
    layer = LogMel(8000, 60, 25, 64, 10, mel_scale=scale, norm=norm, power=power, center=center)
    x = np.random.default_rng(0).normal(size=403).astype("float32")
    expected = layer.definition(x)
    got = np.asarray(layer(x[None, :, None])[0])
    assert got.shape == expected.shape
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4)


# log(feature.melspectrogram) of librosa 0.11.0 for the signal below: sr=8000, n_fft=128, hop_length=200, n_mels=5,
# center=True, pad_mode="constant", power=2.0, fmin=100, fmax=3600; htk=True, norm=None, and htk=False, norm="slaney".
LIBROSA = {
    ("htk", None): [
        [6.535, 4.5698, 1.0878, 0.1047, -0.3732],
        [7.2269, 4.8536, 4.9893, 5.4619, 0.3762],
        [7.2269, 4.8524, -8.9474, -5.3619, 5.2924],
        [6.2577, 4.6176, 2.2766, 1.7552, 3.0953],
    ],
    ("slaney", "slaney"): [
        [0.573, -3.1548, -5.3953, -6.4409, -7.1776],
        [1.2231, -6.6759, -1.1429, -1.0128, -5.8249],
        [1.2231, -8.5135, -13.8155, -13.0079, -1.6049],
        [0.3337, -2.5467, -4.1304, -4.7955, -3.7806],
    ],
}


@pytest.mark.parametrize(("scale", "norm"), LIBROSA)
def test_equals_librosa(scale: str, norm: Any) -> None:
    n = np.arange(600)
    x = (np.sin(0.3 * n) + 0.5 * np.cos(0.003 * n**2)).astype("float32")
    # Below, float32 has no digits beside the loudest band.
    floor = 1e-3
    options = {"mel_scale": scale, "norm": norm, "epsilon": floor, "center": True}
    layer = LogMel(8000, 128, 200, 128, 5, 100.0, 3600.0, **options)
    np.testing.assert_allclose(layer(x[None, :, None])[0], np.maximum(LIBROSA[scale, norm], np.log(floor)), atol=1e-3)


@pytest.mark.parametrize("center", [False, True])
def test_a_model_streams_on_raw_samples(center: bool, tmp_path: Any) -> None:
    samples = keras.Input((None, 1))
    y = LogMel(1000, 16, 5, 32, 6, center=center)(samples)
    model = keras.Model(samples, layers.GRU(3, return_sequences=True)(y))
    report = streaming.convert(model, tmp_path / "m.tflite")
    assert report.max_abs_error < 1e-4
    x = np.random.default_rng(0).normal(size=(83, 1)).astype("float32")
    stream = streaming.load(tmp_path / "m.tflite").create_stream()
    rows = [stream.feed(x[:7]), stream.feed(x[7:50]), stream.feed(x[50:]), stream.finish()]
    np.testing.assert_allclose(np.concatenate(rows), model(x[None])[0], rtol=1e-4, atol=1e-4)


def test_probabilities_of_adaptive_softmax_sum_to_one_and_are_those_of_the_loss() -> None:
    layer, rng = AdaptiveSoftmax(11, (3, 7), factor=2), np.random.default_rng(0)
    x, targets = rng.normal(size=(2, 6, 8)).astype("float32"), rng.integers(0, 11, (2, 6))
    logs = np.asarray(layer(x))
    np.testing.assert_allclose(np.exp(logs).sum(-1), 1, rtol=1e-5)
    expected = -np.take_along_axis(logs, targets[..., None], -1)[..., 0]
    np.testing.assert_allclose(layer(x, targets), expected, rtol=1e-4, atol=1e-5)


def test_the_sampled_loss_comes_near_the_full_one() -> None:
    layer, rng = SampledSoftmax(50, samples=20_000, seed=1), np.random.default_rng(0)
    x, targets = rng.normal(size=(2, 3, 8)).astype("float32"), rng.integers(0, 50, (2, 3))
    full = np.asarray(layer(x, targets))
    logs = np.asarray(layer(x))
    np.testing.assert_allclose(full, -np.take_along_axis(logs, targets[..., None], -1)[..., 0], rtol=1e-5)
    np.testing.assert_allclose(layer(x, targets, training=True), full, rtol=0.03)


@pytest.mark.parametrize(
    "make",
    [lambda: SampledSoftmax(40, 16, seed=0, name="out"), lambda: AdaptiveSoftmax(40, (8, 20), factor=1.5, name="out")],
)
def test_a_language_model_learns_with_targets_as_input(make: Any, tmp_path: Any) -> None:
    keras.utils.set_random_seed(0)
    ids = np.random.default_rng(0).integers(0, 40, (64, 1)) + np.arange(6)
    ids = (ids % 40).astype("int32")
    words, targets = keras.Input((None,), dtype="int32"), keras.Input((None,), dtype="int32")
    h = layers.Embedding(40, 16)(words)
    softmax = make()
    training = keras.Model([words, targets], softmax(h, targets))
    training.compile(keras.optimizers.Adam(0.05), MeanOutput(), jit_compile=False)
    losses = training.fit([ids[:, :-1], ids[:, 1:]], ids[:, 1:], epochs=25, verbose=0).history["loss"]
    assert losses[-1] < 0.5 * losses[0]
    model = keras.Model(words, softmax(h))
    assert np.mean(np.argmax(model(ids[:, :-1]), -1) == ids[:, 1:]) > 0.9
    streaming.convert(model, tmp_path / "m.tflite")
    check_parity(model, tmp_path / "m.tflite")


def test_mistakes_are_named() -> None:
    for make, match in (
        (lambda: CharRNN(3)(np.ones((1, 2, 4))), r"C \* 3"),
        (lambda: LogMel(mel_scale="bark"), "bark"),
        (lambda: LogMel(power=3), "power 1 or 2"),
        (lambda: LogMel(high_hz=9000), "9000"),
        (lambda: LogMel()(np.ones((1, 399, 1))), r"400 or more. Received: shape \(1, 399, 1\)"),
        (lambda: LogMel()(np.ones((1, 800, 2))), r"samples \(B, N, 1\)"),
        (lambda: SampledSoftmax(1), "vocabulary >= 2"),
        (lambda: AdaptiveSoftmax(9, (4, 3)), "ascending cutoffs"),
        (lambda: AdaptiveSoftmax(9, ()), "ascending cutoffs"),
    ):
        with pytest.raises(ValueError, match=match):
            make()
    layer = Bidirectional(Unmasked())
    with pytest.raises(ValueError, match="Unmasked knows no masks"):
        layer(np.ones((1, 3, 2)), initial_state=[np.ones((1, 2))] * 2, mask=np.ones((1, 3), bool))


def test_a_stateful_transformer_remembers_its_window_from_batch_to_batch() -> None:
    x = np.random.default_rng(0).normal(size=(2, 23, 4)).astype("float32")
    whole = keras.Sequential([keras.Input((None, 4)), TransformerBlock(8, 2, 5, name="block")])
    inputs = keras.Input(batch_shape=(2, None, 4))
    pieces = keras.Model(inputs, TransformerBlock(8, 2, 5, stateful=True, name="block")(inputs))
    weights = [np.random.default_rng(1).normal(size=w.shape) for w in whole.weights]
    for model in (whole, pieces):
        model.set_weights(weights)
    for _ in range(2):
        found = [np.array(pieces(x[:, a:b])) for a, b in ((0, 1), (1, 3), (3, 16), (16, 23))]
        np.testing.assert_allclose(np.concatenate(found, 1), whole(x), atol=1e-5)
        pieces.layers[-1].reset_state()


def test_a_transformer_says_what_it_cannot_be() -> None:
    for wrong in ({"units": 6, "heads": 4}, {"units": 4, "window": 1}):
        with pytest.raises(ValueError, match="expected a window of 2 or more, and units that heads divide"):
            TransformerBlock(**wrong)
    for layer in (TransformerBlock, TransformerDecoderBlock):
        with pytest.raises(ValueError, match=r"expected (stateful=False and )?causal=True"):
            layer(4, stateful=True, causal=False)
    with pytest.raises(ValueError, match="a source of 2 x 4 features"):
        TransformerDecoderBlock(4)(np.ones((1, 3, 4)), np.ones((1, 2, 4)))
    with pytest.raises(ValueError, match="expected a fixed batch for stateful=True"):
        TransformerBlock(4, stateful=True)(keras.Input((None, 4)))
