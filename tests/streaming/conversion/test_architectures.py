"""The architectures of the field, small, wired as their public sources wire them: each becomes a verified stream.

`streaming.convert` compares every file with the offline model, whole, step by step and in random pieces, and writes
none that differs; the tests assert that, and the delay that the architecture's paper or arithmetic gives.
"""

import keras
import numpy as np
import pytest
from keras import layers, ops

import streaming
from rnnzoo.layers import LookaheadConv


def randomize(model, seed=1):
    """Biases, moments and scales away from the zeros and ones at which mistakes hide."""
    generator = np.random.default_rng(seed)
    for variable in model.weights:
        name = variable.path.rsplit("/", 1)[-1]
        if name in ("bias", "beta", "moving_mean"):
            variable.assign(generator.normal(0, 0.2, variable.shape))
        elif name in ("gamma", "moving_variance"):
            variable.assign(generator.uniform(0.5, 1.5, variable.shape))
    return model


def wavenet(blocks=1, dilations=(1, 2, 4, 8), width=8, skip=12, levels=32):
    """WaveNet: gated dilated causal convolutions, residual and skip connections (van den Oord et al. 2016,
    arXiv:1609.03499, figure 4). The first convolution is causal; the softmax over levels is left to the caller.
    """
    inputs = keras.Input((None, 1), name="samples")
    x, skips = layers.Conv1D(width, 2, padding="causal")(inputs), []
    for _ in range(blocks):
        for dilation in dilations:
            filtered = layers.Conv1D(width, 2, padding="causal", dilation_rate=dilation, activation="tanh")(x)
            gate = layers.Conv1D(width, 2, padding="causal", dilation_rate=dilation, activation="sigmoid")(x)
            gated = layers.Multiply()([filtered, gate])
            skips.append(layers.Conv1D(skip, 1)(gated))
            x = layers.Add()([x, layers.Conv1D(width, 1)(gated)])
    x = layers.ReLU()(layers.Add()(skips))
    x = layers.Conv1D(skip, 1, activation="relu")(x)
    return keras.Model(inputs, layers.Conv1D(levels, 1)(x), name="wavenet")


def tcn(channels=(8, 8, 12), kernel=3):
    """Temporal convolutional network: two dilated causal convolutions a block, ReLU and dropout after each, and a
    1x1 convolution on the shortcut where the width changes (Bai, Kolter, Koltun 2018, arXiv:1803.01271, figure 1).
    """
    x = inputs = keras.Input((None, 5))
    for level, width in enumerate(channels):
        y = x
        for _ in range(2):
            y = layers.Conv1D(width, kernel, padding="causal", dilation_rate=2**level)(y)
            y = layers.Dropout(0.2)(layers.ReLU()(y))
        shortcut = x if x.shape[-1] == width else layers.Conv1D(width, 1)(x)
        x = layers.ReLU()(layers.Add()([y, shortcut]))
    return keras.Model(inputs, layers.Dense(4)(x), name="tcn")


def crnn(bands=40, filters=8, units=12):
    """CRNN for sound events: 5x5 convolutions over (time, frequency), batch normalization, pooling over frequency
    alone, then recurrent layers (Cakir et al. 2017, arXiv:1702.06286). The paper's GRUs are bidirectional in later
    work and forward here; the `same` convolutions see two frames ahead each, which is the delay.
    """
    x = inputs = keras.Input((None, bands, 1))
    for pool in (5, 4, 2):
        x = layers.Conv2D(filters, 5, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.Dropout(0.25)(layers.MaxPooling2D((1, pool))(x))
    x = layers.Reshape((-1, filters))(x)
    x = layers.GRU(units, return_sequences=True)(x)
    return keras.Model(inputs, layers.TimeDistributed(layers.Dense(6, activation="sigmoid"))(x), name="crnn")


def svdf(features=20, nodes=12, rank=2, memory=10):
    """SVDF: each node filters features, then time, and sums its ranks (Nakkiran et al. 2015, "Compressing deep neural
    networks using a rank-constrained topology"; Alvarez, Park 2019, arXiv:1812.02802): Dense over features,
    convolution of each channel by itself over the last `memory` steps, a sum over the rank.
    """
    x = inputs = keras.Input((None, features))
    for _ in range(2):
        x = layers.Dense(nodes * rank, use_bias=False)(x)
        x = layers.Conv1D(nodes * rank, memory, groups=nodes * rank, padding="causal")(x)
        x = layers.ReLU()(ops.sum(layers.Reshape((-1, nodes, rank))(x), axis=-1))
    return keras.Model(inputs, layers.Dense(4)(x), name="svdf")


def ds_cnn(bands=10, filters=8, blocks=3):
    """DS-CNN: a convolution over (time, frequency), then depthwise separable ones, each with batch normalization
    (Zhang et al. 2017, arXiv:1711.07128). The paper averages over a window of one second; a stream has no window, so
    the average runs over all frames so far, and a listener resets it between words.
    """
    inputs = keras.Input((None, bands, 1))
    x = layers.Conv2D(filters, (10, 4), strides=(2, 2), padding="same")(inputs)
    x = layers.ReLU()(layers.BatchNormalization()(x))
    for _ in range(blocks):
        x = layers.DepthwiseConv2D(3, padding="same")(x)
        x = layers.ReLU()(layers.BatchNormalization()(x))
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv2D(filters, 1)(x)))
    x = layers.AveragePooling2D((1, x.shape[2]))(x)
    x = layers.GlobalAveragePooling1D()(layers.Reshape((-1, filters))(x))
    return keras.Model(inputs, layers.Dense(12)(x), name="ds_cnn")


