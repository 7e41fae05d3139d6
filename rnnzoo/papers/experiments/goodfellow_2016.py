"""Chapter 10 of Deep Learning (Goodfellow, Bengio & Courville 2016): what to do about time."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops
from numpy.typing import NDArray

from rnnzoo.data.problems.chaos import mackey_glass
from rnnzoo.data.problems.memory import recall
from rnnzoo.layers import RNN
from rnnzoo.papers.experiments import Findings, Say
from rnnzoo.papers.learning import predictor, train
from rnnzoo.papers.networks import recurrent_layer
from rnnzoo.papers.pictures import panels
from rnnzoo.util.plots import COLOURS
from rnnzoo.util.ranges import Count, Factor, Rate, Size

# Steps of the series that a network is given, those that it then goes on alone for, and how many series are tested.
_GIVEN, _ALONE, _TESTED = 60, 40, 32
_TEST = 512


@dataclass(frozen=True)
class Budget:
    """How much is trained; 0 updates leave an experiment out.

    Args:
        forcing: updates of the networks that predict a chaotic series.
        free: steps that a network goes on alone for in training, where it does not only read the series.
        memory: updates of the networks that recall a bit.
        lag: of the bit.
        leak: share of its state that a leaky unit keeps.
        skip: steps that a connection skips.
        units: of all networks.
        reservoir: units of the echo state network; 0: none.
        radius: spectral radius of its matrix.
        batch: sequences of a batch.
        learning_rate: of Adam.
    """

    forcing: Count = 0
    free: Size = 20
    memory: Count = 0
    lag: Size = 60
    leak: Rate = 0.95
    skip: Size = 10
    units: Size = 32
    reservoir: Count = 0
    radius: Factor = 0.9
    batch: Size = 32
    learning_rate: Factor = 0.005


def run(budget: Budget, seeds: tuple[int, ...], say: Say) -> Findings:
    """Errors of free running networks, shares of recalled bits, and the echo state network."""
    figures: dict[str, float | None] = {}
    series: dict[str, Any] = {}
    truth = mackey_glass(np.random.default_rng([seeds[0], 1]), 6000)
    if budget.reservoir:
        figures["echo_next"], figures["echo_free"], curve = _echo(budget, truth, seeds[0])
        series["free_echo"] = curve
        # What saying the mean at each step would have.
        figures["mean_free"] = float(truth.std() / _windows(truth, np.random.default_rng(seeds[0]), 32, 100).std())
        say(f"echo state network: next step {figures['echo_next']:.2e}, alone {figures['echo_free']:.3f}")
    for name in ("forced", "free") if budget.forcing else ():
        figures[f"{name}_next"], figures[f"{name}_free"], curve = _forced(name == "free", budget, truth, seeds[0])
        series[f"free_{name}"] = curve
        say(f"trained {name}: next step {figures[f'{name}_next']:.2e}, alone {figures[f'{name}_free']:.3f}")
    for name in ("plain", "leaky", "skip") if budget.memory else ():
        shares = [_recalled(name, budget, seed) for seed in seeds]
        figures[f"recall_{name}"] = float(np.mean(shares))
        say(f"recall over {budget.lag} steps, {name}: {figures[f'recall_{name}']:.1%}")
    return Findings(figures, series)


class FreeRunning(keras.Model):
    """A GRU that predicts the next value of a series, and goes on with its own values where the series ends."""

    def __init__(self, units: int, seed: int):
        super().__init__()
        self.recurrent = recurrent_layer("gru", units, seed=seed, return_sequences=True, return_state=True)
        self.out = keras.layers.Dense(1)

    def build(self, input_shape: Any) -> None:
        self.recurrent.build((None, None, 1))
        self.out.build((None, None, self.recurrent.units))

    def call(self, series: Any, alone: int = 0) -> Any:
        """Predictions (B, T + alone, 1) of what follows each step of a series (B, T, 1), then of its own."""
        hidden, state = self.recurrent(series)
        said = [self.out(hidden)]
        for _ in range(alone):
            last = said[-1][:, -1]
            _, (state,) = self.recurrent.cell(last, [state])
            said.append(self.out(state)[:, None])
        return ops.concatenate(said, axis=1)


def _forced(free: bool, budget: Budget, truth: NDArray[Any], seed: int) -> tuple[float, float, list[float]]:
    """Errors of the next step and of free running, of a network trained on the series or alone in part."""
    keras.utils.set_random_seed(seed)
    model = FreeRunning(budget.units, seed)
    model.build((None, None, 1))
    rng = np.random.default_rng(seed)
    learned = mackey_glass(np.random.default_rng([seed, 0]), 6000)
    alone = budget.free if free else 0

    def draw(_: int) -> tuple[Any, Any]:
        windows = _windows(learned, rng, budget.batch, _GIVEN + budget.free + 1)
        return windows[:, : len(windows[0]) - 1 - alone], windows[:, 1:]

    optimizer = keras.optimizers.Adam(budget.learning_rate, global_clipnorm=1.0)
    trained = PartlyAlone(model, alone)
    train(trained, draw, loss=keras.losses.MeanSquaredError(), optimizer=optimizer, updates=budget.forcing)
    windows = _windows(truth, np.random.default_rng(seed), _TESTED, _GIVEN + _ALONE)
    said = np.asarray(tf.function(model)(tf.constant(windows[:, :_GIVEN]), alone=_ALONE - 1))
    return _errors(said, windows)


class PartlyAlone(keras.Model):
    """A network that runs alone for some steps after its input."""

    def __init__(self, model: FreeRunning, alone: int):
        super().__init__()
        self.model, self.alone = model, alone
        self.built = True

    def call(self, series: Any) -> Any:
        return self.model(series, alone=self.alone)


def _windows(series: NDArray[Any], rng: np.random.Generator, count: int, steps: int) -> NDArray[Any]:
    starts = rng.integers(0, len(series) - steps, count)
    return series[starts[:, None] + np.arange(steps)]


def _errors(said: NDArray[Any], windows: NDArray[Any]) -> tuple[float, float, list[float]]:
    """Normalized errors: of the next step while it is given, over the steps alone, and by step alone."""
    truth, deviation = windows[:, 1:], float(windows.std())
    squares = ((said[:, : truth.shape[1]] - truth) ** 2).mean(axis=(0, 2))
    by_step = np.sqrt(squares) / deviation
    given = slice(_GIVEN // 2, _GIVEN - 1)
    alone = by_step[_GIVEN - 1 :]
    return float(by_step[given].mean()), float(np.sqrt((alone**2).mean())), alone.tolist()


def _echo(budget: Budget, truth: NDArray[Any], seed: int) -> tuple[float, float, list[float]]:
    """The same of an echo state network: a fixed random reservoir, its output by ridge regression (Jaeger 2001)."""
    rng = np.random.default_rng(seed)
    units = budget.reservoir
    matrix = rng.normal(size=(units, units)) * (rng.random((units, units)) < 0.1)
    matrix *= budget.radius / np.abs(np.linalg.eigvals(matrix)).max()
    enter, bias = rng.uniform(-1, 1, (1, units)), rng.uniform(-0.2, 0.2, units)

    def follow(x: NDArray[Any], state: NDArray[Any]) -> NDArray[Any]:
        return np.tanh(x @ enter + state @ matrix + bias)

    learned = mackey_glass(np.random.default_rng([seed, 0]), 3000)
    states, state = [], np.zeros((1, units))
    for x in learned[:-1]:
        state = follow(x[None], state)
        states.append(state[0])
    seen, wanted = np.array(states[100:]), learned[101:]
    readout = np.linalg.solve(seen.T @ seen + 1e-6 * np.eye(units), seen.T @ wanted)
    windows = _windows(truth, np.random.default_rng(seed), _TESTED, _GIVEN + _ALONE)
    state = np.zeros((_TESTED, units))
    said: list[NDArray[Any]] = []
    for t in range(_GIVEN + _ALONE - 1):
        state = follow(windows[:, t] if t < _GIVEN else said[-1], state)
        said.append(state @ readout)
    return _errors(np.stack(said, axis=1), windows)


class LeakyCell(keras.layers.Layer):
    """Leaky units (section 10.9.2):  h[t] = a h[t-1] + (1 - a) tanh(x[t] W + h[t-1] R + b).

    Args:
        cell: a vanilla cell of U units.
        leak: a, the share that is kept.

    State and output: h (B, U).
    """

    def __init__(self, cell: Any, leak: float, **kwargs: Any):
        super().__init__(**kwargs)
        self.cell, self.leak, self.state_size = cell, leak, cell.units

    def build(self, input_shape: Any) -> None:
        self.cell.build(input_shape)

    def call(self, x: Any, states: Any) -> tuple[Any, list[Any]]:
        new = self.leak * states[0] + (1 - self.leak) * self.cell(x, states)[0]
        return new, [new]


class SkipCell(keras.layers.Layer):
    """Connections that skip steps (section 10.9.1):  h[t] = tanh(x[t] W + h[t-1] R + h[t-d] S + b).

    Args:
        cell: a vanilla cell of U units.
        skip: d.

    State: h of the last d steps, (B, U) each. Output: h (B, U).
    """

    def __init__(self, cell: Any, skip: int, **kwargs: Any):
        super().__init__(**kwargs)
        self.cell, self.state_size, self.output_size = cell, [cell.units] * skip, cell.units

    def build(self, input_shape: Any) -> None:
        self.cell.build((None, input_shape[-1] + self.cell.units))

    def call(self, x: Any, states: Any) -> tuple[Any, list[Any]]:
        # W and S are rows of one matrix.
        new = self.cell(ops.concatenate([x, states[-1]], axis=-1), [states[0]])[0]
        return new, [new, *states[:-1]]


def _recalled(name: str, budget: Budget, seed: int) -> float:
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    # A spectral radius of about 0.8: an orthogonal matrix alone would keep the bit.
    small = keras.initializers.RandomNormal(stddev=0.8 * budget.units**-0.5, seed=seed)
    plain = keras.layers.SimpleRNNCell(budget.units, recurrent_initializer=small)
    cells = {"plain": plain, "leaky": LeakyCell(plain, budget.leak), "skip": SkipCell(plain, budget.skip)}
    inputs = keras.Input((budget.lag + 1, 2))
    model = keras.Model(inputs, keras.layers.Dense(2)(RNN(cells[name])(inputs)))
    train(
        model,
        lambda _: recall(rng, budget.batch, budget.lag),
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.Adam(budget.learning_rate, global_clipnorm=1.0),
        updates=budget.memory,
    )
    x, y = recall(np.random.default_rng([seed, 1]), _TEST, budget.lag)
    return float((predictor(model)(x).argmax(-1) == y).mean())


def draw(findings: Findings, path: Path) -> None:
    """Errors of free running by step, and the shares of recalled bits."""
    lines = {name[5:]: values for name, values in findings.series.items() if name.startswith("free_")}
    titles = {"echo": "echo state network", "forced": "teacher forcing", "free": "free running, too"}
    recalled = {name[7:]: share for name, share in findings.figures.items() if name.startswith("recall_")}
    with panels(path, bool(lines) + bool(recalled), (4.6, 3.4)) as axes:
        if lines:
            for i, (name, values) in enumerate(lines.items()):
                axes[0].plot(range(1, len(values) + 1), values, color=COLOURS[i], label=titles[name])
            axes[0].set(title="Mackey-Glass", xlabel="steps alone", ylabel="error, of the deviation", yscale="log")
            axes[0].legend(frameon=False, fontsize=8)
        if recalled:
            axes[-1].bar(range(len(recalled)), [100 * (share or 0.0) for share in recalled.values()], color=COLOURS[0])
            axes[-1].set_xticks(range(len(recalled)), list(recalled))
            axes[-1].set(title="Bit recalled", ylabel="right, %", ylim=(40, 102))
