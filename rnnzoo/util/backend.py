"""Checks the backend of Keras that a command runs on."""

from __future__ import annotations

import importlib.util
import os

from rnnzoo.errors import ConfigError

EXPORTING = "tensorflow"
_BACKENDS = (EXPORTING, "jax", "torch")


def check_backend(only: str | None = None) -> None:
    """Refuse a value of KERAS_BACKEND that cannot run, before Keras is imported.

    Args:
        only: the backend that it takes; None: any that is installed.

    Raises:
        ConfigError: it is no backend, another one than it takes, or not installed.
    """
    backend = os.environ.get("KERAS_BACKEND", EXPORTING)
    if backend not in _BACKENDS:
        raise ConfigError(f"expected KERAS_BACKEND among {', '.join(_BACKENDS)}; received {backend!r}")
    if only is not None and backend != only:
        raise ConfigError(
            f"this needs KERAS_BACKEND={only}; received {backend!r}: only training runs on other backends"
        )
    if importlib.util.find_spec(backend) is None:
        extra = "train" if backend == EXPORTING else "backends"
        raise ConfigError(f"KERAS_BACKEND={backend}: {backend} is not installed: pip install 'rnnzoo[{extra}]'")
