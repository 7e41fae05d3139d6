"""Streaming of layers that treat each step by itself."""

from __future__ import annotations

from typing import Any

from rnnzoo.layers.refusals import OverSequences


class Memoryless(OverSequences):
    """Mix-in of a layer without memory: its stream is the layer."""

    def stream_spec(self, input_shape: tuple[int | None, ...]) -> dict[str, Any]:
        """No state, no delay."""
        return {"states": {}, "delay": 0}

    def stream_step(self, x: Any, valid: Any, states: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """The layer itself on a chunk."""
        return self(x), valid, states
