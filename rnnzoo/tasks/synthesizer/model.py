"""The model of speech."""

from __future__ import annotations

import keras

from rnnzoo.data.encoders.speech import SpeechEncoder
from rnnzoo.tasks.recurrent import recurrent_layers
from rnnzoo.tasks.synthesizer.config import SynthesizerConfig


def build_synthesizer(config: SynthesizerConfig, encoder: SpeechEncoder) -> keras.Model:
    """A decoder of log-mel features: a bottleneck on the last frame, recurrent layers, densities (Wang et al. 2017).

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
    x = keras.layers.Concatenate(name="step")([last, about])
    x = recurrent_layers(config, x)
    x = keras.layers.Concatenate(name="heard")([x, about])
    frames = keras.layers.Dense(2 * encoder.reduction * mels + 1, name="frames")(x)
    return keras.Model({"rows": rows, "given": given}, frames, name="synthesizer")
