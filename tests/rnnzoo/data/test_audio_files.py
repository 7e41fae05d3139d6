"""Audio files of every kind against libsndfile, raw samples, and what is refused."""

import io
import os
import sys

import numpy as np
import pytest

from streaming.errors import InputError
from streaming.runtime.audio import RawReader, open_audio, read_audio, resample

soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")

KINDS = [
    *(("WAV", kind) for kind in ("PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE")),
    *(("WAVEX", kind) for kind in ("PCM_16", "PCM_24", "FLOAT")),
    ("RF64", "PCM_16"),
    ("FLAC", "PCM_16"),
    ("FLAC", "PCM_24"),
    ("OGG", "VORBIS"),
]


def noise(count, channels=1, seed=0):
    return np.random.default_rng(seed).uniform(-0.5, 0.5, (count, channels))


def written(samples, rate, form, subtype):
    out = io.BytesIO()
    soundfile.write(out, samples, rate, format=form, subtype=subtype)
    return out.getvalue()


@pytest.mark.parametrize(("form", "subtype"), KINDS)
@pytest.mark.parametrize("channels", [1, 3])
def test_samples_are_those_of_libsndfile(form, subtype, channels, tmp_path):
    data = written(noise(3001, channels), 22050, form, subtype)
    path = tmp_path / "any.name"
    path.write_bytes(data)
    expected = soundfile.read(io.BytesIO(data), dtype="float64", always_2d=True)[0].mean(axis=1)
    for source in (path, io.BytesIO(data)):
        found = read_audio(source, 22050, mono=True)
        assert found.dtype == np.float32
        np.testing.assert_allclose(found, expected, atol=1e-6)
    if channels > 1:
        with pytest.raises(InputError, match=r"any\.name has 3 channels, expected 1; ask for mono"):
            read_audio(path, 22050)


@pytest.mark.parametrize(("form", "subtype"), [("WAV", "FLOAT"), ("FLAC", "PCM_16"), ("OGG", "VORBIS")])
def test_a_pipe_is_read_as_a_file(form, subtype):
    data = written(noise(2000), 8000, form, subtype)
    reading, writing = os.pipe()
    with os.fdopen(reading, "rb") as pipe:
        with os.fdopen(writing, "wb") as end:
            end.write(data)
        found = np.concatenate(list(open_audio(pipe).blocks(300)))
    np.testing.assert_allclose(found, read_audio(io.BytesIO(data), 8000), atol=1e-7)


def test_a_writer_that_cannot_seek_leaves_the_size_open():
    data = bytearray(written(noise(500), 8000, "WAV", "PCM_16"))
    place = data.index(b"data") + 4
    for size in (0, 0xFFFFFFFF):
        data[place : place + 4] = size.to_bytes(4, "little")
        assert len(read_audio(io.BytesIO(bytes(data)), 8000)) == 500


def test_another_rate_is_resampled_by_the_one_resampler():
    data = written(noise(4000), 44100, "FLAC", "PCM_24")
    with pytest.raises(InputError, match="44100 samples a second, the model takes 16000"):
        read_audio(io.BytesIO(data), 16000, name="a.flac")
    found = read_audio(io.BytesIO(data), 16000, resample=True)
    np.testing.assert_allclose(found, resample(read_audio(io.BytesIO(data), 44100), 44100, 16000), atol=1e-6)


RAW = {"u8": "PCM_U8", "s16le": "PCM_16", "s24le": "PCM_24", "s32le": "PCM_32", "f32le": "FLOAT", "f64le": "DOUBLE"}


@pytest.mark.parametrize(("form", "subtype"), RAW.items())
def test_raw_samples_are_those_of_libsndfile(form, subtype):
    data = written(noise(700, 2), 8000, "RAW", subtype)
    expected = soundfile.read(
        io.BytesIO(data), format="RAW", subtype=subtype, channels=2, samplerate=8000, endian="LITTLE"
    )[0].mean(axis=1)
    # A sample that is cut short at the end is dropped.
    reader = RawReader(io.BytesIO(data + b"\0"), form, 8000, channels=2, mono=True)
    found = list(reader.blocks(64))
    assert [len(block) for block in found[:-1]] == [64] * 10
    np.testing.assert_allclose(np.concatenate(found), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (written(noise(100), 8000, "FLAC", "PCM_16")[:20], "is no FLAC or OGG file"),
        (b"OggS" + bytes(60), "is no FLAC or OGG file"),
        (b"ID3" + bytes(60), "is no WAV file of PCM samples"),
        (written(noise(100), 8000, "WAV", "ULAW"), "unknown format: 7, mu-law"),
        (written(np.array([0.0, np.nan]), 8000, "WAV", "FLOAT"), "holds NaN or infinity"),
        (b"RIFF\xff\xff\xff\xffWAVEJUNK\xff\xff\xff\x7f", "bytes before any sample"),
    ],
    # Bytes of a float WAV hold the time at which they were written.
    ids=["short", "ogg", "mp3", "mu-law", "nan", "junk"],
)
def test_what_is_no_audio_is_one_line(data, message, tmp_path):
    path = tmp_path / "a.wav"
    path.write_bytes(data)
    with pytest.raises(InputError, match=message) as caught:
        read_audio(path, 8000)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_without_the_library_the_error_says_what_to_install(monkeypatch, tmp_path):
    (tmp_path / "a.flac").write_bytes(written(noise(10), 8000, "FLAC", "PCM_16"))
    monkeypatch.setitem(sys.modules, "soundfile", None)
    with pytest.raises(InputError, match=r"pip install 'rnnzoo\[audio\]', or convert it to WAV"):
        read_audio(tmp_path / "a.flac", 8000)


@pytest.mark.parametrize("wrong", [{"form": "s8"}, {"sample_rate": 0}, {"channels": 2}])
def test_raw_samples_of_other_formats_are_refused(wrong):
    with pytest.raises(InputError, match=r"raw samples of|ask for mono"):
        RawReader(io.BytesIO(), **{"form": "s16le", "sample_rate": 8000, **wrong})
