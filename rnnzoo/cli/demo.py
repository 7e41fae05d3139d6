"""`rnnzoo demo`: tags text word by word, and shows each tag as soon as it is decided."""

from __future__ import annotations

import os
import select
import stat
import statistics
import sys
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from rich.console import Console
from rich.table import Table

import streaming
from rnnzoo.bundles.converted import cache_folder, convert_bundle, load_cached, load_ready
from rnnzoo.bundles.reference import REFERENCE_FILE, prove
from rnnzoo.cli.live import show_sentence
from rnnzoo.registry.layout import bundle_paths, demo_file
from rnnzoo.registry.names import find_bundle
from rnnzoo.tasks.evaluation import expect_task
from rnnzoo.util.quiet import held_stderr
from streaming.errors import InputError
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks import Tagger, task_for
from streaming.runtime.tokenization import sentences

BUNDLE = "tagger-en-ewt-stream"
SENTENCES = (
    "I will book a flight, then read a good book.",
    "Fruit flies like a banana; time flies like an arrow.",
    "She can't park near the park, so her dog walks.",
    "Mr. Smith's old phone still works after 20 years :-)",
)
_STEPS = 400


def run_demo(bundle: Path | None, *, text: str | None, stdin: bool, fast: bool) -> None:
    """Convert the tagger (once), then tag text as a stream.

    Args:
        bundle: folder of a tagger's run; None: the pretrained one.
        text: to tag; None: standard input if it is a pipe, otherwise some sentences.
        stdin: read standard input, also from a terminal.
        fast: do not wait between words.

    Raises:
        InputError: the text is empty or not UTF-8.
        RnnzooError: the bundle is not there or is no tagger.
    """
    if text is not None:
        check_text(text)
    console = Console(highlight=False)
    models, reference = _find_models(bundle)
    tagger = _tagger(next(iter(models.values())))
    pace = 1.0 if console.is_terminal and not fast else 0.0
    if stdin or (text is None and _piped()):
        _filter(console, tagger, sys.stdin.buffer)
        return
    _print_head(console, models, reference)
    shown = [words for part in ([text] if text is not None else SENTENCES) for words in sentences(part)]
    for words in shown:
        show_sentence(console, tagger, words, pace)
    _print_speed(console, models, shown)


def _find_models(bundle: Path | None) -> tuple[dict[str, StreamingModel], Path | None]:
    """The streaming models by kind, and the reference that proves the float32 one.

    A wheel has neither the tagger's bundle nor its reference, but the file with int8 weights.
    """
    packaged = demo_file()
    if bundle is None and packaged is not None and BUNDLE not in bundle_paths():
        with held_stderr():
            return {"int8": streaming.load(packaged)}, None
    bundle = bundle or find_bundle(BUNDLE)
    return load_models(bundle), bundle / REFERENCE_FILE


def load_models(bundle: Path) -> dict[str, StreamingModel]:
    """The streaming models of a bundle by kind: its own files if they are current, otherwise converted once."""
    with held_stderr():
        ready = load_ready(bundle)
    if ready is not None:
        return ready
    folder = cache_folder(bundle)
    with held_stderr():
        cached = load_cached(folder)
    if cached is not None:
        return cached
    text = f"Converting {bundle.name} to TFLite, float32 and int8, and verifying it (once) ..."
    # Standard output is kept for a filter's tags, and standard error is held back from native libraries.
    with os.fdopen(os.dup(2), "w", encoding="utf-8") as screen, held_stderr():
        notes = Console(file=screen, highlight=False)
        if notes.is_terminal:
            with notes.status(text):
                return convert_bundle(bundle, folder)
        notes.print(text, soft_wrap=True)
        return convert_bundle(bundle, folder)


def check_text(text: str) -> None:
    """Refuse a text without a word, or with bytes that are not UTF-8.

    Raises:
        InputError: it is such a text.
    """
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        raise InputError("the text is not UTF-8: expected text in that encoding") from None
    if not text.strip():
        raise InputError("the text is empty: expected at least one word")


