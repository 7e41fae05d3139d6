"""Labels without alignment: connectionist temporal classification (Graves et al. 2006)."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnnzoo.data.sets.optical_digits import pictures
from rnnzoo.layers import LSTM, Bidirectional, CTCLoss, ctc_greedy_decode
from rnnzoo.papers.experiments import Findings, Say
from rnnzoo.papers.learning import predictor, train
from rnnzoo.papers.pictures import panels
from rnnzoo.util.plots import COLOURS
from rnnzoo.util.ranges import Count, Size

# Pixels of a column and of a picture's width; digits, and with them the blank, 0.
_HEIGHT, _DIGITS = 8, 10
_BLANK, _LABELS = 0, _DIGITS + 1
_NOISE = 0.1


@dataclass(frozen=True)
class Budget:
    """How much is trained.

    Args:
        steps, symbols: of the sequences whose alignments are enumerated: symbols^steps of them, the blank among these.
        updates: of each network on strings of digits; 0: enumerate only.
        units: of each direction.
        longest: digits of a string, at most.
        gap: columns between two digits, at most.
        batch: strings of a batch.
        learning_rate: of Adam.
    """

    steps: Size = 5
    symbols: Size = 3
    updates: Count = 0
    units: Size = 32
    longest: Size = 4
    gap: Count = 4
    batch: Size = 32
    learning_rate: float = 0.01


def run(budget: Budget, seeds: tuple[int, ...], say: Say) -> Findings:
    """The loss against enumeration; error rates of strings by CTC and by labels of columns."""
    figures: dict[str, float | None] = {"enumeration": _enumeration_error(budget, seeds[0])}
    say(f"largest difference between the loss and the sum over all alignments: {figures['enumeration']:.1e}")
    series: dict[str, Any] = {}
    for method in ("ctc", "columns") if budget.updates else ():
        runs = [_learn(method, budget, seed) for seed in seeds]
        figures[f"error_{method}"] = float(np.mean([rate for rate, _ in runs]))
        series[method] = runs[0][1].tolist()
        say(f"{method}: label error rate {figures[f'error_{method}']:.1%}")
    if series:
        string = _strings(np.random.default_rng([seeds[0], 3]), 1, "test", budget)
        series["picture"], series["string"] = string.x[0].T.tolist(), string.text[0]
    return Findings(figures, series)


def enumerated(logits: NDArray[Any], label: Sequence[int]) -> float:
    """-log of the probability of a label (equation 3), by adding up all paths through logits (T, K)."""
    shares = np.exp(logits - logits.max(axis=-1, keepdims=True))
    shares /= shares.sum(axis=-1, keepdims=True)
    total, steps = 0.0, range(len(logits))
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        merged = [symbol for symbol, _ in itertools.groupby(path) if symbol != _BLANK]
        if merged == list(label):
            total += float(np.prod(shares[steps, path]))
    return -float(np.log(total))


def _enumeration_error(budget: Budget, seed: int) -> float:
    rng, loss = np.random.default_rng(seed), CTCLoss()
    symbols = list(range(1, budget.symbols))
    labels = [(a,) for a in symbols] + [(a, b) for a in symbols for b in symbols]
    logits = rng.normal(size=(len(labels), budget.steps, budget.symbols)).astype(np.float32)
    padded = np.array([(*label, _BLANK)[:2] for label in labels], np.int32)
    losses = loss.call(tf.constant(padded), tf.constant(logits)).numpy()
    truth = [enumerated(rows.astype(float), label) for rows, label in zip(logits, labels, strict=True)]
    return float(np.abs(losses - truth).max())


@dataclass(frozen=True)
class Strings:
    """Strings of digits as pictures, column by column.

    Args:
        x: columns (B, T, 8).
        labels: digit + 1, padded with the blank (B, L).
        columns: digit + 1 of each column, the blank between digits (B, T).
        text: the digits.
    """

    x: NDArray[np.float32]
    labels: NDArray[np.int32]
    columns: NDArray[np.int32]
    text: list[str]


_PICTURES: dict[str, tuple[NDArray[np.float32], NDArray[np.int32]]] = {}


def _strings(rng: np.random.Generator, count: int, split: str, budget: Budget) -> Strings:
    if split not in _PICTURES:
        _PICTURES[split] = pictures(split)
    images, digits = _PICTURES[split]
    steps = budget.longest * (_HEIGHT + budget.gap)
    x = np.zeros((count, steps, _HEIGHT), np.float32)
    labels, columns = np.zeros((count, budget.longest), np.int32), np.zeros((count, steps), np.int32)
    for i in range(count):
        at = 0
        for place in range(int(rng.integers(1, budget.longest, endpoint=True))):
            at += int(rng.integers(budget.gap, endpoint=True))
            which = int(rng.integers(len(digits)))
            x[i, at : at + _HEIGHT] = images[which].T
            labels[i, place] = columns[i, at : at + _HEIGHT] = digits[which] + 1
            at += _HEIGHT
    text = ["".join(str(label - 1) for label in row if label) for row in labels]
    return Strings(x + _NOISE * rng.normal(size=x.shape).astype(np.float32), labels, columns, text)


def _learn(method: str, budget: Budget, seed: int) -> tuple[float, NDArray[Any]]:
    """The label error rate on 500 strings of unseen digits, and the outputs (T, K) on one of them."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    inputs = keras.Input((None, _HEIGHT))
    both = Bidirectional(LSTM(budget.units, return_sequences=True))(inputs)
    model = keras.Model(inputs, keras.layers.Dense(_LABELS)(both))

    def draw(_: int) -> tuple[Any, Any]:
        made = _strings(rng, budget.batch, "train", budget)
        return made.x, made.labels if method == "ctc" else made.columns

    loss = CTCLoss() if method == "ctc" else keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    optimizer = keras.optimizers.Adam(budget.learning_rate, global_clipnorm=1.0)
    train(model, draw, loss=loss, optimizer=optimizer, updates=budget.updates)
    held = _strings(np.random.default_rng([seed, 2]), 500, "test", budget)
    # Two equal digits without a gap are one to a network that labels columns.
    predict = predictor(model)
    decoded = np.asarray(ctc_greedy_decode(predict(held.x))[0])
    said = ["".join(str(label - 1) for label in row if label > 0) for row in decoded]
    wrong = sum(edit_distance(one, text) for one, text in zip(said, held.text, strict=True))
    shown = predict(_strings(np.random.default_rng([seed, 3]), 1, "test", budget).x)[0]
    shares = np.exp(shown - shown.max(axis=-1, keepdims=True))
    return wrong / sum(map(len, held.text)), (shares / shares.sum(axis=-1, keepdims=True)).round(3)


