"""Why each of Keras's layers without a rule cannot be streamed, and what to do instead."""

from __future__ import annotations

from keras import layers

_REASONS: dict[tuple[str, str], str] = {
    ("holds code that cannot be inspected", "write it as a layer of its own or with keras.ops"): "Lambda",
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
        "rebuild it from Keras layers, or register a rule for it with streaming.conversion.rules.register",
    ): "FlaxLayer JaxLayer TFSMLayer TorchModuleWrapper",
    ("is one step of a recurrent layer", "wrap it in keras.layers.RNN"): (
        "GRUCell LSTMCell SimpleRNNCell StackedRNNCells"
    ),
}

REFUSALS: dict[type, tuple[str, str]] = {
    getattr(layers, name): reason
    for reason, names in _REASONS.items()
    for name in names.split()
    if hasattr(layers, name)
}
