"""Operations of `keras.ops` with a rule of their own along time; all others are tried (`per_step`)."""

from __future__ import annotations

from typing import Any

from streaming._compat import numpy_operations
from streaming.conversion.rules import register_rule
from streaming.conversion.rules.base import Env
from streaming.conversion.rules.edges import SlicingRule
from streaming.conversion.rules.per_step import TriedPerStep


@register_rule(numpy_operations.GetItem)
class GetItemOperation(TriedPerStep):
    """x[:, :, ...] selects features; x[:, a:-b:s] crops and strides; x[:, -1] is the value after the last step.

    `over_time` takes x[:, k], the value of step k.
    """

    remedy = "use x[:, :, ...], x[:, a:-b:s], x[:, k] or x[:, -1]"
    _slicing: SlicingRule | None = None

    @property
    def reason(self) -> str:  # type: ignore[override]
        return f"selects positions in time ({self._key()})"

    def _key(self) -> tuple[Any, ...]:
        key = self.call.args[1] if len(self.call.args) > 1 else self.call.kwargs["key"]
        return key if isinstance(key, tuple) else (key,)

    def _slices(self) -> bool:
        key, signal = self._key(), self.call.signals[0]
        moving = signal.sequence and signal.layout is None and len(key) > 1 and key[0] == slice(None)
        return moving and key[1] != slice(None) and SlicingRule.takes(key[1])

    def starts_early(self) -> bool:
        return self._slices() and SlicingRule(self.call).starts_early()

    def plan(self) -> Any:
        if not self._slices():
            return super().plan()
        self._slicing = SlicingRule(self.call)
        outputs = self._slicing.plan()
        self.states = self._slicing.states
        return outputs

    def step(self, env: Env, *args: Any, **kwargs: Any) -> Any:
        if self._slicing is not None:
            return self._slicing.step(env, *args, **kwargs)
        return super().step(env, *args, **kwargs)
