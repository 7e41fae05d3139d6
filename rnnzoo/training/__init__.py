"""Training from a typed configuration."""

from rnnzoo.training.config import TrainingConfig

__all__ = ["TrainingConfig"]
