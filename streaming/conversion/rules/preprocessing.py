"""Keras's preprocessing layers with their adapted constants; augmentation, which does nothing at inference."""

from __future__ import annotations

from typing import Any

import numpy as np
import tensorflow as tf
from keras import layers

from streaming.conversion.rules import register
from streaming.conversion.rules.base import Env, Rule
from streaming.conversion.rules.pointwise import Idle, PerStep
from streaming.conversion.rules.window import WindowRule
from streaming.conversion.signals import Signal
from streaming.conversion.values import Chunk, Static


@register(layers.Normalization)
class NormalizationByStatisticsRule(PerStep):
    """Adapted mean and variance, over features."""

    def check(self) -> None:
        if self.call.signals[0].sequence:
            self.refuse_time_axis(list(self.call.op.axis) if self.call.op.axis else [-1])


@register(layers.Discretization)
class DiscretizationRule(PerStep):
    """The bin of each number."""

    def check(self) -> None:
        if self.call.op.output_mode != "int":
            self.refuse(
                f"encodes its bins (output_mode={self.call.op.output_mode!r})",
                "use output_mode='int' and CategoryEncoding",
            )


@register(layers.CategoryEncoding)
class CategoryEncodingRule(PerStep):
    """Each id as a row of zeros and a one."""

    def check(self) -> None:
        signal, mode = self.call.signals[0], self.call.op.output_mode
        # In its other modes Keras reduces axis 1, which is time.
        if signal.sequence and (not signal.shape or mode != "one_hot"):
            self.refuse(f"encodes along time (output_mode={mode!r})", "use 'one_hot' on ids of shape (B, T, K)")


@register(layers.IntegerLookup)
class IntegerLookupRule(Rule):
    """The index of each integer in the vocabulary: compared with every entry, since TFLite has no hash tables."""

    def plan(self) -> Signal:
        op = self.call.op
        if op.output_mode != "int" or op.invert:
            self.refuse("gives something else than indices", "use output_mode='int' and invert=False")
        if op.num_oov_indices != 1:
            self.refuse(f"has num_oov_indices={op.num_oov_indices}", "build it with num_oov_indices=1")
        # Read here: within a trace, Keras's table would be symbolic.
        self.words = np.asarray(op.get_vocabulary(include_special_tokens=False), "int64")
        return self.result(dtype="int32")

    def step(self, env: Env, inputs: Chunk | Static, *args: Any, **kwargs: Any) -> Chunk | Static:
        if isinstance(inputs, Static):
            return Static(self._look_up(inputs.value))
        return inputs.like(flat=self._look_up(inputs.flat))

    def _look_up(self, ids: tf.Tensor) -> tf.Tensor:
        op = self.call.op
        unknown = int(op.mask_token is not None)
        places = np.arange(unknown + 1, unknown + 1 + len(self.words), dtype="int32") - unknown
        same = tf.equal(tf.cast(ids, tf.int64)[..., None], tf.constant(self.words))
        indices = unknown + tf.reduce_sum(tf.where(same, tf.constant(places), tf.zeros_like(places)), axis=-1)
        if op.mask_token is None:
            return indices
        return tf.where(tf.equal(tf.cast(ids, tf.int64), op.mask_token), tf.zeros_like(indices), indices)


@register(layers.STFTSpectrogram)
class SpectrogramRule(WindowRule):
    """Short-time Fourier transform of samples (B, T, C): a convolution that Keras initializes with sines."""

    @property
    def geometry(self) -> tuple[int, int, str]:
        return self.call.op.frame_length, self.call.op._frame_step, self.call.op.padding

    def compute(self, env: Env, window: tf.Tensor) -> tf.Tensor:
        padding, self.call.op.padding = self.call.op.padding, "valid"  # what it pads with lies in the window
        try:
            return self.call.op(window)
        finally:
            self.call.op.padding = padding


# They take the argument `training`, and change nothing without it.
AUGMENTATIONS = [
    getattr(layers, name)
    for name in (
        "AugMix CutMix MixUp RandAugment RandomBrightness RandomColorDegeneration RandomColorJitter RandomContrast "
        "RandomElasticTransform RandomErasing RandomFlip RandomGaussianBlur RandomGrayscale RandomHue RandomInvert "
        "RandomPerspective RandomPosterization RandomRotation RandomSaturation RandomSharpness RandomShear "
        "RandomTranslation RandomZoom"
    ).split()
    if hasattr(layers, name)
]
register(*AUGMENTATIONS)(Idle)
