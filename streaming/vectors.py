"""Test vectors of a streaming file: raw input to final output, as JSON that a client in any language can read.

Inputs are made from a seed by a rule that docs/format.md gives, so that a file of vectors has a few kilobytes.
"""

from __future__ import annotations

import base64
import itertools
import math
from collections.abc import Iterable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.cli.display import plain
from streaming.errors import InputError
from streaming.runtime.codec import SPECIAL, TextCodec
from streaming.runtime.lookup import LookupTable, TextTable, read_table
from streaming.runtime.metadata import InputInfo
from streaming.runtime.model import StreamingModel
from streaming.runtime.stream import Stream
from streaming.runtime.tasks import Captioner, Generator, SimultaneousTranslator, Sketcher, Synthesizer, Task, task_for

VERSION = 1
TOLERANCE = 1e-5
# Most values of an output that are written: of larger ones every so many-th.
_VALUES = 600
_MAX_STEPS, _TEXT, _POINTS = 400, 12, 8
_WORDS = ("The", "3rd", "McDonald's-2020", "Zürich", "pseudo-intellectualizations", "of", "U.S.", "qzxv", "(", "x", ".")
# Voices that are tried, and where a task says nothing of them.
_VOICES, _MANY_VOICES = 12, 60
# Fields that repeat others: times in samples, and the probabilities behind a label.
_DERIVED = ("scores", "sample", "begin_sample", "end_sample")


def numbers(seed: int, count: int) -> NDArray[Any]:
    """x' = 1664525 x + 1013904223 modulo 2^32 from a seed on (Numerical Recipes), (count,) of uint32, the seed not."""
    drawn, x = np.empty(count, np.uint32), seed
    for place in range(count):
        drawn[place] = x = (1664525 * x + 1013904223) % 2**32
    return drawn


def array_of(item: dict[str, Any]) -> NDArray[Any]:
    """The array that a description in a file of vectors stands for."""
    dtype, shape = np.dtype(item["dtype"]), tuple(item["shape"])
    if "base64" in item:
        return np.frombuffer(base64.b64decode(item["base64"]), dtype.newbyteorder("<")).astype(dtype).reshape(shape)
    drawn = numbers(item["seed"], math.prod(shape)) >> np.uint32(8)
    if dtype.kind == "f":
        return (drawn / 2.0**23 - 1).astype(dtype).reshape(shape)
    low, high = item["low"], item["high"]
    return (low + drawn.astype(np.int64) % (high - low)).astype(dtype).reshape(shape)


def make_vectors(model: StreamingModel) -> dict[str, Any]:
    """The vectors of a model: steps, and for a task also a raw input with its encoding and its events.

    Raises:
        InputError: the task has no example input.
    """
    vectors: dict[str, Any] = {"version": VERSION, "fingerprint": model.fingerprint, "tolerance": TOLERANCE}
    vectors["steps"] = _steps(model)
    # A synthesizer gives a signal, which is the affair of each client: they stream its rows.
    if (model.metadata.task or {}).get("kind") not in (None, Synthesizer.spec_type.kind):
        vectors["task"] = _task(task_for(model))
    return vectors


