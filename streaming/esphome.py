"""A wake word for ESPHome's `micro_wake_word`: the model, and the JSON manifest that ESPHome reads beside it.

The manifest is that of version 2 (esphome.io/components/micro_wake_word). The model is a file of
`convert(..., target="esphome")`, without the zip at its end, which would only take flash memory.
"""

from __future__ import annotations

import json
import math
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from streaming.errors import ArtifactError, InputError
from streaming.runtime import artifact
from streaming.runtime.metadata import Metadata
from streaming.runtime.micro import least_arena

BANDS = 40
# Milliseconds between two rows of features.
STEP_MS = 10
# Arenas are given in multiples of this.
_ARENA_STEP = 1024


@dataclass(frozen=True)
class WakeWord:
    """What was written.

    files: their paths; arena_bytes: what the manifest asks for; stride: rows of features an invoke.
    """

    files: tuple[Path, ...]
    arena_bytes: int
    stride: int


def write(
    path: str | os.PathLike[str],
    folder: str | os.PathLike[str],
    wake_word: str,
    *,
    cutoff: float = 0.97,
    window: int = 5,
    author: str = "",
    website: str = "",
    languages: tuple[str, ...] = ("en",),
) -> WakeWord:
    """Write a wake word and its manifest.

    Args:
        path: a file of `convert(..., target="esphome")`.
        folder: where NAME.tflite and NAME.json go, NAME made of the wake word.
        wake_word: the words, as people read them.
        cutoff: the mean probability, over the last `window` of the model's, from which on the word was heard.
        window: probabilities in that mean.
        author, website, languages: for people who choose a model.

    Raises:
        InputError: the file was converted for something else, an argument is out of its range, or `tflite-micro` is
            not installed.
        ArtifactError: the file is damaged, or the folder cannot be written.
    """
    name = re.sub(r"\W+", "_", wake_word.strip().lower()).strip("_")
    if not name:
        raise InputError(f"the wake word is {wake_word!r}, expected some words")
    if not 0 < cutoff < 1 or not 1 <= window <= 100:
        raise InputError(
            f"cutoff is {cutoff}, expected a number between 0 and 1; window is {window}, expected 1 to 100"
        )
    content = artifact.read(path)
    _check(content.metadata, Path(path).name)
    try:
        arena = math.ceil(least_arena(content.flatbuffer) / _ARENA_STEP) * _ARENA_STEP
    except ImportError as error:
        raise InputError("tflite-micro measures the arena; install it with pip install 'rnnzoo[micro]'") from error
    manifest: dict[str, Any] = {
        "type": "micro",
        "wake_word": wake_word,
        "author": author,
        "website": website,
        "model": f"{name}.tflite",
        "trained_languages": list(languages),
        "version": 2,
        "micro": {
            "probability_cutoff": cutoff,
            "feature_step_size": STEP_MS,
            "sliding_window_size": window,
            "tensor_arena_size": arena,
            "minimum_esphome_version": "2024.7.0",
        },
    }
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot make {folder} ({error.strerror}); give another folder") from error
    files = folder / f"{name}.tflite", folder / f"{name}.json"
    artifact.write(files[0], content.flatbuffer)
    artifact.write(files[1], (json.dumps(manifest, indent=2, ensure_ascii=False) + "\n").encode())
    return WakeWord(files, arena, content.metadata.unit)


def _check(meta: Metadata, name: str) -> None:
    """Raises InputError where a file is not in the form that ESPHome takes."""
    inputs = [(info.dtype, tuple(info.shape)) for info in meta.inputs]
    outputs = [(info.dtype, info.scale) for info in meta.outputs]
    if inputs != [("int8", (BANDS,))] or outputs != [("uint8", 1 / 256)] or meta.state != "internal":
        raise InputError(f"{name} is no wake word for ESPHome; convert the model with target='esphome'")
