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

    from rnnzoo.runs.loading import Pretrained
    from rnnzoo.training.diagnostics import Diagnosis

__version__ = VERSION
__all__ = [
    "ConfigError",
    "DataError",
    "Diverged",
    "HubError",
    "RnnzooError",
    "create",
    "diagnose",
    "download",
    "list_models",
    "load",
    "load_pretrained",
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
        The model; its vocabularies are those of the bundle, or otherwise of the training split of the data set, which
        is read (and downloaded if it is missing).

    Raises:
        ConfigError: no model has this name, or an override is unknown or of the wrong type.
        DataError: the data set cannot be found.
    """
    from rnnzoo.runs.building import create_model

    return create_model(name, overrides)


def download(
    name: str,
    *,
    url: str | None = None,
    cache_dir: str | Path | None = None,
    revision: str | None = None,
    offline: bool = False,
) -> Path:
    """The folder of a pretrained model in the cache, downloaded if it is missing, and verified; needs no Keras.

    `streaming.pipeline(rnnzoo.download(name))` runs it.

    Args:
        name: such as `tagger-en-ewt-stream`; `NAME@REVISION` for a certain revision.
        url: source addresses, https, http or file, separated by spaces; None: RNNZOO_URL, else this installation's own
            files.
        cache_dir: target folder; None: RNNZOO_CACHE, else `rnnzoo` in the user's cache.
        revision: the same as `NAME@REVISION`.
        offline: open no network connection; the same as RNNZOO_OFFLINE=1.

    Raises:
        HubError: the model is unknown, cannot be downloaded, or differs from the manifest; or an argument and its
            variable disagree.
    """
    from rnnzoo.hub.download import download

    return download(name, url=url, cache_dir=cache_dir, revision=revision, offline=offline)


def load(source: str | Path, **options: Any) -> keras.Model:
    """A model with its trained weights, compiled, ready for `predict` and `fit`.

    Args:
        source: the name of a pretrained model, downloaded and verified as `download` does, or the folder of a run.
        options: `url`, `cache_dir`, `revision` and `offline`, as `download` takes them.

    Raises:
        HubError: as `download`.
        ConfigError, DataError: the run or bundle is damaged, or made by a newer version.
    """
    from rnnzoo.runs.loading import load

    return load(source, **options)


def load_pretrained(source: str | Path, **options: Any) -> Pretrained:
    """The same model with functions that encode raw input: `.model`, `.encode(raw)`, `.batches(examples)`.

    Args:
        source, options: as for `load`, which raises the same.
    """
    from rnnzoo.runs.loading import load_pretrained

    return load_pretrained(source, **options)


def diagnose(model: keras.Model, x: Any, y: Any, *, loss: Any = None, sample_weight: Any = None) -> Diagnosis:
    """Diagnosis of the gradients of any Keras model on one batch; `print` shows it in words.

    Args:
        model: functional, `Sequential` or subclassed.
        x: an array, or several in a list or by name, (B, T, ...).
        y: targets.
        loss: of targets, outputs and weights, or a name that Keras knows; None: that of `model.compile`.
        sample_weight: (B,) or (B, T); None: ones.

    Raises:
        ConfigError: the model is not built, or there is no loss.
    """
    from rnnzoo.training.diagnostics import diagnose_model

    return diagnose_model(model, x, y, loss=loss, sample_weight=sample_weight)
