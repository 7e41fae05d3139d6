"""What truncated backpropagation through time cannot learn (Tallec & Ollivier 2017)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.problems.memory import recall
from rnnzoo.layers import LSTM
from rnnzoo.papers.experiments import Findings, Say
from rnnzoo.papers.learning import train
from rnnzoo.papers.pictures import panels
from rnnzoo.util.plots import COLOURS
from rnnzoo.util.ranges import Count, Factor, Size

# The dynamics of section 6: units, and how many of them the parameter moves upwards.
_UNITS, _UPWARDS = 23, 10
_TEST = 512


@dataclass(frozen=True)
class Budget:
    """How much is trained.

    Args:
        steps: of the influence balancing problem.
        truncations: lengths after which its gradient is cut.
        mean_truncation: of the unbiased form, which cuts at random and weighs what is left.
        rate: of its gradient descent, over the square root of the step.
        lags: of the recall problem, learned by an LSTM.
        windows: steps from the end that its gradient reaches.
        updates: of each LSTM; 0: leave it out.
        units, batch, learning_rate: of the LSTM.
    """

    steps: Size = 20000
    truncations: tuple[Size, ...] = (10, 100, 200)
    mean_truncation: Size = 16
    rate: Factor = 0.0005
    lags: tuple[Size, ...] = (5, 10, 20, 40)
    windows: tuple[Size, ...] = (5, 10, 20, 40, 80)
    updates: Count = 0
    units: Size = 16
    batch: Size = 32
    learning_rate: Factor = 0.02


def run(budget: Budget, seeds: tuple[int, ...], say: Say) -> Findings:
    """Losses of influence balancing by truncation, and what an LSTM recalls by lag and window."""
    figures: dict[str, float | None] = {}
    series: dict[str, Any] = {"lags": list(budget.lags), "windows": list(budget.windows)}
    forms: dict[str, int | None] = {f"cut_{length}": length for length in budget.truncations}
    for name, length in [*forms.items(), ("unbiased", None)]:
        losses = balance(budget, length, seeds[0])
        figures[name] = float(losses[-len(losses) // 20 :].mean())
        every = max(1, len(losses) // 100)
        series[name] = [float(min(x, 1e6)) for x in losses[::every]]
        say(f"influence balancing, {name}: loss at the end {figures[name]:.2g}")
    if budget.updates:
        table = [[_recalled(lag, window, budget, seeds[0]) for window in budget.windows] for lag in budget.lags]
        series["recalled"] = table
        pairs = [
            (row[i], window > lag)
            for lag, row in zip(budget.lags, table, strict=True)
            for i, window in enumerate(budget.windows)
        ]
        figures["recalled_within"] = float(np.mean([right for right, within in pairs if within]))
        figures["recalled_beyond"] = float(np.mean([right for right, within in pairs if not within]))
        within, beyond = figures["recalled_within"], figures["recalled_beyond"]
        say(f"recall: {within:.1%} where the window holds the lag, else {beyond:.1%}")
    return Findings(figures, series)


def balance(budget: Budget, truncation: int | None, seed: int) -> NDArray[np.float64]:
    """Losses (T,) of gradient descent on one parameter that helps at first and harms in the long run.

        s[t+1] = A s[t] + theta (1, ..., 1, -1, ..., -1),   A[i, i] = A[i, i+1] = 1/2,   loss = (s[t][0] - 1)^2 / 2

    The first `_UPWARDS` of `_UNITS` signs are positive. ds/dtheta is carried forwards: set to zero every `truncation`
    steps it is the gradient of truncated backpropagation. With None it is set to zero with probability c = 1/mean, and
    otherwise multiplied by 1 / (1 - c), which keeps its mean that of the whole gradient.
    """
    rng = np.random.default_rng(seed)
    matrix = 0.5 * (np.eye(_UNITS) + np.eye(_UNITS, k=1))
    signs = np.where(np.arange(_UNITS) < _UPWARDS, 1.0, -1.0)
    theta, state, influence = 0.5, np.zeros(_UNITS), np.zeros(_UNITS)
    cut = 1.0 / budget.mean_truncation
    losses = np.zeros(budget.steps)
    for t in range(budget.steps):
        if truncation is not None:
            influence = influence if t % truncation else np.zeros(_UNITS)
        else:
            influence = np.zeros(_UNITS) if rng.random() < cut else influence / (1 - cut)
        state, influence = matrix @ state + theta * signs, matrix @ influence + signs
        losses[t] = 0.5 * (state[0] - 1.0) ** 2
        theta -= budget.rate / np.sqrt(1.0 + t) * (state[0] - 1.0) * influence[0]
        if not abs(theta) < 1e6:
            losses[t:] = np.inf
            break
    return np.minimum(losses, 1e12)


def _recalled(lag: int, window: int, budget: Budget, seed: int) -> float:
    """Share of bits that an LSTM recalls whose gradient ends `window` steps before the last."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    before, within = keras.Input((None, 2)), keras.Input((None, 2))
    layer = LSTM(budget.units, return_state=True)
    states = [keras.ops.stop_gradient(state) for state in layer(before)[1:]]
    model = keras.Model([before, within], keras.layers.Dense(2)(layer(within, initial_state=states)[0]))

    def cut(x: NDArray[Any]) -> list[NDArray[Any]]:
        """The part before the window, of at least one step, and the window."""
        padded = np.pad(x, ((0, 0), (max(1, window + 1 - x.shape[1]), 0), (0, 0)))
        return [padded[:, :-window], padded[:, -window:]]

    def draw(_: int) -> tuple[Any, Any]:
        x, y = recall(rng, budget.batch, lag)
        return cut(x), y

    train(
        model,
        draw,
        loss=keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        optimizer=keras.optimizers.Adam(budget.learning_rate, global_clipnorm=1.0),
        updates=budget.updates,
    )
    x, y = recall(np.random.default_rng([seed, 1]), _TEST, lag)
    return float((np.asarray(model(cut(x))).argmax(-1) == y).mean())


def draw(findings: Findings, path: Path) -> None:
    """The loss of influence balancing, and the shares recalled by lag and window."""
    series = findings.series
    recalled = series.get("recalled")
    with panels(path, 2 if recalled else 1, (4.6, 3.4)) as axes:
        names = [name for name in series if name.startswith("cut_") or name == "unbiased"]
        for i, name in enumerate(names):
            label = "at random, unbiased" if name == "unbiased" else f"every {name[4:]} steps"
            axes[0].plot(np.maximum(series[name], 1e-9), color=COLOURS[i], label=label)
        axes[0].set(title="Influence balancing", xlabel="step, percent of all", ylabel="loss", yscale="log")
        axes[0].legend(frameon=False, fontsize=8, title="gradient cut")
        if recalled:
            axes[1].grid(False)
            axes[1].imshow(recalled, vmin=0.5, vmax=1.0, cmap="Blues", aspect="auto")
            axes[1].set_xticks(range(len(series["windows"])), series["windows"])
            axes[1].set_yticks(range(len(series["lags"])), series["lags"])
            axes[1].set(title="Share recalled by an LSTM", xlabel="steps that gradients go back", ylabel="lag")
            for i, row in enumerate(recalled):
                for j, share in enumerate(row):
                    colour = "white" if share > 0.75 else "black"
                    axes[1].text(j, i, f"{share:.0%}", ha="center", va="center", fontsize=8, color=colour)
