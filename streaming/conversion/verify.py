"""Proves that a stream equals the offline model: random sequences, cut at random, through the TFLite runtime."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from streaming.conversion.plan import Plan
from streaming.errors import ParityError

if TYPE_CHECKING:
    from streaming.runtime.model import StreamingModel

LENGTHS = (1, 2, 3, 7, 16, 40)
DEFAULT_TOLERANCE = {None: 1e-5, "float16": 2e-2, "dynamic": 0.3}


@dataclass(frozen=True)
class Verification:
    """What was compared. Errors are largest differences; `relative` is to the largest offline value, at least 1."""

    sequences: int
    steps: int
    max_abs_error: float
    max_relative_error: float
    tolerance: float
    runtime: str

    def to_json(self) -> dict[str, Any]:
        """As plain numbers, for `streaming.json`."""
        return asdict(self)


def verify(plan: Plan, model: StreamingModel, tolerance: float, seed: int = 0) -> Verification:
    """Compare offline and streamed outputs over random sequences; raises ParityError where they differ.

    Every sequence is streamed whole, step by step and in random pieces, from one stream that is reset in between.
    """
    generator = np.random.default_rng(seed)
    stream = model.create_stream()
    worst, relative, steps = 0.0, 0.0, 0
    lengths = (*LENGTHS, 3 * model.chunk + 1)
    for length in lengths:
        inputs = random_inputs(plan, length, generator)
        offline = run_offline(plan, inputs)
        for cuts in _cuts(length, generator):
            stream.reset()
            streamed = run_stream(stream, plan, inputs, cuts)
            for name, expected in offline.items():
                error, scale = difference(name, expected, streamed[name], plan.outputs[name].running)
                worst, relative = max(worst, error), max(relative, error / scale)
                if not error <= tolerance * scale:
                    raise ParityError(
                        f"output {name!r} of the stream differs from the offline model by {error:.3g} on {length} "
                        f"steps (values up to {scale:.3g}), more than {tolerance:g} relative; no file was written"
                    )
        steps += length
    return Verification(len(lengths), steps, worst, relative, tolerance, model.runtime)


def random_inputs(plan: Plan, length: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Normal floats, integers within the tables that they index; (T, *shape), static inputs (*shape)."""
    found: dict[str, np.ndarray] = {}
    for name, signal in plan.inputs.items():
        shape = tuple(size or 1 for size in signal.shape)
        shape = (length, *shape) if signal.timeline else shape
        if signal.dtype == "float32" and name not in plan.id_limits:
            found[name] = generator.standard_normal(shape).astype("float32")
        else:
            high = 2 if signal.dtype == "bool" else plan.id_limits.get(name, 100)
            found[name] = generator.integers(0, high, shape).astype(signal.dtype)
    return found


def run_offline(plan: Plan, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The Keras model on one whole sequence; outputs without the batch axis."""
    batched = [keras.ops.convert_to_tensor(inputs[name][None]) for name in plan.inputs]
    outputs = plan.model(keras.tree.pack_sequence_as(plan.model._inputs_struct, batched), training=False)
    flat = [keras.ops.convert_to_numpy(output)[0] for output in keras.tree.flatten(outputs)]
    return dict(zip(plan.outputs, flat, strict=True))


def run_stream(stream: Any, plan: Plan, inputs: dict[str, np.ndarray], cuts: list[int]) -> dict[str, np.ndarray]:
    """Feed the pieces between the cuts, finish, and join what came out by output name."""
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in plan.outputs}

    def keep(outputs: Any) -> None:
        outputs = outputs if isinstance(outputs, dict) else {next(iter(pieces)): outputs}
        for name, value in outputs.items():
            pieces[name].append(value)

    for begin, end in zip([0, *cuts], [*cuts, None], strict=True):
        keep(stream.feed({name: x[begin:end] if plan.inputs[name].timeline else x for name, x in inputs.items()}))
    keep(stream.finish())
    return {name: np.concatenate(values) for name, values in pieces.items()}


def difference(name: str, expected: np.ndarray, streamed: np.ndarray, running: bool) -> tuple[float, float]:
    """Largest absolute difference, and the scale it is held against. Raises ParityError where shapes differ."""
    if running:
        streamed = streamed[-1] if len(streamed) else streamed
    if expected.shape != streamed.shape:
        raise ParityError(
            f"output {name!r} of the stream has shape {streamed.shape}, the offline model {expected.shape}; "
            "no file was written"
        )
    if not expected.size:
        return 0.0, 1.0
    expected, streamed = expected.astype("float64"), streamed.astype("float64")
    return float(np.max(np.abs(expected - streamed))), max(1.0, float(np.max(np.abs(expected))))


def _cuts(length: int, generator: np.random.Generator) -> list[list[int]]:
    """Whole, step by step, and two random ways between."""
    random = [sorted(generator.integers(0, length + 1, generator.integers(1, 6)).tolist()) for _ in range(2)]
    return [[], list(range(1, length)), *random]
