"""Translation, scored by BLEU; the device's code searches, also with a Keras model."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.batching import batch_indices, collate
from rnnzoo.data.encoders.pairs import PairEncoder
from rnnzoo.data.source import Example
from rnnzoo.tasks.baselines import Baseline, NearestText
from rnnzoo.tasks.bleu import bleu
from rnnzoo.tasks.evaluation import mean, predict_whole
from rnnzoo.tasks.labels import LabelTask
from streaming.errors import InputError
from streaming.runtime.codec import END, START
from streaming.runtime.decoding import Decoder, StepFunction, beam_searches
from streaming.runtime.tasks import SimultaneousTranslator, TranslatedWord, Translator
from streaming.runtime.tasks.schema import TranslatorSpec
from streaming.runtime.tasks.texts import BANNED
from streaming.runtime.tasks.translation import Turn, WaitK

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.data.config import PairsConfig
    from streaming.runtime.model import StreamingModel

# More than any text has pieces.
_LONGEST = 10_000
# Sentences whose attention is drawn.
_DRAWN = 3


class TranslatorTask(LabelTask):
    """Translations of texts: the model gives the logits of the next piece of the target."""

    topology = "translator"
    kinds = ("text-text",)
    decoder_input = "target"
    never_guessed = (*BANNED, END)
    encoder: PairEncoder

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: PairsConfig) -> PairEncoder:
        return PairEncoder.fit(train, config)

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> PairEncoder:
        return PairEncoder.from_files(files, config)

    @classmethod
    def spec(cls, config: Any, encoder: PairEncoder) -> TranslatorSpec:
        return TranslatorSpec(
            config.width,
            config.length_penalty,
            config.max_length,
            reverse_source=config.reverse_source,
            wait_k=config.wait_k,
            dataset=config.dataset,
        )

    @classmethod
    def conversion(cls, config: Any) -> dict[str, Any]:
        """The source is given whole; for simultaneous models, the window of attention covers the longest text."""
        if config.wait_k is not None:
            return {"attention_window": 2 * config.max_length}
        return {"encode": ["source"], "max_length": config.max_length, "batch_sizes": (1, config.width)}

    def encode(self, example: Example) -> Arrays:
        return self.encoder.encode(example)

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        """Figures of translations by a Keras model: by beam search or, for simultaneous models, greedily.

        Returns:
            `bleu` by sacreBLEU (cased, 13a), `count` of sentences, and with `wait_k` `average_lagging` in words.
        """
        if self.config.wait_k is not None:
            turns = [self._turns(text, self.config.wait_k) for text, _ in self.examples(split)]
            return self._score_simultaneous(split, _taken(model, turns, batch_size))
        return self.score(split, self.translate(model, [text for text, _ in self.examples(split)], batch_size))

    def translate(self, model: keras.Model, texts: Sequence[str], batch_size: int = 64) -> list[str]:
        """Translations of texts by a Keras model that reads its source whole, by beam search."""
        outputs = _searched(model, [self.encoder.read(text) for text in texts], self.config, batch_size)
        return [self.encoder.target.decode(tokens) for tokens in outputs]

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        texts = [text for text, _ in self.examples(split)]
        if self.config.wait_k is not None:
            simultaneous = self.streamed_task(model, SimultaneousTranslator)
            return self._score_simultaneous(split, [list(simultaneous.run([text])) for text in texts])
        return self.score(split, _translated(self.streamed_task(model, Translator), texts))

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """Draw the attention of some translations to a whole source; of other models the bits of pieces."""
        from rnnzoo.tasks.attentive import attention_model
        from rnnzoo.tasks.drawing import draw_alignments, draw_surprise

        attention = attention_model(model)
        if attention is None:
            return [draw_surprise(folder / "surprise.png", self.references(model, split, _DRAWN))]
        sources = sorted((self.encoder.read(text) for text, _ in self.examples(split)), key=len)
        middle = sources[len(sources) // 2 :][:_DRAWN]
        drawn = []
        for source, tokens in zip(middle, _searched(model, middle, self.config, 1), strict=True):
            written = np.array([START, *tokens], np.int32)
            weights = predict_whole(attention, source=source, target=written)
            pieces = [self.encoder.target.entries[number] for number in (*tokens, END)]
            drawn.append((pieces, [self.encoder.source.entries[number] for number in source], weights))
        return [draw_alignments(folder / "attention.png", drawn)]

    def baseline(self, split: str) -> Baseline:
        sources, targets = zip(*self.examples("train"), strict=True)
        memory = NearestText(sources)
        figures = self.score(split, [targets[memory.nearest(text)] for text, _ in self.examples(split)])
        return Baseline("translation of the nearest sentence", figures, memory.numbers)

    def score(self, split: str, written: Sequence[str]) -> dict[str, float]:
        """Figures of a translation of each example."""
        score, _ = bleu(written, [[target] for _, target in self.examples(split)])
        return {"bleu": score, "count": float(len(written))}

    def signature(self, split: str) -> str:
        return bleu([""], [[target] for _, target in self.examples(split)[:1]])[1]

    def _score_simultaneous(self, split: str, events: Sequence[Sequence[TranslatedWord]]) -> dict[str, float]:
        source = self.encoder.source
        words = [len(source.units(source.encode(text))) for text, _ in self.examples(split)]
        lags = [average_lagging([e.read for e in said], n) for said, n in zip(events, words, strict=True) if said]
        figures = self.score(split, [" ".join(event.word for event in said) for said in events])
        return {"bleu": figures["bleu"], "average_lagging": mean(np.array(lags)), "count": figures["count"]}

    def _turns(self, text: str, k: int) -> Turn:
        """All turns of the simultaneous translation of a text, as the device takes them."""
        source = self.encoder.source
        pace, words = WaitK(k, self.encoder.target, self.config.max_length), []
        for unit in source.units(source.encode(text)):
            words += yield from pace.read(unit)
        return words + (yield from pace.finish(END))

    def _chosen(self, split: str, size: int, rng: np.random.Generator | None) -> list[NDArray[Any]]:
        rows = self.arrays(split)
        # What the decoder computes costs most: batches are of like targets, and among those of like sources.
        lengths = np.array([len(row["target"]) * _LONGEST + len(row["source"]) for row in rows])
        return batch_indices(lengths, size, rng)


def _searched(
    model: keras.Model, sources: Sequence[NDArray[Any]], config: PairsConfig, batch_size: int
) -> list[tuple[int, ...]]:
    """The best translation of each source, by beam search over a Keras model."""
    from rnnzoo.tasks.translator.model import decoding_models

    encoder, decoder = decoding_models(model)
    translations: list[Any] = [None] * len(sources)
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
            translations[i] = hypothesis.tokens
    return translations


def _translated(task: Translator, texts: Sequence[str]) -> list[str]:
    """The translations of a file; of a source that it refuses, empty or longer than it takes, none."""
    encode = task.model.metadata.encode
    most = None if encode is None else encode.max_length
    taken: dict[int, NDArray[Any]] = {}
    for i, text in enumerate(texts):
        with contextlib.suppress(InputError):
            taken[i] = task.numbers(text)
    taken = {i: numbers for i, numbers in taken.items() if most is None or len(numbers) <= most}
    translations = [""] * len(texts)
    for i, best in zip(taken, task.search(list(taken.values())), strict=True):
        translations[i] = best[0].text
    return translations


def _step(decoder: keras.Model, source: NDArray[Any], fixed: list[NDArray[Any]]) -> StepFunction:
    """The step function of a decoder; a state is the number of its sentence in the batch, and the layers' states."""

    def step(states: Sequence[Any], tokens: NDArray[Any]) -> tuple[NDArray[Any], Sequence[Any]]:
        rows = np.array([row for row, _ in states])
        layers = [np.stack(parts) for parts in zip(*(parts for _, parts in states), strict=True)]
        target = tokens.astype(np.int32)[:, None]
        logits, *new = decoder.predict_on_batch([source[rows], target, *(part[rows] for part in fixed), *layers])
        return logits[:, 0], [(row, list(parts)) for row, *parts in zip(rows, *new, strict=True)]

    return step


