"""Forecaster: many rows ahead of a series."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.series import SeriesEncoder
from rnnzoo.tasks.forecaster.config import ForecasterConfig
from rnnzoo.tasks.recurrent import recurrent_layer

# Windows that are multiplied together.
_BLOCK = 4096


def least_squares(series: Iterable[NDArray[Any]], context: int, horizon: int) -> NDArray[Any]:
    """The least-squares linear map from the changes before a row to the rows after it, over all columns.

    Args:
        series: each rows (N, D) of numbers; those shorter than `context` + `horizon` are ignored.
        context: rows before a forecast, C.
        horizon: rows ahead, H.

    Returns:
        (C - 1, H) of float64, the oldest change first. Where several maps are as good, the smallest.
    """
    products, cross_products = np.zeros((context - 1, context - 1)), np.zeros((context - 1, horizon))
    for rows in series:
        for column in rows.T.astype(np.float64):
            if len(column) < context + horizon:
                continue
            every = np.lib.stride_tricks.sliding_window_view(column, context + horizon)
            for begin in range(0, len(every), _BLOCK):
                windows = every[begin : begin + _BLOCK]
                changes = np.diff(windows[:, :context])
                products += changes.T @ changes
                cross_products += changes.T @ (windows[:, context:] - windows[:, context - 1 : context])
    return np.linalg.lstsq(products, cross_products, rcond=None)[0]


def begin_linear(
    model: keras.Model, config: ForecasterConfig, encoder: SeriesEncoder, series: Iterable[NDArray[Any]]
) -> None:
    """Give a fresh forecaster the linear map that `config.linear` names, found on `series`, each rows (N, D)."""
    if config.linear == "least_squares":
        kernel = least_squares((rows[:, encoder.places] for rows in series), encoder.context, encoder.horizon)
        model.get_layer("linear").set_weights([kernel[:, None, None], np.zeros(encoder.horizon)])


def build_forecaster(config: ForecasterConfig, encoder: SeriesEncoder) -> keras.Model:
    """For each row ahead: the last row, plus a linear map of the changes before it, plus an output of recurrent layers.

    The first two are NLinear (Zeng et al. 2023): y(t + h) = x(t) + sum over k of w(h, k) (x(t - k) - x(t - k - 1)),
    with the same w for all columns. A shift of a column shifts these two parts of its forecast, with `reads: changes`
    the whole forecast.

    Args:
        config: sizes.
        encoder: columns D, of which N are targets, rows of `context`, rows ahead (`horizon` H), and Q quantiles, or
            none.

    Returns:
        A functional model; input `rows` (B, T, D), output (B, T, H, N), with quantiles (B, T, H, N, Q). The changes
        before the first row count as zeros, and the first row as a change from 0.
    """
    width, horizon, count = encoder.width, encoder.horizon, len(encoder.quantiles)
    places = encoder.places
    targets = len(places)

    def chosen(x: Any) -> Any:
        """The columns that are forecast, of those that are read."""
        return x if places == list(range(width)) else keras.ops.take(x, np.array(places), axis=-1)

    tail = (count,) if count else ()
    rows = keras.Input((None, width), name="rows")
    changes = keras.layers.DepthwiseConv1D(2, use_bias=False, trainable=False, name="changes")
    x = changed = changes(keras.layers.ZeroPadding1D((1, 0), name="row_before")(rows))
    changes.set_weights([np.array([-1.0, 1.0])[:, None, None] * np.ones((2, width, 1))])
    x = keras.layers.Reshape((-1, targets, 1), name="by_column")(chosen(x))
    x = keras.layers.ZeroPadding2D(((encoder.context - 2, 0), (0, 0)), name="before")(x)
    x = keras.layers.Conv2D(horizon, (encoder.context - 1, 1), kernel_initializer="zeros", name="linear")(x)
    x = keras.layers.Permute((1, 3, 2), name="ahead")(x)
    if count:
        x = keras.layers.Reshape((-1, horizon, targets, 1), name="linear_quantiles")(x)
    last = keras.layers.Reshape((-1, 1, targets, *(1 for _ in tail)), name="last")(chosen(rows))
    y = keras.layers.Dropout(config.input_dropout, name="rows_dropout")(rows if config.reads == "rows" else changed)
    if config.columns == "apart":
        # An LSTM of each column: a convolutional one whose kernel sees no neighbour.
        y = keras.layers.Reshape((-1, targets, 1), name="columns")(chosen(y))
    for i in range(config.layers):
        name, noise = f"recurrent_{i}", config.recurrent_dropout
        if config.columns == "apart":
            layer = keras.layers.ConvLSTM1D(config.units, 1, return_sequences=True, recurrent_dropout=noise, name=name)
        else:
            layer = recurrent_layer(config.cell, config.units, name=name, recurrent_dropout=noise)
        y = keras.layers.Dropout(config.dropout, name=f"{name}_dropout")(layer(y))
    if config.columns == "apart":
        y = keras.layers.Dense(horizon * max(1, count), kernel_initializer="zeros", name="correction")(y)
        y = keras.layers.Reshape((-1, targets, horizon, *tail), name="correction_by_column")(y)
        y = keras.layers.Permute((1, 3, 2, *(4 for _ in tail)), name="correction_ahead")(y)
    else:
        y = keras.layers.Dense(horizon * targets * max(1, count), kernel_initializer="zeros", name="correction")(y)
        y = keras.layers.Reshape((-1, horizon, targets, *tail), name="correction_ahead")(y)
    return keras.Model({"rows": rows}, keras.layers.Add(name="forecast")([y, x, last]), name="forecaster")
