"""The `data` and `model` sections of a synthesizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rnnzoo.data.config import DataConfig
from rnnzoo.tasks.cells import Cell, check_cell
from rnnzoo.util.ranges import Count, Factor, Rate, Size


@dataclass(frozen=True, kw_only=True)
class SpeechConfig(DataConfig):
    """Recordings of words by voices, as log-mel features.

    Args:
        input: `speech`.
        sample_rate: samples a second.
        frame_length, frame_step, fft_length: in samples.
        num_mels: features of a frame.
        low_hz, high_hz: range of the features.
        reduction: frames that the model draws in a step (Wang et al. 2017).
        frame_noise: deviation of the noise on the last frame that the model is given in training, in units of the
            scaler: in use it is given what it has drawn itself.
        floor: the least deviation of a feature, in units of the scaler.
        temperature: at which the device and the figures draw; it multiplies the variances.
        max_length: most frames of a word on the device.
        iterations: of Griffin and Lim's method.
        draws: sounds of each word and voice that are drawn for the figures.
        listener: a bundle of a keyword spotter of the same words, which tells whether they are understood; empty: none.
    """

    input: Literal["speech"] = "speech"
    sample_rate: Size = 8000
    frame_length: Size = 256
    frame_step: Size = 64
    fft_length: Size = 512
    num_mels: Size = 48
    low_hz: Factor = 60.0
    high_hz: Factor = 3800.0
    reduction: Size = 2
    frame_noise: Factor = 0.0
    floor: Factor = 0.1
    temperature: Factor = 0.5
    max_length: Size = 200
    iterations: Count = 60
    draws: Size = 4
    listener: str = ""


@dataclass(frozen=True)
class SynthesizerConfig:
    """A recurrent decoder of frames, given a word and a voice at each step.

    Args:
        prenet: width of the layer that reads the last frame.
        prenet_dropout: rate on that layer, in training (Wang et al. 2017).
        given: width of the vector of word and voice.
        clock: width of the layer that reads word, voice and the time since the start.
        cell: the recurrent cell.
        units: width of each recurrent layer.
        layers: recurrent layers.
        dropout: rate after each recurrent layer, in training.
        recurrent_dropout: as in `GeneratorConfig`.

    Raises:
        ConfigError: the cell is unknown or does not take a rate.
    """

    prenet: Size = 96
    prenet_dropout: Rate = 0.5
    given: Size = 32
    clock: Size = 64
    cell: Cell = "gru"
    units: Size = 160
    layers: Size = 1
    dropout: Rate = 0.1
    recurrent_dropout: Rate = 0.0

    def __post_init__(self) -> None:
        check_cell(self.cell, self.recurrent_dropout)


DATA = {"speech": SpeechConfig}
MODEL = SynthesizerConfig
