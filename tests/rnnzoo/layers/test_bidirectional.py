"""Bidirectional layers under `lookahead`: masks, and layers that give their last outputs alone."""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
import pytest
from keras import layers

import streaming

AHEAD = 4


def build(sequences: bool, mode: str | None, masked: bool, cell: type[keras.layers.Layer]) -> keras.Model:
    x = keras.Input((None, 3))
    h = layers.Masking()(x) if masked else x
    return keras.Model(x, layers.Bidirectional(cell(5, return_sequences=sequences), merge_mode=mode)(h))


@pytest.mark.parametrize("masked", [True, False])
@pytest.mark.parametrize(("sequences", "mode", "cell"), [(True, None, layers.GRU), (False, "ave", layers.LSTM)])
def test_lookahead_is_exact_for_as_many_steps(
    tmp_path: Path, sequences: bool, mode: str | None, masked: bool, cell: type[keras.layers.Layer]
) -> None:
    model = build(sequences, mode, masked, cell)
    report = streaming.convert(model, tmp_path / "a.tflite", lookahead=AHEAD, verify=False)
    assert report.delay == (AHEAD if sequences else 0)
    x = np.random.default_rng(0).standard_normal((AHEAD + 1, 3)).astype("float32")
    x[[0, 3]] = 0.0  # masked
    stream = streaming.load(tmp_path / "a.tflite").create_stream()
    for steps in range(1, AHEAD + 2):
        stream.reset()
        pieces = [stream.feed(x[: steps // 2]), stream.feed(x[steps // 2 : steps]), stream.finish()]
        wanted = keras.tree.flatten(model(x[None, :steps]))
        for index, value in enumerate(wanted):
            parts = [list(piece.values())[index] if isinstance(piece, dict) else piece for piece in pieces]
            rows = np.concatenate(parts)
            np.testing.assert_allclose(rows if sequences else rows[-1], np.asarray(value)[0], atol=1e-6)


@pytest.mark.slow
def test_beyond_the_lookahead_the_last_output_backwards_stays_that_of_the_beginning(tmp_path: Path) -> None:
    model = build(False, None, False, layers.GRU)
    report = streaming.convert(model, tmp_path / "a.tflite", lookahead=AHEAD)
    assert "over the first 5 steps" in report.notes[0]
    x = np.random.default_rng(1).standard_normal((30, 3)).astype("float32")
    forward, backward = streaming.load(tmp_path / "a.tflite").create_stream().feed(x).values()
    np.testing.assert_allclose(forward[-1], np.asarray(model(x[None])[0])[0], atol=1e-6)
    np.testing.assert_allclose(backward[-1], np.asarray(model(x[None, : AHEAD + 1])[1])[0], atol=1e-6)


def test_states_of_both_directions_are_refused(tmp_path: Path) -> None:
    x = keras.Input((None, 3))
    model = keras.Model(x, layers.Bidirectional(layers.LSTM(2, return_state=True))(x)[1])
    with pytest.raises(streaming.NotStreamableError, match="states that are known only at the end"):
        streaming.convert(model, tmp_path / "a.tflite", lookahead=2)
