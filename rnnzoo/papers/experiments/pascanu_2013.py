"""Clipping and a regularizer against exploding and vanishing gradients (Pascanu, Mikolov & Bengio 2013)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rnnzoo.data.problems.memory import temporal_order
from rnnzoo.layers import SimpleRNN
from rnnzoo.papers.experiments import Findings, Say
from rnnzoo.papers.learning import Learned, predictor, train
from rnnzoo.papers.pictures import panels
from rnnzoo.training.diagnostics import diagnose
from rnnzoo.util.plots import COLOURS, curves
from rnnzoo.util.ranges import Count, Factor, Size

METHODS = ("sgd", "clipped", "regularized")
_TITLES = {"sgd": "SGD", "clipped": "SGD-C", "regularized": "SGD-CR"}
_CLASSES, _SYMBOLS, _TEST = 4, 6, 512
# Spectral radii of fresh networks whose gradients vanish and explode, and the steps that they are followed back.
_SMALL, _LARGE, _BACK = 0.8, 1.6, 50


@dataclass(frozen=True)
class Budget:
    """How much is trained.

    Args:
        lengths: T of the temporal order problem.
        updates: batches at most, for each network.
        units: of the tanh network.
        batch: sequences of a batch.
        learning_rate, momentum: of SGD.
        clip: norm that a gradient is scaled down to.
        penalty: weight of the regularizer.
        radius: spectral radius that the recurrent matrix begins with.
        every: updates between two tests; a problem is solved from 99 % right answers on.
        methods: which are compared.
        longest: steps of the sequences on which a solved network is tested; 0: none.
        follow: measure how gradients of fresh networks change with the spectral radius.
    """

    lengths: tuple[Size, ...] = (20,)
    updates: Size = 500
    units: Size = 50
    batch: Size = 20
    learning_rate: Factor = 0.02
    momentum: Factor = 0.9
    clip: Factor = 1.0
    penalty: Factor = 2.0
    radius: Factor = 0.95
    every: Size = 100
    methods: tuple[str, ...] = METHODS
    longest: Count = 0
    follow: bool = True


def run(budget: Budget, seeds: tuple[int, ...], say: Say) -> Findings:
    """Success by length of each method; gradients of fresh networks by spectral radius; longer sequences."""
    figures: dict[str, float | None] = {}
    series: dict[str, Any] = {"lengths": list(budget.lengths)}
    if budget.follow:
        for radius in (_SMALL, 1.0, _LARGE):
            back = _followed(radius, budget, seeds[0])
            figures[f"kept_{radius:g}"] = float(back[-1] / back[0])
            series[f"back_{radius:g}"] = back.tolist()
        say(f"fresh gradients {_BACK} steps back: " + ", ".join(f"{k} {v:.1e}" for k, v in figures.items()))
    far = []
    for method in budget.methods:
        rates = []
        for steps in budget.lengths:
            runs = [_learn(method, steps, budget, seed) for seed in seeds]
            rates.append(float(np.mean([learned.solved for learned, _ in runs])))
            norms = [norm for learned, _ in runs for norm in learned.norms]
            series[f"norms_{method}_{steps}"] = runs[0][0].norms
            figures[f"solved_{method}_{steps}"] = rates[-1]
            counts = [learned.updates for learned, _ in runs]
            end = f"updates {counts}, norm up to {max(norms):.2g}"
            say(f"{_TITLES[method]}, T = {steps}: solved {rates[-1]:.0%}, {end}")
            if budget.longest and method == budget.methods[-1]:
                far += [_right(model, budget.longest, seeds[0], 64) for learned, model in runs if learned.solved]
        figures[f"solved_{method}"] = float(np.mean(rates))
        series[f"solved_{method}"] = rates
    figures["far"] = max(far) if far else None
    if far:
        say(f"solved networks at T = {budget.longest}: " + ", ".join(f"{share:.1%}" for share in far))
    return Findings(figures, series)


def network(budget: Budget, radius: float, seed: int) -> keras.Model:
    """A tanh network whose recurrent matrix, Gaussian, has a spectral radius; four classes after the last step."""
    keras.utils.set_random_seed(seed)
    inputs = keras.Input((None, _SYMBOLS), name="rows")
    start = keras.initializers.RandomNormal(stddev=0.1, seed=seed)
    layer = SimpleRNN(budget.units, kernel_initializer=start, name="recurrent")
    model = keras.Model(inputs, keras.layers.Dense(_CLASSES, name="logits")(layer(inputs)))
    matrix = np.random.default_rng(seed).normal(size=(budget.units, budget.units))
    matrix *= radius / np.abs(np.linalg.eigvals(matrix)).max()
    layer.cell.recurrent_kernel.assign(matrix.astype(np.float32))
    return model


def _followed(radius: float, budget: Budget, seed: int) -> Any:
    """|dL/dh[T - k]| for k = 0 to `_BACK` of a fresh network."""
    x, y = temporal_order(np.random.default_rng(seed), 64, _BACK + 1)
    batch = ({"rows": x}, y, np.ones(len(y), np.float32))
    return diagnose(network(budget, radius, seed), batch, _loss(), x).by_time["recurrent"]


def _loss() -> Any:
    return keras.losses.SparseCategoricalCrossentropy(from_logits=True)


def _learn(method: str, steps: int, budget: Budget, seed: int) -> tuple[Learned, keras.Model]:
    model = network(budget, budget.radius, seed)
    rng, predict = np.random.default_rng(seed), predictor(model)
    held = temporal_order(np.random.default_rng([seed, 1]), _TEST, steps)
    learned = train(
        model,
        lambda _: temporal_order(rng, budget.batch, steps),
        loss=_loss(),
        optimizer=keras.optimizers.SGD(
            budget.learning_rate, budget.momentum, global_clipnorm=None if method == "sgd" else budget.clip
        ),
        updates=budget.updates,
        every=budget.every,
        score=lambda: float((predict(held.x).argmax(-1) == held.y).mean()),
        solved=lambda score: score >= 0.99,
        penalty=budget.penalty if method == "regularized" else 0.0,
    )
    return learned, model


def _right(model: keras.Model, steps: int, seed: int, count: int) -> float:
    held = temporal_order(np.random.default_rng([seed, 2]), count, steps)
    return float((predictor(model, 16)(held.x).argmax(-1) == held.y).mean())


def draw(findings: Findings, path: Path) -> None:
    """Success by length, norms of gradients while training, gradients back through time by spectral radius."""
    series = findings.series
    methods = [method for method in METHODS if f"solved_{method}" in series]
    back = {name.partition("_")[2]: values for name, values in series.items() if name.startswith("back_")}
    with panels(path, 2 + bool(back), (4.0, 3.2)) as axes:
        for i, method in enumerate(methods):
            axes[0].plot(series["lengths"], series[f"solved_{method}"], "o-", color=COLOURS[i], label=_TITLES[method])
        axes[0].set(title="Temporal order", xlabel="steps T", ylabel="share of runs that solve it", ylim=(-0.05, 1.05))
        axes[0].legend(frameon=False, fontsize=9)
        steps = series["lengths"][-1]
        norms = {_TITLES[method]: series[f"norms_{method}_{steps}"] for method in methods}
        curves(axes[1], norms, title=f"Largest gradient, T = {steps}", x="tests", y="norm before clipping")
        if back:
            lines = {f"radius {radius}": values for radius, values in back.items()}
            curves(axes[2], lines, title="Fresh network", x="steps back", y="|dL/dh|")
