"""The proof that every layer of ours passes, for layers of yours."""

from rnnzoo.layers.checking.errors import LayerCheckError
from rnnzoo.layers.checking.harness import Check, check

__all__ = ["Check", "LayerCheckError", "check"]
