"""`streaming.convert`: model -> plan -> traced signatures -> flatbuffer -> verified file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from streaming.conversion import tflite
from streaming.conversion.lower import Layout, layout, trace
from streaming.conversion.plan import Plan, plan
from streaming.conversion.verify import DEFAULT_TOLERANCE, Verification, verify
from streaming.errors import InputError
from streaming.runtime import artifact
from streaming.runtime.metadata import InputInfo, Metadata, OutputInfo, SignatureInfo
from streaming.runtime.model import StreamingModel

QUANTIZATIONS = (None, "float16", "dynamic")


@dataclass(frozen=True)
class Report:
    """What a conversion made.

    delay: input steps between an input and its output; max_abs_error: largest difference from the offline
    model in the verification, None where it was switched off; size_bytes of the file; state_bytes of one stream;
    signatures: name -> (batch, steps); ops: operation -> count over all signatures.
    """

    path: str
    delay: int
    chunk: int
    max_abs_error: float | None
    size_bytes: int
    state_bytes: int
    signatures: dict[str, tuple[int, int]]
    ops: dict[str, int]
    quantize: str | None
    verification: Verification | None
    float_verification: Verification | None

    def __str__(self) -> str:
        if self.max_abs_error is None:
            proof = "not verified"
        else:
            proof = f"max error {self.max_abs_error:.2g} against the offline model"
        megabytes = self.size_bytes / 1e6
        return f"{self.path}: {megabytes:.2f} MB, delay {self.delay}, state {self.state_bytes} bytes, {proof}"


def convert(
    model: Any,
    path: str | os.PathLike[str],
    *,
    chunk: int | None = None,
    batch_sizes: Sequence[int] = (1,),
    state: str = "external",
    quantize: str | None = None,
    calibration: Any = None,
    lookahead: int | None = None,
    metadata: Mapping[str, Any] | None = None,
    verify: bool = True,
    tolerance: float | None = None,
) -> Report:
    """Convert a functional or Sequential Keras model into a streaming TFLite file, and prove it equal.

    Args:
        model: built keras.Model whose inputs are (B, T, *features) with T unknown; inputs without T are given
            whole at every step.
        path: the .tflite to write; written atomically, and only once the verification has passed.
        chunk: steps of a `Stream.step`; None for one. Chunks above one add a signature `chunk_T`.
        batch_sizes: streams per invoke; every size above one adds signatures that share the weights.
        state: "external": the state is an input and an output of each step.
        quantize: None (float32), "float16" or "dynamic" (int8 weights, float activations).
        metadata: {"task": ..., "files": {name: bytes}, "source": ...} to store in the file.
        verify: compare the stream with the offline model on random sequences and refuse to write a file that
            differs. A quantized file is verified twice: unquantized to 1e-5, and as it is to `tolerance`.
        tolerance: largest difference, relative to the largest offline value (at least 1); None: 1e-5 in float32,
            0.02 in float16, 0.3 in int8.

    Returns:
        Report.

    Raises:
        NotStreamableError: a layer cannot be streamed exactly; it is named, with the reason and the remedy.
        ParityError: the stream differs from the offline model.
        InputError: an argument is wrong.
        ArtifactError: the path cannot be written.
    """
    _check(chunk, batch_sizes, state, quantize, calibration, lookahead, metadata, path)
    planned = plan(model)
    job = _Job(planned, chunk or 1, sorted({1, *batch_sizes}), dict(metadata or {}))
    exact = _verified(job, None, DEFAULT_TOLERANCE[None]) if verify and quantize else None
    limit = tolerance if tolerance is not None else DEFAULT_TOLERANCE[quantize]
    proof = _verified(job, quantize, limit) if verify else None
    content = job.pack(quantize, {"verification": proof.to_json() if proof else {}})
    artifact.write(path, content)
    return Report(
        path=str(path),
        delay=planned.delay,
        chunk=job.chunk,
        max_abs_error=proof.max_abs_error if proof else None,
        size_bytes=len(content),
        state_bytes=job.metadata().state_bytes,
        signatures={name: (info.batch, info.chunk) for name, info in job.signatures.items()},
        ops=tflite.operations(job.flatbuffer(quantize)),
        quantize=quantize,
        verification=proof,
        float_verification=exact,
    )


def _verified(job: _Job, quantize: str | None, tolerance: float) -> Verification:
    candidate = StreamingModel(artifact.parse(job.pack(quantize, {}), "the converted model"))
    return verify(job.plan, candidate, tolerance)


class _Job:
    """One conversion: what is fixed, and the flatbuffers made so far."""

    def __init__(self, plan: Plan, chunk: int, batches: list[int], extra: dict[str, Any]) -> None:
        self.plan, self.chunk, self.extra = plan, chunk, extra
        taken = {*plan.inputs, *plan.outputs}
        self.layout: Layout = layout(plan, taken)
        self.valid = None if plan.history is None and not plan.flush else _free("valid", taken)
        self.signatures: dict[str, SignatureInfo] = {}
        for steps in sorted({1, chunk}):
            for batch in batches:
                name = "step" if steps == 1 else f"chunk_{steps}"
                self.signatures[name if batch == 1 else f"{name}_b{batch}"] = SignatureInfo(batch, steps)
        self._flatbuffers: dict[str | None, bytes] = {}

    def flatbuffer(self, quantize: str | None) -> bytes:
        if quantize not in self._flatbuffers:
            fused = self.chunk == 1
            traced = {
                name: trace(self.plan, self.layout, self.valid, info.batch, info.chunk, fused)
                for name, info in self.signatures.items()
            }
            self._flatbuffers[quantize] = tflite.convert(traced, quantize)
        return self._flatbuffers[quantize]

    def metadata(self) -> Metadata:
        inputs = []
        for name, signal in self.plan.inputs.items():
            high = self.plan.id_limits.get(name)
            low = None if high is None else 0
            inputs.append(
                InputInfo(name, signal.shape, signal.dtype, signal.timeline is not None, low, high)  # type: ignore[arg-type]
            )
        outputs = []
        for name, signal in self.plan.outputs.items():
            assert signal.timeline is not None
            line = signal.timeline
            outputs.append(
                OutputInfo(
                    name,
                    signal.shape,  # type: ignore[arg-type]
                    signal.dtype,
                    start=line.start,
                    end=line.end,
                    running=signal.running,
                )
            )
        return Metadata(
            fingerprint="",
            flatbuffer_bytes=0,
            signatures=self.signatures,
            inputs=tuple(inputs),
            outputs=tuple(outputs),
            packs=self.layout.packs,
            slots=self.layout.slots,
            chunk=self.chunk,
            delay=self.plan.delay,
            flush=self.plan.flush,
            valid=self.valid,
            task=self.extra.get("task"),
            source={
                "keras": keras.__version__,
                "model": self.plan.model.name,
                **self.extra.get("source", {}),
            },
            plan=self.plan.table(),
        )

    def pack(self, quantize: str | None, changes: dict[str, Any]) -> bytes:
        import dataclasses

        metadata = self.metadata()
        source = {**metadata.source, "quantize": quantize or "none"}
        files = dict(self.extra.get("files", {}))
        for pack, row in zip(self.layout.packs, self.layout.initial, strict=True):
            if pack.initial:
                files[pack.initial] = row.astype(row.dtype.newbyteorder("<")).tobytes()
        return artifact.pack(self.flatbuffer(quantize), dataclasses.replace(metadata, source=source, **changes), files)


def _free(name: str, taken: set[str]) -> str:
    while name in taken:
        name += "_"
    return name


def _check(
    chunk: Any,
    batch_sizes: Any,
    state: Any,
    quantize: Any,
    calibration: Any,
    lookahead: Any,
    metadata: Any,
    path: Any,
) -> None:
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"Keras runs on {keras.backend.backend()}, conversion needs TensorFlow; set KERAS_BACKEND=tensorflow"
        )
    if chunk is not None and (not isinstance(chunk, int) or chunk < 1):
        raise InputError(f"chunk is {chunk!r}, expected a whole number of steps, 1 or more, or None")
    sizes = list(batch_sizes)
    if not sizes or any(not isinstance(size, int) or size < 1 for size in sizes):
        raise InputError(f"batch_sizes is {batch_sizes!r}, expected whole numbers of streams, 1 or more")
    if state != "external":
        raise InputError(f"state is {state!r}, expected 'external'; other kinds are not built yet")
    if quantize not in QUANTIZATIONS:
        raise InputError(f"quantize is {quantize!r}, expected one of {', '.join(map(repr, QUANTIZATIONS))}")
    if calibration is not None or lookahead is not None:
        raise InputError("calibration and lookahead are for kinds of conversion that are not built yet; leave them out")
    unknown = sorted(set(metadata or {}) - {"task", "files", "source"})
    if unknown:
        raise InputError(f"metadata has an unknown key {unknown[0]!r}, expected task, files and source")
    folder = os.path.dirname(os.path.abspath(os.fspath(path)))
    if not os.path.isdir(folder):
        raise InputError(f"cannot write {path}: the folder {folder} does not exist; create it first")
