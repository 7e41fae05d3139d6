"""Weights and tensors that a description of a model declares, held against its file and memory before they are made."""

from __future__ import annotations

import contextlib
import math
import threading
from collections.abc import Iterator
from typing import Any

from streaming.errors import InputError
from streaming.runtime.memory import check_memory

# Numbers that no file of weights holds: seeds, counters.
_SLACK = 1 << 16
_ITEM_BYTES = 4
_lock = threading.RLock()


class Budget:
    """What layers may still declare. Attributes: `problem` says what was too much, None where nothing was."""

    def __init__(self, most: int | None, what: str) -> None:
        self._most, self._what, self._declared = most, what, 0
        self.problem: str | None = None

    def spend(self, layer: Any, shape: Any) -> None:
        """Count a weight of that shape; raises InputError where it is too much."""
        self._declared += math.prod(int(size) for size in shape or ())
        name = f"layer {layer.name!r} of {self._what}"
        try:
            if self._most is not None and self._declared > self._most + _SLACK:
                raise InputError(
                    f"{name} declares weights of shape {tuple(shape)}, more than the file holds; save the model again"
                )
            check_memory(_ITEM_BYTES * self._declared, f"{name} with all before it", "make its sizes smaller")
        except InputError as error:
            self.problem = str(error)
            raise


@contextlib.contextmanager
def budget(most: int | None, what: str) -> Iterator[Budget]:
    """Watch the weights that layers add in this thread for a time.

    Args:
        most: numbers that they may hold, beside what memory allows; None: any.
        what: the model, for errors.
    """
    import keras

    owner, watched = threading.get_ident(), Budget(most, what)
    with _lock:
        original: Any = keras.Layer.add_weight

        def add_weight(self: Any, shape: Any = None, *args: Any, **options: Any) -> Any:
            if threading.get_ident() == owner:
                watched.spend(self, shape)
            return original(self, shape, *args, **options)

        keras.Layer.add_weight = add_weight
        try:
            yield watched
        finally:
            keras.Layer.add_weight = original
