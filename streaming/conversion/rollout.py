"""Roll-outs of the float32 stream on real sequences, for the calibration of int8 and the measurement of drift.

Calibration needs the states that occur in real streams: with zero states the error of int8 is several times larger.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError, ParityError
from streaming.runtime.agreement import OTHER
from streaming.runtime.driving import pieces_of, run_whole
from streaming.runtime.facts import Drift

if TYPE_CHECKING:
    from streaming.conversion.plan import Plan
    from streaming.conversion.signals import Signal
    from streaming.runtime.metadata import Metadata
    from streaming.runtime.model import StreamingModel

# (signature, its inputs by name) for each sample
Samples = Callable[[], Iterator[tuple[str, dict[str, NDArray[Any]]]]]

DRIFT_STEPS = 10_000
# The last tenth of a long stream repeats the inputs of the first, so that only the state tells them apart.
_TENTH = DRIFT_STEPS // 10
SNAPSHOT_STEPS = 50
SAMPLES = 200
# A state whose largest value in the second half of a long stream is so many times that in the first keeps growing.
GROWTH = 1.5
# The error at the end of a long stream may be so many times that at its beginning, or such a share of the values.
DRIFT_GROWTH, DRIFT_SHARE = 2.0, 0.05


@dataclass(frozen=True)
class StateRange:
    """The largest magnitude of a state in the first half of a long stream, and in the second."""

    first: float
    last: float

    @property
    def grows(self) -> bool:
        """Whether no scale holds it, as of a count of steps."""
        return self.last > GROWTH * self.first > 0


def read_sequences(plan: Plan, data: Any) -> list[dict[str, NDArray[Any]]]:
    """The user's sequences, each an array (T, *features) or a dict by input name.

    Raises:
        InputError: an input is missing, has another shape or kind of numbers than the model's, or values that are
            not finite or outside the table that they index.
    """
    if not isinstance(data, Iterable) or isinstance(data, dict | str):
        raise InputError(f"calibration is {type(data).__name__}, expected a list of sequences (T, *features)")
    wanted, sequences = plan.inputs | plan.encoded, []
    for index, item in enumerate(data):
        given = item if isinstance(item, dict) else {next(iter(plan.inputs)): item}
        where = f"calibration sequence {index}"
        if set(given) != set(wanted):
            raise InputError(f"{where} has inputs {sorted(given)}, expected {sorted(wanted)}")
        sequence = {n: _read(f"{where}: input {n!r}", given[n], s, plan.id_limits.get(n)) for n, s in wanted.items()}
        lengths = {name: len(sequence[name]) for name, signal in plan.inputs.items() if signal.timeline}
        if len(set(lengths.values())) > 1:
            raise InputError(f"{where} has inputs of different lengths {lengths}; give each as many steps")
        sequences.append(sequence)
    if not sequences:
        raise InputError("the calibration set is empty; give some sequences of real data")
    return sequences


def _read(where: str, value: Any, signal: Signal, limit: int | None) -> NDArray[Any]:
    try:
        array = np.asarray(value)
    except ValueError as error:
        raise InputError(f"{where} has rows of different lengths; give an array (steps, features)") from error
    features = signal.shape[1:] if signal.spread else signal.shape
    moving = signal.timeline is not None or signal.spread
    if array.shape[1 if moving else 0 :] != features or array.ndim != len(features) + moving:
        shape = ("steps", *features) if moving else features
        raise InputError(
            f"{where} has shape {array.shape}, expected {shape}; give a list of sequences without a batch axis"
        )
    if array.dtype.kind not in ("fiu" if signal.dtype == "float32" else "iub"):
        raise InputError(f"{where} is {array.dtype}, not {signal.dtype}")
    if not array.size:
        raise InputError(f"{where} has 0 steps; leave empty sequences out")
    with np.errstate(over="ignore"):
        values = array.astype(signal.dtype)
    if not np.isfinite(values).all():
        raise InputError(f"{where} holds NaN, infinity or what {signal.dtype} cannot hold; give clean data")
    if limit is not None and not 0 <= array.min() <= array.max() < limit:
        raise InputError(f"{where} has ids from {array.min()} to {array.max()}, expected 0 to {limit - 1}")
    return values


def sampler(plan: Plan, model: StreamingModel, meta: Metadata, sequences: list[dict[str, NDArray[Any]]]) -> Samples:
    """Samples of every signature: inputs in order, with the states that the float32 stream then has.

    model: the float32 stream; meta: of the model to be calibrated, whose states are tensors of their own.

    Raises:
        InputError: all sequences are shorter than a chunk, so that its signature would not be calibrated.
    """
    slots = {slot.name: slot for slot in model.metadata.slots}
    longest = max(_length(plan, sequence) for sequence in sequences)
    if longest < meta.chunk:
        raise InputError(
            f"the longest calibration sequence has {longest} steps, a chunk {meta.chunk}; give a longer one"
        )

    def states(stream: Any, batch: int) -> dict[str, NDArray[Any]]:
        packed = stream.states()
        rows: dict[str, list[NDArray[Any]]] = {}
        for slot in meta.slots:
            source = slots[slot.name]
            size = int(np.prod(source.shape, dtype=int))
            part = packed[source.pack][:, source.offset : source.offset + size]
            rows.setdefault(meta.packs[slot.pack].input, []).append(part)
        return {name: np.repeat(np.concatenate(parts, axis=1), batch, axis=0) for name, parts in rows.items()}

    def inside(name: str, chunk: int) -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
        """The calibrated model keeps its own states from sample to sample."""
        left = SAMPLES
        for sequence in sequences:
            yield "reset", {}
            for begin in range(0, _length(plan, sequence) - chunk + 1, chunk)[: max(0, left)]:
                yield name, sample(sequence, begin, chunk, 1)
                left -= 1

    def sample(sequence: dict[str, NDArray[Any]], begin: int, chunk: int, batch: int) -> dict[str, NDArray[Any]]:
        part = _cut(plan, sequence, begin, begin + chunk)
        inputs = {n: np.repeat(x[None], batch, axis=0) for n, x in part.items()}
        inputs = {n: x.astype(meta.in_graph(str(x.dtype))) for n, x in inputs.items()}
        return {**inputs, meta.valid: np.ones((batch, chunk), meta.flags)} if meta.valid else inputs

    def samples() -> Iterator[tuple[str, dict[str, NDArray[Any]]]]:
        if (source := model.source) is not None:
            names = [*plan.encoded, *source.info.valid.values()]
            for sequence in sequences:
                arrays = source.read({name: sequence[name] for name in plan.encoded}, True)
                yield "encode", dict(zip(names, arrays, strict=True))
        for name, info in meta.signatures.items():
            if name in OTHER:
                continue
            if meta.state == "internal":
                yield from inside(name, info.chunk)
                continue
            # Chunks begin at every step, so that short sequences too show many of them.
            begins = [range(0, _length(plan, s) - info.chunk + 1, meta.unit) for s in sequences]
            stride = -(-sum(map(len, begins)) // SAMPLES)
            for sequence, places in zip(sequences, begins, strict=True):
                stream = model.create_stream()
                if plan.encoded:
                    stream.encode({name: sequence[name] for name in plan.encoded})
                for index, begin in enumerate(places):
                    if index % stride == 0:
                        yield name, {**sample(sequence, begin, info.chunk, info.batch), **states(stream, info.batch)}
                    stream.feed(_cut(plan, sequence, begin, begin + meta.unit))

    return samples


def measure_drift(
    plan: Plan, exact: StreamingModel, quantized: StreamingModel, sequences: list[dict[str, NDArray[Any]]]
) -> Drift:
    """Feed both streams the same sequences over and over, for 10,000 steps, and compare.

    The last 1,000 steps are the first ones again.
    """
    # Outputs may come at different rates and delays, so each has its own first and last tenth.
    sequence = _long_sequence(plan, sequences)
    expected, streamed = (_outputs(run_whole(model.create_stream(), sequence)) for model in (exact, quantized))
    errors = [np.abs(a - b) for a, b in zip(expected, streamed, strict=True)]
    tenths = [max(1, len(error) // 10) for error in errors]
    return Drift(
        steps=DRIFT_STEPS,
        max_abs_error=max(float(error.max()) for error in errors),
        rms_error=_rms(errors),
        begin=_rms([error[:n] for error, n in zip(errors, tenths, strict=True)]),
        end=_rms([error[-n:] for error, n in zip(errors, tenths, strict=True)]),
        scale=max(float(np.abs(rows).max()) for rows in expected),
        same=_agreement(expected, streamed),
    )


def check_drift(drift: Drift) -> None:
    """Raises ParityError where the error of a quantized stream goes on growing."""
    if drift.end > max(DRIFT_GROWTH * drift.begin, DRIFT_SHARE * drift.scale):
        raise ParityError(
            f"the int8 stream drifts: on the same inputs its error is {drift.begin:.3g} at the beginning and "
            f"{drift.end:.3g} after {drift.steps - _TENTH:,} steps (values up to {drift.scale:.3g}); no file was "
            "written; keep float32, or give calibration sequences as long as real streams"
        )


def _agreement(expected: list[NDArray[Any]], streamed: list[NDArray[Any]]) -> float | None:
    """Share of rows with the same decision: the largest of several numbers, or whether a probability is over 0.5."""
    shares = []
    for rows, others in zip(expected, streamed, strict=True):
        if rows.ndim == 2 and rows.shape[1] > 1:
            shares.append(float(np.mean(rows.argmax(axis=-1) == others.argmax(axis=-1))))
        elif rows[0].size == 1 and rows.min() >= 0 and rows.max() <= 1:
            shares.append(float(np.mean((rows > 0.5) == (others > 0.5))))
    return min(shares) if shares else None


def measure_states(
    plan: Plan, model: StreamingModel, sequences: list[dict[str, NDArray[Any]]]
) -> dict[str, StateRange]:
    """The ranges of the states of the float32 stream in 10,000 steps of the sequences, by name."""
    inputs = _long_sequence(plan, sequences)
    cuts = list(range(SNAPSHOT_STEPS, DRIFT_STEPS, SNAPSHOT_STEPS))
    stream, found = model.create_stream(), []
    for part in pieces_of(model.metadata, inputs, cuts):
        stream.feed(part)
        found.append(stream.states())
    ranges = {}
    for slot in model.metadata.slots:
        size = int(np.prod(slot.shape, dtype=int))
        parts = [packed[slot.pack][0, slot.offset : slot.offset + size] for packed in found]
        largest = [float(np.abs(part.astype("float64")).max(initial=0)) for part in parts]
        half = len(largest) // 2
        ranges[slot.name] = StateRange(max(largest[:half]), max(largest[half:]))
    return ranges


def _length(plan: Plan, sequence: dict[str, NDArray[Any]]) -> int:
    return len(next(sequence[name] for name, signal in plan.inputs.items() if signal.timeline))


def _long_sequence(plan: Plan, sequences: list[dict[str, NDArray[Any]]]) -> dict[str, NDArray[Any]]:
    """The sequences over and over, 10,000 steps, at the end as at the beginning; what has no time, of the first."""
    return {
        name: _repeated([s[name] for s in sequences]) if name in plan.inputs and plan.inputs[name].timeline else value
        for name, value in sequences[0].items()
    }


def _cut(plan: Plan, sequence: dict[str, NDArray[Any]], begin: int, end: int) -> dict[str, NDArray[Any]]:
    return {n: sequence[n][begin:end] if s.timeline else sequence[n] for n, s in plan.inputs.items()}


def _repeated(arrays: list[NDArray[Any]]) -> NDArray[Any]:
    joined = np.concatenate(arrays)
    rows = np.concatenate([joined] * (-(-DRIFT_STEPS // len(joined))))
    return np.concatenate([rows[: DRIFT_STEPS - _TENTH], rows[:_TENTH]])


def _outputs(outputs: dict[str, NDArray[Any]]) -> list[NDArray[Any]]:
    return [column.astype("float64") for column in outputs.values() if column.size]


def _rms(errors: list[NDArray[Any]]) -> float:
    return float(np.sqrt(np.mean(np.concatenate([error.ravel() for error in errors]) ** 2)))
