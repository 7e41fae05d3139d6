"""Tasks: objects that turn raw input into readable output by a streaming model."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from streaming.errors import ArtifactError
from streaming.runtime.decoding import softmax
from streaming.runtime.model import StreamingModel
from streaming.runtime.model import load as load_model
from streaming.runtime.tasks.base import Prediction, Session, Task
from streaming.runtime.tasks.keyword_spotter import Keyword, KeywordSpotter, Utterance
from streaming.runtime.tasks.rows import TimedRows
from streaming.runtime.tasks.sensors import SensorClassifier, SequenceTagger, TaggedRow
from streaming.runtime.tasks.series import Anomaly, AnomalyDetector, Forecast, Forecaster
from streaming.runtime.tasks.speech import Speech, Synthesizer
from streaming.runtime.tasks.strokes import Point, Sketcher
from streaming.runtime.tasks.texts import Captioner, Generator, Piece, Text
from streaming.runtime.tasks.transcriber import Token, Transcriber, Transcript
from streaming.runtime.tasks.translation import SimultaneousTranslator, TranslatedWord, Translator
from streaming.runtime.tasks.words import Classifier, TaggedWord, Tagger

__all__ = [
    "Anomaly",
    "AnomalyDetector",
    "Captioner",
    "Classifier",
    "Forecast",
    "Forecaster",
    "Generator",
    "Keyword",
    "KeywordSpotter",
    "Piece",
    "Point",
    "Prediction",
    "SensorClassifier",
    "SequenceTagger",
    "Session",
    "SimultaneousTranslator",
    "Sketcher",
    "Speech",
    "Synthesizer",
    "TaggedRow",
    "TaggedWord",
    "Tagger",
    "Task",
    "Text",
    "TimedRows",
    "Token",
    "Transcriber",
    "Transcript",
    "TranslatedWord",
    "Translator",
    "Utterance",
    "pipeline",
    "softmax",
    "task_for",
]

_CLASSES: tuple[type[Task], ...] = (
    Tagger,
    Classifier,
    SequenceTagger,
    KeywordSpotter,
    Transcriber,
    Translator,
    Captioner,
    Generator,
    Forecaster,
    AnomalyDetector,
    Sketcher,
    Synthesizer,
)
_TASKS: Mapping[str, type[Task]] = {task.spec_type.kind: task for task in _CLASSES}


def pipeline(
    path: str | Path, runtime: str = "auto", num_threads: int = 1, *, trust: bool = False, isolated: bool = False
) -> Any:
    """The task object that a model's metadata names.

    Args:
        path: a file that `streaming.convert` wrote with a task in its metadata, or a folder that holds it as
            `float32.tflite` (a bundle of the zoo).
        runtime: `auto`, `litert`, `tflite_runtime` or `tf`.
        num_threads: threads of the interpreter.
        trust, isolated: as for `streaming.load`.

    Raises:
        ArtifactError: the file is damaged, or names no task or one this version does not know.
    """
    return task_for(load_model(path, runtime, num_threads, trust=trust, isolated=isolated))


def task_for(model: StreamingModel) -> Any:
    """The task object of a loaded model.

    Raises:
        ArtifactError: the model names no task, or one this version does not know.
    """
    task = model.metadata.task or {}
    kind = str(task.get("kind"))
    if kind not in _TASKS:
        known = ", ".join(_TASKS)
        raise ArtifactError(f"expected a task among {known}; this file says {task.get('kind')!r}. Use streaming.load")
    if kind == "classifier" and task.get("input") == "rows":
        return SensorClassifier(model)
    if kind == "translator" and model.metadata.encode is None:
        return SimultaneousTranslator(model)
    return _TASKS[kind](model)
