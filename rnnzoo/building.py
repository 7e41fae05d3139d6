"""From a name to a new model."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import yaml

from rnnzoo.config import ExperimentConfig, load_config
from rnnzoo.registry import bundle_paths, find_config, model_builder
from rnnzoo.runs import read_encoder

if TYPE_CHECKING:
    import keras


def create_model(name: str, overrides: Mapping[str, Any]) -> keras.Model:
    """What `rnnzoo.create` does."""
    texts = [f"model.{key}={yaml.safe_dump(value, default_flow_style=True)}" for key, value in overrides.items()]
    config = load_config(find_config(name), texts)
    return build_model(config, _encoder(name, config))


def build_model(config: ExperimentConfig, encoder: Any) -> keras.Model:
    """The model of an experiment, its weights drawn by the experiment's seed."""
    import keras

    # Found before the seed is set: what is imported for the first time may draw numbers of its own.
    builder = model_builder(config.topology)
    keras.utils.set_random_seed(config.seed)
    return builder(config.model, encoder)


def _encoder(name: str, config: ExperimentConfig) -> Any:
    if name in bundle_paths():
        return read_encoder(bundle_paths()[name], config)
    from rnnzoo.problems import load_problem

    return load_problem(config).encoder
