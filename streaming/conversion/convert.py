"""`streaming.convert`: model -> plan -> traced signatures -> flatbuffer -> verified file."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import keras

from streaming.conversion import tflite
from streaming.conversion.encode import encode_info, trace_encode
from streaming.conversion.lower import Layout, layout, trace
from streaming.conversion.plan import Plan, free_name, plan
from streaming.conversion.rules.base import Options
from streaming.conversion.verify import DEFAULT_TOLERANCE, Approximation, Verification, approximation, verify
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
    signatures: name -> (batch, steps); ops: operation -> count over all signatures; approximation: where a layer
    sees less than offline by the user's leave, the measured difference; notes: for which lengths the stream is exact.
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
    approximation: Approximation | None = None
    notes: tuple[str, ...] = ()

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
    attention_window: int | None = None,
    encode: Sequence[str] = (),
    max_length: int | None = None,
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
        calibration: sequences (T, *features), or dicts of them by input name, on which to measure what a bounded
            lookahead or attention window costs; None: random ones.
        lookahead: steps of right context granted to Bidirectional layers; their outputs come so much later.
        attention_window: steps of the past, the present included, granted to causal attention.
        encode: names of inputs that are given whole before the stream starts: the source of a translator, the image
            of a captioner. The file then has a signature `encode`, and streams begin with `Stream.encode`.
        max_length: most positions of a source of variable length.
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
    _check(chunk, batch_sizes, state, quantize, calibration, metadata, path)
    options = Options(
        _steps("lookahead", lookahead, 0),
        _steps("attention_window", attention_window, 1),
        (encode,) if isinstance(encode, str) else tuple(encode),
        _steps("max_length", max_length, 1) or 0,
    )
    planned = plan(model, options)
    if (chunk or planned.unit) % planned.unit:
        raise InputError(
            f"chunk is {chunk}, but the model changes its rate so that only multiples of {planned.unit} are whole; "
            f"give chunk={planned.unit}, or leave it out"
        )
    job = _Job(planned, chunk or planned.unit, sorted({1, *batch_sizes}), dict(metadata or {}))
    exact = _verified(job, None, DEFAULT_TOLERANCE[None]) if verify and quantize else None
    limit = tolerance if tolerance is not None else DEFAULT_TOLERANCE[quantize]
    proof = _verified(job, quantize, limit) if verify else None
    measured = _measured(job, quantize, calibration) if verify and planned.approximate else None
    facts = {**(proof.to_json() if proof else {}), "notes": planned.notes}
    if measured:
        facts["approximation"] = measured.to_json()
    content = job.pack(quantize, {"verification": facts})
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
        approximation=measured,
        notes=tuple(planned.notes),
    )


def _measured(job: _Job, quantize: str | None, data: Any) -> Approximation:
    candidate = StreamingModel(artifact.parse(job.pack(quantize, {}), "the converted model"))
    return approximation(job.plan, candidate, data)


def _verified(job: _Job, quantize: str | None, tolerance: float) -> Verification:
    candidate = StreamingModel(artifact.parse(job.pack(quantize, {}), "the converted model"))
    return verify(job.plan, candidate, tolerance)


class _Job:
    """One conversion: what is fixed, and the flatbuffers made so far."""

    def __init__(self, plan: Plan, chunk: int, batches: list[int], extra: dict[str, Any]) -> None:
        self.plan, self.chunk, self.extra = plan, chunk, extra
        taken = {*plan.inputs, *plan.outputs, *plan.marks.values()}
        self.layout: Layout = layout(plan, taken)
        self.valid = free_name("valid", taken) if plan.clocks else None
        self.signatures: dict[str, SignatureInfo] = {}
        for steps in sorted({plan.unit, chunk}):
            for batch in batches:
                name = "step" if steps == plan.unit else f"chunk_{steps}"
                self.signatures[name if batch == 1 else f"{name}_b{batch}"] = SignatureInfo(batch, steps)
        if plan.encoded:
            self.signatures["encode"] = SignatureInfo(1, plan.max_length)
        self._flatbuffers: dict[str | None, bytes] = {}

    def flatbuffer(self, quantize: str | None) -> bytes:
        if quantize not in self._flatbuffers:
            fused = self.chunk == 1
            traced = {
                name: trace(self.plan, self.layout, self.valid, info.batch, info.chunk, fused)
                for name, info in self.signatures.items()
                if name != "encode"
            }
            if self.plan.encoded:
                traced["encode"] = trace_encode(self.plan, self.layout)
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
                    rate=(line.rate.numerator, line.rate.denominator),
                    start=line.first,
                    end=self.plan.flush if name in self.plan.marks else line.span(0)[1],
                    running=signal.running,
                    valid=self.plan.marks.get(name),
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
            unit=self.plan.unit,
            delay=self.plan.delay,
            flush=self.plan.flush,
            valid=self.valid,
            encode=encode_info(self.plan),
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


def _steps(name: str, value: Any, least: int) -> int | None:
    if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < least):
        raise InputError(f"{name} is {value!r}, expected a whole number of steps, {least} or more, or None")
    return value


def _check(chunk: Any, batch_sizes: Any, state: Any, quantize: Any, calibration: Any, metadata: Any, path: Any) -> None:
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
    unknown = sorted(set(metadata or {}) - {"task", "files", "source"})
    if unknown:
        raise InputError(f"metadata has an unknown key {unknown[0]!r}, expected task, files and source")
    folder = os.path.dirname(os.path.abspath(os.fspath(path)))
    if not os.path.isdir(folder):
        raise InputError(f"cannot write {path}: the folder {folder} does not exist; create it first")
