"""Tasks that write text: from a prompt, a picture or another array."""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator, Sequence
from typing import Any, ClassVar, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError
from streaming.runtime.carried import SavedSession
from streaming.runtime.codec import END, PAD, START, UNKNOWN, TextCodec
from streaming.runtime.decoding import Hypothesis, Sampling, beam_searches, generate
from streaming.runtime.model import StreamingModel
from streaming.runtime.pictures import on_white, read_picture
from streaming.runtime.stream import Stream
from streaming.runtime.tasks.base import Task, read_codec
from streaming.runtime.tasks.schema import CaptionerSpec, GeneratorSpec, SearchSpec

# A text never holds these.
BANNED = (PAD, UNKNOWN, START)


def style_entry(style: str) -> str:
    """The entry of the vocabulary that a text of a style begins with."""
    return f"<{style}>"


class Text(NamedTuple):
    """A text and its score: the log probability, by the length penalty that the search was given."""

    text: str
    score: float


class Piece(NamedTuple):
    """The next part of a text, its spaces included, and its log probability."""

    text: str
    score: float


class Generator(Task):
    """Continues a prompt.

    Args:
        model: takes a number a step and gives the logits of the next; its file holds `target.json`.
    """

    takes: ClassVar[str] = "text"
    spec_type = GeneratorSpec

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        self.codec = read_codec(model, "target.json", _tokens(model))
        numbers = {entry: number for number, entry in enumerate(self.codec.entries)}
        if lost := [style for style in self.spec.styles if style_entry(style) not in numbers]:
            raise ArtifactError(f"target.json has no entry {style_entry(lost[0])!r} of a style; export the model anew")
        self._styles = {style: numbers[style_entry(style)] for style in self.spec.styles}

    @property
    def styles(self) -> tuple[str, ...]:
        """The styles that a text may be asked for."""
        return tuple(self._styles)

    def session(self) -> GeneratorSession:
        """Takes prompts, each by itself; gives pieces."""
        return GeneratorSession(self)

    def stream(
        self,
        prompt: str = "",
        *,
        style: str | None = None,
        max_length: int | None = None,
        temperature: float | None = None,
        top_k: int | None = None,
        top_p: float | None = None,
        seed: int = 0,
    ) -> Iterator[Piece]:
        """The pieces that follow a prompt, until the model ends the text or `max_length` pieces.

        Args:
            prompt: what the text begins with; may be empty where texts begin with a start token.
            style: one of `styles`; None: none is asked for.
            max_length: most pieces.
            temperature, top_k, top_p: as `decoding.Sampling` takes them; those of the file where None.
            seed: the same seed gives the same text.

        Raises:
            InputError: an argument is out of range, the model does not have the style, or the prompt is empty and the
                model needs one.
        """
        spec = self.spec
        chosen = Sampling(
            spec.temperature if temperature is None else temperature,
            spec.top_k if top_k is None else top_k,
            spec.top_p if top_p is None else top_p,
            (*BANNED, *([] if spec.start else [END]), *self._styles.values()),
        )
        most = spec.max_length if max_length is None else max_length
        if most < 1:
            raise InputError(f"max_length is {most}, expected 1 piece or more")
        start = [START] if spec.start else []
        ids = [*(start if style is None else [self._style(style)]), *map(int, self.codec.encode(prompt))]
        if not ids:
            raise InputError("the prompt is empty; this model goes on from at least one piece of text")
        return self._pieces(ids, chosen, most, seed)

    def generate(self, prompt: str = "", **options: Any) -> str:
        """The text that follows a prompt; takes and raises what `stream` does."""
        return "".join(piece.text for piece in self.stream(prompt, **options))

    def _style(self, style: str) -> int:
        if style not in self._styles:
            import difflib  # only for this message

            near = difflib.get_close_matches(style, self._styles, 1, cutoff=0.3)
            known = f"it has {', '.join(self._styles)}" if self._styles else "it has none: leave it out"
            nearest = f"did you mean {near[0]!r}? " if near else ""
            raise InputError(f"the model has no style {style!r}; {nearest}{known}")
        return self._styles[style]

    def _pieces(self, ids: list[int], chosen: Sampling, most: int, seed: int) -> Iterator[Piece]:
        stream = self.model.create_stream()
        dtype = self.model.metadata.inputs[0].dtype
        stream.feed(np.array(ids[:-1], dtype))
        for token, score in itertools.islice(generate(stream, ids[-1], chosen, seed), most):
            if token == END:
                return
            yield Piece(self.codec.text([token]), score)


class GeneratorSession(SavedSession):
    """Prompts through a `Generator`; `options` are those of `Generator.stream`."""

    carries = ("words", "unknown")

    def __init__(self, task: Generator, **options: Any):
        super().__init__(task)
        self._options = options
        self.words = self.unknown = 0

    def feed(self, piece: str) -> Iterator[Piece]:
        """The pieces that follow a prompt."""
        self.words, self.unknown = _counted(self, self._task.codec, piece)
        return self._task.stream(piece, **self._options)

    def finish(self) -> list[Piece]:
        """Nothing: each prompt is answered at once."""
        return []


