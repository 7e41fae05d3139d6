"""The loop over a cell, with checks of its arguments."""

from __future__ import annotations

import keras

from rnnzoo.layers.refusals import Recurrent


@keras.saving.register_keras_serializable(package="rnnzoo")
class RNN(Recurrent, keras.layers.RNN):
    """`keras.layers.RNN` over any cell; arguments that do not fit are refused before anything is computed.

        y[t], s[t] = cell(x[t], s[t-1])

    Keras itself reads a mask of numbers as booleans, and leaves wrong lengths and widths to errors of the backend.
    Arguments, results and files are those of Keras.

    Args:
        cell: a cell, or a list of them for a stack.
        kwargs: those of `keras.layers.RNN`.

    Input: (B, T, D), a boolean mask (B, T), initial states in the order of the cell. Output: (B, U), or (B, T, U).

    State: the cell's. Cost of a step: the cell's. Parallel form: none.

    Raises:
        ValueError: a sequence of no steps, an initial state or a mask that does not fit, a mask that is not boolean, at
            inference a weight that is NaN.
    """

    stream_as = keras.layers.RNN
