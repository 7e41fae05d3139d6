"""`streaming run`: a file, a pipe or a microphone in, events out as soon as they are decided."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from streaming.cli.display import JsonLines, Live
from streaming.cli.lines import StepReader
from streaming.cli.rows import run_rows
from streaming.errors import ArtifactError, InputError, StreamingError
from streaming.runtime import artifact
from streaming.runtime.audio import SUFFIXES, RawReader, at_rate, open_audio, wav_bytes
from streaming.runtime.model import StreamingModel
from streaming.runtime.pictures import is_picture
from streaming.runtime.tables import text_lines
from streaming.runtime.tasks import (
    Classifier,
    KeywordSpotter,
    SimultaneousTranslator,
    Speech,
    Synthesizer,
    Task,
    Translator,
    task_for,
)
from streaming.runtime.tokenization import tokenize

# A twentieth of a second: short enough for eyes, long enough to be worth a call.
_BLOCKS = 20


@dataclass(frozen=True)
class Options:
    """Options of the command line beside the model and the input.

    Args:
        mono: mix channels down.
        resample: change the rate of audio that has another.
        resize: change the size of a picture that has another.
        wait_k: translate word by word, this number of pieces behind the source.
        search: for sessions of generators, sketchers, translators and captioners.
        raw: format, samples a second and channels of samples without a header; None: the file has a header.
        settings: of a keyword spotter; they replace those of its file.
        encoding: of text and tables; None: UTF-8, or UTF-16 if there is a byte order mark.
        out: folder for what a synthesizer says.
        skip_bad_rows: called with each malformed row of a table, which is then left out; None: it is an error.
    """

    mono: bool = False
    resample: bool = False
    resize: bool = False
    wait_k: int | None = None
    search: dict[str, Any] = field(default_factory=dict)
    raw: tuple[str, int, int] | None = None
    settings: dict[str, Any] = field(default_factory=dict)
    encoding: str | None = None
    skip_bad_rows: Callable[[str], None] | None = None
    out: Path | None = None


def run_input(model: StreamingModel, name: str, pipe: IO[bytes], display: Any, options: Options) -> list[str]:
    """Stream an input through the model, as its task reads it.

    Args:
        model: of a task; without a task each line is a step.
        name: path of a file, or `-` for the pipe.
        pipe: standard input.
        display: gets the events.
        options: how to read and search.

    Returns:
        Notes on the input, a line each.

    Raises:
        InputError: the input is not what the model takes; lines are named by their numbers.
        OSError: the file cannot be read.
    """
    kind = (model.metadata.task or {}).get("kind")
    task: Task | None = task_for(model) if kind is not None else None
    takes = task.takes if task is not None else "steps"
    if name.lower().endswith(SUFFIXES) and takes != "audio":
        wanted = "a PNG, JPEG or .npy file" if takes == "array" else "a file of lines"
        raise InputError(f"{name} is audio, the model takes {takes}; give it {wanted}")
    _check_options(task, options)
    with contextlib.ExitStack() as stack:
        source = pipe if name == "-" else stack.enter_context(open(name, "rb"))
        if takes == "audio":
            task = adjusted(task, options.settings)
            reader = stack.enter_context(_reader(source, "the input" if name == "-" else name, options))
            rate = int(task.spec.sample_rate)
            size = max(1, reader.sample_rate // _BLOCKS)
            run_audio(task, at_rate(reader, rate, options.resample, size), display)
        elif takes == "array":
            _arrays(task, source, name, display, options)
        elif task is None:
            _steps(model, source, display, options)
        elif takes == "rows":
            return run_rows(task, source, display, options.encoding, options.skip_bad_rows, options.search)
        else:
            return _texts(task, source, display, options)
    return []


def _reader(source: IO[bytes], name: str, options: Options) -> Any:
    if options.raw is None:
        return open_audio(source, mono=options.mono, name=name)
    form, rate, channels = options.raw
    return RawReader(source, form, rate, channels=channels, mono=options.mono, name=name)


def adjusted(task: Any, settings: dict[str, Any]) -> Any:
    """The task with the settings of the command line; raises InputError where one is out of range."""
    try:
        return task.adjusted(**settings) if settings else task
    except ArtifactError as error:
        raise InputError(str(error)) from error


def run_audio(task: Any, blocks: Iterable[NDArray[Any]], display: Any) -> None:
    """Stream blocks of samples through a task that takes audio; raises InputError where there are none."""
    session, fed = task.session(), False
    for block in blocks:
        fed = fed or bool(len(block))
        for event in session.feed(block):
            display.show(event, _named(event))
        if hasattr(session, "scores"):
            display.status(session.scores)
    if not fed:
        raise InputError("the input holds no samples; record something")
    for event in session.finish():
        display.show(event, _named(event))
    display.end()


def _named(event: Any) -> dict[str, Any]:
    """A session of audio gives events of several kinds."""
    return {"event": type(event).__name__.lower()}


def display_for(out: Any, json_lines: bool) -> JsonLines | Live:
    """Text that grows where the output is a terminal, else JSON lines."""
    return Live(out) if not json_lines and out.isatty() else JsonLines(out)


def _check_options(task: Any, options: Options) -> None:
    search = ["width", "length_penalty", "n_best", "max_length"]
    draw = ["style", "temperature", "top_k", "top_p", "seed", "max_length"]
    takes = {"generator": draw, "translator": search, "captioner": search}
    takes["sketcher"] = ["temperature", "seed", "max_length"]
    takes["synthesizer"] = ["voice", *takes["sketcher"]]
    kind = (task.model.metadata.task or {}).get("kind") if task is not None else None
    wrong = [name for name in options.search if name not in takes.get(kind or "", [])]
    if wrong or (options.wait_k and not isinstance(task, Translator)):
        named = ", ".join(f"--{name.replace('_', '-')}" for name in wrong) or "--wait-k"
        raise InputError(f"{named} does not go with this model, whose task is {kind or 'none'}; leave it out")
    if (options.out is None) == isinstance(task, Synthesizer):
        if options.out is None:
            raise InputError("the model speaks: give a folder for its WAV files, --out DIR")
        raise InputError(f"--out goes with synthesizers; the task of this model is {kind or 'none'}")
    if options.settings and not isinstance(task, KeywordSpotter):
        raise InputError(
            f"--{next(iter(options.settings))} goes with keyword spotters; the task of this model is {kind or 'none'}"
        )
    if options.raw is not None and (task is None or task.takes != "audio"):
        raise InputError(f"--raw is audio, the model takes {task.takes if task else 'steps'}; leave it out")


def _texts(task: Any, source: IO[bytes], display: Any, options: Options) -> list[str]:
    word_by_word = options.wait_k is not None or isinstance(task, SimultaneousTranslator)
    if options.wait_k is not None:
        session = task.simultaneous(options.wait_k)
    else:
        session = type(task.session())(task, **options.search) if options.search else task.session()
    empty = True
    for number, text in text_lines(source, options.encoding):
        pieces = [[word] for word in tokenize(text)] if task.takes == "words" else [text] if text.strip() else []
        if word_by_word:
            pieces = text.split()
        empty = empty and not pieces
        try:
            for event, word in _events(session, pieces, isinstance(task, Classifier)):
                shown = _written(event, number, options.out) if options.out is not None else event
                display.show(shown, {"line": number} | ({"word": word} if word else {}))
        except InputError as error:
            raise InputError(f"line {number}: {error}") from error
        display.end()
    if empty:
        raise InputError("the input holds no text; give a line or more")
    unknown = f"{session.unknown} of {session.words} pieces of the input are unknown to the model"
    return [unknown] if session.unknown else []


def _written(speech: Speech, line: int, folder: Path) -> dict[str, Any]:
    """A WAV file of what was said; the event with its path in place of the samples."""
    path = folder / f"{line:04}.wav"
    folder.mkdir(parents=True, exist_ok=True)
    artifact.write(path, wav_bytes(speech.samples, speech.sample_rate))
    fields = speech._asdict()
    del fields["samples"]
    return {**fields, "file": str(path)}


def _events(session: Any, pieces: list[Any], with_words: bool) -> Iterator[tuple[Any, str]]:
    """The events of one sequence; with the word that each judges, where words are judged one by one."""
    waiting = [piece[0] for piece in pieces] if with_words else []
    taken = 0
    for part in (*(session.feed(piece) for piece in pieces), *([session.finish()] if pieces else [])):
        for event in part:
            yield event, waiting[taken] if with_words else ""
            taken += 1


def _steps(model: StreamingModel, source: IO[bytes], display: Any, options: Options) -> None:
    stream, sequence, fed = model.create_stream(), 0, False
    rows: dict[str, int] = {}
    reader, infos = StepReader(model.metadata.inputs), model.metadata.outputs

    def show(outputs: Any) -> None:
        for info in infos:
            for row in outputs[info.name] if len(infos) > 1 else outputs:
                index = rows[info.name] = rows.get(info.name, -1) + 1
                display.show({"output": info.name, "index": index, "value": row}, {"sequence": sequence})

    for number, line in text_lines(source, options.encoding):
        text = line.strip()
        if text:
            values = reader.read(text, number)
            if values is None:
                continue
            try:
                outputs = stream.feed(values)
            except StreamingError as error:
                raise type(error)(f"line {number}: {error}") from error
            fed = True
            show(outputs)
        elif fed:
            show(stream.finish())
            stream.reset()
            rows.clear()
            sequence, fed = sequence + 1, False
    if fed:
        show(stream.finish())
    if not (fed or sequence):
        raise InputError("the input holds no steps; give a line of numbers or more")


def _arrays(task: Any, source: IO[bytes], name: str, display: Any, options: Options) -> None:
    data = source.read()
    array = data if is_picture(data) else _array(data, os.path.basename(name))
    try:
        captions = task.captions([array], resize=options.resize, **options.search)[0]
    except InputError as error:
        raise InputError(f"{os.path.basename(name)}: {error}") from error
    for text in captions:
        display.show(text, {})


def _array(data: bytes, name: str) -> NDArray[Any]:
    try:
        array = np.load(io.BytesIO(data), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(f"{name} is no array and no picture; give a .npy, PNG or JPEG file") from error
    if not isinstance(array, np.ndarray):
        raise InputError(f"{name} holds several arrays; save one with numpy.save")
    return array
