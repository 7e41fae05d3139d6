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
from streaming.runtime.codec import END, START
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
        return self._score(split, self.predict(model, split, batch_size), lambda: self.drawn(model))

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        """The same figures of a stream that is reset before each text."""
        task = self.streamed_task(model, Generator)
        return self._score(split, self.streamed(model, split), lambda: self.generated(task))

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """The bits of each token of the first texts."""
        from rnnzoo.tasks.drawing import draw_surprise

        texts = []
        for row in self.arrays(split)[:_DRAWN]:
            bits = surprise(predict_whole(model, tokens=row["tokens"]), row["targets"])
            texts.append(([self.encoder.labels[number] for number in row["targets"]], bits))
        return [draw_surprise(folder / "surprise.png", texts)]

    def baseline(self, split: str) -> Baseline:
        model = NGram(self.line("train"), len(self.encoder.labels))
        drawn = [self.chained(model, seed) for seed in range(self.config.samples)] if self.draws else []
        return Baseline(
            model.name, {**self.line_figures(model, split), **self.drawn_figures(drawn, split)}, model.numbers
        )

    def line(self, split: str) -> NDArray[Any]:
        """All texts of a split, (N,), each after a start token, and one more at the end."""
        return np.concatenate([*(row["tokens"] for row in self.arrays(split)), [START]])

    def line_figures(self, model: NGram, split: str) -> dict[str, float]:
        """`nats` and `count` of n-grams; to them, the start of the next text is the end of one."""
        line = self.line(split)
        return {"nats": float(-np.log(model.probabilities(line)).mean()), "count": float(len(line) - 1)}

    def streamed(self, model: StreamingModel, split: str) -> list[NDArray[Any]]:
        """Outputs of a stream that is reset before each text."""
        logits = []
        for row in self.arrays(split):
            stream = model.create_stream()
            logits.append(np.concatenate([np.asarray(stream.feed(row["tokens"])), np.asarray(stream.finish())]))
        return logits

    def nats(self, split: str, logits: Sequence[NDArray[Any]]) -> float:
        """The mean of -log P of the tokens of a split, ends included, by outputs (T, V) for each text."""
        scores = []
        for row, output in zip(self.arrays(split), logits, strict=True):
            targets = row["targets"]
            rows = log_softmax(output[: len(targets)].astype(np.float64))
            scores.append(rows[np.arange(len(targets)), targets])
        return -float(np.concatenate(scores).mean())

    def _score(self, split: str, logits: Sequence[NDArray[Any]], drawn: Callable[[], list[str]]) -> dict[str, float]:
        count = sum(len(row["targets"]) for row in self.arrays(split))
        made = self.drawn_figures(drawn() if self.draws else [], split)
        return {"nats": self.nats(split, logits), **made, "count": float(count)}

    @property
    def draws(self) -> bool:
        """Whether there are figures of texts that are drawn."""
        return bool(self.config.grammar != "none")

    def drawn_figures(self, drawn: Sequence[str], split: str) -> dict[str, float]:
        """Figures of texts that are drawn, where the grammar of the data has some."""
        return molecule_figures(drawn, {text for text, _ in self.examples("train")}) if self.draws else {}

    def chained(self, model: NGram, seed: int) -> str:
        """A text that n-grams draw; to them, the start of the next text is the end of one."""
        rng, ids = np.random.default_rng(seed), [START]
        never = [number for number in (*self.never_drawn, END) if number != START]
        while len(ids) <= self.config.max_length:
            chances = model.distribution(ids)
            chances[never] = 0
            token = int(rng.choice(len(chances), p=chances / chances.sum()))
            if token == START:
                break
            ids.append(token)
        return str(self.encoder.codec.text(ids))

    @property
    def never_drawn(self) -> tuple[int, ...]:
        """Tokens that a text never holds."""
        return BANNED

    def generated(self, task: Generator) -> list[str]:
        """The texts that the device draws for the figures."""
        return [task.generate(seed=seed) for seed in range(self.config.samples)]

    def drawn(self, model: keras.Model) -> list[str]:
        """The same from the Keras model."""
        return self.drawn_from(model, np.full(self.config.samples, START), range(self.config.samples))

    def drawn_from(self, model: keras.Model, starts: NDArray[Any], seeds: Sequence[int]) -> list[str]:
        """Texts after first tokens (N,), all at once, each with its seed, as the device draws them."""
        from rnnzoo.tasks.carried import carried_twin

        count, codec = len(starts), self.encoder.codec
        twin, sampling = carried_twin(model, count), Sampling(self.config.temperature, banned=self.never_drawn)
        rngs = [np.random.default_rng(seed) for seed in seeds]
        tokens, ended = starts.astype(np.int32), np.zeros(count, bool)
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
