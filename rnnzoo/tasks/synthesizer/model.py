"""The model of speech."""

from __future__ import annotations

from typing import Any

import keras

from rnnzoo.data.encoders.speech import SpeechEncoder
from rnnzoo.layers import SimpleRNN
from rnnzoo.tasks.recurrent import recurrent_layers
from rnnzoo.tasks.synthesizer.config import SynthesizerConfig

# Of a step, on the clock: exact in float32, and so that a word is of some units.
_TICK = 1 / 32


def build_synthesizer(config: SynthesizerConfig, encoder: SpeechEncoder) -> keras.Model:
    """A decoder of log-mel features: a bottleneck on the last frame, recurrent layers, densities (Wang et al. 2017).

    A clock counts the steps beside them. Where a word has a silence, as before the end of "six", the last frame says
    nothing, and without the clock the silence may go on for ever.

    Args:
        config: sizes.
        encoder: of M features, W words and V voices, with R frames a step.

    Returns:
        A functional model; inputs `rows` (B, T, M) and `given` (B, T, W + V), output (B, T, 2 R M + 1), as
        `FrameDensity.read` takes it.
    """
    mels = encoder.definition.num_mels
    rows = keras.Input((None, mels), name="rows")
    given = keras.Input((None, len(encoder.words) + len(encoder.voices)), name="given")
    last = keras.layers.Dense(config.prenet, activation="relu", name="prenet")(rows)
    last = keras.layers.Dropout(config.prenet_dropout, name="prenet_dropout")(last)
    about = keras.layers.Dense(config.given, name="word_and_voice")(given)
    time = _clock(given)
    planned = keras.layers.Dense(config.clock, activation="relu", name="planned")(
        keras.layers.Concatenate(name="about_and_time")([about, time])
    )
    planned = keras.layers.Dense(config.clock, activation="relu", name="planned_again")(planned)
    x = keras.layers.Concatenate(name="step")([last, about, planned])
    x = recurrent_layers(config, x)
    x = keras.layers.Concatenate(name="heard")([x, about, planned])
    frames = keras.layers.Dense(2 * encoder.reduction * mels + 1, name="frames")(x)
    return keras.Model({"rows": rows, "given": given}, frames, name="synthesizer")


def _clock(x: Any) -> Any:
    """The time since the start, (B, T, 1): a recurrent layer that adds the same at each step and is not trained."""
    count = SimpleRNN(
        1,
        activation="linear",
        kernel_initializer="zeros",
        recurrent_initializer="ones",
        bias_initializer=keras.initializers.Constant(_TICK),
        return_sequences=True,
        trainable=False,
        name="clock",
    )
    return count(x)
