"""Language modelling with a state that is carried through the text, in training as in use."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.text import TextEncoder, window_count, windows
from rnnzoo.data.source import Example
from rnnzoo.errors import DataError
from rnnzoo.tasks.baselines import Baseline, NGram
from rnnzoo.tasks.batches import Batch
from rnnzoo.tasks.evaluation import predict_whole, surprise
from rnnzoo.tasks.language import LanguageTask
from streaming.runtime.decoding import log_softmax
from streaming.runtime.tasks.schema import GeneratorSpec

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from streaming.runtime.model import StreamingModel

# Steps that are measured at a time, and those that are drawn.
_MEASURED, _DRAWN = 1024, 90


class GeneratorTask(LanguageTask):
    """Predicts the next token; gradients flow through a window, the state through the whole text."""

    topology = "generator"
    kinds = ("text",)
    windowed = True

    @classmethod
    def spec(cls, config: Any, encoder: TextEncoder) -> GeneratorSpec:
        return GeneratorSpec(start=False)

    def encode(self, example: Example) -> Arrays:
        return {"tokens": self.encoder.codec.encode(example[0])}

    def training_model(self, model: keras.Model, batch_size: int) -> keras.Model:
        from rnnzoo.tasks.carried import carried_twin

        return carried_twin(model, batch_size)

    def callbacks(self) -> list[keras.callbacks.Callback]:
        from rnnzoo.tasks.callbacks import FreshStates

        return [FreshStates()]

    def tokens(self, split: str) -> NDArray[Any]:
        """All tokens of a split, one text after the other, (N,)."""
        return np.concatenate([row["tokens"] for row in self.arrays(split)])

    def steps(self, split: str, batch_size: int) -> int:
        window, length = self.config.window, len(self.tokens(split))
        count = window_count(length, batch_size, window)
        if not count:
            raise DataError(
                f"split {split!r} has {length} tokens, fewer than {batch_size} rows of a window of {window}: "
                "lower training.batch_size or data.window"
            )
        return count

    def batches(
        self, split: str, batch_size: int, rng: np.random.Generator | None = None, skip: int = 0
    ) -> Iterator[tuple[NDArray[Any], Batch]]:
        """Windows in order; each training pass begins at another token."""
        window = self.config.window
        offset = 0 if rng is None else int(rng.integers(window))
        for i, (inputs, targets) in enumerate(windows(self.tokens(split), batch_size, window, offset)):
            if i >= skip:
                yield np.arange(batch_size), ({"tokens": inputs}, targets, np.ones(targets.shape, np.float32))

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        """Figures of one pass over the whole split without a reset of the state.

        Returns:
            `nats` a token, `bits_per_token`, `perplexity`, and the `count` of tokens.
        """
        from rnnzoo.tasks.carried import carried_twin

        twin, tokens = carried_twin(model, 1), self.tokens(split)
        parts = [tokens[i : i + _MEASURED] for i in range(0, len(tokens) - 1, _MEASURED)]
        logits = [predict_whole(twin, tokens=part) for part in parts]
        return self._score(tokens, np.concatenate(logits))

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """The bits of each token of the first ones."""
        from rnnzoo.tasks.drawing import draw_surprise

        tokens = self.tokens(split)[: _DRAWN + 1]
        bits = surprise(predict_whole(model, tokens=tokens[:-1]), tokens[1:])
        pieces = [self.encoder.labels[number] for number in tokens[1:]]
        return [draw_surprise(folder / "surprise.png", [(pieces, bits)])]

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        """The same figures of a single stream that is never reset."""
        tokens, stream = self.tokens(split), model.create_stream()
        return self._score(tokens, np.concatenate([np.asarray(stream.feed(tokens)), np.asarray(stream.finish())]))

    def baseline(self, split: str) -> Baseline:
        model = NGram(self.tokens("train"), len(self.encoder.labels))
        return Baseline(model.name, _figures(np.log(model.probabilities(self.tokens(split)))), model.numbers)

    def _score(self, tokens: NDArray[Any], logits: NDArray[Any]) -> dict[str, float]:
        rows = log_softmax(logits[: len(tokens) - 1].astype(np.float64))
        return _figures(rows[np.arange(len(rows)), tokens[1:]])

    def _signature(self, split: str) -> Any:
        import tensorflow as tf

        targets = tf.TensorSpec((None, None), tf.int32)
        return {"tokens": targets}, targets, tf.TensorSpec((None, None), tf.float32)


def _figures(chosen: NDArray[Any]) -> dict[str, float]:
    """Figures from the log probabilities of the tokens that came."""
    nats = float(-np.mean(chosen))
    return {
        "nats": nats,
        "bits_per_token": nats / float(np.log(2)),
        "perplexity": float(np.exp(nats)),
        "count": float(len(chosen)),
    }
