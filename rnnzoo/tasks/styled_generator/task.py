"""Language modelling of texts whose style is told by their first token, with figures of what is drawn in each style."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from rnnzoo.data.encoders.text import TextEncoder
from rnnzoo.data.source import Example
from rnnzoo.tasks.baselines import Baseline, NGram
from rnnzoo.tasks.sequence_generator.task import SequenceGeneratorTask
from rnnzoo.tasks.styled_generator.styles import StyleJudge, style_numbers
from streaming.runtime.codec import START, TextCodec
from streaming.runtime.tasks import Generator
from streaming.runtime.tasks.schema import GeneratorSpec
from streaming.runtime.tasks.texts import style_entry

if TYPE_CHECKING:
    import keras

    from rnnzoo.data.batching import Arrays
    from streaming.runtime.model import StreamingModel


class StyledGeneratorTask(SequenceGeneratorTask):
    """Predicts the next token; the first is that of the style, or the start token where none is told."""

    topology = "styled_generator"
    kinds = ("styled-lines",)

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: Any) -> TextEncoder:
        codec = super().fit_encoder(train, config).codec
        entries = [style_entry(style) for style in dict.fromkeys(style for _, style in train)]
        return TextEncoder(TextCodec((*codec.entries, *entries), codec.kind, codec.merges, codec.lower))

    @classmethod
    def spec(cls, config: Any, encoder: TextEncoder) -> GeneratorSpec:
        return GeneratorSpec(
            temperature=config.temperature, max_length=config.max_length, styles=tuple(style_numbers(encoder))
        )

    @property
    def styles(self) -> dict[str, int]:
        """The token of each style."""
        return style_numbers(self.encoder)

    def encode(self, example: Example) -> Arrays:
        row = super().encode(example)
        # A style that no text of the training split has is not told.
        row["tokens"][0] = self.styles.get(example[1], START)
        return row

    def augment(self, row: Arrays, rng: np.random.Generator) -> Arrays:
        """The text, sometimes without its style."""
        if rng.random() >= self.config.hidden:
            return row
        return {**row, "tokens": np.concatenate([[START], row["tokens"][1:]]).astype(np.int32)}

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        """Figures of the texts of a split, and of those that are drawn in each style.

        Returns:
            `nats` a token, the end of a text counted as one; `unstyled_nats`, where the style is not told; of drawn
            texts what `StyleJudge` counts, and the same of the texts of the split, as `true_...`; `count` of tokens.
        """
        plain = self.without_styles(split)
        figures = super().evaluate(model, split, batch_size)
        return {**figures, "unstyled_nats": plain.nats(split, plain.predict(model, split, batch_size))}

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        plain = self.without_styles(split)
        figures = super().evaluate_stream(model, split, reset)
        return {**figures, "unstyled_nats": plain.nats(split, plain.streamed(model, split))}

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """The bits of each token of the first texts, and in which styles drawn texts are recognized."""
        from rnnzoo.tasks.drawing import draw_confusion

        asked, found = self._asked(), self._judge.styles(self.drawn(model))
        return [*super().draw(model, split, folder), draw_confusion(folder / "styles.png", asked, found)]

    def baseline(self, split: str) -> Baseline:
        """6-grams that know no style, and to draw, those of the texts of each style."""
        plain = self.without_styles("train", split)
        model = NGram(plain.line("train"), len(self.encoder.labels))
        own = {
            style: NGram(self._only(style).line("train"), len(self.encoder.labels), model.order)
            for style in self.styles
        }
        drawn = [self.chained(own[style], seed) for style in self.styles for seed in range(self.config.samples)]
        figures = plain.line_figures(model, split)
        figures = {**figures, **self._judge.figures(drawn, self._asked())}
        return Baseline(f"{model.name}; of each style to draw", figures, model.numbers)

    @property
    def draws(self) -> bool:
        return True

    def drawn(self, model: keras.Model) -> list[str]:
        starts = np.repeat(list(self.styles.values()), self.config.samples)
        return self.drawn_from(model, starts, list(range(self.config.samples)) * len(self.styles))

    def generated(self, task: Generator) -> list[str]:
        return [task.generate(style=style, seed=seed) for style in self.styles for seed in range(self.config.samples)]

    def drawn_figures(self, drawn: Sequence[str], split: str) -> dict[str, float]:
        texts, styles = zip(*self.examples(split), strict=True)
        true = self._judge.figures(texts, styles)
        beside = {f"true_{name}": value for name, value in true.items()}
        return {**self._judge.figures(drawn, self._asked()), **beside}

    @property
    def never_drawn(self) -> tuple[int, ...]:
        return (*super().never_drawn, *self.styles.values())

    def without_styles(self, *splits: str) -> Self:
        """The same texts of some splits, whose styles are not told."""
        return self._sibling({split: [(text, None) for text, _ in self.examples(split)] for split in splits})

    def _only(self, style: str) -> Self:
        return self._sibling({"train": [(text, None) for text, other in self.examples("train") if other == style]})

    def _sibling(self, splits: dict[str, list[Example]]) -> Self:
        return type(self)(self.config, self.encoder, splits, self.seed)

    def _asked(self) -> list[str]:
        """The style of each text that is drawn."""
        return [style for style in self.styles for _ in range(self.config.samples)]

    @functools.cached_property
    def _judge(self) -> StyleJudge:
        texts, styles = zip(*self.examples("train"), strict=True)
        return StyleJudge(texts, styles)
