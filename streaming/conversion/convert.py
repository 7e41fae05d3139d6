"""`streaming.convert`: model -> plan -> traced signatures -> flatbuffer -> verified file."""

from __future__ import annotations

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import keras
import numpy as np
from numpy.typing import NDArray

from streaming.conversion import tflite
from streaming.conversion.decide import plan_model
from streaming.conversion.dequantize import dequantized
from streaming.conversion.esphome import fit_plan, with_plain_output
from streaming.conversion.extra import check_extra, check_origin, check_path
from streaming.conversion.job import Conversion
from streaming.conversion.locate import describe_difference
from streaming.conversion.micro import check_options
from streaming.conversion.options import MAX_STEPS, is_whole, options_of, read_steps
from streaming.conversion.plan import Plan
from streaming.conversion.precision import in_float32
from streaming.conversion.progress import Progress
from streaming.conversion.rollout import check_drift, measure_drift, measure_states, read_sequences, sampler
from streaming.conversion.strings import take_texts
from streaming.conversion.verify import DEFAULT_TOLERANCE, Verification, approximation, random_inputs
from streaming.conversion.verify import verify as check
from streaming.errors import InputError, NotStreamableError
from streaming.runtime import artifact
from streaming.runtime.costs import Cost, count_costs
from streaming.runtime.facts import Approximation, Drift, PolicyDifference, Proof

# Largest difference of a wake word's probability.
PROBABILITY_TOLERANCE = 0.15
QUANTIZATIONS = (None, "float16", "dynamic", "int8")


