"""Layers whose `call` cannot be traced on symbolic tensors, as one operation each."""

from __future__ import annotations

from typing import Any, NoReturn

import keras

from streaming.conversion.rules import register_rule
from streaming.conversion.rules.per_step import TriedPerStep
from streaming.errors import NotStreamableError


class Opaque(keras.Operation):
    """One call of a layer; path: its name in the model; reason: why its call cannot be traced."""

    def __init__(self, layer: keras.Layer, path: str, reason: str) -> None:
        super().__init__(name=f"{layer.name}_call")
        self.layer, self.path, self.reason = layer, path, reason

    def call(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's own results."""
        return self.layer(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """The layer's own shapes."""
        return self.layer.compute_output_spec(*args, **kwargs)


@register_rule(Opaque)
class OpaqueRule(TriedPerStep):
    """Tried on each step by itself; otherwise the layer is refused by its name."""

    remedy = (
        "build it from Keras layers and keras.ops, give it stream_spec and stream_step, or register a rule for it with "
        "streaming.register_rule"
    )

    @property
    def reason(self) -> str:  # type: ignore[override]
        return f"has no streaming rule, and its call cannot be followed ({self.call.op.reason}) nor taken step by step"

    def refuse(self, reason: str, remedy: str) -> NoReturn:
        op = self.call.op
        raise NotStreamableError(f"layer {op.path!r} ({type(op.layer).__name__}) {reason}; {remedy}")
