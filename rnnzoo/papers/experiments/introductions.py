"""The tables of introductions to the field: what memory buys, what gates buy, and recurrence against attention."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.data.problems.memory import recall
from rnnzoo.layers import LSTM, TransformerBlock
from rnnzoo.papers.experiments import Findings, Say
from rnnzoo.papers.learning import predictor, train
from rnnzoo.papers.networks import open_gates, recurrent_layer
from rnnzoo.papers.pictures import panels
from rnnzoo.util.plots import COLOURS
from rnnzoo.util.ranges import Count, Factor, Size

_TEST = 512
_GATED = ("rnn", "lstm", "gru")
# Calls that are timed, of one step.
_TIMED = 200


@dataclass(frozen=True)
class Budget:
    """How much is trained.

    Args:
        memory_lag: of the comparison with a feed-forward network over a window; 0 leaves a table out, here and below.
        window: steps that the feed-forward network reads.
        lags: at which vanilla, LSTM and GRU are compared.
        updates: of each network at each lag.
        lengths: short and long, of the comparison with a Transformer.
        units: of each recurrent network, and features of the Transformer.
        blocks: of the Transformer.
        batch: sequences of a batch.
        learning_rate: of Adam.
    """

    memory_lag: Count = 0
    window: Size = 10
    lags: tuple[Size, ...] = ()
    updates: Size = 150
    lengths: tuple[Size, ...] = ()
    units: Size = 32
    blocks: Size = 2
    batch: Size = 32
    learning_rate: Factor = 0.005


def run(budget: Budget, seeds: tuple[int, ...], say: Say) -> Findings:
    """Shares of bits that are recalled over a lag, parameters, and times of a step."""
    figures: dict[str, float | None] = {}
    rows: list[dict[str, Any]] = []
    jobs = [("window", budget.memory_lag), ("lstm", budget.memory_lag)] if budget.memory_lag else []
    jobs += [(kind, lag) for lag in budget.lags for kind in _GATED]
    jobs += [(kind, lag) for lag in budget.lengths for kind in ("lstm", "transformer")]
    for kind, lag in dict.fromkeys(jobs):
        model, share, milliseconds = _learn(kind, lag, budget, seeds[0])
        row = {"network": kind, "lag": lag, "right": share, "parameters": model.count_params()}
        row |= {"update_ms": milliseconds, "state_numbers": _state(kind, lag, budget)}
        row["step_us"] = _step_microseconds(kind, lag, budget, model)
        rows.append(row)
        figures |= {f"{name}_{kind}_{lag}": float(row[name]) for name in ("right", "parameters", "update_ms")}
        figures |= {f"{name}_{kind}_{lag}": float(row[name]) for name in ("state_numbers", "step_us")}
        say(", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{value}" for name, value in row.items()))
    return Findings(figures, {"rows": rows})


def _network(kind: str, lag: int, budget: Budget, seed: int) -> keras.Model:
    """An answer after the last step; a Transformer sees all steps, a window the last ones."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((lag + 1, 2))
    if kind == "window":
        x = keras.layers.Dense(budget.units, "relu")(keras.layers.Flatten()(inputs[:, -budget.window :]))
        x = keras.layers.Dense(budget.units, "relu")(x)
    elif kind == "transformer":
        x = inputs
        for _ in range(budget.blocks):
            x = TransformerBlock(budget.units, heads=4, window=lag + 1)(x)
        x = x[:, -1]
    else:
        layer = recurrent_layer(kind, budget.units, seed=seed)
        x = layer(inputs)
        if kind != "rnn":
            open_gates(layer, lag + 1, seed)
    return keras.Model(inputs, keras.layers.Dense(2)(x))


def _learn(kind: str, lag: int, budget: Budget, seed: int) -> tuple[keras.Model, float, float]:
    """The network, its share of right answers, and milliseconds of an update, the first ones left out."""
    model = _network(kind, lag, budget, seed)
    rng, times = np.random.default_rng(seed), [0.0]

    def draw(_: int) -> tuple[Any, Any]:
        times.append(time.perf_counter())
        x, y = recall(rng, budget.batch, lag)
        return x, y

    train(
        model,
        draw,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.Adam(budget.learning_rate, global_clipnorm=1.0),
        updates=budget.updates,
    )
    x, y = recall(np.random.default_rng([seed, 1]), _TEST, lag)
    share = float((predictor(model, 64)(x).argmax(-1) == y).mean())
    return model, share, 1e3 * float(np.median(np.diff(times)[budget.updates // 4 + 1 :]))


def _state(kind: str, lag: int, budget: Budget) -> int:
    """Numbers that a stream keeps from one step to the next."""
    attended = 2 * budget.blocks * (lag + 1) * budget.units
    kept = {"window": 2 * budget.window, "lstm": 2 * budget.units, "transformer": attended}
    return kept.get(kind, budget.units)


def _step_microseconds(kind: str, lag: int, budget: Budget, model: keras.Model) -> float:
    """Median time of one more step: of a cell, or of the window that a network reads whole."""
    recurrent = next((layer for layer in model.layers if isinstance(layer, keras.layers.RNN)), None)
    if recurrent is None:
        call, given = tf.function(model), (tf.zeros((1, lag + 1, 2)),)
    else:
        count = 2 if isinstance(recurrent, LSTM) else 1
        states = [tf.zeros((1, budget.units)) for _ in range(count)]
        call, given = tf.function(lambda x, *held: recurrent.cell(x, list(held))), (tf.zeros((1, 2)), *states)
    times = []
    for _ in range(_TIMED):
        begin = time.perf_counter()
        call(*given)
        times.append(time.perf_counter() - begin)
    return 1e6 * float(np.median(times))


def draw(findings: Findings, path: Path) -> None:
    """Shares of recalled bits and times of a step by lag."""
    rows = findings.series["rows"]
    with panels(path, 2, (4.6, 3.4)) as axes:
        for i, kind in enumerate(dict.fromkeys(row["network"] for row in rows)):
            own = sorted((row["lag"], row["right"], row["step_us"]) for row in rows if row["network"] == kind)
            lags, shares, times = zip(*own, strict=True)
            axes[0].plot(lags, [100 * share for share in shares], "o-", color=COLOURS[i], label=kind)
            axes[1].plot(lags, times, "o-", color=COLOURS[i], label=kind)
        axes[0].set(title="Bit recalled", xlabel="lag", ylabel="right, %", xscale="log")
        axes[1].set(title="One more step", xlabel="lag", ylabel="microseconds", xscale="log", yscale="log")
        axes[0].legend(frameon=False, fontsize=8)