def tc_resnet(bands=16, widths=(8, 12, 16)):
    """TC-ResNet8: frequencies as channels, residual blocks of 9x1 convolutions that halve the rate, a strided 1x1
    convolution on the shortcut (Choi et al. 2019, arXiv:1904.03814). Convolutions are causal, so that a shortcut
    and its block end at one step for every length; the average over the window runs over all frames so far.
    """
    inputs = keras.Input((None, bands))
    x = layers.Conv1D(8, 3, padding="causal", use_bias=False)(inputs)
    for width in widths:
        y = layers.Conv1D(width, 9, strides=2, padding="causal", use_bias=False)(x)
        y = layers.ReLU()(layers.BatchNormalization()(y))
        y = layers.BatchNormalization()(layers.Conv1D(width, 9, padding="causal", use_bias=False)(y))
        shortcut = layers.Conv1D(width, 1, strides=2, use_bias=False)(x)
        shortcut = layers.ReLU()(layers.BatchNormalization()(shortcut))
        x = layers.ReLU()(layers.Add()([y, shortcut]))
    x = layers.Dropout(0.5)(layers.GlobalAveragePooling1D()(x))
    return keras.Model(inputs, layers.Dense(12)(x), name="tc_resnet8")


def deep_speech_2(bins=24, units=12, context=4, letters=29):
    """Deep Speech 2, unidirectional: convolutions over (time, frequency) of which the first has a stride of 2 in
    time, batch-normalized recurrent layers, a row convolution, and letters for CTC (Amodei et al. 2015,
    arXiv:1512.02595, sections 3.2 to 3.7). It takes and gives chunks of two frames.
    """
    inputs = keras.Input((None, bins, 1), name="spectrogram")
    x = inputs
    for kernel, strides in (((11, 9), (2, 2)), ((11, 5), (1, 2))):
        x = layers.Conv2D(4, kernel, strides=strides, padding="same", use_bias=False)(x)
        x = layers.ReLU(max_value=20.0)(layers.BatchNormalization()(x))
    x = layers.Reshape((-1, x.shape[2] * x.shape[3]))(x)
    for _ in range(3):
        x = layers.GRU(units, return_sequences=True)(layers.BatchNormalization()(x))
    x = layers.ReLU(max_value=20.0)(LookaheadConv(lookahead=context)(x))
    return keras.Model(inputs, layers.Dense(letters)(layers.BatchNormalization()(x)), name="deep_speech_2")


def rnnoise(features=42, bands=22):
    """RNNoise: three GRUs for voice activity, noise and denoising, each fed by those before it and the features; gains
    a band and the probability of voice (Valin 2018, arXiv:1709.08243, figure 3). Features and filters are outside.
    """
    inputs = keras.Input((None, features), name="features")
    dense = layers.Dense(24, activation="tanh")(inputs)
    voice = layers.GRU(24, return_sequences=True, name="vad_gru")(dense)
    activity = layers.Dense(1, activation="sigmoid", name="vad")(voice)
    joined = layers.Concatenate()([dense, voice, inputs])
    noise = layers.GRU(48, activation="relu", return_sequences=True, name="noise_gru")(joined)
    joined = layers.Concatenate()([voice, noise, inputs])
    denoised = layers.GRU(96, return_sequences=True, name="denoise_gru")(joined)
    gains = layers.Dense(bands, activation="sigmoid", name="gains")(denoised)
    return keras.Model(inputs, [gains, activity], name="rnnoise")


