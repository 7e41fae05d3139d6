"""The properties by name, in the order of examination."""

from __future__ import annotations

from collections.abc import Callable

from rnnzoo.layers.checking import forms, values
from rnnzoo.layers.checking.settings import Settings
from rnnzoo.layers.checking.subject import Subject

# Each returns the largest error that it found, raises LayerCheckError, or Skipped.
PROPERTIES: dict[str, Callable[[Subject, Settings], float]] = {
    "shape": values.shape,
    "oracle": values.oracle,
    "gradient": values.gradient,
    "loop": forms.loop,
    "mask": forms.mask,
    "chunked": forms.chunked,
    "config": values.config,
    "saving": values.saving,
    "mixed_precision": values.mixed_precision,
    "streaming": forms.streaming,
}