def edit_distance(said: str, text: str) -> int:
    """Insertions, deletions and substitutions between two strings."""
    row = list(range(len(text) + 1))
    for i, letter in enumerate(said):
        before, row = row, [i + 1]
        for j, other in enumerate(text):
            row.append(min(before[j] + (letter != other), before[j + 1] + 1, row[-1] + 1))
    return row[-1]


def draw(findings: Findings, path: Path) -> None:
    """A string, and what both networks say at each column."""
    series = findings.series
    shown = [method for method in ("ctc", "columns") if method in series]
    with panels(path, 1, (6.4, 1.8), rows=1 + len(shown)) as axes:
        axes[0].grid(False)
        if "picture" in series:
            axes[0].imshow(series["picture"], cmap="gray_r", aspect="auto")
            axes[0].set(title=f"{series['string']}, column by column", yticks=[])
        else:
            axes[0].text(0.1, 0.5, f"loss against enumeration: {findings.figures['enumeration']:.1e}")
        for axis, method in zip(axes[1:], shown, strict=True):
            shares = np.array(series[method])
            axis.plot(shares[:, _BLANK], color="grey", lw=0.8, ls=":", label="blank")
            for digit in sorted(set(series["string"])):
                colour = COLOURS[int(digit) % len(COLOURS)]
                axis.plot(shares[:, int(digit) + 1], color=colour, label=digit)
            title = "trained by CTC" if method == "ctc" else "trained on the label of each column"
            axis.set(title=title, ylabel="probability", ylim=(-0.05, 1.05))
            axis.legend(frameon=False, fontsize=7, loc="center right")
