"""Audio: log-mel features against their definition and published values, rates, WAV files, endpoints."""

import io
import math
import os
import wave

import numpy as np
import pytest

from streaming.errors import InputError
from streaming.runtime.audio import (
    Endpointer,
    LogMel,
    LogMelStream,
    Resampler,
    WavReader,
    hz_to_mel,
    mel_to_hz,
    pcm,
    read_wav,
    resample,
)

DEFINITIONS = [
    LogMel(),
    LogMel(8000, 200, 80, 256, 20, 0.0, 4000.0, "slaney", "slaney", 1.0, 1e-3),
    LogMel(8000, 160, 200, 160, 8, 100.0, 3000.0, "htk", "slaney", 2.0, 1e-9, center=True),
    LogMel(8000, 100, 300, 128, 8, 100.0, 3000.0, "slaney", None),
]


def noise(count, seed=0):
    return 0.1 * np.random.default_rng(seed).standard_normal(count)


def blocks(signal, seed=0, largest=700):
    """The signal in blocks of random sizes, empty ones too."""
    generator, begin = np.random.default_rng(seed), 0
    while begin < len(signal):
        size = int(generator.integers(0, largest))
        yield signal[begin : begin + size]
        begin += size


def naive_log_mel(signal, d):
    """The definition, written out: a discrete Fourier transform by its sum, triangles by their corners."""
    if d.center:
        signal = np.concatenate([np.zeros(d.frame_length // 2), signal, np.zeros(d.frame_length // 2)])

    def to_mel(hz):
        if d.scale == "htk":
            return 2595 * math.log10(1 + hz / 700)
        return 3 * hz / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)

    def to_hz(mel):
        if d.scale == "htk":
            return 700 * (10 ** (mel / 2595) - 1)
        return 200 * mel / 3 if mel < 15 else 1000 * 6.4 ** ((mel - 15) / 27)

    low, high = to_mel(d.low_hz), to_mel(d.high_hz)
    corners = [to_hz(low + (high - low) * i / (d.num_mels + 1)) for i in range(d.num_mels + 2)]
    n, k = np.arange(d.frame_length), np.arange(d.fft_length // 2 + 1)
    window = np.sin(np.pi * n / d.frame_length) ** 2
    transform = np.exp(-2j * np.pi * np.outer(n, k) / d.fft_length)
    rows = []
    for begin in range(0, len(signal) - d.frame_length + 1, d.frame_step):
        spectrum = np.abs((signal[begin : begin + d.frame_length] * window) @ transform) ** d.power
        row = []
        for a, b, c in zip(corners, corners[1:], corners[2:], strict=False):
            height = 2 / (c - a) if d.norm else 1.0
            weights = np.interp(k * d.sample_rate / d.fft_length, [a, b, c], [0, height, 0])
            row.append(math.log(max(d.floor, float(weights @ spectrum))))
        rows.append(row)
    return np.array(rows)


@pytest.mark.parametrize("definition", DEFINITIONS, ids=range(len(DEFINITIONS)))
def test_features_follow_the_definition_in_blocks_of_any_size(definition):
    signal = noise(4_321)
    expected = naive_log_mel(signal, definition)
    whole = definition(signal)
    assert whole.dtype == np.float32
    assert whole.shape == expected.shape == (definition.frames(len(signal)), definition.num_mels)
    np.testing.assert_allclose(whole, expected, rtol=1e-5, atol=1e-5)
    front = LogMelStream(definition)
    for seed in range(3):  # the stream begins anew after `finish`
        pieces = [front.feed(block) for block in blocks(signal, seed)]
        np.testing.assert_allclose(np.concatenate([*pieces, front.finish()]), whole, rtol=1e-6)


def test_a_frame_waits_for_nothing_beyond_it():
    definition = LogMel()
    front = LogMelStream(definition)
    assert len(front.feed(noise(399))) == 0
    assert len(front.feed(noise(1))) == 1
    assert len(front.feed(noise(159))) == 0
    assert len(front.feed(noise(161))) == 2
    assert len(front.finish()) == 0
    assert definition.frames(0) == definition.frames(399) == 0
    assert definition(np.zeros(0)).shape == (0, 40)
    assert LogMel(center=True)(np.zeros(0)).shape == (0, 40)


def test_frames_of_many_streams_give_each_its_own_features_bit_for_bit():
    definition = LogMel(num_mels=23, norm="slaney", scale="slaney")
    signals = np.random.default_rng(4).standard_normal((9, 4000))
    fronts = [LogMelStream(definition) for _ in signals]
    frames = [
        front.cut(signal[: 700 + 300 * index])
        for index, (front, signal) in enumerate(zip(fronts, signals, strict=True))
    ]
    together = np.split(definition.features(np.concatenate(frames)), np.cumsum([len(part) for part in frames])[:-1])
    for index, signal in enumerate(signals):
        alone = LogMelStream(definition)
        rows = [alone.feed(block) for block in np.array_split(signal[: 700 + 300 * index], 5)]
        np.testing.assert_array_equal(together[index], np.concatenate(rows))


def test_mel_scales_have_their_published_values():
    # librosa's documentation: hz_to_mel(60) and mel_to_hz([1..5]), mel_frequencies(40) up to 11025 Hz.
    assert hz_to_mel(60, "slaney") == pytest.approx(0.9)
    np.testing.assert_allclose(mel_to_hz(np.arange(1, 6), "slaney"), [66.667, 133.333, 200.0, 266.667, 333.333], 1e-5)
    centres = mel_to_hz(np.linspace(0, hz_to_mel(11025, "slaney"), 40), "slaney")
    np.testing.assert_allclose(centres[[1, 2, 12, 19, 38]], [85.317, 170.635, 1024.856, 1897.337, 10096.408], 1e-4)
    # The HTK book: 1000 Hz is 1000 mel.
    assert hz_to_mel(1000, "htk") == pytest.approx(1000, abs=0.1)
    for scale in ("htk", "slaney"):
        hz = np.linspace(0, 8000, 50)
        np.testing.assert_allclose(mel_to_hz(hz_to_mel(hz, scale), scale), hz, atol=1e-8)


def test_areas_and_heights_of_the_bands():
    wide = LogMel(fft_length=8192, norm="slaney").filters()
    np.testing.assert_allclose(wide.sum(axis=0) * 16000 / 8192, 1.0, rtol=2e-2)
    assert LogMel(fft_length=8192).filters().max(axis=0) == pytest.approx(1.0, abs=0.05)


def test_a_tone_is_loudest_in_its_band():
    definition = LogMel(scale="slaney")
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 16000)
    corners = mel_to_hz(np.linspace(*hz_to_mel(np.array([20.0, 8000.0]), "slaney"), 42), "slaney")
    band = int(np.argmin(np.abs(corners[1:-1] - 1000)))
    assert set(definition(tone).argmax(axis=1)) == {band}


def test_integers_are_scaled_by_their_range():
    signal = (noise(2000) * 30_000).astype(np.int16)
    np.testing.assert_array_equal(LogMel()(signal), LogMel()(signal / 32768))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"frame_step": 0}, "expected 1 or more"),
        ({"fft_length": 256}, "no smaller than frame_length"),
        ({"high_hz": 9000}, "0 <= low < high <= 8000"),
        ({"low_hz": 8000}, "0 <= low < high"),
        ({"scale": "bark"}, "htk or slaney"),
        ({"norm": "l2"}, "htk or slaney"),
        ({"power": 0}, "more than 0"),
        ({"floor": 0}, "more than 0"),
    ],
)
def test_wrong_definitions_are_refused(wrong, message):
    with pytest.raises(InputError, match=message):
        LogMel(**wrong)


