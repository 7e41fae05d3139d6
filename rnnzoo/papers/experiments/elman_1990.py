"""Structure in time found by predicting what comes next (Elman 1990)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.problems.structure import (
    PHONETICS,
    is_noun,
    lexicon,
    run_together,
    sentences,
    syllables,
    temporal_xor,
)
from rnnzoo.papers.experiments import Findings, Say
from rnnzoo.papers.learning import predictor, train
from rnnzoo.papers.networks import recurrent_layer
from rnnzoo.papers.pictures import panels
from rnnzoo.util.plots import COLOURS, curves
from rnnzoo.util.ranges import Count, Size

# Letters and errors that the picture shows.
_SHOWN = 24


@dataclass(frozen=True)
class Budget:
    """How much is trained; 0 updates leave an experiment out.

    Args:
        xor, letters, boundaries, words: updates of each network.
        units: of the networks on bits and letters.
        word_units: of those on words and run-together text.
        steps: of each piece of a sequence; gradients end at its first step.
        batch: pieces of a batch.
        learning_rate: of Adam.
    """

    xor: Count = 0
    letters: Count = 0
    boundaries: Count = 0
    words: Count = 0
    units: Size = 20
    word_units: Size = 50
    steps: Size = 36
    batch: Size = 16
    learning_rate: float = 0.01


@dataclass(frozen=True)
class Trained:
    """A network that predicts, and what it says on a sequence that it has not seen.

    Args:
        outputs: prediction of the next step (T - 1, K).
        hidden: its states (T - 1, U).
    """

    outputs: NDArray[Any]
    hidden: NDArray[Any]


def run(budget: Budget, seeds: tuple[int, ...], say: Say) -> Findings:
    """Run the experiments that have updates; figures are means over the seeds."""
    experiments = {"xor": _xor, "letters": _letters, "boundaries": _boundaries, "words": _words}
    figures: dict[str, float | None] = {}
    series: dict[str, Any] = {}
    for name, experiment in experiments.items():
        if not getattr(budget, name):
            continue
        runs = [experiment(budget, seed) for seed in seeds]
        figures |= {key: float(np.mean([one[0][key] for one in runs])) for key in runs[0][0]}
        series |= runs[0][1]
        say(f"{name}: " + ", ".join(f"{key} {figures[key]:.3f}" for key in runs[0][0]))
    return Findings(figures, series)


Found = tuple[dict[str, float], dict[str, Any]]


def _xor(budget: Budget, seed: int) -> Found:
    """Squared error of the bit that is the exclusive or of the two before, and of those that are chance."""
    rng = np.random.default_rng(seed)
    bits = temporal_xor(rng, 3000)[:, None]
    held = temporal_xor(rng, 1201)[:, None]
    trained = _predict_next(bits, held, budget.xor, budget.units, budget, seed)
    errors = ((trained.outputs - held[1:]) ** 2)[:, 0]
    by_place = [float(errors[place::3].mean()) for place in (1, 2, 0)]
    cycle = [float(errors[place::12].mean()) for place in range(12)]
    return {"xor_third": by_place[0], "xor_others": float(np.mean(by_place[1:]))}, {"xor": cycle}


def _letters(budget: Budget, seed: int) -> Found:
    """Error of consonants, which are chance, and of the vowels that follow; by the bits that say consonant."""
    rng = np.random.default_rng(seed)
    text, held = syllables(rng, 1000), syllables(rng, 300)
    rows, held_rows = (np.array([PHONETICS[letter] for letter in one], np.float32) for one in (text, held))
    trained = _predict_next(rows, held_rows, budget.letters, budget.units, budget, seed)
    squares = (trained.outputs - held_rows[1:]) ** 2
    errors, vowels = np.sqrt(squares.mean(axis=1)), held_rows[1:, 1] == 1
    series = {"letters": errors[:_SHOWN].tolist(), "letters_text": held[1 : _SHOWN + 1]}
    figures = {
        "letters_consonants": float(errors[~vowels].mean()),
        "letters_vowels": float(errors[vowels].mean()),
        "letters_consonant_bit": float(np.sqrt(squares[~vowels, 0].mean())),
    }
    return figures, series


def _boundaries(budget: Budget, seed: int) -> Found:
    """Error of first letters of words and of the others, in text without spaces."""
    rng = np.random.default_rng(seed)
    text, _ = run_together(sentences(rng, 1500))
    held, begins = run_together(sentences(rng, 300))
    known = sorted(set(text + held))
    rows, held_rows = (_one_hot([known.index(letter) for letter in one], len(known)) for one in (text, held))
    trained = _predict_next(rows, held_rows, budget.boundaries, budget.word_units, budget, seed, "softmax")
    errors = -np.log(np.maximum((trained.outputs * held_rows[1:]).sum(axis=1), 1e-9))
    starts = begins[1:]
    # How often a first letter has a larger error than another one, the area under the curve of a detector.
    order = errors.argsort().argsort() + 1
    area = (order[starts].sum() - starts.sum() * (starts.sum() + 1) / 2) / (starts.sum() * (~starts).sum())
    figures = {
        "boundary_first": float(errors[starts].mean()),
        "boundary_later": float(errors[~starts].mean()),
        "boundary_area": float(area),
    }
    return figures, {"boundaries": errors[:_SHOWN].tolist(), "boundaries_text": held[1 : _SHOWN + 1]}


def _words(budget: Budget, seed: int) -> Found:
    """Whether the mean hidden states of words fall into nouns and verbs."""
    rng = np.random.default_rng(seed)
    known = lexicon()
    text, held = ([known.index(word) for line in sentences(rng, count) for word in line] for count in (4000, 1500))
    rows, held_rows = _one_hot(text, len(known)), _one_hot(held, len(known))
    trained = _predict_next(rows, held_rows, budget.words, budget.word_units, budget, seed, "softmax")
    read = np.array(held[:-1])
    means = np.array([trained.hidden[read == word].mean(axis=0) for word in range(len(known))])
    nouns = np.array([is_noun(word) for word in known])
    # The words themselves are one-hot, at equal distances: what the two sides share was learned.
    groups = _two_groups(means)
    agreement = float(max((groups == nouns).mean(), (groups != nouns).mean()))
    centred = means - means.mean(axis=0)
    plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    return {"words_split": agreement}, {"words": plane.tolist(), "words_known": known}


def _two_groups(rows: NDArray[Any]) -> NDArray[np.bool_]:
    """The two groups that average linkage leaves, the last step of the tree that the paper draws."""
    groups = [[i] for i in range(len(rows))]
    distances = np.linalg.norm(rows[:, None] - rows[None], axis=-1)
    while len(groups) > 2:
        pairs = [(distances[np.ix_(a, b)].mean(), i, j) for i, a in enumerate(groups) for j, b in enumerate(groups[:i])]
        _, i, j = min(pairs)
        groups[j] += groups.pop(i)
    return np.isin(np.arange(len(rows)), groups[0])


def _one_hot(numbers: list[int], width: int) -> NDArray[np.float32]:
    return np.eye(width, dtype=np.float32)[numbers]


def _predict_next(
    rows: NDArray[Any],
    held: NDArray[Any],
    updates: int,
    units: int,
    budget: Budget,
    seed: int,
    activation: str = "sigmoid",
) -> Trained:
    """Train an Elman network to predict the next row, and run it over a sequence that it has not seen.

    Args:
        rows: (N, K) of 0 and 1, of which each batch holds random pieces.
        held: (T, K).
        updates: of the training.
        units: U.
        budget: its pieces and its rate.
        seed: of weights and pieces.
        activation: of the output: sigmoid for bits, softmax for one of K.
    """
    keras.utils.set_random_seed(seed)
    rng, width = np.random.default_rng([seed, 2]), rows.shape[1]
    inputs = keras.Input((None, width))
    hidden = recurrent_layer("rnn", units, seed=seed, return_sequences=True)(inputs)
    outputs = keras.layers.Dense(width, activation)(hidden)
    model = keras.Model(inputs, outputs)

    def draw(_: int) -> tuple[Any, Any]:
        starts = rng.integers(0, len(rows) - budget.steps - 1, budget.batch)
        pieces = rows[starts[:, None] + np.arange(budget.steps + 1)]
        return pieces[:, :-1], pieces[:, 1:]

    losses = keras.losses
    loss = losses.BinaryCrossentropy() if activation == "sigmoid" else losses.CategoricalCrossentropy()
    optimizer = keras.optimizers.Adam(budget.learning_rate, global_clipnorm=1.0)
    train(model, draw, loss=loss, optimizer=optimizer, updates=updates)
    both = predictor(keras.Model(inputs, keras.layers.Concatenate()([outputs, hidden])))(held[None, :-1])[0]
    return Trained(both[:, :width], both[:, width:])


def draw(findings: Findings, path: Path) -> None:
    """The error over time of each experiment, and the words in the plane of their states."""
    series = findings.series
    titles = {
        "xor": ("Temporal XOR", "bit, modulo 12", "squared error"),
        "letters": ("ba, dii, guuu", "", "error"),
        "boundaries": ("Words run together", "", "nats"),
    }
    shown = [name for name in titles if name in series]
    with panels(path, len(shown) + ("words" in series), (3.5, 2.7)) as axes:
        for axis, name in zip(axes, shown, strict=False):
            title, x, y = titles[name]
            curves(axis, {name: series[name]}, title=title, x=x, y=y, log=False, legend=False)
            if text := series.get(f"{name}_text"):
                axis.set_xticks(range(len(text)), list(text))
        if "words" in series:
            for word, (x_value, y_value) in zip(series["words_known"], series["words"], strict=True):
                colour = COLOURS[0] if is_noun(word) else COLOURS[1]
                axes[-1].plot(x_value, y_value, ".", color=colour)
                axes[-1].annotate(word, (x_value, y_value), fontsize=6, color=colour)
            axes[-1].set(title="Mean states of words (blue: nouns)", xticks=[], yticks=[])
