"""The error of a layer that fails a check."""

from __future__ import annotations


class LayerCheckError(AssertionError):
    """A property does not hold; the message names the layer, the property and the figure."""

    def __init__(self, layer: str, prop: str, finding: str):
        super().__init__(f"{layer}: {prop}: {finding}")
        self.layer, self.property = layer, prop