@dataclass(frozen=True)
class Report:
    """Report of a conversion.

    delay: input steps between an input and its output; max_abs_error: largest difference from the offline
    model in the verification, None where it was switched off; size_bytes of the file; state_bytes of one stream;
    signatures: name -> (batch, steps); ops: operation -> count over all signatures; approximation: the measured
    difference, where the user allowed a layer to see less than offline; drift: of a quantized stream from the float32
    one over 10,000 steps; costs: of each signature, its multiply-adds, bytes of weights and operations;
    notes: for which lengths the stream is exact; of windows, which results are kept and which are computed again;
    window, hop: as `convert` takes them; window is None where state is carried; policy: for a model of another dtype
    policy, its difference from the same model in float32, which is converted.
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
    drift: Drift | None = None
    costs: dict[str, Cost] = field(default_factory=dict)
    window: int | None = None
    hop: int = 1
    policy: PolicyDifference | None = None
    notes: tuple[str, ...] = ()

    def __str__(self) -> str:
        if self.max_abs_error is None:
            proof = "not verified"
        else:
            proof = f"max error {self.max_abs_error:.2g} against the offline model"
        megabytes = self.size_bytes / 1e6
        timing = f"delay {self.delay}" if self.window is None else f"window {self.window}, hop {self.hop}"
        return f"{self.path}: {megabytes:.2f} MB, {timing}, state {self.state_bytes} bytes, {proof}"


def convert(
    model: Any,
    path: str | os.PathLike[str],
    *,
    window: int | str | None = None,
    hop: int = 1,
    pad: str | None = None,
    chunk: int | None = None,
    batch_sizes: Sequence[int] = (1,),
    state: str = "external",
    quantize: str | None = None,
    calibration: Any = None,
    lookahead: int | None = None,
    attention_window: int | None = None,
    encode: Sequence[str] = (),
    max_length: int | None = None,
    states: Mapping[str, str] | None = None,
    target: str | None = None,
    metadata: Mapping[str, Any] | None = None,
    verify: bool = True,
    tolerance: float | None = None,
    compact: bool = False,
) -> Report:
    """Convert a functional or Sequential Keras model into a streaming TFLite file, and verify it.

    Args:
        model: built keras.Model whose inputs are (B, T, *features); inputs without T are given whole at every step.
        path: the .tflite to write; written atomically, and only once the verification has passed.
        window: W for a stream of windows: after n steps there are floor((n - W) / hop) + 1 rows, and row k is
            `model(x[k * hop : k * hop + W])`. "carry" for carried state: all outputs together are `model(x)`. None
            decides: a model of unknown length is carried; one of a fixed number of steps is carried where it is
            stateful, or where all its outputs have the time axis and it can be carried exactly, else its length is
            the window.
        hop: steps between two windows; results that several windows share are computed once, see `Report.notes`.
        pad: "pre" or "post": a window that is not full yet is filled with zeros before or after the steps so far, so
            that there are rows from the first step on, and `finish` gives the row of the last step.
        chunk: steps of a `Stream.step`; None for one. Chunks above one add a signature `chunk_T`.
        batch_sizes: streams per invoke; every size above one adds signatures that share the weights.
        state: "external": the state is an input and an output of each step; "internal": it stays in the interpreter,
            in resource variables that a signature `reset` sets, for one stream an interpreter.
        quantize: None (float32), "float16", "dynamic" (int8 weights, float activations) or "int8" (both, calibrated on
            the states of real roll-outs).
        calibration: sequences (T, *features), or dicts of them by input name: real data for "int8", and what the cost
            of a bounded lookahead or attention window and the drift are measured on; None: random data there.
        lookahead: steps of right context granted to Bidirectional layers; their outputs come so much later.
        attention_window: steps of the past, the present included, granted to causal attention.
        encode: names of inputs that are given whole before the stream starts: the source of a translator, the image
            of a captioner. The file then has a signature `encode`, and streams begin with `Stream.encode`. If
            one input alone can be the source and all outputs are sequences, it is found; `Report.notes` names it.
        max_length: most positions of a source of variable length, and tokens of a text that is one step; None for 128.
        states: of a model of one step, which takes its states as inputs and gives new ones as outputs: input -> output.
            They begin at zero and are carried from step to step; in the other inputs, axis 1 of size 1 is time.
        target: "micro" for TensorFlow Lite for Microcontrollers: one signature of one step of one stream, external
            state, its operations, float32 or int8. "esphome" for a wake word on ESPHome: features (T, 40) of its front
            end in, a probability out, all in int8. The proof runs on TFLM where `tflite-micro` is installed.
        metadata: {"task": ..., "files": {name: bytes}, "source": ...} to store in the file.
        verify: compare the stream with the offline model on random sequences and refuse to write a file that
            differs. A quantized file is verified twice: unquantized to 1e-5, and as it is to `tolerance`.
        tolerance: largest difference, relative to the largest offline value (at least 1); None: 1e-5 in float32,
            0.02 in float16, 0.3 in "dynamic", 0.5 in "int8", 0.15 for target="esphome".
        compact: store weights that are float16 numbers, as of a run of `rnnzoo train --dtype float16`, in half the
            bytes. The results are the same; runtimes convert them to float32 at the first step, and need more memory.
            For `quantize=None`.

    Returns:
        Report.

    Raises:
        NotStreamableError: a layer cannot be streamed exactly; it is named, with the reason and the remedy.
        ParityError: the stream differs from the offline model, or the error of an int8 stream for a target grows.
        InputError: an argument is wrong.
        ArtifactError: the path cannot be written.
    """
    check_origin(model)
    if target == "esphome":
        quantize, model = quantize or "int8", with_plain_output(model)
    check_options(target, state, quantize, batch_sizes, chunk, compact)
    _check(batch_sizes, state, quantize, calibration, metadata, path, tolerance, compact)
    chunk = read_steps("chunk", chunk, 1)
    options = options_of(window, hop, pad, lookahead, attention_window, encode, max_length, states)
    model, texts, options = take_texts(model, options)
    plain, quantized = dequantized(model)
    with _quiet_softmax(), in_float32(plain) as (changed, policy), Progress() as progress:
        progress.stage("planning")
        policy = policy or quantized
        planned = plan_model(changed, options)
        if strings := set(texts.tables) & set(planned.encoded):
            raise NotStreamableError(
                f"input {min(strings)!r} holds strings and is given whole, a stream encodes numbers; begin the model "
                "with ids there"
            )
        _refuse_nan(planned)
        if (chunk or planned.unit) % planned.unit:
            why = "windows come every" if planned.window else "the model changes its rate and takes multiples of"
            raise InputError(
                f"chunk is {chunk}, but {why} {planned.unit} steps; give chunk={planned.unit}, or leave it out"
            )
        if target == "esphome":
            fit_plan(planned)
        if target is not None and (planned.encoded or (chunk or planned.unit) != planned.unit):
            raise InputError(f"target={target!r} has one signature: leave encode and chunk out")
        if state == "internal" and planned.encoded:
            raise InputError("internal state does not go with encode; convert with state='external'")
        data = read_sequences(planned, calibration) if calibration is not None else None
        conversion = Conversion(
            planned,
            chunk or planned.unit,
            sorted({1, *map(int, batch_sizes)}),
            metadata or {},
            state=state,
            quantize=quantize,
            compact=compact,
            target=target,
            tables=texts.tables,
        )
        exact = conversion.exact() if quantize else None
        exact_proof = measured = drift = proof = None
        progress.stage("tracing and converting")
        if exact is not None and verify:
            where = partial(describe_difference, exact)
            exact_proof = check(planned, exact.model(), DEFAULT_TOLERANCE[None], data, where=where, progress=progress)
            progress.stage(f"converting in {quantize}")
        if quantize == "int8":
            assert exact is not None
            assert data is not None
            conversion.samples = sampler(planned, exact.model(), conversion.metadata(), data)
            if target is not None:
                conversion.ranges = measure_states(planned, exact.model(), data)
        if verify:
            limit = PROBABILITY_TOLERANCE if target == "esphome" else DEFAULT_TOLERANCE[quantize]
            limit = tolerance if tolerance is not None else limit
            candidate = conversion.model()
            if quantize is None:
                where = partial(describe_difference, conversion)
                proof = check(planned, candidate, limit, data, where=where, progress=progress)
            else:
                alone = quantize == "int8"
                proof = check(planned, candidate, limit, data, only_data=alone, kinds=("plain",), progress=progress)
            if planned.approximate:
                progress.stage("measuring what a bounded context costs")
                measured = approximation(planned, candidate, data)
            if exact is not None:
                progress.stage("measuring the drift of the quantized stream")
                drift = measure_drift(planned, exact.model(), candidate, data or _random(planned))
                if target is not None:
                    check_drift(drift)
        compared = dataclasses.asdict(proof) if proof else {}
        ops = tflite.operations(conversion.flatbuffer)
        notes = (*planned.notes, *texts.notes)
        if quantize == "int8" and "WHILE" in ops:
            notes += (
                "recurrent layers run over windows or sources in loops, computed in float32: no calibration sees them",
            )
        if conversion.kept:
            notes += (f"states that grow without end stay in float32: {', '.join(conversion.kept)}",)
        content = conversion.pack(Proof(**compared, notes=notes, approximation=measured, drift=drift, policy=policy))
        artifact.write(path, content)
        return Report(
            path=str(path),
            delay=planned.delay,
            chunk=conversion.chunk,
            max_abs_error=proof.max_abs_error if proof else None,
            size_bytes=len(content),
            state_bytes=conversion.state_bytes,
            signatures={name: (info.batch, info.chunk) for name, info in conversion.signatures.items()},
            ops=ops,
            quantize=quantize,
            verification=proof,
            float_verification=exact_proof,
            approximation=measured,
            drift=drift,
            costs=count_costs(conversion.flatbuffer).signatures,
            window=planned.window,
            hop=planned.hop,
            policy=policy,
            notes=notes,
        )


@contextlib.contextmanager
def _quiet_softmax() -> Iterator[None]:
    """Silence Keras on a softmax over time of a sequence of one step, which the proof tries too."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "(?s).*You are using a softmax over axis", UserWarning)
        yield


