"""The progress of a conversion is shown on a terminal, and nowhere else."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import keras
import pytest
from keras import layers

import streaming
from streaming.conversion.verify import _Proof  # the bound of its work


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def tagger() -> keras.Model:
    x = keras.Input((None, 3))
    return keras.Model(x, layers.Bidirectional(layers.GRU(2, return_sequences=True))(x))


def test_stages_and_steps_are_shown_on_a_terminal_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    streaming.convert(tagger(), tmp_path / "m.tflite", lookahead=2, quantize="dynamic")
    lines = terminal.getvalue().split("\r\x1b[K")
    stages = ["planning", "tracing and converting", "proof: ", "converting in dynamic", "measuring the drift"]
    places = [next(place for place, line in enumerate(lines) if line.startswith(stage)) for stage in stages]
    assert places == sorted(places)
    assert any("steps compared" in line and "of" in line for line in lines)
    assert lines[-1] == ""
    assert "\n" not in terminal.getvalue()


@pytest.mark.slow
def test_nothing_is_written_elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    log = io.StringIO()
    monkeypatch.setattr(sys, "stderr", log)
    streaming.convert(tagger(), tmp_path / "m.tflite", lookahead=2)
    assert log.getvalue() == ""


def test_the_line_is_cleared_after_a_refusal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with pytest.raises(streaming.NotStreamableError):
        streaming.convert(tagger(), tmp_path / "m.tflite")
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_the_bound_of_the_proof_counts_the_steps_after_the_end() -> None:
    proof = object.__new__(_Proof)
    proof.plan = type("Plan", (), {"unit": 1})()
    proof.cost, proof.flush = 1e6, 0
    alone = proof._affordable(100)
    proof.flush = 900
    assert proof._affordable(100) == alone // 10
