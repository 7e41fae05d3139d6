"""Which recurrent layers solve problems of long memory (Le 2015, Li 2018, Orvieto 2023, Feng 2024)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.problems.memory import COPIED, SYMBOLS, adding, copying, selective_copying
from rnnzoo.data.sets.optical_digits import pictures
from rnnzoo.papers.experiments import Findings, Say
from rnnzoo.papers.learning import Learned, predictor, train
from rnnzoo.papers.networks import KINDS, open_gates, recurrent_layer
from rnnzoo.papers.pictures import panels
from rnnzoo.training.diagnostics import diagnose
from rnnzoo.util.plots import curves
from rnnzoo.util.ranges import Count, Factor, Size

# Tokens of the copying problems; digits; an error of a sum that counts as right.
_TOKENS, _DIGITS, _NEAR = SYMBOLS + 2, 10, 0.16
_TEST = 512
# Of the rate of the others: an identity that moves fast explodes (Le et al. search rates from 1e-2 down to 1e-8).
_RATES = {"irnn": 0.1}
_TIMES = (1, 2, 3, 4)
# Layers that are diagonal or parallel, of which papers stack at least two with a nonlinear layer between.
_STACKED = ("indrnn", "lru", "mingru", "minlstm")


@dataclass(frozen=True)
class Budget:
    """How much is trained.

    Args:
        kinds: layers, as `rnnzoo.papers.networks.KINDS` names them.
        digits: updates on sequential digits, in each of three orders; 0 leaves a problem out, here and below.
        orders: `rows` (8 steps of 8 pixels), `pixels` (64 steps) and `permuted` (64 steps in a fixed random order).
        adding: its length T, and `adding_updates`.
        copying, selective: steps between or over which symbols come, and `copying_updates` of both.
        units: of each layer.
        batch: sequences of a batch.
        learning_rate: of Adam.
        follow: steps that the gradient of a fresh network is followed back; 0: not.
        width: of the input of layers whose weights are counted, with 1 to 4 times as many units; 0: not.
        solved: share of right answers from which on a problem counts as solved, and training ends.
    """

    kinds: tuple[str, ...] = KINDS
    digits: Count = 0
    orders: tuple[str, ...] = ("rows", "pixels", "permuted")
    adding: Count = 0
    adding_updates: Size = 600
    copying: Count = 0
    selective: Count = 0
    copying_updates: Size = 600
    units: Size = 64
    batch: Size = 32
    learning_rate: Factor = 0.003
    follow: Count = 0
    width: Count = 0
    solved: Factor = 0.97


@dataclass(frozen=True)
class Problem:
    """A problem and its test set.

    Args:
        name: for figures.
        draw: a batch x, y.
        x, y: the test set.
        updates: at most.
        outputs: of the network.
        each_step: whether there is an answer at each step, of which the last ten count.
        tokens: whether x holds tokens.
        real: whether the answer is a number.
    """

    name: str
    draw: Callable[[np.random.Generator], tuple[Any, Any]]
    x: NDArray[Any]
    y: NDArray[Any]
    updates: int
    outputs: int
    each_step: bool = False
    tokens: bool = False
    real: bool = False


def run(budget: Budget, seeds: tuple[int, ...], say: Say) -> Findings:
    """Share of right answers of each layer on each problem, and the updates after which it was solved."""
    figures: dict[str, float | None] = {}
    series: dict[str, Any] = {"kinds": list(budget.kinds), "problems": []}
    for kind, whole in (("mingru", "gru"), ("minlstm", "lstm")) if budget.width else ():
        shares = [_weights(kind, budget.width, times) / _weights(whole, budget.width, times) for times in _TIMES]
        figures |= {f"weights_{kind}_{times}": share for times, share in zip(_TIMES, shares, strict=True)}
        series[f"weights_{kind}"] = shares
        say(f"weights of {kind} to those of {whole}: " + ", ".join(f"{share:.0%}" for share in shares))
    for kind in budget.kinds if budget.follow else ():
        back = _followed(kind, budget, seeds[0])
        figures[f"kept_{kind}"], series[f"back_{kind}"] = float(back[-1] / back[0]), back.tolist()
        say(f"fresh, {kind}: {figures[f'kept_{kind}']:.1e} of the gradient is left {budget.follow} steps back")
    for problem in _problems(budget, seeds[0]):
        series["problems"].append(problem.name)
        for kind in budget.kinds:
            learned = _learn(kind, problem, budget, seeds[0])
            figures[f"{problem.name}_{kind}"] = learned.scores[-1] if learned.scores else 0.0
            figures[f"{problem.name}_{kind}_updates"] = float(learned.updates) if learned.solved else None
            end = f"solved after {learned.updates}" if learned.solved else f"not solved in {learned.updates}"
            say(f"{problem.name}, {kind}: {figures[f'{problem.name}_{kind}']:.1%} right, {end} updates")
    series["shares"] = [[figures[f"{name}_{kind}"] for kind in budget.kinds] for name in series["problems"]]
    series["updates"] = [[figures[f"{name}_{kind}_updates"] for kind in budget.kinds] for name in series["problems"]]
    return Findings(figures, series)


def _problems(budget: Budget, seed: int) -> list[Problem]:
    problems = []
    if budget.digits:
        problems += [_sequential_digits(order, budget, seed) for order in budget.orders]
    batch, held = budget.batch, np.random.default_rng([seed, 1])
    if steps := budget.adding:
        x, y = adding(held, _TEST, steps)
        draw = _drawing(adding, batch, steps)
        problems.append(Problem("adding", draw, x, y, budget.adding_updates, 1, real=True))
    for name, make, steps in (("copying", copying, budget.copying), ("selective", selective_copying, budget.selective)):
        if steps:
            x, y = make(held, _TEST, steps)
            draw = _drawing(make, batch, steps)
            problems.append(Problem(name, draw, x, y, budget.copying_updates, _TOKENS, each_step=True, tokens=True))
    return problems


def _drawing(make: Any, batch: int, steps: int) -> Callable[[np.random.Generator], tuple[Any, Any]]:
    return lambda rng: tuple(make(rng, batch, steps))


def _sequential_digits(order: str, budget: Budget, seed: int) -> Problem:
    places = np.random.default_rng([seed, 2]).permutation(64) if order == "permuted" else np.arange(64)

    def rows(images: NDArray[Any]) -> NDArray[Any]:
        return images if order == "rows" else images.reshape(-1, 64)[:, places, None]

    images, digits = pictures("train")
    x, y = pictures("test")
    training = rows(images)

    def draw(rng: np.random.Generator) -> tuple[Any, Any]:
        chosen = rng.integers(0, len(training), budget.batch)
        return training[chosen], digits[chosen]

    return Problem(f"digits_{order}", draw, rows(x), y, budget.digits, _DIGITS)


def network(kind: str, problem: Problem, budget: Budget, seed: int) -> keras.Model:
    """Layers of a kind and a dense one on top: one layer of those with a full recurrent matrix, two of the others."""
    keras.utils.set_random_seed(seed)
    steps = problem.x.shape[1]
    inputs = keras.Input((steps,), dtype="int32") if problem.tokens else keras.Input((steps, problem.x.shape[2]))
    x = keras.layers.Embedding(_TOKENS, _TOKENS, "identity", trainable=False)(inputs) if problem.tokens else inputs
    count = 2 if kind in _STACKED else 1
    for i in range(count):
        last = i == count - 1
        sequences = problem.each_step or not last
        layer = recurrent_layer(kind, budget.units, steps=steps, seed=seed + 10 * i, return_sequences=sequences)
        x = layer(x)
        if kind in ("lstm", "gru"):
            open_gates(layer, steps, seed)
        if not last:
            x = keras.layers.Dense(budget.units, "relu")(x)
    return keras.Model(inputs, keras.layers.Dense(problem.outputs)(x))


def _weights(kind: str, width: int, times: int) -> int:
    """Weights of a layer without biases, of so many times as many units as inputs."""
    layer = recurrent_layer(kind, times * width, use_bias=False)
    layer.build((None, None, width))
    return int(layer.count_params())


def _followed(kind: str, budget: Budget, seed: int) -> NDArray[Any]:
    """|dL/dh[T - k]| of a fresh network on the adding problem, for k = 0 to `follow`."""
    x, y = adding(np.random.default_rng(seed), 64, budget.follow + 1)
    model = network(kind, Problem("", lambda _: (x, y), x, y, 0, 1, real=True), budget, seed)
    batch = ({model.inputs[0].name: x}, y, np.ones(len(y), np.float32))
    return next(iter(diagnose(model, batch, keras.losses.MeanSquaredError(), x).by_time.values()))


def _learn(kind: str, problem: Problem, budget: Budget, seed: int) -> Learned:
    model = network(kind, problem, budget, seed)
    rng, predict = np.random.default_rng(seed), predictor(model)

    def score() -> float:
        out = predict(problem.x)
        if problem.real:
            return float((np.abs(out - problem.y) < _NEAR).mean())
        right = out.argmax(-1) == problem.y
        return float(right[:, -COPIED:].mean() if problem.each_step else right.mean())

    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    return train(
        model,
        lambda _: problem.draw(rng),
        loss=keras.losses.MeanSquaredError() if problem.real else classes,
        optimizer=keras.optimizers.Adam(_RATES.get(kind, 1.0) * budget.learning_rate, global_clipnorm=1.0),
        updates=problem.updates,
        every=50,
        score=score,
        solved=lambda share: share >= budget.solved,
    )


def draw(findings: Findings, path: Path) -> None:
    """Shares of right answers, with the updates where a problem was solved, and gradients back in time."""
    series = findings.series
    back = {name.removeprefix("back_"): values for name, values in series.items() if name.startswith("back_")}
    weights = {name.removeprefix("weights_"): values for name, values in series.items() if name.startswith("weights_")}
    with panels(path, bool(back) + bool(weights) + bool(series["problems"]), (4.8, 3.2)) as axes:
        if back:
            curves(axes[0], back, title="Fresh network", x="steps back", y="|dL/dh|")
        if weights:
            title, y = "Weights, of those of GRU and LSTM", "share"
            curves(axes[0], weights, title=title, x="units for each input", y=y, log=False, start=1)
        if not series["problems"]:
            return
        axis = axes[-1]
        axis.grid(False)
        axis.imshow(np.array(series["shares"], float), vmin=0.0, vmax=1.0, cmap="Blues", aspect="auto")
        axis.set_xticks(range(len(series["kinds"])), series["kinds"])
        axis.set_yticks(range(len(series["problems"])), [name.replace("_", ", ") for name in series["problems"]])
        axis.set_title("Right answers (and updates, where solved)")
        for i, (shares, updates) in enumerate(zip(series["shares"], series["updates"], strict=True)):
            for j, (share, count) in enumerate(zip(shares, updates, strict=True)):
                text = f"{share:.0%}" + (f"\n{count:.0f}" if count else "")
                axis.text(j, i, text, ha="center", va="center", fontsize=7, color="white" if share > 0.6 else "black")
