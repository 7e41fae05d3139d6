"""A user's own recordings: of any kind, for labels, for noise and negatives, with what is said in them."""

import re

import numpy as np
import pytest

from rnnzoo.data import read_source
from rnnzoo.data.config import AudioConfig
from rnnzoo.data.encoders.mixing import equalized, in_room, noise_bed, power, pulsating, speech_span
from rnnzoo.data.files.sounds import read_sounds
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.runs.config import parse_config
from rnnzoo.tasks.keyword_spotter.config import KeywordAudioConfig
from rnnzoo.tasks.keyword_spotter.streams import StreamComposer
from streaming.runtime.audio import read_audio


def sounds(folder, rate=8000, count=12):
    """Tones of two heights in two folders, each file of another kind; `silent` and `unknown` hold no keyword."""
    soundfile = pytest.importorskip("soundfile", reason="soundfile is not installed")
    kinds = [("wav", "PCM_U8"), ("wav", "PCM_24"), ("wav", "FLOAT"), ("flac", "PCM_16"), ("ogg", "VORBIS")]
    for label, hertz in (("low", 300), ("high", 1200), ("unknown", 2500)):
        (folder / label).mkdir(parents=True)
        for i in range(count):
            own = (rate, 2 * rate, 44100)[i % 3]
            tone = 0.5 * np.sin(2 * np.pi * hertz * np.arange(own // 2) / own + i)
            (form, subtype), channels = kinds[i % 5], 1 + i % 2
            soundfile.write(folder / label / f"{i}.{form}", np.stack([tone] * channels, 1), own, subtype=subtype)
    return folder


def test_recordings_of_every_kind_arrive_as_the_device_hears_them(tmp_path, capsys):
    folder = sounds(tmp_path / "own")
    source = read_source(AudioConfig(dataset=f"wav:{folder}"))
    rows = [row for split in ("train", "dev", "test") for row in source.splits[split]]
    assert len(rows) == 36
    for samples, label in rows:
        assert len(samples) == pytest.approx(4000, abs=1)
        peak = np.abs(np.fft.rfft(samples[:4000])).argmax() * 2
        assert peak == {"low": 300, "high": 1200, "unknown": 2500}[label]
    device = {len(x): x for x in (read_audio(p, 8000, mono=True, resample=True) for p in folder.rglob("low/*.*"))}
    assert any(np.array_equal(samples, x) for samples, _ in rows for x in device.values())
    (folder / "low" / "bad.flac").write_bytes(b"fLaC")
    with pytest.raises(DataError, match=r"bad\.flac is no FLAC or OGG file .*data\.bad_files=skip"):
        read_source(AudioConfig(dataset=f"wav:{folder}"))
    again = read_source(AudioConfig(dataset=f"wav:{folder}", bad_files="skip"))
    assert sum(map(len, again.splits.values())) == 36
    assert re.fullmatch(r"left out: \S+bad\.flac is no FLAC or OGG file [^\n]*\n", capsys.readouterr().err)


def test_noise_and_negatives_come_from_folders_and_data_sets(tmp_path):
    folder, config = sounds(tmp_path / "own"), AudioConfig(dataset="", sample_rate=8000)
    found = read_sounds(str(folder), config)
    assert sum(map(len, found.values())) == 36
    assert found["train"]
    for wrong, message in (
        ("nois", "'nois' is no folder and no data set of recordings; did you mean 'noise'"),
        (str(tmp_path / "empty"), "holds no recordings for training"),
    ):
        (tmp_path / "empty").mkdir(exist_ok=True)
        with pytest.raises(DataError, match=message):
            read_sounds(wrong, config)


def test_recordings_with_what_is_said_in_them(tmp_path):
    folder = sounds(tmp_path / "own")
    files = sorted(path.relative_to(folder) for path in folder.rglob("*.*"))
    table = folder / "transcripts.csv"
    table.write_text("file,text\n" + "\n".join(f"{file},{file.parent} tone" for file in files))
    source = read_source(AudioConfig(dataset=f"speech:{folder}"))
    assert source.kind == "audio-text"
    assert sorted(text for rows in source.splits.values() for _, text in rows) == sorted(
        f"{file.parent} tone" for file in files
    )
    table.write_text("file,text\nnone.wav,nothing\n")
    with pytest.raises(DataError, match=r"transcripts\.csv, line 2: none\.wav is no file in"):
        read_source(AudioConfig(dataset=f"speech:{folder}"))
    table.unlink()
    with pytest.raises(DataError, match=r"transcripts\.csv is missing"):
        read_source(AudioConfig(dataset=f"speech:{folder}"))


def config_of(data):
    text = f"name: own\ntopology: keyword_spotter\ndata: {{dataset: 'wav:own', {data}}}\n"
    return parse_config(text, "own.yaml").data


def test_earlier_configurations_say_noise_for_white_noise():
    old, new = config_of("noise: 0.02"), config_of("noise: [street, noise], white_noise: 0.02")
    assert (old.white_noise, old.noise) == (0.02, ())
    assert (new.white_noise, new.noise) == (0.02, ("street", "noise"))
    with pytest.raises(ConfigError, match=r"data\.snr is a lowest and a highest number of dB; received \[20"):
        config_of("snr: [20, 3]")
    with pytest.raises(ConfigError, match="threshold"):
        config_of("threshold: 1.0")


def test_the_loud_part_is_found():
    rng = np.random.default_rng(0)
    signal = 0.001 * rng.standard_normal(16000)
    signal[5000:9000] += 0.3 * rng.standard_normal(4000)
    signal[1000:1080] += 0.5  # a click
    begin, end = speech_span(signal, 8000)
    assert abs(begin - 5000) <= 160
    assert abs(end - 9000) <= 160
    assert speech_span(np.zeros(800), 8000) == (0, 800)
    assert speech_span(np.zeros(5), 8000) == (0, 5)


def test_rooms_keep_the_loudness_and_smear_the_end():
    clip = np.zeros(8000, np.float32)
    clip[1000:2000] = np.random.default_rng(1).standard_normal(1000)
    found = in_room(clip, 8000, np.random.default_rng(2))
    assert power(found) == pytest.approx(power(clip), rel=1e-3)
    assert not found[:1000].any() or np.abs(found[:1000]).max() < 1e-5
    assert power(found[2000:2800]) > 1e-6


@pytest.mark.parametrize("clips", [[], [np.arange(100, dtype=np.float32)]])
def test_noise_has_a_power_of_one_and_any_length(clips):
    for seed in range(4):
        bed = noise_bed(1234, clips, np.random.default_rng(seed))
        assert bed.shape == (1234,)
        assert power(bed) == pytest.approx(1.0, rel=1e-3)


def composer(**changes):
    """Keywords are 0.5, what else the set holds 0.25, negatives -0.5: samples say what they come from."""
    still = {"speed": 0.0, "white_noise": 0.0, "pause": 0.2, **changes}
    config = KeywordAudioConfig(dataset="own", **still)
    clips = [np.full(2000, 0.5, np.float32), np.full(2000, 0.25, np.float32)]
    return StreamComposer(config, clips, [1, 0], [np.full(9000, -0.5, np.float32)], [])


def test_streams_hold_what_they_say_and_are_seeded():
    made = composer(negative_share=0.6)
    signal, segments = made(80000, np.random.default_rng(5))
    again, _ = made(80000, np.random.default_rng(5))
    np.testing.assert_array_equal(signal, again)
    assert {label for _, label in segments} == {0, 1}
    for segment, label in segments:
        part = signal[segment.begin : min(segment.end, len(signal))]
        if len(part):
            np.testing.assert_allclose(part, part[0], atol=1e-6)
            level = part[0] / 0.5
            assert (0.5 <= level <= 1.5) if label else level < 0 or level <= 0.75


def test_a_splice_is_the_beginning_of_one_keyword_and_the_end_of_another():
    still = {"speed": 0.0, "white_noise": 0.0, "pause": 0.2, "negative_share": 0.8, "fragments": 1.0, "splices": 1.0}
    config = KeywordAudioConfig(dataset="own", **still)
    # The first half of each keyword is 0.3 or 0.5, the second is louder by a fifth.
    clips = [np.repeat([low, 1.2 * low], 1000).astype(np.float32) for low in (0.3, 0.5)]
    signal, segments = StreamComposer(config, clips, [1, 2], [], [])(200000, np.random.default_rng(5))
    parts = [signal[segment.begin : segment.end] for segment, label in segments if label == 0][:-1]
    assert len(parts) > 20
    for part in parts:
        ratio = part[-1] / part[0]
        assert ratio == pytest.approx(0.6 / 0.3, rel=1e-4) or ratio == pytest.approx(0.36 / 0.5, rel=1e-4)
        assert 0.38 * 2000 <= len(part) <= 1.1 * 2000
    # Where there is one keyword only, no piece is as long as it.
    signal, segments = StreamComposer(config, clips[:1], [1], [], [])(200000, np.random.default_rng(5))
    lengths = [segment.end - segment.begin for segment, label in segments if label == 0][:-1]
    assert sum(length <= 0.55 * 2000 for length in lengths) > len(lengths) / 2
    assert all(length <= 0.55 * 2000 or length > 0.9 * 2000 for length in lengths)  # a part, or all of it backwards


def test_negatives_and_noise_have_speeds_of_their_own():
    tone = np.sin(2 * np.pi * 1000 * np.arange(16000) / 8000).astype(np.float32)

    def heights(**changes):
        config = KeywordAudioConfig(dataset="own", white_noise=0.0, pause=0.1, **changes)
        made = StreamComposer(config, [np.full(4000, 0.5, np.float32)], [1], [tone], [tone])
        signal, segments = made(400000, np.random.default_rng(2))
        parts = [signal[segment.begin : segment.end] for segment, label in segments if label == 0]
        return [np.abs(np.fft.rfft(x)).argmax() * 8000 / len(x) for x in parts if len(x) > 4000]

    plain, fast = heights(speed=0.0), heights(speed=0.0, negative_speed=0.3)
    np.testing.assert_allclose(plain, 1000, atol=2)
    assert min(fast) < 800 < 1200 < max(fast)
    assert min(fast) >= 698
    assert max(fast) <= 1302
    rng = np.random.default_rng(0)
    beds = [noise_bed(8000, [tone], rng, 0.3) for _ in range(40)]
    peaks = [np.abs(np.fft.rfft(bed)).argmax() for bed in beds]
    pure = [peak for peak, bed in zip(peaks, beds, strict=True) if np.abs(np.fft.rfft(bed)).max() > 2000]
    assert min(pure) < 850
    assert max(pure) > 1150


def test_streams_without_a_keyword_are_noise_or_other_speech():
    made = composer(keywordless=1.0, negative_share=0.1)
    streams = [made(80000, np.random.default_rng(seed)) for seed in range(40)]
    assert {label for _, segments in streams for _, label in segments} == {0}
    noises = [signal for signal, segments in streams if not segments]
    assert 10 <= len(noises) <= 30
    # The loudness changes within a stream, between silence and that of speech.
    levels = [[10 * np.log10(power(part) + 1e-12) for part in signal.reshape(100, -1)] for signal in noises]
    assert np.median([np.ptp(rows) for rows in levels]) > 20
    assert all(np.abs(signal).max() <= 1 for signal in noises)
    # Where there are no negatives, all of them are noise.
    config = KeywordAudioConfig(dataset="own", keywordless=1.0)
    alone = StreamComposer(config, [np.full(2000, 0.5, np.float32)], [1], [], [])
    assert not any(alone(8000, np.random.default_rng(seed))[1] for seed in range(20))


def test_an_equalizer_raises_and_lowers_parts_of_the_spectrum():
    sound = np.random.default_rng(0).standard_normal(1 << 15).astype(np.float32)
    before = np.abs(np.fft.rfft(sound))
    for seed in range(10):
        heard = equalized(sound, 8000, 12.0, np.random.default_rng(seed))
        assert power(heard) == pytest.approx(power(sound), rel=1e-3)
        gains = 20 * np.log10(np.abs(np.fft.rfft(heard))[1:-1] / before[1:-1])
        assert 3 < np.ptp(gains) <= 24.1
        # It is smooth: neighbours have nearly the same gain.
        assert np.abs(np.diff(gains[100:])).max() < 0.1
    made = composer(equalizer=12.0)
    assert not np.array_equal(made(80000, np.random.default_rng(3))[0], composer()(80000, np.random.default_rng(3))[0])


def test_noise_may_come_and_go():
    sound = np.random.default_rng(0).standard_normal(80000).astype(np.float32)
    spreads = []
    for seed in range(20):
        heard = pulsating(sound, 8000, np.random.default_rng(seed))
        assert power(heard) == pytest.approx(power(sound), rel=1e-3)
        levels = [10 * np.log10(power(part) + 1e-12) for part in heard.reshape(-1, 160)]
        spreads.append(np.ptp(levels))
    assert np.median(spreads) > 10 > 4 > np.ptp([10 * np.log10(power(part)) for part in sound.reshape(-1, 160)])


def test_noise_lies_below_speech_by_the_ratio(tmp_path):
    made = composer(negative_share=0.0, noise=("any",), snr=(10.0, 10.0))
    clean = composer(negative_share=0.0)
    ratios = []
    for seed in range(12):
        signal, segments = made(40000, np.random.default_rng(seed))
        plain, _ = clean(40000, np.random.default_rng(seed))
        if segments and not np.array_equal(signal, plain):
            loud = plain[np.abs(plain) > 0.1 * np.abs(plain).max()]
            ratios.append(10 * np.log10(power(loud) / power(signal - plain)))
    assert len(ratios) >= 5
    np.testing.assert_allclose(ratios, 10.0, atol=0.2)


def test_speeds_and_levels_stay_in_their_ranges():
    made = composer(negative_share=0.0, level=(-20.0, -20.0))
    signal, segments = made(40000, np.random.default_rng(3))
    parts = [signal[s.begin : s.end] for s, _ in segments if s.end <= len(signal)]
    assert all(0.5 * 0.05 <= part[0] <= 1.5 * 0.05 + 1e-6 for part in parts)
