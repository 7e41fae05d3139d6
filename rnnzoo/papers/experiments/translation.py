"""Encoder-decoders by length of the sentence (Cho et al. 2014, Sutskever et al. 2014, Bahdanau et al. 2015)."""

from __future__ import annotations

import contextlib
import hashlib
import io
import itertools
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras
import numpy as np

from rnnzoo.data.source import Source
from rnnzoo.papers.experiments import Findings, Say
from rnnzoo.papers.pictures import panels
from rnnzoo.registry.names import find_config
from rnnzoo.runs.building import build_model, load_task
from rnnzoo.runs.config import ExperimentConfig, dump_config, load_config
from rnnzoo.runs.experiment import run_experiment
from rnnzoo.runs.store import Run, load_run
from rnnzoo.tasks.attentive import attention_model
from rnnzoo.tasks.bleu import bleu
from rnnzoo.tasks.evaluation import predict_whole
from rnnzoo.tasks.translator.task import TranslatorTask
from rnnzoo.training import fit
from rnnzoo.util.cache import cache_root
from rnnzoo.util.plots import COLOURS
from rnnzoo.util.ranges import Count, Size
from streaming.runtime.codec import START

# Name -> configuration of the zoo, and whether the source is reversed.
MODELS = {
    "cho": ("translate-en-de-cho", False),
    "bahdanau": ("translate-en-de-bahdanau", False),
    "forwards": ("translate-en-de-sutskever", False),
    "reversed": ("translate-en-de-sutskever", True),
}
_TITLES = {
    "cho": "one vector (Cho)",
    "bahdanau": "attention (Bahdanau)",
    "forwards": "LSTM, source as it is",
    "reversed": "LSTM, source reversed (Sutskever)",
}
# Sentences of the same words and others, as figure 2 of Sutskever et al. has them, in the words of Multi30k.
_SENTENCES = (
    "A man looks at a dog.",
    "A dog looks at a man.",
    "A man watches a dog.",
    "A dog watches a man.",
    "A woman looks at a child.",
    "A child looks at a woman.",
)
# The sentence whose attention is drawn.
_ALIGNED = "A man in a red shirt is looking at two dogs near the water."
# Words of the groups of the picture, each from one to below the next.
_EDGES = (1, 9, 11, 13, 15, 18, 60)


@dataclass(frozen=True)
class Budget:
    """How much is trained.

    Args:
        models: of `MODELS`; the trained ones are kept in the cache, and papers share them.
        made_up: sentences of made-up words in place of Multi30k, whose translation is a word for each word; 0: none.
        examples: of the training split of Multi30k.
        epochs, units, token_size, vocabulary, learning_rate, dropout: as in a configuration of the zoo.
        short, long: source words up to which a sentence is short, and from which on it is long.
    """

    models: tuple[str, ...] = tuple(MODELS)
    made_up: Count = 0
    examples: Size = 15000
    epochs: Size = 6
    units: Size = 128
    token_size: Size = 96
    vocabulary: Size = 2000
    learning_rate: float = 0.004
    dropout: float = 0.2
    short: Size = 10
    long: Size = 16


def run(budget: Budget, seeds: tuple[int, ...], say: Say) -> Findings:
    """BLEU of each model on test2016, and on its short and long sentences."""
    figures: dict[str, float | None] = {}
    series: dict[str, Any] = {"models": list(budget.models), "kept": {}}
    for name in budget.models:
        task, trained, is_kept = _trained(name, budget, seeds[0], say)
        if is_kept:
            series["kept"][name] = trained.metrics["made"]["commit"]
        sources, references = zip(*task.examples("test"), strict=True)
        written = task.translate(trained.model, sources)
        lengths = np.array([len(text.split()) for text in sources])
        chosen = (lengths > 0, lengths <= budget.short, lengths >= budget.long)
        whole, short, long = (_score(written, references, one) for one in chosen)
        figures |= {name: whole, f"{name}_short": short, f"{name}_long": long, f"{name}_kept": long / max(short, 1e-9)}
        groups = [(lengths >= a) & (lengths < b) for a, b in itertools.pairwise(_EDGES)]
        groups = [group for group in groups if group.any()]
        series["lengths"] = [float(lengths[group].mean()) for group in groups]
        series[name] = [_score(written, references, group) for group in groups]
        say(f"{name}: BLEU {whole:.1f}; short {short:.1f}, long {long:.1f}")
        if name == "reversed" and not budget.made_up:
            series["states"] = _plane(trained)
        if name == "bahdanau" and not budget.made_up:
            series["alignment"] = _alignment(trained, task.translate(trained.model, [_ALIGNED])[0])
    return Findings(figures, series)


def _score(written: Sequence[str], references: Sequence[str], chosen: Any) -> float:
    places = np.flatnonzero(chosen)
    return bleu([written[i] for i in places], [[references[i]] for i in places])[0]