class Searcher(Task):
    """A model that reads a whole input and writes text by beam search."""

    spec: SearchSpec

    def __init__(self, model: StreamingModel):
        super().__init__(model)
        if model.metadata.encode is None or len(model.metadata.encode.inputs) != 1:
            raise ArtifactError(
                "the task needs a model that is given one whole input first; convert it with encode=[...]"
            )
        self.codec = read_codec(model, "target.json", _tokens(model))

    def search(
        self,
        sources: Sequence[NDArray[Any]],
        *,
        width: int | None = None,
        length_penalty: float | None = None,
        max_length: int | None = None,
        n_best: int = 1,
    ) -> list[list[Text]]:
        """The best texts of each source, best first.

        Args:
            sources: as `Stream.encode` takes them.
            width, length_penalty, max_length: as `decoding.beam_search` takes them; those of the file where None.
            n_best: how many texts of each.

        Raises:
            InputError: a source or an argument is wrong.
        """
        spec = self.spec
        penalty = spec.length_penalty if length_penalty is None else length_penalty
        most = spec.max_length if max_length is None else max_length
        hypotheses: list[list[Hypothesis]] = []
        for begin in range(0, len(sources), 64):
            streams = [self._encoded(source) for source in sources[begin : begin + 64]]
            options = {"length_penalty": penalty, "n_best": n_best, "banned": BANNED}
            beam = max(spec.width, n_best) if width is None else width
            hypotheses += beam_searches(streams, START, END, most, width=beam, **options)  # type: ignore[arg-type]
        return [[Text(self.codec.decode(h.tokens), h.score(penalty)) for h in best] for best in hypotheses]

    def _encoded(self, source: NDArray[Any]) -> Stream:
        stream = self.model.create_stream()
        stream.encode(source)
        return stream


class Captioner(Searcher):
    """Describes a picture or another array.

    Args:
        model: is given an image or features whole, then takes a number a step and gives the logits of the next; its
            file holds `target.json`.
    """

    takes: ClassVar[str] = "array"
    spec_type = CaptionerSpec
    spec: CaptionerSpec

    def session(self) -> CaptionerSession:
        """Takes arrays and paths of pictures, each by itself."""
        return CaptionerSession(self)

    def caption(self, array: Any, **options: Any) -> str:
        """The best text for an array or the path of a picture; takes and raises what `captions` does."""
        return self.captions([array], **options)[0][0].text

    def captions(self, arrays: Sequence[Any], *, resize: bool = False, **options: Any) -> list[list[Text]]:
        """The best texts for each array.

        Args:
            arrays: images (height, width, channels) or features (positions, features), as the model was trained on
                before the scale and offset that its file names; for a model of (height, width, 3) also pictures with
                opacity (height, width, 4), which are put on white, and paths of PNG and JPEG files (or their bytes).
            resize: bring files of another size to that of the model.
            options: as for `search`.

        Raises:
            InputError: an array has another shape or holds no finite numbers, or a file is no picture that fits.
            StreamingError: a file needs Pillow, which is not installed.
            OSError: a file cannot be read.
        """
        return self.search([self._read(array, resize) for array in arrays], **options)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the arrays that the model takes."""
        return tuple(self.model.metadata.encode.inputs[0].shape)  # type: ignore[union-attr]

    def _read(self, array: Any, resize: bool) -> NDArray[Any]:
        shape = self.shape
        if isinstance(array, str | bytes | os.PathLike):
            values = read_picture(array, shape, resize)
        else:
            values = np.asarray(array)
        if values.dtype.kind not in "fiub":
            raise InputError(f"the array is of {values.dtype}, expected numbers")
        if values.shape == (*shape[:-1], 4) and shape[2:] == (3,):
            values = on_white(values)
        return (values * self.spec.scale + self.spec.offset).astype(np.float32)


class CaptionerSession(SavedSession):
    """Arrays and pictures through a `Captioner`; `options` are those of `Captioner.captions`."""

    def __init__(self, task: Captioner, **options: Any):
        super().__init__(task)
        self._options = options

    def feed(self, piece: Any) -> list[Text]:
        """The best text for an array or the path of a picture."""
        return self._task.captions([piece], **self._options)[0]

    def finish(self) -> list[Text]:
        """Nothing: each array is answered at once."""
        return []


def _counted(session: Any, codec: TextCodec, text: str) -> tuple[int, int]:
    ids = codec.encode(text)
    return session.words + len(ids), session.unknown + int((ids == UNKNOWN).sum())


def _tokens(model: StreamingModel) -> int | None:
    shape = model.metadata.outputs[0].shape
    return shape[0] if len(shape) == 1 else None
