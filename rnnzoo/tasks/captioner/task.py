"""A text for a picture, scored by BLEU and CIDEr; the baseline is the caption of the most similar training picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.batching import batch_indices, collate
from rnnzoo.data.encoders.pictures import CaptionEncoder, moved, resized
from rnnzoo.data.source import Example, Source
from rnnzoo.tasks.baselines import Baseline
from rnnzoo.tasks.bleu import bleu
from rnnzoo.tasks.captioner.cider import cider
from rnnzoo.tasks.labels import LabelTask
from streaming.runtime.codec import END, START
from streaming.runtime.decoding import Decoder, StepFunction, beam_searches
from streaming.runtime.tasks import Captioner
from streaming.runtime.tasks.schema import CaptionerSpec
from streaming.runtime.tasks.texts import BANNED

if TYPE_CHECKING:
    from typing import Self

    import keras

    from rnnzoo.data.batching import Arrays
    from rnnzoo.data.config import PicturesConfig
    from rnnzoo.tasks.batches import Batch
    from streaming.runtime.model import StreamingModel

_PICTURE = "picture"
# Pictures are compared by so many numbers along an axis at most.
_COARSE = 48
# Pictures that are drawn.
_DRAWN = 5


class CaptionerTask(LabelTask):
    """Captions for pictures: the model gives the logits of the next word of the caption."""

    topology = "captioner"
    kinds = ("image-captions",)
    decoder_input = "target"
    never_guessed = (*BANNED, END)
    encoder: CaptionEncoder

    @classmethod
    def from_source(cls, source: Source, config: PicturesConfig, *, encoder: Any = None, seed: int = 0) -> Self:
        """A task on examples already read, the pictures in the size that the configuration says."""
        if config.size and source.kind in cls.kinds:
            splits = {
                name: [(resized(picture, config.size), captions) for picture, captions in rows]
                for name, rows in source.splits.items()
            }
            source = Source(source.kind, splits)
        return super().from_source(source, config, encoder=encoder, seed=seed)

    @classmethod
    def fit_encoder(cls, train: Sequence[Example], config: PicturesConfig) -> CaptionEncoder:
        return CaptionEncoder.fit(train, config)

    @classmethod
    def read_encoder(cls, files: Mapping[str, bytes], config: Any) -> CaptionEncoder:
        return CaptionEncoder.from_files(files, config)

    @classmethod
    def spec(cls, config: Any, encoder: CaptionEncoder) -> CaptionerSpec:
        return CaptionerSpec(config.width, config.length_penalty, config.max_length, dataset=config.dataset)

    @classmethod
    def conversion(cls, config: Any) -> dict[str, Any]:
        """The picture is given whole; the hypotheses of a beam are stepped together."""
        return {"encode": [_PICTURE], "batch_sizes": (1, config.width) if config.width > 1 else (1,)}

    def encode(self, example: Example) -> Arrays:
        return self.encoder.encode(example)

    def arrays(self, split: str) -> list[Arrays]:
        """Each caption of a picture is an example of its own."""
        if split not in self._encoded:
            pairs = ((picture, caption) for picture, captions in self.examples(split) for caption in captions)
            self._encoded[split] = [self.encode((picture, [caption])) for picture, caption in pairs]
        return self._encoded[split]

    def augment(self, row: Arrays, rng: np.random.Generator) -> Arrays:
        most = self.config.shift
        down, right = rng.integers(-most, most + 1, 2)
        mirror = self.config.mirror and bool(rng.integers(2))
        return {**row, _PICTURE: moved(row[_PICTURE], down, right, mirror)} if most or mirror else row

    def collate(self, rows: Sequence[Arrays]) -> Batch:
        texts = [{name: array for name, array in row.items() if name != _PICTURE} for row in rows]
        batch = collate(texts, self.padding)
        pictures = np.stack([row[_PICTURE] for row in rows]).astype(np.float32)
        targets = batch["targets"]
        weights = (targets >= 0).astype(np.float32)
        return {_PICTURE: pictures, "target": batch["target"]}, np.maximum(targets, 0), weights

    def evaluate(self, model: keras.Model, split: str, batch_size: int = 64) -> dict[str, float]:
        """Figures of the captions that a beam search over a Keras model finds.

        Returns:
            `bleu` (BLEU-4 of sacreBLEU, lower-cased, 13a), `cider` (CIDEr-D, 0 to 10), both also as
            `nearest_...` for the captions of the pictures of `train` with the least squared difference, and `count`.
        """
        return self.score(split, self._searched(model, self._pictures(split), batch_size))

    def draw(self, model: keras.Model, split: str, folder: Path) -> list[Path]:
        """Some pictures with their captions; where features are given, the bits of pieces of true captions."""
        from rnnzoo.tasks.drawing import draw_captions, draw_surprise

        pictures = self._pictures(split)
        chosen = pictures[:: max(1, len(pictures) // _DRAWN)][:_DRAWN]
        if chosen[0].ndim != 3:
            return [draw_surprise(folder / "surprise.png", self.references(model, split, _DRAWN))]
        return [draw_captions(folder / "captions.png", chosen, self._searched(model, chosen))]

    def _searched(self, model: keras.Model, pictures: Sequence[NDArray[Any]], batch_size: int = 64) -> list[str]:
        from rnnzoo.tasks.captioner.model import decoding_models

        encoder, decoder = decoding_models(model)
        step, written = _step(decoder), []
        options: dict[str, Any] = {"width": self.config.width, "length_penalty": self.config.length_penalty}
        for begin in range(0, len(pictures), batch_size):
            batch = np.stack(pictures[begin : begin + batch_size]).astype(np.float32)
            # A state: the regions, which stay the same, then the states of the decoder.
            decoders = [Decoder(step, list(state)) for state in zip(*encoder.predict_on_batch(batch), strict=True)]
            hypotheses = beam_searches(decoders, START, END, self.config.max_length, banned=BANNED, **options)
            written += [self.encoder.codec.decode(best.tokens) for best, *_ in hypotheses]
        return written

    def evaluate_stream(self, model: StreamingModel, split: str, reset: bool = True) -> dict[str, float]:
        task = self.streamed_task(model, Captioner)
        pictures = [picture for picture, _ in self.examples(split)]
        return self.score(split, [best[0].text for best in task.captions(pictures)])

    def score(self, split: str, written: Sequence[str]) -> dict[str, float]:
        """Figures of a caption for each example, and of the captions of the nearest neighbours."""
        references = [captions for _, captions in self.examples(split)]
        nearest = {f"nearest_{name}": value for name, value in _score(self.nearest(split), references).items()}
        return {**_score(written, references), **nearest, "count": float(len(written))}

    def signature(self, split: str) -> str:
        references = [captions for _, captions in self.examples(split)]
        return bleu([""] * len(references), references, lowercase=True)[1]

    def baseline(self, split: str) -> Baseline:
        references = [captions for _, captions in self.examples(split)]
        figures = {**_score(self.nearest(split), references), "count": float(len(references))}
        numbers = sum(_coarse(picture).size for picture in self._pictures("train"))
        return Baseline("caption of the nearest picture", figures, numbers)

    def nearest(self, split: str) -> list[str]:
        """For each example the first caption of the most similar picture of the training split."""
        known, asked = (np.stack([_coarse(picture) for picture in self._pictures(name)]) for name in ("train", split))
        # |a - b|^2 without |a|^2, which is the same for all b.
        distances = (known**2).sum(axis=1) - 2 * asked @ known.T
        return [self.examples("train")[i][1][0] for i in np.argmin(distances, axis=1)]

    def _pictures(self, split: str) -> list[NDArray[Any]]:
        return [self.encoder.read(picture) for picture, _ in self.examples(split)]

    def _chosen(self, split: str, size: int, rng: np.random.Generator | None) -> list[NDArray[Any]]:
        return batch_indices(np.array([len(row["target"]) for row in self.arrays(split)]), size, rng)

    def _signature(self, split: str) -> Any:
        import tensorflow as tf

        pictures = tf.TensorSpec((None, *self.encoder.shape), tf.float32)
        words = tf.TensorSpec((None, None), tf.int32)
        return {_PICTURE: pictures, "target": words}, words, tf.TensorSpec((None, None), tf.float32)


def _step(decoder: keras.Model) -> StepFunction:
    def step(states: Sequence[Any], tokens: NDArray[Any]) -> tuple[NDArray[Any], Sequence[Any]]:
        regions, *layers = (np.stack(parts) for parts in zip(*states, strict=True))
        # Called as it is: the number of hypotheses changes from step to step, and each would be compiled anew.
        logits, *new = map(np.asarray, decoder([regions, tokens.astype(np.int32)[:, None], *layers], training=False))
        return logits[:, 0], [[state[0], *parts] for state, *parts in zip(states, *new, strict=True)]

    return step


def _score(written: Sequence[str], references: Sequence[Sequence[str]]) -> dict[str, float]:
    return {"bleu": bleu(written, references, lowercase=True)[0], "cider": cider(written, references)}


def _coarse(picture: NDArray[Any]) -> NDArray[Any]:
    """A picture as few numbers: means of squares of pixels; features as they are."""
    size = max(1, max(picture.shape[:2]) // _COARSE)
    if picture.ndim < 3 or size == 1:
        return picture.astype(np.float32).ravel()
    height, width = (length // size for length in picture.shape[:2])
    squares = picture[: height * size, : width * size].reshape(height, size, width, size, -1)
    return squares.mean(axis=(1, 3), dtype=np.float32).ravel()
