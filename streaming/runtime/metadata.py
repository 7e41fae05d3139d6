"""Metadata of a streaming model, `streaming.json`: its signatures, tensors, state and timing.

Shapes never count the batch axis B; tensors with `time=True` are (B, T, *shape) in the graph, T being the
chunk of the signature. All counts of time are in steps of the model's input.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError
from streaming.runtime.facts import Origin, PlanRow, Proof
from streaming.runtime.typed_json import fields_of, from_plain

# 2: windows; models of other tools: scales of integers, whole chunks, states that no signature resets.
# 3: no bool at the boundary of a signature; the same text is in the flatbuffer too; strings that are texts or hashed.
SCHEMA = 3
OLD_FLAGS, FLAGS = "bool", "int32"


@dataclass(frozen=True)
class TensorInfo:
    """A tensor of the graph for an input of another form: its `shape` after the axis of steps, and its dtype."""

    shape: tuple[int, ...]
    dtype: str


@dataclass(frozen=True)
class InputInfo:
    """One input: (B, T, *shape), or (B, *shape) at every step where `time` is false.

    Integer inputs that index a table have a legal range: low <= value < high. Those that represent real numbers, in a
    model with quantized inputs and outputs, have a scale: number = scale * (value - zero_point). Strings (dtype
    "string") name the associated file with the table of their ids, and the `tensor` that takes the ids.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    time: bool = True
    low: int | None = None
    high: int | None = None
    scale: float | None = None
    zero_point: int | None = None
    table: str | None = None
    tensor: TensorInfo | None = None

    @property
    def graph(self) -> TensorInfo:
        """The shape behind the steps and the dtype of the graph's own tensor; ArtifactError where it has none."""
        if self.tensor is None and self.dtype == "string":
            raise ArtifactError(f"input {self.name!r} takes strings and names no tensor; convert the model again")
        return self.tensor or TensorInfo(self.shape, self.dtype)

    def quantize(self, numbers: Any) -> NDArray[Any]:
        """The nearest values of the input for real numbers."""
        numbers = np.asarray(numbers, np.float32)
        if self.scale is None:
            return numbers.astype(self.dtype)
        limits = np.iinfo(self.dtype)
        rounded = np.rint(numbers / np.float32(self.scale)) + (self.zero_point or 0)
        return np.clip(rounded, limits.min, limits.max).astype(self.dtype)


@dataclass(frozen=True)
class OutputInfo:
    """One output: (B, T * rate, *shape).

    After T input steps, output position `s` of the stream exists where start <= s < T + end; `end` is thus
    the number of steps that `finish()` must flush. `running`: the offline model has no time axis here and
    equals the last row. Where the rate is not 1 the output `valid`, a mask, says which positions exist; without it all
    do that whole chunks give. Of a stream of windows each row is a whole output of the model, and rows exist from row
    `start` on. Integers that stand for real numbers carry their scale, as those of inputs.
    """

    name: str
    shape: tuple[int, ...]
    dtype: str
    rate: tuple[int, int] = (1, 1)
    start: int = 0
    end: int = 0
    running: bool = False
    valid: str | None = None
    scale: float | None = None
    zero_point: int | None = None

    def dequantize(self, values: Any) -> NDArray[Any]:
        """Real numbers from the integers that the output gives: scale * (value - zero_point) in float32.

        Real numbers, which the output or a model loaded with `real=True` gives, are returned as they are.
        """
        values = np.asarray(values)
        if self.scale is None or values.dtype.kind == "f":
            return values
        return np.float32(self.scale) * (values.astype(np.float32) - np.float32(self.zero_point or 0))


@dataclass(frozen=True)
class StatePack:
    """All states of one dtype side by side in one tensor (B, size), an input and an output of each step.

    A pack without an output is a context: signature `encode` gives it, and every step reads it as it is. `initial`
    names the associated file with the raw little-endian initial row; None means zeros.
    """

    input: str
    output: str
    dtype: str
    size: int
    initial: str | None = None


@dataclass(frozen=True)
class StateSlot:
    """One named state: `shape` elements at `offset` of the pack with index `pack`."""

    name: str
    shape: tuple[int, ...]
    dtype: str
    pack: int
    offset: int
    scale: float | None = None
    zero_point: int | None = None


