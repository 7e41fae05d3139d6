"""The loop over a cell, which says what is wrong with its arguments."""

from __future__ import annotations

from typing import Any

import keras


@keras.saving.register_keras_serializable(package="rnnzoo")
class RNN(keras.layers.RNN):
    """`keras.layers.RNN` over any cell, which names arguments that do not fit before it computes anything.

        y[t], s[t] = cell(x[t], s[t-1])

    Keras takes a mask of numbers for booleans, and leaves lengths and widths to errors of the backend. Arguments,
    results and files are Keras's.

    Args:
        cell: a cell, or a list of them for a stack.
        kwargs: those of `keras.layers.RNN`.

    Input: (B, T, D), a boolean mask (B, T), initial states in the order of the cell. Output: (B, U), or (B, T, U).

    State: the cell's. Cost of a step: the cell's. Parallel form: none.

    Raises:
        ValueError: a sequence of no steps, an initial state or a mask that does not fit, a mask that is not boolean.
    """

    stream_as = keras.layers.RNN

    def __call__(
        self, sequences: Any, initial_state: Any = None, mask: Any = None, training: Any = None, **kwargs: Any
    ) -> Any:
        check_sequence(self, sequences, initial_state, mask)
        return super().__call__(sequences, initial_state=initial_state, mask=mask, training=training, **kwargs)


def check_sequence(layer: Any, sequences: Any, initial_state: Any = None, mask: Any = None) -> None:
    """Refuses what does not fit a recurrent layer, by the shapes that are known before it runs.

    Args:
        layer: has a name of a class, and the cell whose `state_size` the initial state must have.
        sequences: (B, T, ...). initial_state: one tensor or several. mask: (B, T).

    Raises:
        ValueError: one line that says what was expected and what came.
    """
    name, shape = type(layer).__name__, tuple(sequences.shape)
    if len(shape) < 3 or shape[1] == 0:
        raise ValueError(f"{name}: expected a sequence (B, T, D) of one step or more. Received: shape {shape}")
    if initial_state is not None:
        sizes = keras.tree.flatten(layer.cell.state_size)
        shapes = [tuple(state.shape) for state in keras.tree.flatten(initial_state)]
        wanted = [(shape[0], *_sizes(size)) for size in sizes]
        if len(shapes) != len(wanted) or not all(map(_fit, shapes, wanted)):
            expected = ", ".join(map(str, wanted))
            raise ValueError(
                f"{name}: expected an initial state {expected} for sequences {shape}. "
                f"Received: {', '.join(map(str, shapes))}"
            )
    if mask is None:
        return
    dtype = keras.backend.standardize_dtype(mask.dtype)
    if dtype != "bool":
        raise ValueError(f"{name}: expected a boolean mask, True where a step counts. Received: dtype {dtype}")
    if not _fit(tuple(mask.shape), shape[:2]):
        raise ValueError(f"{name}: expected a mask {shape[:2]} for sequences {shape}. Received: {tuple(mask.shape)}")


def _sizes(size: Any) -> tuple[int, ...]:
    return tuple(size) if isinstance(size, list | tuple) else (size,)


def _fit(found: tuple[Any, ...], wanted: tuple[Any, ...]) -> bool:
    return len(found) == len(wanted) and all(
        None in pair or pair[0] == pair[1] for pair in zip(found, wanted, strict=True)
    )