def _steps(model: StreamingModel) -> dict[str, Any]:
    meta = model.metadata
    steps = min(_MAX_STEPS, (meta.window or 0) + 5 * meta.unit + meta.chunk + meta.unit // 2)
    inputs = {info.name: _drawn(info, (steps,) * info.time, seed) for seed, info in enumerate(meta.inputs, 1)}
    vectors: dict[str, Any] = {"inputs": inputs}
    if strings := {info.name: _strings(model, info) for info in meta.inputs if info.table is not None}:
        vectors["strings"] = strings
    stream = model.create_stream()
    if meta.encode is not None:
        positions = max(1, meta.encode.max_length // 2)
        source = {i.name: _drawn(i, (positions,) * i.time, seed) for seed, i in enumerate(meta.encode.inputs, 100)}
        stream.encode({name: array_of(item) for name, item in source.items()})
        vectors["encode"] = source
    vectors["cuts"] = sorted({1, steps // 3, steps})
    rows = _streamed(stream, {name: array_of(item) for name, item in inputs.items()}, vectors["cuts"])
    vectors["outputs"] = {name: _sampled(rows[name]) for name in model.output_spec}
    return vectors


def _streamed(stream: Stream, arrays: dict[str, NDArray[Any]], cuts: Iterable[int]) -> dict[str, NDArray[Any]]:
    infos, outputs = stream.model.metadata.inputs, stream.model.metadata.outputs
    pieces = []
    for begin, end in itertools.pairwise([0, *cuts]):
        pieces.append(stream.feed({i.name: arrays[i.name][begin:end] if i.time else arrays[i.name] for i in infos}))
    pieces.append(stream.finish())
    named = [piece if len(outputs) > 1 else {outputs[0].name: piece} for piece in pieces]
    return {out.name: np.concatenate([piece[out.name] for piece in named]) for out in outputs}


def _drawn(info: InputInfo, steps: tuple[int, ...], seed: int) -> dict[str, Any]:
    tensor = info.graph
    item: dict[str, Any] = {"dtype": tensor.dtype, "shape": [*steps, *tensor.shape], "seed": seed}
    if np.dtype(tensor.dtype).kind == "f":
        return item
    limits = np.iinfo(tensor.dtype) if info.scale is not None else None
    low = limits.min if limits else info.low or 0
    high = limits.max + 1 if limits else 2 if info.high is None else info.high
    return {**item, "low": int(low), "high": int(high)}


def _strings(model: StreamingModel, info: InputInfo) -> dict[str, Any]:
    """Strings of all lengths that hashes treat differently, or words of the table, and their ids."""
    table = read_table(model.files[str(info.table)], str(info.table))
    lookup = table.lookup if isinstance(table, TextTable) else table
    known = list(lookup.words)[:4] if isinstance(lookup, LookupTable) else []
    strange = [("Zürich, 19-x! " * 10)[:size] for size in (0, 1, 3, 5, 9, 17, 33, 64, 65, 130)]
    takes_all = not isinstance(lookup, LookupTable) or lookup.unknown is not None or lookup.others is not None
    texts = known + strange if takes_all else known
    if isinstance(table, TextTable) and table.length is not None and not table.cut:
        texts = known + strange[:2]
    if not isinstance(table, TextTable):
        size = math.prod(info.graph.shape)
        texts = texts[: len(texts) // size * size]
    return {"texts": texts, "ids": table.ids(np.array(texts, object), info.name, np.int64).ravel().tolist()}


def _sampled(rows: NDArray[Any]) -> dict[str, Any]:
    stride = -(-rows.size // _VALUES) or 1
    kept = np.ascontiguousarray(rows.ravel()[::stride])
    data = base64.b64encode(kept.astype(kept.dtype.newbyteorder("<")).tobytes()).decode()
    return {"dtype": str(rows.dtype), "shape": list(rows.shape), "stride": stride, "base64": data}


def _task(task: Task) -> dict[str, Any]:
    kind = str((task.model.metadata.task or {})["kind"])
    given, pieces, options = _given(task)
    kind_of_session: Any = type(task.session())
    session = kind_of_session(task, **options) if options else task.session()
    emitted = [event for piece in pieces for event in session.feed(piece)]
    emitted += session.finish()
    events = []
    for event in emitted:
        fields = {name: value for name, value in event._asdict().items() if name not in _DERIVED}
        if not fields.get("labels", True):
            del fields["labels"]  # only where several may hold
        events.append({"event": type(event).__name__.lower(), **plain(fields)})
    return {"kind": kind, "input": given, **_arrays(task, given), "events": events}


def _arrays(task: Task, given: dict[str, Any]) -> dict[str, Any]:
    """What the model is fed of an input of words or text."""
    if task.takes == "words":
        arrays = task.encoder.encode(given["words"])  # type: ignore[attr-defined]
        return {"arrays": {name: array.tolist() for name, array in arrays.items()}}
    if task.takes == "text":
        codec: TextCodec = getattr(task, "source", None) or task.codec  # type: ignore[attr-defined]
        return {"arrays": {"ids": codec.encode(given["text"]).tolist()}}
    return {}


def _given(task: Any) -> tuple[dict[str, Any], list[Any], dict[str, Any]]:
    """An input as the file says it, the pieces that a session takes, and the options of the session."""
    if task.takes == "words":
        return {"words": list(_WORDS)}, [list(_WORDS)], {}
    if isinstance(task, Sketcher):
        rows = _beginning(task)
        options = {"temperature": 0.0, "max_length": _POINTS}
        return {"rows": plain(rows), "max_length": _POINTS}, [rows], options
    if task.takes == "rows":
        rows = _rows(task)
        return {"rows": plain(rows)}, [rows], {}
    if task.takes == "audio":
        samples = _samples(task)
        data = base64.b64encode(samples.tobytes()).decode()
        return {"samples": {"dtype": "int8", "shape": [len(samples)], "base64": data}}, [samples], {}
    if isinstance(task, Captioner):
        item = {"dtype": "uint8", "shape": list(task.shape), "seed": 7, "low": 0, "high": 256}
        return {"array": item}, [array_of(item)], {}
    if isinstance(task, Generator):
        text = _text(task.codec, 4)
        return {"text": text, "max_length": _TEXT}, [text], {"temperature": 0.0, "max_length": _TEXT}
    text = f"{_text(task.source, 6)} Qz 19-x!"
    return {"text": text}, text.split() if isinstance(task, SimultaneousTranslator) else [text], {}


def _text(codec: TextCodec, count: int) -> str:
    """Some pieces that the codec knows."""
    words = [entry for entry in codec.entries[len(SPECIAL) :] if codec.kind == "characters" or entry[0] == "\u2581"]
    # Words of letters, where there are some: numbers are words of a composer.
    letters = [entry for entry in words if entry.strip("\u2581").isalpha()]
    chosen = (letters or [entry for entry in words if entry.strip("\u2581").isdecimal()])[: 3 * count : 3]
    if not chosen:
        raise InputError("the codec knows no word; give it another")
    return "".join(chosen).replace("\u2581", " ").strip()


def _rows(task: Any) -> NDArray[Any]:
    """Rows around what the scaler says, rounded."""
    window, warm_up = task.model.window or 0, getattr(task.spec, "warm_up", 0) + getattr(task.spec, "probation", 0)
    # A longer beginning of an anomaly detector would be a long file, and show no more.
    events = max(3, min(12, _VALUES // math.prod(getattr(task, "shape", ()))))
    count = window + max(events * task.model.metadata.unit, min(warm_up + 20, _MAX_STEPS) if warm_up else 0)
    drawn = numbers(5, count * task.reader.width).reshape(count, -1) / 2.0**31 - 1
    scaler = getattr(task.spec, "scaler", None)
    if scaler is not None:
        drawn = drawn * np.array(scaler.scale)[: task.reader.width] + np.array(scaler.mean)[: task.reader.width]
    rows = np.round(drawn, 3)
    if task.reader.policy != "refuse":
        rows[numbers(9, rows.size).reshape(rows.shape) % 11 == 0] = np.nan
    return rows


def _beginning(task: Sketcher) -> NDArray[Any]:
    """Three points of a drawing, the last of them of a stroke."""
    moves = (numbers(5, 6).reshape(3, 2) / 2.0**31 - 1) * np.array(task.spec.scaler.scale)[:2]
    return np.column_stack([np.round(moves, 3), [0.0, 0.0, 1.0]])


def _samples(task: Any) -> NDArray[Any]:
    """A voice made of pulses and three resonances, int8: the one of which the task says most, of some or of many."""
    most, best = 0, _voice(task.sample_rate, 0)
    for seed in range(_MANY_VOICES):
        if most and seed >= _VOICES:
            break
        samples = _voice(task.sample_rate, seed)
        if (count := sum(1 for _ in task.run([samples]))) > most:
            most, best = count, samples
    return best


def _voice(rate: int, seed: int) -> NDArray[Any]:
    time = np.arange(round(0.9 * rate)) / rate
    drawn = numbers(seed, 8) / 2.0**32
    pitch = np.cumsum(90 + 120 * drawn[0] + 30 * np.sin(2 * np.pi * 2 * time)) / rate
    formants = (250 + 500 * drawn[1], 900 + 1300 * drawn[2], 2300 + 600 * drawn[3])
    glide = 1 + (drawn[4] - 0.5) * time
    sound = sum(
        np.exp(-(((k * 150 - f) / 200) ** 2)) * np.sin(2 * np.pi * k * pitch * glide)
        for k in range(1, 24)
        for f in formants
    )
    loud = np.sin(np.pi * np.clip((time - 0.15) / 0.5, 0, 1)) ** 2 + 0.5 * (time > 0.75)
    return np.round(100 * sound * loud / np.abs(sound).max()).astype(np.int8)
