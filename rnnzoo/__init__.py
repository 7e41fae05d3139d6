"""A zoo of recurrent networks for Keras 3 that train here and stream anywhere.

Importing it imports neither TensorFlow nor Keras; building a model does.
"""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rnnzoo.errors import ConfigError, DataError, Diverged, HubError, RnnzooError
from rnnzoo.registry.names import list_models
from rnnzoo.util.version import VERSION

if TYPE_CHECKING:
    import keras

__version__ = VERSION
__all__ = [
    "ConfigError",
    "DataError",
    "Diverged",
    "HubError",
    "RnnzooError",
    "create",
    "download",
    "list_models",
    "load",
]


def __getattr__(name: str) -> Any:
    """Packages that need Keras, such as `rnnzoo.layers`, are imported when they are first named."""
    if name in ("data", "layers", "tasks", "training"):
        return importlib.import_module(f"rnnzoo.{name}")
    raise AttributeError(f"module 'rnnzoo' has no attribute {name!r}")


def create(name: str, **overrides: Any) -> keras.Model:
    """A new model with fresh weights.

    Args:
        name: one of `list_models()`.
        overrides: keys of the model section of its configuration, such as `units=128`.

    Returns:
        The model; its vocabularies are those of the bundle where there is one, else of the data set's
        training split, which is read (and downloaded where it is missing).

    Raises:
        ConfigError: no model has this name, or an override is unknown or of the wrong type.
        DataError: the data set cannot be found.
    """
    from rnnzoo.runs.building import create_model

    return create_model(name, overrides)


def download(name: str) -> Path:
    """The folder of a pretrained model in the cache, downloaded where it is not there, and verified; needs no Keras.

    `streaming.pipeline(rnnzoo.download(name))` runs it.

    Args:
        name: such as `tagger-en-ewt-stream`; `NAME@REVISION` for a certain revision.

    Raises:
        HubError: the model is unknown, cannot be had, or is not what the manifest says.
    """
    from rnnzoo.hub import download

    return download(name)


def load(name: str) -> keras.Model:
    """A model with its trained weights, ready for `predict` and `fit`; downloaded and verified as `download` does.

    Args:
        name: as for `download`.

    Raises:
        HubError: as `download`.
        ConfigError, DataError: the bundle is damaged, or made by a newer version.
    """
    from rnnzoo.runs.store import load_run

    return load_run(download(name)).model
