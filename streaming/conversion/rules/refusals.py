"""Why each of Keras's layers without a rule cannot be streamed, and what to do instead."""

from __future__ import annotations

from typing import NoReturn

import keras
from keras import layers

from streaming.conversion.rules.base import Call, Rule

_REASONS: dict[tuple[str, str], str] = {
    (
        "attends to the whole sequence, so its state grows without bound",
        "use MultiHeadAttention with use_causal_mask=True and attention_window, or a recurrent layer",
    ): "GroupQueryAttention GroupedQueryAttention",
    (
        "works on strings or hashes, which TFLite's builtin operations lack",
        "look words up before the stream, and let it take integers",
    ): "StringLookup TextVectorization Hashing HashedCrossing",
    (
        "pools in windows that depend on the length of the sequence",
        "use MaxPooling1D, AveragePooling1D or GlobalAveragePooling1D",
    ): (
        "AdaptiveAveragePooling1D AdaptiveAveragePooling2D AdaptiveAveragePooling3D "
        "AdaptiveMaxPooling1D AdaptiveMaxPooling2D AdaptiveMaxPooling3D"
    ),
    (
        "works on whole images, of which time would be one side",
        "wrap it in TimeDistributed, or prepare images before the stream",
    ): (
        "AutoContrast CenterCrop ContrastLimitedAdaptiveHistogramEqualization Equalization MaxNumBoundingBoxes "
        "RandomCrop Resizing Solarization"
    ),
    (
        "takes no samples (B, T)",
        "give it samples without further axes",
    ): "MelSpectrogram",
    (
        "holds a program of another framework",
        "rebuild it from Keras layers, or register a rule for it with streaming.register_rule",
    ): "FlaxLayer JaxLayer TFSMLayer TorchModuleWrapper",
    ("is one step of a recurrent layer", "wrap it in keras.layers.RNN"): (
        "GRUCell LSTMCell SimpleRNNCell StackedRNNCells"
    ),
}

_NEVER = {
    getattr(layers, name)
    for name in (
        "StringLookup TextVectorization Hashing HashedCrossing FlaxLayer JaxLayer TFSMLayer TorchModuleWrapper"
    ).split()
    if hasattr(layers, name)
}

REFUSALS: dict[type, tuple[str, str]] = {
    getattr(layers, name): reason
    for reason, names in _REASONS.items()
    for name in names.split()
    if hasattr(layers, name)
}


class Refused(Rule):
    """A layer that is always refused."""

    def plan(self) -> NoReturn:
        self.refuse(*explain(self.call.op))


def refused(call: Call) -> bool:
    """Whether a layer is refused without a trial: it needs what TFLite lacks, or uses the time axis as its own."""
    kind = type(call.op)
    return kind in REFUSALS and (kind in _NEVER or any(signal.sequence for signal in call.signals))


def explain(layer: keras.Layer) -> tuple[str, str]:
    """Why a layer without a rule that does not work on each step by itself cannot be streamed, and what to do."""
    default = (
        "has no streaming rule and does not work on each step by itself",
        "give it stream_spec and stream_step, or register a rule for it with streaming.register_rule",
    )
    return REFUSALS.get(type(layer), default)
