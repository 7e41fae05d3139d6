"""Calls on values without a time axis: Keras itself computes the whole tensor of each step.

Every Keras layer is allowed there: a recurrent layer runs over an axis of the value, a Bidirectional reads it
backwards, GroupNormalization and Flatten see all of it.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import layers

from streaming.conversion.keras_loops import keras_loops
from streaming.conversion.rules.base import Call, Env, Rule
from streaming.conversion.values import Chunk, Static

# What TFLite has no operations for.
_FOREIGN = (layers.StringLookup, layers.TextVectorization, layers.Hashing, layers.HashedCrossing)


def within_step(call: Call, kind: type[Rule] | None) -> bool:
    """Whether Keras computes a call within each step: no tensor has a time axis, but its rule needs one."""
    from streaming.conversion.rules.embedding import EmbeddingRule, ReversibleEmbeddingRule
    from streaming.conversion.rules.pointwise import Idle, PerStep
    from streaming.conversion.rules.preprocessing import IntegerLookupRule
    from streaming.conversion.rules.reshaping import Reshaping

    signals = call.signals
    if not signals or any(signal.sequence or signal.spread for signal in signals) or isinstance(call.op, _FOREIGN):
        return False
    known: tuple[type[Rule], ...] = (
        PerStep,
        Idle,
        EmbeddingRule,
        ReversibleEmbeddingRule,
        IntegerLookupRule,
        Reshaping,
    )
    return kind is not None and not issubclass(kind, known) and not any(s.layout is not None for s in signals)


class WithinStep(Rule):
    """The operation itself on (B * T, ...), or on (B, ...) where its inputs are the same at every step."""

    def plan(self) -> Any:
        results = [self.result(index) for index in range(len(self.call.results))]
        return results if len(results) > 1 else results[0]

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        values = keras.tree.flatten((args, kwargs))
        moving = [item for item in values if isinstance(item, Chunk)]
        steps = moving[0].steps if moving else 1

        def tensor(item: Any) -> Any:
            if isinstance(item, Chunk):
                return item.flat
            return item.repeated(steps) if isinstance(item, Static) else item

        args, kwargs = keras.tree.map_structure(tensor, (args, kwargs))
        with keras_loops(env):
            outputs = keras.tree.flatten(self.call.op(*args, **kwargs))
        if not moving:
            return [Static(output) for output in outputs]
        return [Chunk(env.batch, steps, flat=output) for output in outputs]
