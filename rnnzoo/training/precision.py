"""Precision and determinism of a training."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import keras


def make_deterministic(wanted: bool | None) -> None:
    """Make TensorFlow use deterministic operations; other backends have no such switch.

    Args:
        wanted: None: on machines without a GPU, where this costs little.
    """
    if keras.backend.backend() != "tensorflow":
        return
    import tensorflow as tf

    if wanted or (wanted is None and not tf.config.list_physical_devices("GPU")):
        tf.config.experimental.enable_op_determinism()


@contextlib.contextmanager
def precision(name: str) -> Iterator[None]:
    """Layers made inside compute in this Keras dtype policy; weights are float32 in all of them."""
    before = keras.config.dtype_policy()
    keras.config.set_dtype_policy(name)
    try:
        yield
    finally:
        keras.config.set_dtype_policy(before)
