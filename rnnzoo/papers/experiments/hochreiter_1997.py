"""Long short-term memory against a vanilla network (Hochreiter & Schmidhuber 1997)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rnnzoo.data.problems.memory import adding, temporal_order
from rnnzoo.data.problems.reber import LETTERS, embedded_string, legal_next, one_hot
from rnnzoo.papers.experiments import Findings, Say
from rnnzoo.papers.learning import Learned, predictor, train
from rnnzoo.papers.networks import answering, open_gates, recurrent_layer
from rnnzoo.papers.pictures import panels
from rnnzoo.util.plots import curves
from rnnzoo.util.ranges import Count, Factor, Size

# A sum counts as wrong from here on: the paper's 0.04, of a target that it scales by a quarter.
_WRONG = 0.16
# The paper's test sets hold 2,560 sequences; in between a part of them says whether the problem is solved.
_TEST, _PART = 2560, 256
_SOLVED = 0.99


@dataclass(frozen=True)
class Budget:
    """How much is trained.

    Args:
        reber: sequences of the grammar, one at a time; 0: leave this experiment out.
        reber_units: of both networks.
        reber_rate: of gradient descent on squared errors, as the paper's, one string at a time.
        adding: lengths T of the adding problem.
        adding_updates: batches at most, for each length.
        order: length of the temporal order problem; 0: leave it out.
        order_marks: 2 is experiment 6a, 3 is 6b.
        order_updates: batches at most.
        units: of both networks in these problems.
        batch: sequences of a batch.
        learning_rate: of Adam.
        vanilla: longest T at which the vanilla network is trained, too.
    """

    reber: Count = 0
    reber_units: Size = 12
    reber_rate: Factor = 0.5
    adding: tuple[Size, ...] = ()
    adding_updates: Size = 1000
    order: Count = 0
    order_marks: tuple[Size, ...] = (2,)
    order_updates: Size = 1000
    units: Size = 32
    batch: Size = 32
    learning_rate: float = 0.005
    vanilla: Count = 1000


def run(budget: Budget, seeds: tuple[int, ...], say: Say) -> Findings:
    """Train both networks on every problem of the budget."""
    figures: dict[str, float | None] = {}
    series: dict[str, Any] = {}
    for kind in ("lstm", "rnn"):
        if budget.reber:
            runs = [_learn_reber(kind, budget, seed) for seed in seeds]
            figures[f"reber_{kind}_solved"] = float(np.mean([learned.solved for learned in runs]))
            figures[f"reber_{kind}_right"] = float(np.mean([learned.scores[-1] for learned in runs]))
            counts = [learned.updates for learned in runs if learned.solved]
            figures[f"reber_{kind}_sequences"] = float(np.mean(counts)) if counts else None
            series[f"reber_{kind}"] = runs[0].scores
            say(f"Reber grammar, {kind}: solved {figures[f'reber_{kind}_solved']:.0%}, after {counts} sequences")
        for name, steps, marks, updates in _problems(budget):
            if kind == "rnn" and steps > budget.vanilla:
                continue
            learned, wrong = _learn(kind, steps, marks, updates, budget, seeds[0])
            figures[f"{name}_{kind}_wrong"] = wrong
            figures[f"{name}_{kind}_sequences"] = float(learned.updates * budget.batch) if learned.solved else None
            series[f"{name}_{kind}"] = learned.losses
            say(f"{name}, {kind}: {wrong:.2%} wrong after {learned.updates * budget.batch:,} sequences")
    return Findings(figures, series)


def _problems(budget: Budget) -> list[tuple[str, int, int, int]]:
    """Name, steps, marks (0: adding) and updates of the problems that a budget has."""
    problems = [(f"adding_{steps}", steps, 0, budget.adding_updates) for steps in budget.adding]
    if budget.order:
        problems += [(f"order_{marks}", budget.order, marks, budget.order_updates) for marks in budget.order_marks]
    return problems


def _learn(kind: str, steps: int, marks: int, updates: int, budget: Budget, seed: int) -> tuple[Learned, float]:
    """Training on sums (no marks) or orders, and the share of wrong answers on the test set."""
    keras.utils.set_random_seed(seed)
    rng, held = np.random.default_rng(seed), np.random.default_rng([seed, 1])

    def draw(generator: np.random.Generator, count: int) -> Any:
        return temporal_order(generator, count, steps, marks) if marks else adding(generator, count, steps)

    layer = recurrent_layer(kind, budget.units, steps=steps, seed=seed)
    model = answering(layer, 6 if marks else 2, 2**marks if marks else 1, steps=steps, seed=seed)
    if kind == "lstm":
        open_gates(layer, steps, seed)
    test, predict = draw(held, _TEST), predictor(model)

    def right(count: int) -> float:
        out = predict(test.x[:count])
        hits = out.argmax(-1) == test.y[:count] if marks else np.abs(out - test.y[:count]) < _WRONG
        return float(np.mean(hits))

    classes = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    learned = train(
        model,
        lambda _: draw(rng, budget.batch),
        loss=classes if marks else keras.losses.MeanSquaredError(),
        optimizer=keras.optimizers.Adam(budget.learning_rate, global_clipnorm=1.0),
        updates=updates,
        score=lambda: right(_PART),
        solved=lambda score: score >= _SOLVED,
    )
    return learned, 1.0 - right(_TEST)


def _learn_reber(kind: str, budget: Budget, seed: int) -> Learned:
    """Training on one string at a time, until all strings of the test set are predicted as the grammar allows."""
    keras.utils.set_random_seed(seed)
    rng, held = np.random.default_rng(seed), np.random.default_rng([seed, 1])
    layer = recurrent_layer(kind, budget.reber_units, seed=seed, return_sequences=True)
    model = answering(layer, len(LETTERS), len(LETTERS), activation="sigmoid", seed=seed)
    strings = sorted((embedded_string(held) for _ in range(_PART)), key=len)
    if kind == "lstm":
        open_gates(layer, len(strings[-1]), seed)
    predict = predictor(model)
    rows = np.zeros((_PART, len(strings[-1]) - 1, len(LETTERS)), np.float32)
    for row, string in zip(rows, strings, strict=True):
        row[: len(string) - 1] = one_hot(string[:-1])

    def draw(_: int) -> tuple[Any, Any]:
        letters = one_hot(embedded_string(rng))[None]
        return letters[:, :-1], letters[:, 1:]

    def right() -> float:
        return float(np.mean([_legal(string, out) for string, out in zip(strings, predict(rows), strict=True)]))

    return train(
        model,
        draw,
        loss=lambda y, out: keras.ops.sum((y - out) ** 2) / 2,
        optimizer=keras.optimizers.SGD(budget.reber_rate),
        updates=budget.reber,
        score=right,
        solved=lambda score: score == 1.0,
    )


def _legal(string: str, outputs: Any) -> bool:
    """Whether at each letter the letters that may follow have the highest outputs (T, 7), as the paper counts it."""
    for letters, output in zip(legal_next(string), outputs, strict=False):
        if {LETTERS[i] for i in np.argsort(output)[-len(letters) :]} != letters:
            return False
    return True


def draw(findings: Findings, path: Path) -> None:
    """The loss of both networks on each problem."""
    names = list(dict.fromkeys(name.rpartition("_")[0] for name in findings.series))
    with panels(path, len(names), (3.2, 3.0)) as axes:
        for axis, name in zip(axes, names, strict=True):
            lines = {
                {"lstm": "LSTM", "rnn": "vanilla"}[kind]: findings.series[f"{name}_{kind}"]
                for kind in ("lstm", "rnn")
                if f"{name}_{kind}" in findings.series
            }
            strings = name == "reber"
            y = "share of strings right" if strings else "loss"
            curves(axis, lines, title=name.replace("_", " "), x="updates / 100", y=y, log=False)