@dataclass(frozen=True)
class EncodeInfo:
    """Signature `encode`: inputs that are given whole, before the first step.

    Those with `time=True` are (1, max_length, *shape), of which the mask named in `valid` (1, max_length)
    says which positions are real. Its output is the pack that has no output of its own.
    """

    inputs: tuple[InputInfo, ...]
    valid: dict[str, str]
    max_length: int


@dataclass(frozen=True)
class SignatureInfo:
    """A TFLite signature: `batch` streams by `chunk` steps an invoke."""

    batch: int
    chunk: int


@dataclass(frozen=True)
class Metadata:
    """The content of `streaming.json`.

    chunk: steps a `Stream.step` takes; unit: the smallest legal chunk, the one of signature `step`;
    delay: input steps between an input and the output of its position; flush: steps `finish()` runs on;
    valid: the input (B, T) that marks real positions, None where the plan needs none;
    flags: the dtype that masks have in the graph, and inputs and outputs whose dtype is bool: int32, which is 0 or 1,
    as browsers take no bool; bool in files of schema 1 and 2;
    encode: what a stream is given before its first step, None for most models;
    window, hop: steps of a window and between two, None and 1 where state is carried on; pad: "pre" or "post" where
    windows that are not full yet are filled with zeros; lead: zeros that the runtime puts before the first step, so
    that windows end with a chunk;
    state: "external" (packs are inputs and outputs) or "internal" (variables inside the interpreter, which signature
    `reset` sets; where there is none, only a new interpreter begins anew).
    """

    fingerprint: str
    flatbuffer_bytes: int
    signatures: dict[str, SignatureInfo]
    inputs: tuple[InputInfo, ...]
    outputs: tuple[OutputInfo, ...]
    packs: tuple[StatePack, ...] = ()
    slots: tuple[StateSlot, ...] = ()
    chunk: int = 1
    unit: int = 1
    delay: int = 0
    flush: int = 0
    valid: str | None = None
    flags: str = OLD_FLAGS
    state: str = "external"
    encode: EncodeInfo | None = None
    window: int | None = None
    hop: int = 1
    pad: str | None = None
    lead: int = 0
    task: dict[str, Any] | None = None
    source: Origin = field(default_factory=Origin)
    verification: Proof = field(default_factory=Proof)
    plan: tuple[PlanRow, ...] = ()
    files: dict[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    def in_graph(self, dtype: str) -> str:
        """The dtype of a tensor of the graph whose values are of `dtype`: `flags` for bool."""
        return self.flags if dtype == "bool" else dtype

    @property
    def state_bytes(self) -> int:
        """Bytes of state that one stream carries."""
        return sum(int(np.prod(s.shape, dtype=int)) * np.dtype(s.dtype).itemsize for s in self.slots)

    def to_json(self) -> dict[str, Any]:
        """Plain dicts, lists, numbers and strings, ready for `json.dumps`."""
        return fields_of(self)

    @classmethod
    def from_json(cls, data: Any) -> Metadata:
        """Build from parsed JSON; raises ArtifactError naming the first field that is missing or wrong."""
        if not isinstance(data, Mapping):
            raise ArtifactError(
                f"streaming.json: expected an object, got {type(data).__name__}; convert the model again"
            )
        schema = data.get("schema")
        if not isinstance(schema, int) or not 1 <= schema <= SCHEMA:
            raise ArtifactError(
                f"streaming.json has schema {schema!r}, this version reads 1 to {SCHEMA}; "
                "update the package or convert the model again"
            )
        for version in range(schema, SCHEMA):
            data = MIGRATIONS[version](data)
        # A file keeps the number of the schema that it was written in.
        return from_plain(cls, {**data, "schema": schema}, "streaming.json")


def _from_1(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 1 knew no windows: every state is carried on."""
    return {"window": None, "hop": 1, "pad": None, "lead": 0, **data}


def _from_2(data: Mapping[str, Any]) -> dict[str, Any]:
    """Schema 2 had bool at the boundary of its signatures."""
    return {"flags": OLD_FLAGS, **data}


# From the JSON of each schema that was ever written to that of the next.
MIGRATIONS: dict[int, Callable[[Mapping[str, Any]], Mapping[str, Any]]] = {1: _from_1, 2: _from_2}
