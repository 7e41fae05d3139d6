"""Both directions against each alone and against a merged pair (Schuster & Paliwal 1997)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.config import WordsConfig
from rnnzoo.data.source import read_source
from rnnzoo.layers import LSTM, Bidirectional
from rnnzoo.papers.experiments import Findings, Say
from rnnzoo.papers.learning import predictor, train
from rnnzoo.papers.pictures import panels
from rnnzoo.util.plots import COLOURS
from rnnzoo.util.ranges import Count, Size

_DATASET = "universal_dependencies/en_ewt"
KINDS = ("forward", "backward", "both")
_TITLES = {"both": "bidirectional", "merged": "merged pair"}
# Numbers of padding and of unknown words.
_PAD, _UNKNOWN = 0, 1


@dataclass(frozen=True)
class Budget:
    """How much is trained.

    Args:
        kinds: networks; the merged pair needs both directions.
        sentences: of the training split; 0: sentences of made-up words, whose tags hang on both neighbours.
        tested: sentences of the test split; 0: all.
        updates: of each network.
        units: of both networks with one direction; each direction of the bidirectional one has half of them.
        word_size: of the embedding.
        words: in the vocabulary.
        longest: words of a sentence; longer ones are cut.
        batch: sentences of a batch.
        learning_rate: of Adam.
    """

    kinds: tuple[str, ...] = KINDS
    sentences: Count = 0
    tested: Count = 0
    updates: Size = 200
    units: Size = 64
    word_size: Size = 64
    words: Size = 5000
    longest: Size = 40
    batch: Size = 32
    learning_rate: float = 0.005


@dataclass(frozen=True)
class Tagged:
    """Sentences as numbers.

    Args:
        x: words (N, T), 0 where there is none.
        y: tags (N, T).
    """

    x: NDArray[np.int32]
    y: NDArray[np.int32]


def run(budget: Budget, seeds: tuple[int, ...], say: Say) -> Findings:
    """Accuracy of each network and of a merged pair, which multiplies what both directions say (section II.C)."""
    learned, held, tags = _sentences(budget, seeds[0])
    merged = {"forward", "backward"} <= set(budget.kinds)
    shares: dict[str, list[float]] = {name: [] for name in (*budget.kinds, *(["merged"] if merged else []))}
    for seed in seeds:
        logs = {kind: _learn(kind, learned, held, tags, budget, seed) for kind in budget.kinds}
        if merged:
            logs["merged"] = logs["forward"] + logs["backward"]
        real = held.x != _PAD
        for name, values in logs.items():
            shares[name].append(float((values.argmax(-1) == held.y)[real].mean()))
        say(f"seed {seed}: " + ", ".join(f"{name} {values[-1]:.2%}" for name, values in shares.items()))
    return Findings({name: float(np.mean(values)) for name, values in shares.items()}, {"shares": shares})


def _sentences(budget: Budget, seed: int) -> tuple[Tagged, Tagged, int]:
    """Sentences to learn from and to test on, and the number of tags."""
    if not budget.sentences:
        rng = np.random.default_rng(seed)
        return _made_up(rng, 2000), _made_up(rng, 200), 4
    splits = read_source(WordsConfig(dataset=_DATASET)).splits
    training, test = splits["train"][: budget.sentences], splits["test"][: budget.tested or None]
    counts = Counter(word.lower() for words, _ in training for word in words)
    known = {word: i + 2 for i, (word, _) in enumerate(counts.most_common(budget.words - 2))}
    tags = {tag: i for i, tag in enumerate(sorted({tag for _, labels in training for tag in labels}))}

    def numbers(examples: Sequence[Any]) -> Tagged:
        x = np.zeros((len(examples), budget.longest), np.int32)
        y = np.zeros_like(x)
        for i, (words, labels) in enumerate(examples):
            pairs = list(zip(words, labels, strict=True))[: budget.longest]
            x[i, : len(pairs)] = [known.get(word.lower(), _UNKNOWN) for word, _ in pairs]
            y[i, : len(pairs)] = [tags.get(label, 0) for _, label in pairs]
        return Tagged(x, y)

    return numbers(training), numbers(test), len(tags)


def _made_up(rng: np.random.Generator, count: int) -> Tagged:
    """Two words by chance; a tag says which stand before and after."""
    x = rng.integers(2, 4, (count, 8)).astype(np.int32)
    before, after = np.pad(x, ((0, 0), (1, 0)))[:, :-1], np.pad(x, ((0, 0), (0, 1)))[:, 1:]
    return Tagged(x, (2 * (before == 2) + (after == 2)).astype(np.int32))


def _learn(kind: str, learned: Tagged, held: Tagged, tags: int, budget: Budget, seed: int) -> NDArray[Any]:
    """Log probabilities (N, T, K) of a network on the test sentences."""
    keras.utils.set_random_seed(seed)
    rng = np.random.default_rng(seed)
    inputs = keras.Input((None,), dtype="int32")
    x = keras.layers.Embedding(budget.words, budget.word_size, mask_zero=True)(inputs)
    both = kind == "both"
    layer = LSTM(budget.units // 2 if both else budget.units, return_sequences=True, go_backwards=kind == "backward")
    x = (Bidirectional(layer) if both else layer)(x)
    if kind == "backward":
        x = keras.ops.flip(x, axis=1)
    model = keras.Model(inputs, keras.layers.Dense(tags)(x))
    entropy = keras.losses.SparseCategoricalCrossentropy(from_logits=True, reduction="none")

    def loss(y: Any, logits: Any) -> Any:
        real = keras.ops.cast(y >= 0, "float32")
        return keras.ops.sum(entropy(keras.ops.maximum(y, 0), logits) * real) / keras.ops.sum(real)

    def draw(_: int) -> tuple[Any, Any]:
        chosen = rng.integers(0, len(learned.x), budget.batch)
        x, y = learned.x[chosen], learned.y[chosen]
        longest = int((x != _PAD).sum(axis=1).max())
        return x[:, :longest], np.where(x != _PAD, y, -1)[:, :longest]

    optimizer = keras.optimizers.Adam(budget.learning_rate, global_clipnorm=1.0)
    train(model, draw, loss=loss, optimizer=optimizer, updates=budget.updates)
    logits = predictor(model)(held.x)
    shifted = logits - logits.max(axis=-1, keepdims=True)
    return shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))


def draw(findings: Findings, path: Path) -> None:
    """The accuracy of each network, a dot for each seed."""
    shares = findings.series["shares"]
    with panels(path) as (axis,):
        for i, values in enumerate(shares.values()):
            axis.plot([i] * len(values), [100 * value for value in values], "o", color=COLOURS[i])
        axis.set_xticks(range(len(shares)), [_TITLES.get(name, name) for name in shares])
        axis.set(title="Tagging", ylabel="accuracy, %")
