"""The checks that every layer of this package passes, also for layers of your own."""

from rnnzoo.layers.checking.errors import LayerCheckError
from rnnzoo.layers.checking.harness import Check, check

__all__ = ["Check", "LayerCheckError", "check"]
