"""Training from a typed configuration."""

from rnnzoo.training.config import TrainingConfig
from rnnzoo.training.fit import fit

__all__ = ["TrainingConfig", "fit"]
