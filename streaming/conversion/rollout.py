"""Real roll-outs of the float32 stream: what int8 is calibrated on, and what drift is measured against.

States matter: calibrated on zero states instead of those that a stream comes to have, int8 is several times worse.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from streaming.errors import InputError
from streaming.runtime.agreement import OTHER

if TYPE_CHECKING:
    from streaming.conversion.plan import Plan
    from streaming.runtime.metadata import Metadata
    from streaming.runtime.model import StreamingModel

# (signature, its inputs by name) for each sample
Samples = Callable[[], Iterator[tuple[str, dict[str, np.ndarray]]]]

DRIFT_STEPS = 10_000
SAMPLES = 200


@dataclass(frozen=True)
class Drift:
    """Difference from the float32 stream over one long stream that is never reset.

    begin and end: root mean square over the first and last tenth; scale: the largest float32 value.
    """

    steps: int
    max_abs_error: float
    rms_error: float
    begin: float
    end: float
    scale: float

    def to_json(self) -> dict[str, Any]:
        """As plain numbers, for `streaming.json`."""
        return asdict(self)


def read_sequences(plan: Plan, data: Any) -> list[dict[str, np.ndarray]]:
    """The user's sequences, each an array (T, *features) or a dict by input name.

    Raises:
        InputError: an input is missing, or has another shape or kind of numbers than the model's.
    """
    found = []
    for index, item in enumerate(data):
        given = item if isinstance(item, dict) else {next(iter(plan.inputs)): item}
        wanted = plan.inputs | plan.encoded
        if set(given) != set(wanted):
            raise InputError(f"calibration sequence {index} has inputs {sorted(given)}, expected {sorted(wanted)}")
        sequence = {}
        for name, signal in wanted.items():
            array = np.asarray(given[name])
            features = signal.shape[1:] if signal.spread else signal.shape
            moving = signal.timeline is not None or signal.spread
            if array.shape[1 if moving else 0 :] != features or array.ndim != len(features) + moving:
                shape = ("steps", *features) if moving else features
                raise InputError(
                    f"calibration sequence {index}: input {name!r} has shape {array.shape}, expected {shape}; "
                    "give sequences without a batch axis"
                )
            if array.dtype.kind not in ("fiu" if signal.dtype == "float32" else "iub"):
                raise InputError(f"calibration sequence {index}: input {name!r} is {array.dtype}, not {signal.dtype}")
            sequence[name] = array.astype(signal.dtype)
        found.append(sequence)
    if not found:
        raise InputError("the calibration set is empty; give some sequences of real data")
    return found


def sampler(plan: Plan, model: StreamingModel, meta: Metadata, sequences: list[dict[str, np.ndarray]]) -> Samples:
    """Samples of every signature: inputs as they come, with the states that the float32 stream has then.

    model: the float32 stream; meta: of the model to be calibrated, whose states are tensors of their own.
    """
    slots = {slot.name: slot for slot in model.metadata.slots}

    def states(stream: Any, batch: int) -> dict[str, np.ndarray]:
        packed = stream.states()
        rows: dict[str, list[np.ndarray]] = {}
        for slot in meta.slots:
            source = slots[slot.name]
            size = int(np.prod(source.shape, dtype=int))
            part = packed[source.pack][:, source.offset : source.offset + size]
            rows.setdefault(meta.packs[slot.pack].input, []).append(part)
        return {name: np.repeat(np.concatenate(parts, axis=1), batch, axis=0) for name, parts in rows.items()}

    def samples() -> Iterator[tuple[str, dict[str, np.ndarray]]]:
        for name, info in meta.signatures.items():
            if name in OTHER:
                continue
            count = 0
            for sequence in sequences:
                stream = model.create_stream()
                length = len(next(sequence[n] for n, s in plan.inputs.items() if s.timeline))
                for begin in range(0, length - info.chunk + 1, info.chunk):
                    part = {
                        n: sequence[n][begin : begin + info.chunk] if s.timeline else sequence[n]
                        for n, s in plan.inputs.items()
                    }
                    sample = {n: np.repeat(x[None], info.batch, axis=0) for n, x in part.items()}
                    if meta.valid:
                        sample[meta.valid] = np.ones((info.batch, info.chunk), bool)
                    yield name, {**sample, **states(stream, info.batch)}
                    stream.feed(part)
                    count += 1
                    if count >= SAMPLES:
                        break

    return samples


def measure_drift(
    plan: Plan, exact: StreamingModel, quantized: StreamingModel, sequences: list[dict[str, np.ndarray]]
) -> Drift:
    """Feed both streams the same sequences over and over, for 10,000 steps, and compare."""
    names = list(plan.inputs)
    long = {name: _repeated([s[name] for s in sequences]) for name in names if plan.inputs[name].timeline}
    rest = {name: sequences[0][name] for name in names if name not in long}
    streams = [exact.create_stream(), quantized.create_stream()]
    outputs = [stream.feed({**long, **rest}) for stream in streams]
    found = [_flat(output) for output in outputs]
    error = np.abs(found[0] - found[1])
    tenth = max(1, len(error) // 10)
    return Drift(
        steps=DRIFT_STEPS,
        max_abs_error=float(error.max()),
        rms_error=_rms(error),
        begin=_rms(error[:tenth]),
        end=_rms(error[-tenth:]),
        scale=float(np.abs(found[0]).max()),
    )


def _repeated(arrays: list[np.ndarray]) -> np.ndarray:
    joined = np.concatenate(arrays)
    return np.concatenate([joined] * (-(-DRIFT_STEPS // len(joined))))[:DRIFT_STEPS]


def _flat(outputs: Any) -> np.ndarray:
    columns = outputs.values() if isinstance(outputs, dict) else [outputs]
    return np.concatenate([c.reshape(len(c), -1).astype("float64") for c in columns if c.size], axis=1)


def _rms(values: np.ndarray) -> float:
    return float(np.sqrt(np.mean(values**2)))
