"""Training from a typed configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnzoo.training.config import TrainingConfig
from rnnzoo.util.lazy import attributes

if TYPE_CHECKING:
    from rnnzoo.training.fitting import fit

__all__ = ["TrainingConfig", "fit"]
__getattr__ = attributes(__name__, {"fit": "fitting"})
