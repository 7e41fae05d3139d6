"""Language modelling of sequences that each begin and end, with figures of what is drawn from the model."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.text import TextEncoder
from rnnzoo.data.source import Example
from rnnzoo.tasks.baselines import Baseline, NGram
from rnnzoo.tasks.evaluation import predict_whole, surprise
from rnnzoo.tasks.language import LanguageTask
from rnnzoo.tasks.sequence_generator.smiles import molecule_figures
from streaming.runtime.codec import END, PAD, START, UNKNOWN
from streaming.runtime.decoding import Sampling, log_softmax
from streaming.runtime.tasks import Generator
from streaming.runtime.tasks.schema import GeneratorSpec
from streaming.runtime.tasks.texts import BANNED

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from streaming.runtime.model import StreamingModel

# Texts that are drawn as pictures.
_DRAWN = 3


class SequenceGeneratorTask(LanguageTask):
    """Predicts the next token of a sequence; each begins with a fresh state and a start token, and has an end token."""

    topology = "sequence_generator"
    kinds = ("lines",)

    @classmethod
    def spec(cls, config: Any, encoder: TextEncoder) -> GeneratorSpec:
        return GeneratorSpec(temperature=config.temperature, max_length=config.max_length)

    def encode(self, example: Example) -> Arrays:
        ids = self.encoder.codec.encode(example[0])
        return {
            "tokens": np.concatenate([[START], ids]).astype(np.int32),
            "targets": np.concatenate([ids, [END]]).astype(np.int32),
        }

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        """Figures of the texts of a split, and of those that are drawn.

        Returns:
            `nats` a token, the end of a text counted as one, and what the grammar of the data counts in texts that are
            drawn, such as `valid`; `count` of tokens.
        """
        logits = self.predict(model, split, batch_size)
        return self._score(split, logits, lambda: self._drawn(model))

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        """The same figures of a stream that is reset before each text."""
        task = self.streamed_task(model, Generator)
        logits = []
        for row in self.arrays(split):
            stream = model.create_stream()
            parts = [np.asarray(stream.feed(row["tokens"])), np.asarray(stream.finish())]
            logits.append(np.concatenate(parts))
        return self._score(split, logits, lambda: [task.generate(seed=seed) for seed in range(self.config.samples)])

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """The bits of each token of the first texts."""
        from rnnzoo.tasks.drawing import draw_surprise

        texts = []
        for row in self.arrays(split)[:_DRAWN]:
            bits = surprise(predict_whole(model, tokens=row["tokens"]), row["targets"])
            texts.append(([self.encoder.labels[number] for number in row["targets"]], bits))
        return [draw_surprise(folder / "surprise.png", texts)]

    def baseline(self, split: str) -> Baseline:
        train = np.concatenate([row["tokens"] for row in self.arrays("train")])
        model = NGram(train, len(self.encoder.labels))
        line = np.concatenate([*(row["tokens"] for row in self.arrays(split)), [START]])
        nats = float(-np.log(model.probabilities(line)).mean())
        drawn = self.drawn_figures(lambda: [self._chained(model, seed) for seed in range(self.config.samples)])
        return Baseline(model.name, {"nats": nats, **drawn, "count": float(len(line) - 1)}, model.numbers)

    def _score(self, split: str, logits: Sequence[NDArray[Any]], drawn: Callable[[], list[str]]) -> dict[str, float]:
        total, count = 0.0, 0
        for row, output in zip(self.arrays(split), logits, strict=True):
            targets = row["targets"]
            scores = log_softmax(output[: len(targets)].astype(np.float64))
            total -= float(scores[np.arange(len(targets)), targets].sum())
            count += len(targets)
        return {"nats": total / count, **self.drawn_figures(drawn), "count": float(count)}

    def drawn_figures(self, drawn: Callable[[], list[str]]) -> dict[str, float]:
        """Figures of texts that are drawn, where the grammar of the data has some."""
        if self.config.grammar == "none":
            return {}
        return molecule_figures(drawn(), {text for text, _ in self.examples("train")})

    def _chained(self, model: NGram, seed: int) -> str:
        """A text that n-grams draw; to them, the start of the next text is the end of one."""
        rng, ids = np.random.default_rng(seed), [START]
        while len(ids) <= self.config.max_length:
            chances = model.distribution(ids)
            chances[[PAD, UNKNOWN, END]] = 0
            token = int(rng.choice(len(chances), p=chances / chances.sum()))
            if token == START:
                break
            ids.append(token)
        return str(self.encoder.codec.text(ids))

    def _drawn(self, model: keras.Model) -> list[str]:
        """The texts that the device draws with the seeds 0, 1, ..., from the Keras model, all at once."""
        from rnnzoo.tasks.carried import carried_twin

        count, codec = self.config.samples, self.encoder.codec
        twin, sampling = carried_twin(model, count), Sampling(self.config.temperature, banned=BANNED)
        rngs = [np.random.default_rng(seed) for seed in range(count)]
        tokens, ended = np.full(count, START, np.int32), np.zeros(count, bool)
        drawn: list[list[int]] = [[] for _ in rngs]
        for _ in range(self.config.max_length):
            logits = np.asarray(twin.predict_on_batch({"tokens": tokens[:, None]}))[:, 0]
            for i in np.flatnonzero(~ended):
                tokens[i] = sampling.draw(logits[i], rngs[i])
                ended[i] = tokens[i] == END
                drawn[i] += [] if ended[i] else [int(tokens[i])]
            if ended.all():
                break
        return [codec.text(ids) for ids in drawn]
