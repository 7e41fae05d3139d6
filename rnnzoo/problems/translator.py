"""A text for a text, scored by BLEU; searched for by the code of the device, also where Keras computes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from rnnzoo.data.batching import batch_indices, collate
from rnnzoo.data.datasets import Example
from rnnzoo.data.pairs import PairEncoder
from rnnzoo.errors import DataError
from rnnzoo.problems.labels import LabelProblem
from streaming.runtime.codec import END, START
from streaming.runtime.decoding import Decoder, StepFunction, beam_searches
from streaming.runtime.tasks import Translator, task_for
from streaming.runtime.tasks.texts import BANNED

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.data.config import PairsConfig
    from streaming.runtime.model import StreamingModel

# More than any text has pieces.
_LONGEST = 10_000


class TranslatorProblem(LabelProblem):
    """Source and target in, logits of the next piece of the target out."""

    topology = "translator"
    kinds = ("text-text",)
    encoder: PairEncoder

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: PairsConfig) -> PairEncoder:
        return PairEncoder.fit(train, config)

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> PairEncoder:
        return PairEncoder.from_files(files, config)

    @classmethod
    def task(cls, config: Any, encoder: PairEncoder) -> dict[str, Any]:
        found = {"kind": "translator", "width": config.width, "length_penalty": config.length_penalty}
        found |= {"max_length": config.max_length, "dataset": config.dataset}
        if config.wait_k is not None:
            return {**found, "wait_k": config.wait_k}
        return {**found, "reverse_source": True} if config.reverse_source else found

    @classmethod
    def conversion(cls, config: Any) -> dict[str, Any]:
        """The source is given whole; simultaneous, attention remembers as much as the longest text needs."""
        if config.wait_k is not None:
            return {"attention_window": 2 * config.max_length}
        return {"encode": ["source"], "max_length": config.max_length, "batch_sizes": (1, config.width)}

    def encode(self, example: Example) -> Arrays:
        return self.encoder.encode(example)

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        """Figures of the translations that a Keras model gives to a beam search, or simultaneously, greedily.

        Returns:
            `bleu` by sacreBLEU (cased, 13a), `count` of sentences, and with `wait_k` `average_lagging` in pieces.
        """
        sources = [self.encoder.read(text) for text, _ in self.examples(split)]
        found = _searched(model, sources, self.config, batch_size)
        return self.score(split, [self.encoder.target.decode(tokens) for tokens in found])

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        task: Any = task_for(model)
        if not isinstance(task, Translator):
            other = type(task).__name__.lower()
            raise DataError(f"data set {self.config.dataset!r} needs a translator; the model is a {other}")
        sources = [self.encoder.read(text) for text, _ in self.examples(split)]
        return self.score(split, [best[0].text for best in task.search(sources)])

    def score(self, split: str, written: Sequence[str]) -> dict[str, float]:
        """Figures of a translation of each example."""
        import sacrebleu

        found = sacrebleu.corpus_bleu(list(written), [[target for _, target in self.examples(split)]])
        return {"bleu": float(found.score), "count": float(len(written))}

    def _chosen(self, split: str, size: int, rng: np.random.Generator | None) -> list[np.ndarray]:
        rows = self.arrays(split)
        # What the decoder computes costs most: batches are of like targets, and among those of like sources.
        lengths = np.array([len(row["target"]) * _LONGEST + len(row["source"]) for row in rows])
        return batch_indices(lengths, size, rng)


def _searched(
    model: keras.Model, sources: Sequence[np.ndarray], config: PairsConfig, batch_size: int
) -> list[tuple[int, ...]]:
    """The best translation of each source, by beam search over a Keras model."""
    from rnnzoo.models.translator import decoding_models

    encoder, decoder = decoding_models(model)
    found: list[Any] = [None] * len(sources)
    for chosen in batch_indices(np.array([len(source) for source in sources]), batch_size, None):
        batch = collate([{"source": sources[i]} for i in chosen], {})["source"]
        given = _listed(encoder.predict_on_batch(batch))
        # The memory of attention is the same at each step of a sentence; states are not.
        fixed = len(given) - (len(decoder.outputs) - 1)
        step = _step(decoder, batch, given[:fixed])
        states = [(row, [state[row] for state in given[fixed:]]) for row in range(len(batch))]
        options: dict[str, Any] = {"width": config.width, "length_penalty": config.length_penalty, "banned": BANNED}
        best = beam_searches([Decoder(step, state) for state in states], START, END, config.max_length, **options)
        for i, (hypothesis, *_) in zip(chosen, best, strict=True):
            found[i] = hypothesis.tokens
    return found


def _step(decoder: keras.Model, source: np.ndarray, fixed: list[np.ndarray]) -> StepFunction:
    """The step function of a decoder; a state is the number of its sentence in the batch, and the layers' states."""

    def step(states: Sequence[Any], tokens: np.ndarray) -> tuple[np.ndarray, Sequence[Any]]:
        rows = np.array([row for row, _ in states])
        layers = [np.stack(parts) for parts in zip(*(parts for _, parts in states), strict=True)]
        target = tokens.astype(np.int32)[:, None]
        logits, *new = decoder.predict_on_batch([source[rows], target, *(part[rows] for part in fixed), *layers])
        return logits[:, 0], [(row, list(parts)) for row, *parts in zip(rows, *new, strict=True)]

    return step


def _listed(found: Any) -> list[np.ndarray]:
    return list(found) if isinstance(found, list | tuple) else [found]
