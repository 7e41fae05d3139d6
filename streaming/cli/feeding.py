"""`streaming run`: lines in, JSON lines out as soon as outputs are ready."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator
from typing import Any, TextIO

import numpy as np

from streaming.errors import InputError
from streaming.runtime.metadata import InputInfo
from streaming.runtime.model import StreamingModel
from streaming.runtime.tasks import Classifier, Tagger, task_for
from streaming.runtime.tokenization import tokenize

_TASKS = ("tagger", "classifier")


def run_lines(model: StreamingModel, lines: Iterable[bytes], out: TextIO) -> None:
    """Stream the lines through the model.

    Args:
        model: of a word task, whose lines are texts; or any other, whose lines are steps: JSON or numbers with commas.
        lines: UTF-8; also from a pipe that goes on.
        out: gets one JSON object a line, flushed at once.

    Raises:
        InputError: a line is no step of this model; it is named by its number.
    """
    task = (model.metadata.task or {}).get("kind")
    found = _tag(task_for(model), lines) if task in _TASKS else _steps(model, lines)
    for item in found:
        print(json.dumps(item, ensure_ascii=False, allow_nan=False), file=out, flush=True)


def _tag(task: Tagger | Classifier, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    for number, line in enumerate(lines, 1):
        words = tokenize(_text(line, number))
        if isinstance(task, Tagger):
            for item in task.stream(words):
                yield {"line": number, "word": item.word, "tag": item.tag, "score": round(item.score, 6)}
            continue
        for word, prediction in zip(words, task.stream(words), strict=False):
            yield {"line": number, "word": word, "label": prediction.label, "score": round(prediction.score, 6)}


def _steps(model: StreamingModel, lines: Iterable[bytes]) -> Iterator[dict[str, Any]]:
    stream, sequence, fed = model.create_stream(), 0, False
    rows: dict[str, int] = {}
    reader = _Reader(model)

    def ready(outputs: Any) -> Iterator[dict[str, Any]]:
        infos = model.metadata.outputs
        for info in infos:
            for row in outputs[info.name] if len(infos) > 1 else outputs:
                index = rows[info.name] = rows.get(info.name, -1) + 1
                yield {"sequence": sequence, "output": info.name, "index": index, "value": _plain(row)}

    for number, line in enumerate(lines, 1):
        text = _text(line, number).strip()
        if text:
            values = reader.read(text, number)
            if values is None:
                continue
            try:
                outputs = stream.feed(values)
            except InputError as error:
                raise InputError(f"line {number}: {error}") from error
            fed = True
            yield from ready(outputs)
        elif fed:
            yield from ready(stream.finish())
            stream.reset()
            rows.clear()
            sequence, fed = sequence + 1, False
    if fed:
        yield from ready(stream.finish())


class _Reader:
    """Lines to steps: each is JSON, or numbers with commas; a first line without any number is a header."""

    def __init__(self, model: StreamingModel) -> None:
        self._inputs = model.metadata.inputs

    def read(self, text: str, number: int) -> Any:
        """A step as `Stream.feed` takes it, None for a header."""
        if text[0] in "[{" or len(self._inputs) > 1:
            return self._json(text, number)
        cells = [cell.strip() for cell in text.split(",")]
        try:
            values = [float(cell) for cell in cells]
        except ValueError:
            if number == 1 and not any(map(_is_number, cells)):
                return None
            raise self._wrong(text, number) from None
        info = self._inputs[0]
        if len(values) != math.prod(info.shape):
            raise self._wrong(text, number)
        array = np.array(values).reshape((1, *info.shape))
        return _whole(array) if np.dtype(info.dtype).kind in "iub" else array

    def _json(self, text: str, number: int) -> Any:
        try:
            found = json.loads(text)
        except (ValueError, RecursionError):
            raise self._wrong(text, number) from None
        names = [info.name for info in self._inputs]
        if isinstance(found, dict):
            if set(found) != set(names):
                raise InputError(f"line {number} has {sorted(found)}, expected the inputs {sorted(names)}")
            values = {info.name: self._array(found[info.name], info, text, number) for info in self._inputs}
            return values if len(names) > 1 else values[names[0]]
        if len(names) > 1:
            raise self._wrong(text, number)
        return self._array(found, self._inputs[0], text, number)

    def _array(self, value: Any, info: InputInfo, text: str, number: int) -> np.ndarray:
        try:
            array = np.array(value)
        except ValueError:
            raise self._wrong(text, number) from None
        if array.dtype.kind not in "fiub" or array.shape != tuple(info.shape):
            raise self._wrong(text, number)
        return array[None] if info.time else array

    def _wrong(self, text: str, number: int) -> InputError:
        shown = text if len(text) <= 60 else text[:57] + "..."
        if len(self._inputs) > 1:
            shapes = ", ".join(f"{info.name} {list(info.shape)}" for info in self._inputs)
            return InputError(f"line {number} is {shown!r}, expected a JSON object with {shapes}")
        shape = list(self._inputs[0].shape)
        return InputError(
            f"line {number} is {shown!r}, expected one step: a JSON array of shape {shape}, or its "
            f"{math.prod(shape)} numbers with commas"
        )


def _text(line: bytes, number: int) -> str:
    try:
        return line.decode("utf-8-sig" if number == 1 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(f"line {number} is not UTF-8 ({error.reason}); convert the file to UTF-8") from error


def _is_number(cell: str) -> bool:
    try:
        float(cell)
    except ValueError:
        return False
    return True


def _whole(array: np.ndarray) -> np.ndarray:
    """Integers where all values are whole; else as they are, for the stream to refuse."""
    return array.astype("int64") if np.array_equal(array, np.round(array)) and np.isfinite(array).all() else array


def _plain(value: np.ndarray) -> Any:
    """Numbers and lists of them; what JSON has no number for is null."""
    if value.ndim:
        return [_plain(item) for item in value]
    item = value.item()
    return None if isinstance(item, float) and not math.isfinite(item) else item