def read_lines(source: Iterable[bytes]) -> Iterator[str]:
    """The lines of a text, each as soon as it has been read.

    Raises:
        InputError: a line is not UTF-8, or there is no word in any of them.
    """
    empty = True
    for number, raw in enumerate(source, 1):
        try:
            line = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            raise InputError(
                f"standard input, line {number}, is not UTF-8 (byte 0x{raw[error.start]:02x}): "
                "expected text in that encoding"
            ) from None
        if line.strip():
            empty = False
            yield line
    if empty:
        raise InputError("standard input is empty: expected at least one word")


def _filter(console: Console, tagger: Tagger, source: Iterable[bytes]) -> None:
    for line in read_lines(source):
        for words in sentences(line):
            show_sentence(console, tagger, words, 0.0)


def _piped() -> bool:
    """Whether standard input is a file, or a pipe with something in it; /dev/null and a silent pipe are not."""
    try:
        mode = os.fstat(sys.stdin.fileno()).st_mode
    except (OSError, ValueError, AttributeError):
        return False
    if stat.S_ISFIFO(mode):
        # Programs that start others often leave them an open pipe that never says anything.
        return bool(select.select([sys.stdin], [], [], 0.5)[0])
    return stat.S_ISREG(mode)


def _tagger(model: StreamingModel) -> Tagger:
    return expect_task(task_for(model), Tagger, "the demo")


def _print_head(console: Console, models: dict[str, StreamingModel], reference: Path | None) -> None:
    meta = next(iter(models.values())).metadata
    name, proof, when = meta.source.more.get("name", BUNDLE), meta.verification, ""
    said = "equal to" if "float32" in models else "int8 weights, compared with"
    if reference is not None and reference.is_file():
        proof, when = prove(models["float32"], reference), "just now "
    console.print(f"[bold]{name}[/]  a recurrent network, one TFLite step a word", style="cyan")
    console.print(
        f"{said} the Keras model {when}on {proof.sequences} random sequences, {proof.steps} steps"
        f"{'' if when else ', cut at random'}"
    )
    table = Table(box=None, pad_edge=False, padding=(0, 3, 0, 0))
    for title in ("", "file", "largest error", "state", "delay"):
        table.add_column(title, justify="left" if not title else "right", style="dim" if not title else "")
    for kind, model in models.items():
        meta = model.metadata
        size = meta.flatbuffer_bytes / 1e6
        error = f"{meta.verification.max_abs_error:.1e}"
        table.add_row(kind, f"{size:.2f} MB", error, f"{meta.state_bytes:,} B", _words(model.delay))
    console.print(table)
    console.print()


def _print_speed(console: Console, models: dict[str, StreamingModel], shown: list[list[str]]) -> None:
    speeds = {kind: step_time(model, shown) for kind, model in models.items()}
    figures = "   ".join(f"{kind} [bold]{seconds * 1e6:.0f} µs[/]" for kind, seconds in speeds.items())
    first = next(iter(models.values()))
    tags = [[token.tag for words in shown for token in task_for(model).tag(words)] for model in models.values()]
    agreement = ""
    if len(tags) > 1:
        same = sum(a == b for a, b in zip(*tags, strict=True))
        agreement = f"; int8 gives the same tag to {same} of {_words(len(tags[0]))}"
    console.print(
        f"one step: {figures}   (median of {_STEPS}, one thread, {first.runtime})\n"
        f"each tag comes {_words(first.delay)} after its word{agreement}"
    )


def _words(count: int) -> str:
    return f"{count} word{'' if count == 1 else 's'}"


def step_time(model: StreamingModel, shown: list[list[str]]) -> float:
    """Median seconds of one step over the words of some sentences, already encoded."""
    encode = task_for(model).encoder.encode
    inputs = [encode([word]) for words in shown for word in words]
    steps = [arrays if len(arrays) > 1 else next(iter(arrays.values())) for arrays in inputs]
    stream = model.create_stream()
    times = []
    for i in range(_STEPS + 20):
        began = time.perf_counter()
        stream.step(steps[i % len(steps)])
        times.append(time.perf_counter() - began)
    return statistics.median(times[20:])