def dtln(block=32, bins=17, encoder=24, units=12):
    """DTLN: two cores of two LSTMs and a mask each, the first on magnitudes, the second on a learned basis with layer
    normalization (Westhausen, Meyer 2020, arXiv:2005.07551). Fourier transform and overlap-add are outside: in come
    the magnitudes of a block and the block that the first core gave back to the time domain.
    """
    magnitudes = keras.Input((None, bins), name="magnitudes")
    blocks = keras.Input((None, block), name="blocks")

    def core(x, width):
        for _ in range(2):
            x = layers.Dropout(0.25)(layers.LSTM(units, return_sequences=True)(x))
        return layers.Dense(width, activation="sigmoid")(x)

    mask = core(ops.log(magnitudes * magnitudes + 1e-7), bins)
    masked = layers.Multiply(name="masked")([magnitudes, mask])
    encoded = layers.Conv1D(encoder, 1, use_bias=False)(blocks)
    estimated = layers.Multiply()([encoded, core(layers.LayerNormalization()(encoded), encoder)])
    decoded = layers.Conv1D(block, 1, padding="causal", use_bias=False, name="decoded")(estimated)
    return keras.Model([magnitudes, blocks], [masked, decoded], name="dtln")


def unet(width=6, depth=2):
    """A U-Net in time: convolutions, halving by strides on the way down, doubling on the way up, and a skip at every
    level, as in Wave-U-Net (Stoller et al. 2018, arXiv:1806.03185) with causal convolutions. Lengths are whole
    multiples of 2 to the depth, as the source asks of its input.
    """
    x = inputs = keras.Input((None, 2))
    skips = []
    for level in range(depth):
        x = layers.Conv1D(width * (level + 1), 5, padding="causal", activation="relu")(x)
        skips.append(x)
        x = layers.Conv1D(width * (level + 1), 2, strides=2)(x)
    x = layers.Conv1D(width * (depth + 1), 5, padding="causal", activation="relu")(x)
    for level in reversed(range(depth)):
        x = layers.Concatenate()([layers.UpSampling1D(2)(x), skips[level]])
        x = layers.Conv1D(width * (level + 1), 3, padding="causal", activation="relu")(x)
    return keras.Model(inputs, layers.Conv1D(2, 1, activation="tanh")(x), name="unet")


def conv_lstm_video(size=8, filters=4):
    """Next-frame prediction with ConvLSTM (Shi et al. 2015, arXiv:1506.04214), wired as in the Keras documentation's
    example of it: three ConvLSTM2D layers with batch normalization between. The example ends in a Conv3D that sees
    one frame ahead; it is kept, and is the delay.
    """
    x = inputs = keras.Input((None, size, size, 1))
    for kernel in (5, 3):
        x = layers.ConvLSTM2D(filters, kernel, padding="same", return_sequences=True, activation="relu")(x)
        x = layers.BatchNormalization()(x)
    x = layers.ConvLSTM2D(filters, 1, padding="same", return_sequences=True, activation="relu")(x)
    return keras.Model(inputs, layers.Conv3D(1, 3, padding="same", activation="sigmoid")(x), name="conv_lstm")


def keras_text_classifier(words=200):
    """The Keras documentation's "Bidirectional LSTM on IMDB": Embedding, two bidirectional LSTMs, a sigmoid."""
    x = inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(words, 16)(x)
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(x)
    x = layers.Bidirectional(layers.LSTM(8))(x)
    return keras.Model(inputs, layers.Dense(1, activation="sigmoid")(x), name="imdb")


def keras_working_with_rnns():
    """The first model of the Keras guide "Working with RNNs": Embedding, LSTM, Dense."""
    return keras.Sequential(
        [keras.Input((None,), dtype="int32"), layers.Embedding(100, 16), layers.LSTM(12), layers.Dense(10)]
    )


def keras_gru_then_rnn():
    """The second model of the guide: a GRU that returns its sequence, SimpleRNN, Dense."""
    return keras.Sequential(
        [
            keras.Input((None,), dtype="int32"),
            layers.Embedding(100, 16),
            layers.GRU(16, return_sequences=True),
            layers.SimpleRNN(12),
            layers.Dense(10),
        ]
    )


def keras_weather_forecast():
    """The Keras documentation's "Timeseries forecasting for weather prediction": LSTM and Dense."""
    inputs = keras.Input((None, 7))
    return keras.Model(inputs, layers.Dense(1)(layers.LSTM(16)(inputs)))


def keras_char_generation():
    """The Keras documentation's "Character-level text generation with LSTM": one-hot letters, LSTM, softmax."""
    return keras.Sequential([keras.Input((None, 30)), layers.LSTM(24), layers.Dense(30, activation="softmax")])