@pytest.mark.parametrize("signal", [np.zeros((10, 2)), np.array(["a"]), np.array([0.0, np.nan]), np.float64(1)])
def test_what_is_no_signal_is_refused_and_changes_nothing(signal):
    front = LogMelStream(LogMel())
    front.feed(noise(399))
    with pytest.raises(InputError, match="audio"):
        front.feed(signal)
    assert len(front.feed(noise(1))) == 1


@pytest.mark.parametrize(("source", "target"), [(44100, 16000), (8000, 16000), (48000, 16000), (11025, 8000)])
def test_resampling_keeps_tones_below_half_the_rate(source, target):
    tone = np.sin(2 * np.pi * 1000 * np.arange(5000) / source)
    found = resample(tone, source, target)
    assert len(found) == math.ceil(5000 * target / source)
    expected = np.sin(2 * np.pi * 1000 * np.arange(len(found)) / target)
    inner = slice(200, -200)
    np.testing.assert_allclose(found[inner], expected[inner], atol=1e-4)
    made = Resampler(source, target)
    pieces = [made.feed(block) for block in blocks(tone)]
    np.testing.assert_allclose(np.concatenate([*pieces, made.finish()]), found, atol=1e-12)


def test_resampling_drops_what_would_fold_back():
    tone = np.sin(2 * np.pi * 5000 * np.arange(8000) / 16000)
    assert np.abs(resample(tone, 16000, 8000)[200:-200]).max() < 1e-4


def test_rates_that_cannot_be_are_refused():
    with pytest.raises(InputError, match="1 or more"):
        Resampler(0, 16000)
    with pytest.raises(InputError, match="no small terms"):
        Resampler(441_001, 160_001)


def wav(samples, rate=16000, width=2, channels=1):
    """The bytes of a WAV file of integer samples, interleaved."""
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(width)
        file.setframerate(rate)
        file.writeframes(b"".join(int(s).to_bytes(width, "little", signed=width > 1) for s in samples))
    return out.getvalue()


