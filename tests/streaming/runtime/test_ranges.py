"""Numbers of metadata and tasks that make no sense, under a right checksum: each is refused by name."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import runtime_models as models

from streaming.errors import ArtifactError
from streaming.runtime import ranges
from streaming.runtime.audio import LogMel
from streaming.runtime.metadata import InputInfo, Metadata
from streaming.runtime.tasks import schema


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"flush": 2**40}, "flush is .*, expected 0 to 65536"),
        ({"flush": -1}, "flush is -1"),
        ({"chunk": 0}, "chunk is 0"),
        ({"chunk": 2**31}, "chunk is"),
        ({"delay": 10**9}, "delay is"),
        ({"window": 0}, "window is 0"),
        ({"hop": 0}, "hop is 0"),
        ({"lead": -5}, "lead is -5"),
    ],
)
def test_metadata(tmp_path: Path, changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message) as caught:
        models.load(tmp_path, "filter", **changes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("info", "message"),
    [
        (InputInfo("x", (1,) * 9, "float32"), "9 axes"),
        (InputInfo("x", (2**40,), "float32"), "shape is"),
        (InputInfo("x", (-3,), "float32"), "shape is -3"),
        (InputInfo("x", (3,), "float31"), "dtype is 'float31'"),
        (InputInfo("x", (3,), "O"), "dtype is 'O'"),
    ],
)
def test_inputs(tmp_path: Path, info: InputInfo, message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        models.load(tmp_path, "filter", inputs=(info,))


@pytest.mark.parametrize(
    ("kind", "task", "message"),
    [
        (schema.TranslatorSpec, {"width": 10**9}, "width is 1000000000, expected 1 to 256"),
        (schema.TranslatorSpec, {"max_length": 10**9}, "max_length is"),
        (schema.TranslatorSpec, {"length_penalty": float("inf")}, "length_penalty is inf"),
        (schema.TranslatorSpec, {"wait_k": 10**7}, "wait_k is"),
        (schema.GeneratorSpec, {"temperature": float("nan")}, "temperature is nan"),
        (schema.GeneratorSpec, {"max_length": 2**40}, "max_length is"),
        (schema.TranscriberSpec, {"sample_rate": 16000, "width": 10**6}, "width is"),
        (schema.KeywordSpotterSpec, {"sample_rate": 16000, "smoothing": 1e9}, "smoothing is"),
        (schema.KeywordSpotterSpec, {"sample_rate": 10**9}, "sample_rate is"),
        (schema.AnomalyDetectorSpec, {"columns": ["a"], "long_window": 2**40}, "long_window is"),
        (schema.ForecasterSpec, {"columns": ["a"], "horizon": 2**30}, "horizon is"),
        (schema.TaggerSpec, {"viterbi_delay": 2**30}, "viterbi_delay is"),
        (schema.ClassifierSpec, {"scaler": {"mean": [float("nan")], "scale": [1.0]}}, "mean is nan"),
        (
            schema.AudioSpec,
            {"sample_rate": 16000, "features": {"fft_length": 2**30, "frame_length": 2**30}},
            "frame_length is",
        ),
        (schema.AudioSpec, {"sample_rate": 16000, "features": {"num_mels": 10**6}}, "num_mels is"),
    ],
)
def test_tasks(kind: type, task: dict[str, Any], message: str) -> None:
    with pytest.raises(ArtifactError, match=message):
        schema.read_spec(kind, {"kind": "forged", **task})


def test_every_range_is_of_a_field() -> None:
    kinds = [*vars(schema).values(), *vars(__import__("streaming.runtime.metadata", fromlist=["x"])).values(), LogMel]
    classes = {kind.__name__: kind for kind in kinds if dataclasses.is_dataclass(kind) and isinstance(kind, type)}
    for name, fields in ranges.RANGES.items():
        assert fields.keys() <= {item.name for item in dataclasses.fields(classes[name])}, name
    assert Metadata.__name__ in classes