def _taken(model: keras.Model, turns: Sequence[Turn], batch_size: int) -> list[list[TranslatedWord]]:
    """Simultaneous translations by a Keras model, which reads all that came before again at each turn."""
    import keras

    hidden = keras.Model(model.input, model.get_layer("readout_dropout").output)
    table = model.get_layer("target_embedding")
    translations: list[list[TranslatedWord]] = [[] for _ in turns]
    for begin in range(0, len(turns), batch_size):
        batch = turns[begin : begin + batch_size]
        steps: list[list[tuple[int, int]]] = [[] for _ in batch]
        answers: dict[int, Any] = dict.fromkeys(range(len(batch)))
        while True:
            for row, answer in list(answers.items()):
                try:
                    steps[row] = steps[row] + batch[row].send(answer)
                except StopIteration as end:
                    translations[begin + row] = end.value
                    del answers[row]
            if not answers:
                break
            lengths = np.array([len(taken) for taken in steps])
            # Of one of few lengths, so that a compiled model meets few shapes.
            given = np.zeros((2, len(batch), -(-lengths.max() // 8) * 8), np.int32)
            for row in np.flatnonzero(lengths):
                given[:, row, : lengths[row]] = np.transpose(steps[row])
            states = hidden.predict_on_batch(dict(zip(("source", "target"), given, strict=True)))
            logits = np.asarray(table(states[np.arange(len(batch)), lengths - 1], reverse=True))
            answers = {row: logits[row] for row in answers}
    return translations


def average_lagging(read: Sequence[int], source: int) -> float:
    """Average lagging: source words by which a translation lags behind an ideal one (Ma et al. 2019, equation 8).

        1 / tau sum over t <= tau of g(t) - (t - 1) |x| / |y|,   tau the first t with g(t) = |x|

    Args:
        read: g(t), the words read before word t of the translation was written, (|y|,).
        source: |x|, words of the source.
    """
    rate = source / len(read)
    until = next((t for t, n in enumerate(read, 1) if n >= source), len(read))
    return float(np.mean([n - t * rate for t, n in enumerate(read[:until])]))


def _listed(outputs: Any) -> list[NDArray[Any]]:
    return list(outputs) if isinstance(outputs, list | tuple) else [outputs]
