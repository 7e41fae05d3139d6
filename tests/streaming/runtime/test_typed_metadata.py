"""What a file says of its making is typed on both sides, and every schema ever written has a way to this one."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pytest
from keras import layers

import streaming
from streaming.inspection import describe
from streaming.runtime.audio import LogMel
from streaming.runtime.facts import Origin, PlanRow, Proof
from streaming.runtime.metadata import MIGRATIONS, SCHEMA, Metadata
from streaming.runtime.tasks import schema
from streaming.runtime.tasks.schema import ClassifierSpec, Scaler, TaggerSpec, TaskSpec, read_spec


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    x = keras.Input((None, 3), name="rows")
    model = keras.Model(x, layers.Dense(2, name="scores")(layers.GRU(4, return_sequences=True, name="memory")(x)))
    path = tmp_path_factory.mktemp("typed") / "m.tflite"
    task = ClassifierSpec(2, "rows", columns=("a", "b", "c"), scaler=Scaler((0.0, 1.0, 2.0), (1.0, 1.0, 2.0)))
    metadata = {"task": task, "source": {"name": "mine", "year": 2024}}
    streaming.convert(model, path, metadata=metadata)
    return path


def test_rows_proof_and_source_are_typed(file: Path) -> None:
    meta = streaming.load(file).metadata
    memory = PlanRow("memory", "GRU", (4,), "1", 0, False, {"state": (4,)}, ("rows",))
    assert meta.plan == (memory, PlanRow("scores", "Dense", (2,), "1", 0, False, {}, ("memory",), ("scores",)))
    assert meta.verification.max_relative_error < meta.verification.tolerance == 1e-5
    assert meta.verification.drift is meta.verification.policy is None
    assert (meta.source.quantize, meta.source.more) == ("none", {"name": "mine", "year": 2024})


def test_a_task_is_written_from_its_specification_and_read_into_it(file: Path) -> None:
    task = streaming.load(file).metadata.task
    assert (task["kind"], task["scaler"]) == ("classifier", {"mean": [0.0, 1.0, 2.0], "scale": [1.0, 1.0, 2.0]})
    spec = read_spec(ClassifierSpec, task)
    assert spec.scaler is not None
    np.testing.assert_array_equal(spec.scaler.apply(np.array([[1.0, 1.0, 4.0]])), [[1, 0, 1]])
    assert spec.to_json() == task


def test_inspect_says_what_the_metadata_say(file: Path) -> None:
    said, meta = describe(file), streaming.load(file).metadata.to_json()
    assert {*meta} - {*said} == {"flatbuffer_bytes", "packs", "slots", "valid", "lead"}
    assert {name for name in {*meta} & {*said} if said[name] != meta[name]} == {"signatures"}
    assert said["signatures"]["step"]["batch"] == 1
    assert said["signatures"]["step"]["multiply_adds"] > 4 * 3 * (3 + 4)
    assert json.loads(json.dumps(said)) == said


def test_every_schema_has_a_way_to_the_next(file: Path) -> None:
    assert sorted(MIGRATIONS) == list(range(1, SCHEMA))
    data = streaming.load(file).metadata.to_json()
    for name in ("window", "hop", "pad", "lead", "encode"):
        del data[name]
    for row in data["plan"]:
        del row["inputs"], row["outputs"], row["anew"], row["encoded"]
    old = Metadata.from_json({**data, "schema": 1})
    assert (old.schema, old.window, old.hop, old.plan[0].inputs) == (1, None, 1, ())


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"plan": [{"name": "memory"}]}, r"plan\[0\]: field 'kind' is missing"),
        ({"plan": 3}, "plan: expected a list, got int"),
        ({"verification": {"steps": "many"}}, "verification: steps: expected int, got str"),
        ({"source": []}, "source: expected an object, got list"),
    ],
)
def test_what_is_of_another_type_is_named(change: Any, message: str, file: Path) -> None:
    with pytest.raises(streaming.ArtifactError, match=message):
        Metadata.from_json({**streaming.load(file).metadata.to_json(), **change})


def test_any_error_that_was_measured_can_be_read() -> None:
    proof = Proof(max_abs_error=1e30, drift=None, notes=("one",))
    assert proof.to_json() == {"max_abs_error": 1e30, "notes": ["one"]}
    assert Origin.from_json({"model": 3, "keras": "3"}) == Origin(keras="3", more={"model": 3})


SPECS = [kind for kind in vars(schema).values() if isinstance(kind, type) and issubclass(kind, TaskSpec)]


@pytest.mark.parametrize("kind", [kind for kind in SPECS if hasattr(kind, "kind")], ids=lambda kind: kind.kind)
def test_specifications_come_back_as_they_were(kind: Any) -> None:
    wanted: dict[str, Any] = {"sample_rate": 16000, "columns": ("x",), "words": ("one",), "voices": ("a", "b")}
    wanted |= {"features": LogMel(num_mels=2), "scaler": Scaler((0.0, 1.0), (1.0, 2.0))}
    needed = [f.name for f in dataclasses.fields(kind) if f.default is dataclasses.MISSING]
    spec = kind(**{name: wanted[name] for name in needed}, dataset="own")
    assert read_spec(kind, json.loads(json.dumps(spec.to_json()))) == spec


def test_a_tagger_says_what_it_always_said() -> None:
    assert TaggerSpec(labels=4, dataset="own").to_json() == {"kind": "tagger", "labels": 4, "dataset": "own"}
