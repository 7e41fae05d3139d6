"""Facts of how a streaming file was made: the rows of its plan, the proof, and the origin of the model.

Nothing here changes what a stream computes; `streaming inspect` and the server show it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from streaming.runtime.typed_json import fields_of, from_plain


@dataclass(frozen=True)
class PlanRow:
    """Row of the plan: how one call of a layer streams.

    Args:
        name, kind: of the call, and the class of its layer.
        shape: of its output, without the axes of batch and time.
        rate: of its output, rows for each step of the input such as "1/2"; "static" where it has no time axis.
        delay: steps of the input between a row and its position.
        running: the offline model has no time axis here and equals the last row.
        states: shapes of its states by name.
        inputs: names of the calls and of the inputs of the model that it takes.
        outputs: names of the outputs of the model that it makes.
        anew: it is computed again for each window.
        encoded: it is computed once, by `encode`, before the first step; a length in `shape` is the longest source's.
    """

    name: str
    kind: str
    shape: tuple[int | None, ...]
    rate: str
    delay: int
    running: bool
    states: dict[str, tuple[int, ...]]
    inputs: tuple[str, ...] = ()
    outputs: tuple[str, ...] = ()
    anew: bool = False
    encoded: bool = False


@dataclass(frozen=True)
class Approximation:
    """Difference between the offline model and a stream that sees less of its input: the largest, and the RMS.

    steps: on which it was measured; scale: the largest offline value.
    """

    steps: int
    max_abs_error: float
    rms_error: float
    scale: float


@dataclass(frozen=True)
class Drift:
    """Difference from the float32 stream over one long stream that is never reset.

    begin and end: root mean square over the first and last tenth, which have the same inputs; scale: the largest
    float32 value; same: the share of rows whose largest number is at the same place, or of one probability on the same
    side of 0.5; None where rows are neither, and in older files.
    """

    steps: int
    max_abs_error: float
    rms_error: float
    begin: float
    end: float
    scale: float
    same: float | None = None


@dataclass(frozen=True)
class PolicyDifference:
    """Largest difference between a model under its own dtype policies and in float32, on random inputs.

    policies: names; scale: the largest value in float32.
    """

    policies: tuple[str, ...]
    max_abs_error: float
    scale: float


@dataclass(frozen=True)
class Proof:
    """Result of the verification before the file was written; fields are None where there was none.

    Args:
        sequences, steps: how many were compared.
        max_abs_error: largest difference of an output.
        max_relative_error: the same to the largest offline value of its sequence, at least 1.
        tolerance: the relative error that was allowed.
        runtime: that ran the stream.
        domain: the numbers that were fed: `normal`, `positive`, ... or `calibration data`.
        against: what the stream was compared with, if that was not a Keras model.
        notes: of the converter, for the user.
        approximation: of a stream that sees less than the offline model.
        drift: of a quantized stream.
        policy: of a model that does not compute in float32.
    """

    sequences: int | None = None
    steps: int | None = None
    max_abs_error: float | None = None
    max_relative_error: float | None = None
    tolerance: float | None = None
    runtime: str | None = None
    domain: str | None = None
    against: str | None = None
    notes: tuple[str, ...] = ()
    approximation: Approximation | None = None
    drift: Drift | None = None
    policy: PolicyDifference | None = None

    def to_json(self) -> dict[str, Any]:
        """The object in `streaming.json`, without fields that are not known."""
        return fields_of(self, unset=False)


@dataclass(frozen=True)
class Origin:
    """Origin of the model of a file.

    Args:
        model: its name in Keras, or of the file that was adopted.
        quantize: "none", "float16", "dynamic", "int8" or, adopted, "as it came".
        keras: version of Keras that it was converted with.
        adopted: SHA-256 of the file that was adopted.
        more: the other keys of `metadata={"source": ...}`, from the user.
    """

    model: str | None = None
    quantize: str | None = None
    keras: str | None = None
    adopted: str | None = None
    more: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """The object in `streaming.json`: all that is known, side by side."""
        known = fields_of(self, unset=False)
        return {**known.pop("more"), **known}

    @classmethod
    def from_json(cls, data: Mapping[str, Any], where: str = "source") -> Origin:
        """From that object."""
        names = ("model", "quantize", "keras", "adopted")
        known = {name: data[name] for name in names if isinstance(data.get(name), str)}
        more = {name: value for name, value in data.items() if name not in known}
        return from_plain(cls, {**known, "more": more}, where)
