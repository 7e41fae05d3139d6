"""Data sets, through TensorFlow Datasets where it knows them, and their batches."""

from rnnzoo.data.config import AudioConfig, DataConfig, RowsConfig, TextConfig, WordsConfig
from rnnzoo.data.source import Source, known_datasets, read_source, register_dataset
from rnnzoo.data.terms import register_terms

__all__ = [
    "AudioConfig",
    "DataConfig",
    "RowsConfig",
    "Source",
    "TextConfig",
    "WordsConfig",
    "known_datasets",
    "read_source",
    "register_dataset",
    "register_terms",
]