def _trained(name: str, budget: Budget, seed: int, say: Say) -> tuple[Any, Run, bool]:
    """The task and the run of a model, and whether it was trained before; made-up sentences are not kept."""
    config_name, backwards = MODELS[name]
    config = load_config(
        find_config(config_name),
        [
            f"seed={seed}",
            f"data.limit={budget.examples}",
            f"data.vocabulary={budget.vocabulary}",
            f"data.reverse_source={str(backwards).lower()}",
            f"model.units={budget.units}",
            f"model.token_size={budget.token_size}",
            f"model.dropout={budget.dropout}",
            f"training.epochs={budget.epochs}",
            f"training.learning_rate={budget.learning_rate}",
        ],
    )
    if budget.made_up:
        return *_learn_made_up(config, budget.made_up), False
    folder = cache_root() / "papers" / f"{name}-{hashlib.sha256(dump_config(config).encode()).hexdigest()[:12]}"
    is_kept = folder.is_dir()
    if not is_kept:
        folder.parent.mkdir(parents=True, exist_ok=True)
        run_experiment(config, folder)
    say(f"{name}: {folder}")
    trained = load_run(folder)
    return load_task(trained.config, trained.encoder), trained, is_kept


def _learn_made_up(config: ExperimentConfig, count: int) -> tuple[Any, Run]:
    rng = np.random.default_rng(config.seed)
    words = {f"w{letter}": f"v{letter}" for letter in "abcdefgh"}

    def pairs(many: int) -> list[tuple[str, str]]:
        lines = [rng.choice(list(words), rng.integers(2, 13)) for _ in range(many)]
        return [(" ".join(line), " ".join(words[word] for word in line)) for line in lines]

    source = Source("text-text", {"train": pairs(count), "dev": pairs(20), "test": pairs(200)})
    task: Any = TranslatorTask.from_source(source, config.data, seed=config.seed)
    model = build_model(config, task.encoder)
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        fit(model, task, config.training, seed=config.seed, run_dir=Path(folder))
    return task, Run(Path(), config, model, task.encoder, {})


def _plane(trained: Run) -> list[dict[str, Any]]:
    """Sentences in the plane of the two largest components of the last states of the encoder."""
    last = [layer for layer in trained.model.layers if layer.name.startswith("state_")]
    encoder = keras.Model(trained.model.input["source"], [layer.output for layer in last])
    rows = []
    for text in _SENTENCES:
        source = trained.encoder.read(text)[None]
        rows.append(np.concatenate([np.ravel(state) for state in keras.tree.flatten(encoder(source))]))
    centred = np.array(rows) - np.mean(rows, axis=0)
    plane = centred @ np.linalg.svd(centred, full_matrices=False)[2][:2].T
    return [{"text": text, "x": float(x), "y": float(y)} for text, (x, y) in zip(_SENTENCES, plane, strict=True)]


def _alignment(trained: Run, written: str) -> dict[str, Any]:
    """Weights of attention (T, S) of a sentence and its translation."""
    attention = attention_model(trained.model)
    source = trained.encoder.read(_ALIGNED)
    target = np.array([START, *trained.encoder.target.encode(written)], np.int32)
    weights = predict_whole(attention, source=source, target=target)
    return {
        "read": [trained.encoder.source.entries[number] for number in source],
        "written": [*(trained.encoder.target.entries[number] for number in target[1:]), ""],
        "weights": np.asarray(weights).round(3).tolist(),
    }


def draw(findings: Findings, path: Path) -> None:
    """BLEU by length, and the states or the alignment of sentences where a model has them."""
    series = findings.series
    more = [name for name in ("states", "alignment") if name in series]
    with panels(path, 1 + len(more), (5.0, 4.2)) as axes:
        for i, name in enumerate(series["models"]):
            axes[0].plot(series["lengths"], series[name], "o-", color=COLOURS[i], label=_TITLES[name])
        axes[0].set(title="Multi30k, English to German", xlabel="words of the source", ylabel="BLEU")
        axes[0].legend(frameon=False, fontsize=8)
        for axis, name in zip(axes[1:], more, strict=True):
            if name == "states":
                for one in series[name]:
                    axis.plot(one["x"], one["y"], "o", color=COLOURS[0])
                    axis.annotate(one["text"], (one["x"], one["y"]), fontsize=7)
                axis.set(title="Last states of the encoder, two components")
            else:
                alignment = series[name]
                axis.grid(False)
                axis.imshow(alignment["weights"], cmap="gray_r", aspect="auto")
                axis.set_xticks(range(len(alignment["read"])), alignment["read"], rotation=90, fontsize=7)
                axis.set_yticks(range(len(alignment["written"])), alignment["written"], fontsize=7)
                axis.set(title="Weights of attention")
