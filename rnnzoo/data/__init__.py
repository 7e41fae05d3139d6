"""Data sets through TensorFlow Datasets, encoded as models take them."""

from rnnzoo.data.config import DataConfig
from rnnzoo.data.task import TaskData, load

__all__ = ["DataConfig", "TaskData", "load"]
