"""Builds the task and the model of a configuration."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from rnnzoo.data.config import DataConfig, RowsConfig
from rnnzoo.data.encoders.rows import RowEncoder
from rnnzoo.data.source import read_source
from rnnzoo.errors import ConfigError
from rnnzoo.registry.layout import bundle_paths
from rnnzoo.registry.names import find_bundle, find_config
from rnnzoo.runs.config import ExperimentConfig, load_config
from rnnzoo.runs.store import read_encoder
from rnnzoo.tasks.discovery import model_builder, task_class
from streaming.conversion.budget import budget
from streaming.errors import InputError

if TYPE_CHECKING:
    import keras

    from rnnzoo.tasks.base import Task


def create_model(name: str, overrides: Mapping[str, Any]) -> keras.Model:
    """A new model of the zoo with fresh weights; see `rnnzoo.create`."""
    texts = [f"model.{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in overrides.items()]
    config = load_config(find_config(name), texts)
    return build_model(config, _encoder(name, config))


def build_model(config: ExperimentConfig, encoder: Any) -> keras.Model:
    """The model of an experiment, its weights drawn by the experiment's seed.

    Raises:
        ConfigError: its weights do not fit into memory.
    """
    import keras

    # Found before the seed is set: what is imported for the first time may draw numbers of its own.
    builder = model_builder(config.topology)
    keras.utils.set_random_seed(config.seed)
    with budget(None, config.name):
        try:
            return builder(config.model, encoder)
        except InputError as error:
            raise ConfigError(str(error)) from error


def _encoder(name: str, config: ExperimentConfig) -> Any:
    if name in bundle_paths():
        return read_encoder(bundle_paths()[name], config)
    return load_task(config).encoder


def load_task(config: ExperimentConfig, encoder: Any = None) -> Task:
    """Read the data set of an experiment, and fit its encoder on the training split unless one is given.

    Raises:
        DataError: the data set is unknown, cannot be found, is malformed, or does not fit the task.
    """
    task = task_class(config.topology).from_source(
        read_source(_aligned(config.data, encoder)), config.data, encoder=encoder, seed=config.seed
    )
    # Tasks know no bundles: the one that listens to this one is given to it.
    if listener := getattr(config.data, "listener", ""):
        task.listener = find_bundle(listener)
    return task


def _aligned(data: DataConfig, encoder: Any) -> DataConfig:
    """The data section that reads a user's tables by the columns that an encoder was fitted on."""
    if not (isinstance(data, RowsConfig) and isinstance(encoder, RowEncoder)):
        return data
    # Those without names were taken in the order of the file.
    names = encoder.measured(data) or tuple(f"column_{i}" for i in range(encoder.width))
    return dataclasses.replace(data, columns=names)
