"""The ranges of all numbers in `streaming.json`, also of tasks; a checksum does not show that they are valid.

Numbers beyond them would run forever, or need much more memory than the size of the file suggests. Relations between
numbers are checked where they are used: `agreement`, and the specifications of tasks.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from streaming.errors import ArtifactError

DTYPES = frozenset("bool int8 uint8 int16 uint16 int32 uint32 int64 uint64 float16 float32 float64 string str".split())
MAX_RANK = 8
_MAX_STEPS, _MAX_SIZE = 2**20, 2**28
_STEPS, _SIZE, _SECONDS, _WHOLE = (0, _MAX_STEPS), (0, _MAX_SIZE), (0.0, 86400.0), (-(2**53), 2**53)
_SCALE: dict[str, tuple[float, float]] = {"scale": (1e-30, 1e30), "zero_point": (-(2**31), 2**31)}

# Class -> field -> least and greatest; of lists every item. Classes have the ranges of those that they extend.
RANGES: dict[str, dict[str, tuple[float, float]]] = {
    "InputInfo": {"shape": _SIZE, "low": (-(2**63), 2**63), "high": (-(2**63), 2**63), **_SCALE},
    "TensorInfo": {"shape": _SIZE},
    "OutputInfo": {"shape": _SIZE, "rate": (1, 2**16), "start": _STEPS, "end": (0, 2**16), **_SCALE},
    "StatePack": {"size": _SIZE},
    "StateSlot": {"shape": _SIZE, "pack": (0, 64), "offset": _SIZE, **_SCALE},
    "EncodeInfo": {"max_length": _STEPS},
    "SignatureInfo": {"batch": (0, 2**16), "chunk": _STEPS},
    "Metadata": {
        "flatbuffer_bytes": (0, 2**31),
        "chunk": (1, _MAX_STEPS),
        "unit": (1, _MAX_STEPS),
        "delay": _STEPS,
        "flush": (0, 2**16),
        "window": (1, _MAX_STEPS),
        "hop": (1, _MAX_STEPS),
        "lead": _STEPS,
    },
    "LogMel": {
        "sample_rate": (1, 10**6),
        "frame_length": (1, 2**15),
        "frame_step": (1, _MAX_STEPS),
        "fft_length": (1, 2**15),
        "num_mels": (1, 512),
        "power": (1e-3, 16.0),
        "floor": (1e-30, 1e6),
    },
    "RowsSpec": {"resample": (1e-6, 1e9)},
    "TaggerSpec": {"labels": _STEPS, "viterbi_delay": (0, 2**16)},
    "ClassifierSpec": {"labels": _STEPS},
    "SequenceTaggerSpec": {"labels": _STEPS, "viterbi_delay": (0, 2**16), "sample_rate": (1e-9, 1e9)},
    "EndpointSpec": {"silence": _SECONDS, "level": (-400.0, 0.0)},
    "AudioSpec": {"sample_rate": (100, 10**6), "lead": (0.0, 60.0), "frame_length": (1, 2**15), "zeros": _STEPS},
    "KeywordSpotterSpec": {"labels": _STEPS, "smoothing": (0.0, 60.0), "refractory": _SECONDS},
    "TranscriberSpec": {"labels": _STEPS, "blank": _STEPS, "width": (1, 1024)},
    "SearchSpec": {"width": (1, 256), "length_penalty": (-10.0, 10.0), "max_length": (1, 2**14)},
    "TranslatorSpec": {"wait_k": (1, 1024)},
    "CaptionerSpec": {"scale": (-1e12, 1e12), "offset": (-1e12, 1e12)},
    "SynthesizerSpec": {
        "reduction": (1, 64),
        "floor": (1e-12, 1e6),
        "temperature": (0.0, 1e6),
        "max_length": (1, 2**14),
        "iterations": (0, 2**12),
    },
    "GeneratorSpec": {"max_length": (1, 2**16), "temperature": (0.0, 1e6), "top_k": _STEPS},
    "SketcherSpec": {"floor": (0.0, 1e6), "temperature": (0.0, 1e6), "max_length": (1, 2**16)},
    "ForecasterSpec": {"horizon": (1, 2**16)},
    "IntervalsSpec": {"coverage": (0.0, 1.0), "rate": (0.0, 1.0)},
    "AnomalyDetectorSpec": {
        "short_window": _STEPS,
        "long_window": _STEPS,
        "warm_up": (2, 2**24),
        "probation": (0, 2**24),
    },
    "Scaler": {"mean": (-1e30, 1e30), "scale": (-1e30, 1e30)},
}


# What a file says of its making decides nothing: a measured error may be any number.
_FREE = frozenset(("PlanRow", "Proof", "Approximation", "Drift", "PolicyDifference", "Origin"))


def check(kind: type, name: str, value: Any, where: str) -> None:
    """Raises ArtifactError unless the numbers of a field are in their range; any number is finite."""
    if kind.__name__ in _FREE:
        return
    if name == "dtype" and value not in DTYPES:
        raise ArtifactError(f"{where} is {str(value)[:40]!r}, expected one of {', '.join(sorted(DTYPES))}")
    if name == "shape" and len(value) > MAX_RANK:
        raise ArtifactError(f"{where} has {len(value)} axes, expected {MAX_RANK} at most; convert the model again")
    low, high = _range(kind, name)
    for number in _numbers(value):
        if not low <= number <= high or not math.isfinite(number):
            raise ArtifactError(f"{where} is {number}, expected {low} to {high}; convert the model again")


def _range(kind: type, name: str) -> tuple[float, float]:
    for part in kind.__mro__:
        limits = RANGES.get(part.__name__, {}).get(name)
        if limits is not None:
            return limits
    return _WHOLE


def _numbers(value: Any) -> Iterator[float]:
    if isinstance(value, tuple):
        for item in value:
            yield from _numbers(item)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield value
