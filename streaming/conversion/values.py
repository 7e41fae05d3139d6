"""The value of a signal inside one traced step: T steps of B streams, in the form that a rule needs."""

from __future__ import annotations

from collections.abc import Sequence

import tensorflow as tf


class Chunk:
    """B streams by T steps of a tensor. Its forms are computed on demand and kept, so that T = 1 costs no reshapes.

    full: (B, T, *shape); flat: (B * T, *shape), for layers that see one step at a time; rows: T of (B, *shape).
    mask: boolean (B, T), the Keras mask on the tensor, for operations that look there; else None.
    """

    def __init__(
        self,
        batch: int,
        steps: int,
        *,
        full: tf.Tensor | None = None,
        flat: tf.Tensor | None = None,
        rows: Sequence[tf.Tensor] | None = None,
        mask: tf.Tensor | None = None,
    ) -> None:
        if full is None and flat is None and rows is None:
            raise TypeError("a Chunk needs one of full, flat, rows")
        self.batch, self.steps, self.mask = batch, steps, mask
        self._full, self._flat, self._rows = full, flat, list(rows) if rows is not None else None
        if self._rows is not None and steps == 1:
            self._flat = self._rows[0]

    @property
    def flat(self) -> tf.Tensor:
        """(B * T, *shape)."""
        if self._flat is None:
            full = self.full
            self._flat = tf.reshape(full, (self.batch * self.steps, *full.shape[2:]))
        return self._flat

    @property
    def full(self) -> tf.Tensor:
        """(B, T, *shape)."""
        if self._full is None:
            if self._flat is not None:
                self._full = tf.reshape(self._flat, (self.batch, self.steps, *self._flat.shape[1:]))
            else:
                assert self._rows is not None
                self._full = tf.stack(self._rows, axis=1)
        return self._full

    @property
    def rows(self) -> list[tf.Tensor]:
        """T tensors (B, *shape)."""
        if self._rows is None:
            if self.steps == 1:
                self._rows = [self.flat]
            elif self.batch == 1:
                self._rows = tf.split(self.flat, self.steps, axis=0)
            else:
                self._rows = tf.unstack(self.full, axis=1)
        return self._rows

    def at(self, index: int | tf.Tensor) -> tf.Tensor:
        """(B, *shape): one step; its number is a tensor () inside a loop."""
        if isinstance(index, int):
            return self.rows[index]
        if self.batch == 1:
            return tf.gather(self.flat, tf.reshape(index, (1,)))
        return tf.gather(self.full, index, axis=1)

    def like(self, **form: tf.Tensor | Sequence[tf.Tensor]) -> Chunk:
        """A chunk of the same streams and steps with another value."""
        return Chunk(self.batch, self.steps, **form)

    def under(self, mask: tf.Tensor) -> Chunk:
        """The same value with a mask on it."""
        return Chunk(self.batch, self.steps, full=self.full, mask=tf.cast(mask, tf.bool))


class Static:
    """A value that is the same at every step, (B, *shape).

    Of a source of S positions, `exists` (B, S) says which are real; `mask` is the Keras mask on the tensor, for
    operations that look there.
    """

    def __init__(self, value: tf.Tensor, exists: tf.Tensor | None = None, mask: tf.Tensor | None = None) -> None:
        self.value, self.exists, self.mask = value, exists, mask

    def under(self, mask: tf.Tensor) -> Static:
        """The same value with a mask on it."""
        return Static(self.value, self.exists, tf.cast(mask, tf.bool))

    def repeated(self, steps: int) -> tf.Tensor:
        """(B * T, *shape): each row repeated for the T steps of its stream."""
        if steps == 1:
            return self.value
        shape = self.value.shape
        tiled = tf.tile(self.value[:, None], [1, steps] + [1] * (len(shape) - 1))
        return tf.reshape(tiled, (shape[0] * steps, *shape[1:]))
