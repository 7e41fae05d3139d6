"""The tables of introductions to the field: what memory buys, what gates buy, and recurrence against attention."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from rnnzoo.data.problems.memory import temporal_order
from rnnzoo.layers import LSTM, TransformerBlock
from rnnzoo.papers.experiments import Findings, Say
from rnnzoo.papers.learning import predictor, train
from rnnzoo.papers.networks import open_gates, recurrent_layer
from rnnzoo.papers.pictures import panels
from rnnzoo.util.plots import COLOURS
from rnnzoo.util.ranges import Count, Factor, Size

_TEST = 512
_SYMBOLS, _CLASSES = 6, 4
_GATED = ("rnn", "lstm", "gru")
# Calls that are timed, of one step.
_TIMED = 200


@dataclass(frozen=True)
class Budget:
    """How much is trained.

    Args:
        memory: steps of the comparison with a feed-forward network over a window; 0 leaves a table out.
        window: last steps, which the feed-forward network reads.
        gates: steps at which vanilla, LSTM and GRU are compared.
        updates: of each network at each length.
        lengths: short and long, of the comparison with a Transformer.
        units: of each recurrent network, and features of the Transformer.
        blocks: of the Transformer.
        batch: sequences of a batch.
        learning_rate: of Adam.
    """

    memory: Count = 0
    window: Size = 10
    gates: tuple[Size, ...] = ()
    updates: Size = 150
    lengths: tuple[Size, ...] = ()
    units: Size = 32
    blocks: Size = 2
    batch: Size = 32
    learning_rate: Factor = 0.005


def run(budget: Budget, seeds: tuple[int, ...], say: Say) -> Findings:
    """Shares of right answers on the temporal order problem, parameters, and times of a step."""
    figures: dict[str, float | None] = {}
    rows: list[dict[str, Any]] = []
    jobs = [("window", budget.memory), ("lstm", budget.memory)] if budget.memory else []
    jobs += [(kind, steps) for steps in budget.gates for kind in _GATED]
    jobs += [(kind, steps) for steps in budget.lengths for kind in ("lstm", "transformer")]
    for kind, steps in dict.fromkeys(jobs):
        model, share, milliseconds = _learn(kind, steps, budget, seeds[0])
        row = {"network": kind, "steps": steps, "right": share, "parameters": model.count_params()}
        row |= {"update_ms": milliseconds, "state_numbers": _state(kind, steps, budget)}
        row["step_us"] = _step_microseconds(kind, steps, budget, model)
        rows.append(row)
        figures |= {f"{name}_{kind}_{steps}": float(row[name]) for name in ("right", "parameters", "update_ms")}
        figures |= {f"{name}_{kind}_{steps}": float(row[name]) for name in ("state_numbers", "step_us")}
        say(", ".join(f"{name} {value:.3g}" if isinstance(value, float) else f"{value}" for name, value in row.items()))
    return Findings(figures, {"rows": rows})


def _network(kind: str, steps: int, budget: Budget, seed: int) -> keras.Model:
    """An answer after the last step; a Transformer sees all steps, a window the last ones."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((steps, _SYMBOLS))
    if kind == "window":
        x = keras.layers.Dense(budget.units, "relu")(keras.layers.Flatten()(inputs[:, -budget.window :]))
        x = keras.layers.Dense(budget.units, "relu")(x)
    elif kind == "transformer":
        x = inputs
        for _ in range(budget.blocks):
            x = TransformerBlock(budget.units, heads=4, window=steps)(x)
        x = x[:, -1]
    else:
        layer = recurrent_layer(kind, budget.units, seed=seed)
        x = layer(inputs)
        if kind != "rnn":
            open_gates(layer, steps, seed)
    return keras.Model(inputs, keras.layers.Dense(_CLASSES)(x))


def _learn(kind: str, steps: int, budget: Budget, seed: int) -> tuple[keras.Model, float, float]:
    """The network, its share of right answers, and milliseconds of an update, of the fastest tenth."""
    model = _network(kind, steps, budget, seed)
    rng, times = np.random.default_rng(seed), [0.0]

    def draw(_: int) -> tuple[Any, Any]:
        times.append(time.perf_counter())
        x, y = temporal_order(rng, budget.batch, steps)
        return x, y

    train(
        model,
        draw,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.Adam(budget.learning_rate, global_clipnorm=1.0),
        updates=budget.updates,
    )
    x, y = temporal_order(np.random.default_rng([seed, 1]), _TEST, steps)
    share = float((predictor(model, 64)(x).argmax(-1) == y).mean())
    return model, share, 1e3 * float(np.percentile(np.diff(times)[2:], 10))


def _state(kind: str, steps: int, budget: Budget) -> int:
    """Numbers that a stream keeps from one step to the next."""
    attended = 2 * budget.blocks * steps * budget.units
    kept = {"window": _SYMBOLS * budget.window, "lstm": 2 * budget.units, "transformer": attended}
    return kept.get(kind, budget.units)


def _step_microseconds(kind: str, steps: int, budget: Budget, model: keras.Model) -> float:
    """Time of one more step, of the fastest tenth: of a cell, or of the window that a network reads whole."""
    recurrent = next((layer for layer in model.layers if isinstance(layer, keras.layers.RNN)), None)
    if recurrent is None:
        call, given = tf.function(model), (tf.zeros((1, steps, _SYMBOLS)),)
    else:
        count = 2 if isinstance(recurrent, LSTM) else 1
        states = [tf.zeros((1, budget.units)) for _ in range(count)]
        call, given = tf.function(lambda x, *held: recurrent.cell(x, list(held))), (tf.zeros((1, _SYMBOLS)), *states)
    times = []
    for _ in range(_TIMED):
        begin = time.perf_counter()
        call(*given)
        times.append(time.perf_counter() - begin)
    return 1e6 * float(np.percentile(times, 10))


def draw(findings: Findings, path: Path) -> None:
    """Shares of right answers and times of a step by length."""
    rows = findings.series["rows"]
    with panels(path, 2, (4.6, 3.4)) as axes:
        for i, kind in enumerate(dict.fromkeys(row["network"] for row in rows)):
            own = sorted((row["steps"], row["right"], row["step_us"]) for row in rows if row["network"] == kind)
            steps, shares, times = zip(*own, strict=True)
            axes[0].plot(steps, [100 * share for share in shares], "o-", color=COLOURS[i], label=kind)
            axes[1].plot(steps, times, "o-", color=COLOURS[i], label=kind)
        axes[0].set(title="Temporal order", xlabel="steps", ylabel="right, %", xscale="log")
        axes[1].set(title="One more step", xlabel="steps", ylabel="microseconds", xscale="log", yscale="log")
        axes[0].legend(frameon=False, fontsize=8)
