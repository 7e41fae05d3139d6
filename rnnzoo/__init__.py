"""A zoo of recurrent networks for Keras 3 that train here and stream anywhere.

Importing it imports neither TensorFlow nor Keras; building a model does.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnnzoo.errors import ConfigError, DataError, Diverged, RnnzooError
from rnnzoo.registry import list_models

if TYPE_CHECKING:
    import keras

__version__ = "0.1.0"
__all__ = ["ConfigError", "DataError", "Diverged", "RnnzooError", "create", "list_models", "load"]


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
    from rnnzoo.building import create_model

    return create_model(name, overrides)


def load(name: str) -> keras.Model:
    """A model with its trained weights, ready for `predict` and `fit`.

    Args:
        name: one of `list_models(pretrained=True)`.

    Raises:
        ConfigError: no bundle has this name.
        DataError: the bundle is damaged.
    """
    from rnnzoo.registry import find_bundle
    from rnnzoo.runs import load_run

    return load_run(find_bundle(name)).model
