"""One-line errors of layers: sizes, sequences, states and masks that do not fit, weights that are NaN."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import cache
from numbers import Integral
from typing import Any, ClassVar

import keras
import numpy as np
from keras import ops

from streaming._compat import get_keras_mask


def refused(message: str) -> ValueError:
    """The error of bad input; its message reaches the user unchanged through any number of nested layers."""
    error = ValueError(message)
    # Keras would wrap it in a list of all arguments of the call; by this it knows an error that it has wrapped.
    error._keras_call_info_injected = True  # type: ignore[attr-defined]
    return error


def positive(owner: Any, **sizes: Any) -> None:
    """Refuses sizes that are not integers of at least one."""
    for name, size in sizes.items():
        if not isinstance(size, Integral) or isinstance(size, bool) or size < 1:
            raise refused(
                f"{type(owner).__name__}: expected {name} to be a whole number of 1 or more. Received: {name}={size!r}"
            )


def probability(owner: Any, **rates: Any) -> None:
    """Refuses rates outside of [0, 1)."""
    for name, rate in rates.items():
        if not isinstance(rate, int | float) or not 0 <= rate < 1:
            raise refused(f"{type(owner).__name__}: expected 0 <= {name} < 1. Received: {name}={rate!r}")


def fit_states(owner: Any, states: Any, sizes: Any, batch: int | None, names: tuple[str, ...] = ()) -> None:
    """Refuses states that are not (B, size) for each of the sizes."""
    given = [shape_of(state) for state in keras.tree.flatten(states)]
    sizes = keras.tree.flatten(sizes)
    if len(given) != len(sizes) or not all(
        fits(shape, (batch, size)) for shape, size in zip(given, sizes, strict=True)
    ):
        rows = "B" if batch is None else batch
        named = [*names, *[""] * len(sizes)]
        wanted = ", ".join(f"{name} ({rows}, {size})".strip() for name, size in zip(named, sizes, strict=False))
        raise refused(
            f"{type(owner).__name__}: expected states {wanted}. Received: shapes {', '.join(map(str, given)) or 'none'}"
        )


def fit_mask(owner: Any, mask: Any, of: str, shape: tuple[Any, ...]) -> None:
    """Refuses a mask that is not boolean (B, T) for `of`, of that shape."""
    mask = mask if hasattr(mask, "dtype") else np.asarray(mask)
    dtype, mask_shape = keras.backend.standardize_dtype(mask.dtype), shape_of(mask)
    if dtype != "bool" or not fits(mask_shape, shape[:2]):
        raise refused(
            f"{type(owner).__name__}: expected a boolean mask (B, T), True where a step counts, for {of} of shape "
            f"{shape}. Received: {dtype} of shape {mask_shape}"
        )


def shape_of(x: Any) -> tuple[Any, ...]:
    """The shape of an array, or of nested lists; None where a size is not known."""
    return tuple(x.shape if hasattr(x, "shape") else np.shape(x))


def fits(actual: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    """Whether two shapes agree, as far as both are known."""
    return len(actual) == len(wanted) and all(
        None in pair or pair[0] == pair[1] for pair in zip(actual, wanted, strict=True)
    )


class OverSequences:
    """Mix-in of layers over sequences: refuses arguments that do not fit before anything is computed.

    A sequence is the first argument of `call`, whose mask is `mask`, or each x that has an `x_mask`.
    """

    # Its shape has as many parts, or more.
    sequence_shape: ClassVar[str] = "(B, T, D)"

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        names, sequences = _arguments(type(self).call)  # type: ignore[attr-defined]
        given = {**dict(zip(names, args, strict=False)), **kwargs}
        for name, mask_name in sequences.items():
            # What is missing, Keras names.
            if name in given:
                self._fit_sequence(name, given[name], given.get(mask_name))
        states = keras.tree.flatten(given["initial_state"]) if given.get("initial_state") is not None else []
        sizes = self.initial_sizes(len(states))
        if states and sizes is not None:
            fit_states(self, states, sizes, shape_of(given[names[0]])[0])
        return super().__call__(*args, **kwargs)  # type: ignore[misc]

    def initial_sizes(self, count: int) -> Any:
        """Sizes that `count` initial states must have, in any structure; None where they are not known."""
        return getattr(getattr(self, "cell", None), "state_size", None)

    def _fit_sequence(self, name: str, x: Any, mask: Any) -> None:
        shape = shape_of(x)
        wanted = self.sequence_shape
        if len(shape) < len(wanted.split()) or shape[1] == 0:
            raise refused(
                f"{type(self).__name__}: expected {name} {wanted} of one step or more. Received: shape {shape}"
            )
        mask = get_keras_mask(x) if mask is None else mask
        if mask is not None:
            fit_mask(self, mask, name, shape)


@cache
def _arguments(call: Callable[..., Any]) -> tuple[list[str], dict[str, str]]:
    """Names of the arguments of a method, and those of the sequences among them with those of their masks."""
    names = list(inspect.signature(call).parameters)[1:]
    masks = {name: f"{name}_mask" for name in names if f"{name}_mask" in names}
    return names, masks or {names[0]: "mask"}


class Recurrent(OverSequences):
    """Mix-in of recurrent layers: if outputs at inference are NaN, the error names the weight that is NaN."""

    def call(self, sequences: Any, initial_state: Any = None, mask: Any = None, training: bool = False) -> Any:
        outputs = super().call(sequences, initial_state=initial_state, mask=mask, training=training)  # type: ignore[misc]
        return outputs if training else finite(self, outputs)


def finite(layer: Any, outputs: Any) -> Any:
    """Outputs of a layer, unchanged; refuses outputs that are NaN because a weight is."""
    try:
        total = np.sum(ops.convert_to_numpy(keras.tree.flatten(outputs)[0]), dtype="float64")
    except (NotImplementedError, TypeError, ValueError):
        return outputs  # The values are not known yet: the call is being traced.
    spoilt = None if np.isfinite(total) else not_finite(layer)
    if spoilt is not None:
        raise refused(
            f"{type(layer).__name__}: expected finite weights. Received: {spoilt}; load others, or train it again"
        )
    return outputs


def not_finite(layer: Any) -> str | None:
    """A description of the first weight that is not finite; None where all are finite."""
    for weight in layer.weights:
        wrong = np.count_nonzero(~np.isfinite(ops.convert_to_numpy(ops.cast(weight, "float32"))))
        if wrong:
            return f"{weight.path} has {wrong} values that are NaN or infinite"
    return None
