"""Data sets through TensorFlow Datasets, encoded as models take them."""

from rnnzoo.data.config import DataConfig

__all__ = ["DataConfig"]
