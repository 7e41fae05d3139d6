"""Training from a typed configuration.

The configuration is read without Keras; `fit` brings it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rnnzoo.training.config import TrainingConfig

if TYPE_CHECKING:
    from rnnzoo.training.fitting import fit

__all__ = ["TrainingConfig", "fit"]


def __getattr__(name: str) -> Any:
    if name == "fit":
        from rnnzoo.training.fitting import fit

        return fit
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