@pytest.mark.parametrize(
    ("width", "samples", "expected"),
    [
        (1, [0, 128, 192, 255], [-1, 0, 0.5, 127 / 128]),
        (2, [-32768, 0, 16384, 32767], [-1, 0, 0.5, 32767 / 32768]),
        (3, [-(2**23), 0, 2**22, -1], [-1, 0, 0.5, -(2.0**-23)]),
        (4, [-(2**31), 0, 2**30, 2**24], [-1, 0, 0.5, 2.0**-7]),
    ],
)
def test_samples_of_every_width(width, samples, expected, tmp_path):
    (tmp_path / "a.wav").write_bytes(wav(samples, width=width))
    found = read_wav(tmp_path / "a.wav", 16000)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-7)


def test_channels_are_mixed_on_request_only(tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(wav([16384, 0, -32768, 16384], channels=2))
    with pytest.raises(InputError, match="2 channels, expected 1; ask for mono"):
        read_wav(path, 16000)
    np.testing.assert_allclose(read_wav(path, 16000, mono=True), [0.25, -0.25])


def test_another_rate_is_refused_unless_asked_for(tmp_path):
    path = tmp_path / "a.wav"
    tone = np.sin(2 * np.pi * 440 * np.arange(8000) / 8000)
    path.write_bytes(wav((tone * 32000).astype(int), rate=8000))
    with pytest.raises(InputError, match="8000 samples a second, the model takes 16000"):
        read_wav(path, 16000)
    found = read_wav(path, 16000, resample=True)
    expected = np.sin(2 * np.pi * 440 * np.arange(16000) / 16000) * 32000 / 32768
    np.testing.assert_allclose(found[200:-200], expected[200:-200], atol=1e-3)


def test_a_pipe_is_read_as_a_file():
    samples = (noise(5000) * 30000).astype(int)
    reading, writing = os.pipe()
    with open(reading, "rb") as pipe:
        with open(writing, "wb") as end:
            end.write(wav(samples))
        found = list(WavReader(pipe).blocks(512))
    assert [len(block) for block in found] == [512] * 9 + [392]
    np.testing.assert_allclose(np.concatenate(found), samples / 32768, atol=1e-7)


@pytest.mark.parametrize("data", [b"", b"RIFF", b"no sound" * 20, wav([1, 2])[:30], b"RIFF\x24\0\0\0WAVEfmt "])
def test_what_is_no_wav_is_refused(data, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(InputError, match=r"a\.wav is no WAV file of PCM samples \(\w"):
        read_wav(path, 16000)


@pytest.mark.parametrize(("codec", "message"), [(6, "unknown format: 6, A-law"), (3, "16-bit samples in 1 channels")])
def test_codecs_and_missing_files_are_refused(codec, message, tmp_path):
    data = bytearray(wav([1, 2, 3, 4]))
    data[20] = codec
    (tmp_path / "a.wav").write_bytes(data)
    with pytest.raises(InputError, match=message):
        read_wav(tmp_path / "a.wav", 16000)
    with pytest.raises(FileNotFoundError):
        read_wav(tmp_path / "none.wav", 16000)


def test_a_file_that_ends_within_a_sample_gives_what_is_whole(tmp_path):
    (tmp_path / "a.wav").write_bytes(wav([1000, 2000, 3000])[:-1])
    np.testing.assert_allclose(read_wav(tmp_path / "a.wav", 16000), np.array([1000, 2000]) / 32768)


def test_silence_is_zero_in_every_width():
    for width, byte in ((1, b"\x80"), (2, b"\0\0"), (3, b"\0\0\0"), (4, b"\0\0\0\0")):
        assert pcm(byte * 3, width).tolist() == [0, 0, 0]


def test_utterances_begin_and_end_where_they_do():
    rate = 8000
    signal = np.zeros(3 * rate)
    signal[4000:8000] = noise(4000)
    signal[9600:12000] = noise(2400)  # after a pause of 0.2 s
    signal[20000:22000] = noise(2000)
    expected = [("begin", 4000), ("end", 12000 + 4000), ("begin", 20000)]
    assert Endpointer(rate, 0.5).feed(signal) == expected
    split = Endpointer(rate, 0.5)
    assert [found for block in blocks(signal) for found in split.feed(block)] == expected
    assert split.speaking
    assert [b.sample for b in Endpointer(rate, 0.1).feed(signal)] == [4000, 8800, 9600, 12800, 20000, 22800]
    assert Endpointer(rate, 0.5, -5.0).feed(signal) == []


@pytest.mark.parametrize("wrong", [{"silence": 0}, {"level": 3}, {"sample_rate": 50}])
def test_wrong_endpoints_are_refused(wrong):
    with pytest.raises(InputError, match="expected 100 or more"):
        Endpointer(**{"sample_rate": 8000, **wrong})