def _refuse_nan(planned: Plan) -> None:
    for weight in planned.model.weights:
        value = keras.ops.convert_to_numpy(weight)
        if np.issubdtype(value.dtype, np.floating) and np.isnan(value).any():
            count = np.count_nonzero(np.isnan(value))
            raise InputError(f"weight {weight.path!r} holds {count} NaN, expected finite numbers; train it again")


def _random(planned: Plan) -> list[dict[str, NDArray[Any]]]:
    generator = np.random.default_rng(0)
    return [random_inputs(planned, 500, generator)]


def _check(
    batch_sizes: Any,
    state: Any,
    quantize: Any,
    calibration: Any,
    metadata: Any,
    path: Any,
    tolerance: Any,
    compact: Any,
) -> None:
    if keras.backend.backend() != "tensorflow":
        raise InputError(
            f"Keras runs on {keras.backend.backend()}, conversion needs TensorFlow; set KERAS_BACKEND=tensorflow"
        )
    sizes = list(batch_sizes) if isinstance(batch_sizes, Iterable) else []
    if not sizes or not all(is_whole(size, 1) for size in sizes):
        raise InputError(f"batch_sizes is {batch_sizes!r}, expected whole numbers of streams, 1 to {MAX_STEPS}")
    if state not in ("external", "internal"):
        raise InputError(f"state is {state!r}, expected 'external' or 'internal'")
    if state == "internal" and max(sizes) > 1:
        raise InputError("internal state is that of one stream; leave batch_sizes out, or use state='external'")
    if quantize not in QUANTIZATIONS:
        raise InputError(f"quantize is {quantize!r}, expected one of {', '.join(map(repr, QUANTIZATIONS))}")
    if quantize == "int8" and calibration is None:
        raise InputError("quantize='int8' needs calibration=[...]: some real sequences (T, *features) of input")
    if compact and quantize is not None:
        raise InputError(f"compact goes with quantize=None, received {quantize!r}; leave one of them out")
    check_extra(metadata)
    if tolerance is not None and not (isinstance(tolerance, int | float) and tolerance > 0):
        raise InputError(f"tolerance is {tolerance!r}, expected a number above 0, or None")
    check_path(path)
