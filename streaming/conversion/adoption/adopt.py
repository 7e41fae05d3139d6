"""`streaming.adopt`: makes a streaming file of a stateful TFLite model of another tool. Needs no TensorFlow."""

from __future__ import annotations

import dataclasses
import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from numbers import Integral
from pathlib import Path
from typing import Any

from streaming.conversion.adoption.foreign import ForeignModel
from streaming.conversion.adoption.layout import Layout
from streaming.conversion.adoption.pairing import find_pairs
from streaming.conversion.adoption.proof import prove
from streaming.conversion.extra import check_extra, check_path
from streaming.errors import InputError
from streaming.runtime import artifact
from streaming.runtime.facts import Origin, Proof
from streaming.runtime.metadata import FLAGS, InputInfo, Metadata, OutputInfo, SignatureInfo, StateSlot
from streaming.runtime.typed_json import to_plain


@dataclass(frozen=True)
class Adoption:
    """Report of an adoption.

    states: {input: output} of the states that each step carries; kept: names of the states that the model keeps inside;
    chunk: steps an invoke takes; reset: how a stream goes back to its initial states, "states" where they are inputs,
    "signature" or "interpreter", which is opened anew; steps: of random input that were compared with the bare
    interpreter, bit for bit, None where verification was switched off.
    """

    path: str
    states: dict[str, str]
    kept: tuple[str, ...]
    chunk: int
    reset: str
    inputs: tuple[InputInfo, ...]
    outputs: tuple[OutputInfo, ...]
    size_bytes: int
    state_bytes: int
    steps: int | None

    def __str__(self) -> str:
        pairs = ", ".join(f"{key} -> {value}" for key, value in self.states.items())
        kept = f"{len(self.kept)} states inside, reset by {self.reset}" if self.kept else "no states"
        proof = "not verified" if self.steps is None else f"{self.steps} steps equal the bare interpreter bit for bit"
        return (
            f"{self.path}: {self.size_bytes / 1e6:.2f} MB, {self.chunk} step{'s' * (self.chunk > 1)} a chunk, "
            f"{f'states {pairs}' if pairs else kept} ({self.state_bytes} bytes), {proof}"
        )


def adopt(
    path: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    states: Mapping[str, str] | None = None,
    initial: Mapping[str, Any] | None = None,
    chunk: int | None = None,
    static: Sequence[str] = (),
    rows: Mapping[str, int] | None = None,
    signature: str | None = None,
    reset: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    verify: bool = True,
    trust: bool = False,
) -> Adoption:
    """Make a streaming file of a TFLite model that takes a step, or a chunk of steps, at an invoke.

    The computation of the model does not change. Tensors have the names of its signature, or their own names. Axes
    of size one are left out of the shapes of a step: a model that takes [1, 3, 40] is fed (n, 40).

    Args:
        path: the .tflite.
        out: the file to write.
        states: {input: output} of states that the caller has to carry; {} where there are none. None pairs them by
            equal shape and dtype, if only one pairing is possible. States inside the model are always detected.
        initial: values of states before the first step by the name of their input, as the model takes them (integers
            where it is quantized); all others begin as zero, a quantized one at its zero point.
        chunk: steps that an invoke takes; None: the size of axis 1 where an input has three axes or more, else 1.
        static: names of inputs without a time axis, given whole at every call.
        rows: {output: rows an invoke gives}; None: a row a step for an output whose shape has the chunk where the input
            has it, else one.
        signature: the signature that takes a step, if the file has several; None: "step", "serving_default", or the
            only one.
        reset: a signature without inputs that sets the states inside the model; None: "reset" if there is one, or else
            what the model runs before its first invoke; where neither will do, a stream is reset by a new interpreter.
        metadata: {"task": ..., "files": {name: bytes}, "source": ...} to store in the file.
        verify: compare streams with the bare interpreter, bit for bit, on random input before anything is written.
        trust: accept operations that `streaming` does not verify; `load` then needs `trust=True` as well.

    Raises:
        ArtifactError: the file is no TFLite model, is damaged, or is a streaming file already.
        InputError: an argument is wrong, or the inputs and outputs do not determine the states.
        ParityError: the stream differs from the bare interpreter.
    """
    content, appended = artifact.read_foreign(path)
    options = _checked(out, chunk, rows, metadata)
    foreign = ForeignModel(content, str(path), signature, trust=trust)
    pairs, kept = find_pairs(foreign, states), foreign.variables
    if pairs and kept:
        raise InputError(
            f"{path} keeps the state {kept[0].name!r} inside and takes {next(iter(pairs))!r} as an input; "
            "make all of them inputs, or all of them inside"
        )
    place = foreign.reset_place(reset) if kept or reset is not None else None
    layout = Layout(foreign, pairs, chunk, static, rows or {})
    packs, slots, files = layout.states(initial or {})
    if kept:
        slots = tuple(StateSlot(item.name, item.shape, item.dtype, 0, 0) for item in kept)
    signatures = {"step": SignatureInfo(1, layout.chunk)}
    described = Metadata(
        fingerprint="",
        flatbuffer_bytes=0,
        signatures=signatures if place is None else {**signatures, "reset": SignatureInfo(1, 0)},
        inputs=tuple(layout.inputs.values()),
        outputs=tuple(layout.outputs.values()),
        packs=packs,
        slots=slots,
        chunk=layout.chunk,
        unit=layout.chunk,
        flags=FLAGS,
        state="internal" if kept else "external",
        task=to_plain(options.get("task")),
        source=Origin.from_json({**_source(path, content), **options.get("source", {})}),
    )
    files = {**appended, **files, **options.get("files", {})}
    flatbuffer = layout.write(place, Path(path).stem, sorted(files))
    candidate = artifact.pack(flatbuffer, described, files)
    proof = prove(foreign, content, pairs, candidate, trust=trust) if verify else Proof()
    written = artifact.pack(flatbuffer, dataclasses.replace(described, verification=proof), files)
    artifact.write(out, written)
    return Adoption(
        path=str(out),
        states=dict(pairs),
        kept=tuple(item.name for item in kept),
        chunk=layout.chunk,
        reset="states" if not kept else "interpreter" if place is None else "signature",
        inputs=described.inputs,
        outputs=described.outputs,
        size_bytes=len(written),
        state_bytes=described.state_bytes,
        steps=proof.steps,
    )


def _source(path: str | os.PathLike[str], content: bytes) -> dict[str, Any]:
    return {"model": Path(path).stem, "adopted": hashlib.sha256(content).hexdigest(), "quantize": "as it came"}


def _checked(out: Any, chunk: Any, rows: Any, metadata: Any) -> dict[str, Any]:
    """The metadata, once they and the numbers are sound."""
    check_path(out)
    counts = {"chunk": chunk, **{f"rows of {name!r}": count for name, count in (rows or {}).items()}}
    for name, count in counts.items():
        if count is not None and (isinstance(count, bool) or not isinstance(count, Integral) or count < 1):
            raise InputError(f"{name} is {count!r}, expected a whole number, 1 or more")
    check_extra(metadata)
    return dict(metadata or {})
