"""Training from a typed configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rnnzoo.lazy import attributes
from rnnzoo.training.config import TrainingConfig

if TYPE_CHECKING:
    from rnnzoo.training.fitting import fit

__all__ = ["TrainingConfig", "fit"]
__getattr__ = attributes(__name__, {"fit": "fitting"})
