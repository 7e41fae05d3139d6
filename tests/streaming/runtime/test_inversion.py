"""From features back to a signal: magnitudes against non-negative least squares of SciPy, phases against the signal."""

import io
import wave

import numpy as np
import pytest
import scipy.optimize

from streaming.errors import InputError
from streaming.runtime.audio import LogMel, griffin_lim, magnitudes, read_wav, wav_bytes

DEFINITION = LogMel(8000, frame_length=64, frame_step=16, fft_length=64, num_mels=12, low_hz=60, high_hz=3900)


def hum(count, seed=0):
    """A sum of a few tones that come and go."""
    rng, time = np.random.default_rng(seed), np.arange(count) / 8000
    tones = [np.sin(2 * np.pi * rng.uniform(200, 3000) * time + rng.uniform(0, 6)) for _ in range(4)]
    return 0.1 * np.sum([tone * (1 + np.sin(9 * time * (i + 1))) for i, tone in enumerate(tones)], axis=0)


def test_magnitudes_are_a_least_squares_solution_without_negative_values():
    rows = DEFINITION(hum(400))
    found = magnitudes(rows, DEFINITION, updates=20_000)
    assert found.shape == (len(rows), 33)
    filters = DEFINITION.filters()
    for row, spectrum in zip(np.exp(rows.astype(np.float64)), found**2, strict=True):
        assert spectrum.min() >= 0
        _, rest = scipy.optimize.nnls(filters.T, row)
        assert np.linalg.norm(spectrum @ filters - row) <= rest + 1e-3 * np.linalg.norm(row)


@pytest.mark.parametrize("power", [1.0, 2.0])
def test_bands_of_one_bin_give_the_magnitudes_back(power):
    # 33 bins, and a band around each but the outermost: nothing is lost there.
    fine = LogMel(
        64, frame_length=64, frame_step=16, fft_length=64, num_mels=3, low_hz=0, high_hz=32, power=power, floor=1e-9
    )
    rows = np.log(np.random.default_rng(0).uniform(0.5, 2, (5, 3)))
    found = magnitudes(rows, fine, updates=5000)
    np.testing.assert_allclose((found**power) @ fine.filters(), np.exp(rows), rtol=1e-3)


@pytest.mark.parametrize("momentum", [0.0, 0.9])
def test_a_signal_has_nearly_the_magnitudes(momentum):
    signal = hum(1600)
    wanted = transforms(signal)

    def wrong(made):
        return np.linalg.norm(transforms(made) - wanted) / np.linalg.norm(wanted)

    errors = [wrong(griffin_lim(wanted, DEFINITION, count, momentum)) for count in (0, 10, 200)]
    assert errors[0] > 2 * errors[1] > 2 * errors[2]
    assert errors[2] < 0.12
    assert len(griffin_lim(wanted, DEFINITION, 1)) == (len(wanted) - 1) * 16 + 64


def transforms(signal):
    """Magnitudes of frames, one after the other."""
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(64) / 64)
    starts = range(0, len(signal) - 63, 16)
    return np.array([np.abs(np.fft.rfft(window * signal[start : start + 64])) for start in starts])


def test_the_true_phases_give_the_signal_back():
    """What is done in turn does not change a signal whose magnitudes are those that are wanted."""
    from streaming.runtime.audio import inversion

    signal = hum(640)
    frames = inversion._frames(signal, DEFINITION)
    np.testing.assert_allclose(inversion._signal(frames, DEFINITION)[32:-32], signal[32:-32], atol=1e-9)


def test_features_that_do_not_fit_are_one_line():
    for rows in (np.zeros((3, 11)), np.zeros(12), np.full((2, 12), np.nan)):
        with pytest.raises(InputError, match="expected finite numbers of the shape"):
            magnitudes(rows, DEFINITION)
    assert griffin_lim(np.zeros((0, 33)), DEFINITION).shape == (0,)


def test_a_wav_file_is_read_by_others_and_by_us():
    samples = np.array([0.0, 0.5, -0.5, 1.5, -1.0])
    data = wav_bytes(samples, 8000)
    with wave.open(io.BytesIO(data)) as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate(), file.getnframes()) == (1, 2, 8000, 5)
        assert np.frombuffer(file.readframes(5), "<i2").tolist() == [0, 16384, -16384, 32767, -32767]
    np.testing.assert_allclose(read_wav(io.BytesIO(data), 8000), np.clip(samples, -1, 1), atol=1e-4)