def keras_timeseries_classifier():
    """The Keras documentation's "Timeseries classification from scratch": three convolutions over time with batch
    normalization and ReLU, a global average, softmax. `same` convolutions of 3 see one step ahead each.
    """
    x = inputs = keras.Input((None, 1))
    for _ in range(3):
        x = layers.ReLU()(layers.BatchNormalization()(layers.Conv1D(8, 3, padding="same")(x)))
    x = layers.GlobalAveragePooling1D()(x)
    return keras.Model(inputs, layers.Dense(2, activation="softmax")(x))


# Builder, delay in input steps, steps a chunk. Delays are the futures that `same` convolutions see: 5x5 three times;
# 10 wide at stride 2 (two slots of 2 steps) and 3 wide three times at half the rate; 11 wide at stride 2, 11 wide and
# four steps of lookahead at half the rate (3 + 5 + 4 slots of 2 steps).
CASES = {
    "wavenet": (wavenet, 0, 1),
    "tcn": (tcn, 0, 1),
    "crnn": (crnn, 3 * 2, 1),
    "svdf": (svdf, 0, 1),
    "ds_cnn": (ds_cnn, (2 + 3) * 2, 2),
    "tc_resnet": (tc_resnet, 0, 8),
    "deep_speech_2": (deep_speech_2, (3 + 5 + 4) * 2, 2),
    "rnnoise": (rnnoise, 0, 1),
    "dtln": (dtln, 0, 1),
    "unet": (unet, 0, 4),
    "conv_lstm_video": (conv_lstm_video, 1, 1),
    "keras_working_with_rnns": (keras_working_with_rnns, 0, 1),
    "keras_gru_then_rnn": (keras_gru_then_rnn, 0, 1),
    "keras_weather_forecast": (keras_weather_forecast, 0, 1),
    "keras_char_generation": (keras_char_generation, 0, 1),
    "keras_timeseries_classifier": (keras_timeseries_classifier, 3, 1),
}


def sequences(model, steps):
    """A random input by name: integers for tokens, normal floats for the rest."""
    generator = np.random.default_rng(3)
    found = {}
    for tensor in model.inputs:
        shape = (steps, *tensor.shape[2:])
        whole = keras.backend.standardize_dtype(tensor.dtype) == "int32"
        values = generator.integers(0, 50, shape) if whole else generator.standard_normal(shape)
        found[tensor.name] = values.astype("int32" if whole else "float32")
    return found


def as_dict(model, outputs):
    return outputs if isinstance(outputs, dict) else {model.metadata.outputs[0].name: outputs}


@pytest.mark.parametrize("name", CASES)
def test_streams_as_it_stands(name, convert):
    build, delay, chunk = CASES[name]
    keras.utils.set_random_seed(7)
    model = randomize(build())
    report, path = convert(model)
    assert (report.delay, report.chunk) == (delay, chunk)

    steps = 48
    inputs = sequences(model, steps)
    batched = [x[None] for x in inputs.values()]
    offline = model(batched if len(batched) > 1 else batched[0])
    expected = [np.asarray(y)[0] for y in keras.tree.flatten(offline)]
    loaded = streaming.load(path)
    stream = loaded.create_stream()
    pieces = []
    for begin, end in ((0, 1), (1, 18), (18, steps)):
        part = {info.name: x[begin:end] for info, x in zip(loaded.metadata.inputs, inputs.values(), strict=True)}
        pieces.append(as_dict(loaded, stream.feed(part)))
    pieces.append(as_dict(loaded, stream.finish()))
    for info, want in zip(loaded.metadata.outputs, expected, strict=True):
        got = np.concatenate([piece[info.name] for piece in pieces])
        got = got[-1] if info.running else got
        np.testing.assert_allclose(got, want, rtol=0, atol=1e-5 * max(1, np.abs(want).max()))


def test_the_keras_bidirectional_classifier_is_refused_by_name(convert):
    with pytest.raises(streaming.NotStreamableError, match=r"'bidirectional\w*' .*backwards.*lookahead=N"):
        convert(keras_text_classifier())


def test_a_bidirectional_tagger_streams_with_a_lookahead_and_says_what_it_costs(convert):
    inputs = keras.Input((None,), dtype="int32")
    x = layers.Embedding(50, 12)(inputs)
    x = layers.Bidirectional(layers.LSTM(8, return_sequences=True))(x)
    report, _ = convert(randomize(keras.Model(inputs, layers.Dense(5)(x))), lookahead=6)
    assert report.delay == 6
    assert 0 < report.approximation.rms_error < 0.2 * report.approximation.scale
