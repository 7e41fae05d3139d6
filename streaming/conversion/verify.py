"""Proves that a stream equals the offline model: random sequences, cut at random, through the TFLite runtime."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from streaming.conversion.plan import Plan
from streaming.errors import InputError, ParityError

if TYPE_CHECKING:
    from streaming.runtime.model import StreamingModel

# Steps that an approximation is measured on, at most.
MAX_STEPS = 2**14

DEFAULT_TOLERANCE = {None: 1e-5, "float16": 2e-2, "dynamic": 0.3, "int8": 0.5}


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


@dataclass(frozen=True)
class Approximation:
    """How far a stream that sees less than the offline model is from it: largest and root mean square difference."""

    steps: int
    max_abs_error: float
    rms_error: float
    scale: float

    def to_json(self) -> dict[str, Any]:
        """As plain numbers, for `streaming.json`."""
        return asdict(self)


def approximation(
    plan: Plan, model: StreamingModel, data: list[dict[str, np.ndarray]] | None = None, seed: int = 0
) -> Approximation:
    """Measure the difference over given sequences, else over random ones longer than what the stream sees."""
    generator = np.random.default_rng(seed)
    reach = max(steps for steps in range(1, 400) if plan.exact(steps))
    length = min(4 * reach + 10 * model.chunk, plan.longest or MAX_STEPS)
    sequences = data or [random_inputs(plan, length, generator) for _ in range(4)]
    stream = model.create_stream()
    squares, count, worst, scale, steps = 0.0, 0, 0.0, 0.0, 0
    for inputs in sequences:
        stream.reset()
        _encode(stream, plan, inputs)
        streamed = run_stream(stream, plan, inputs, [])
        steps += _length(plan, inputs)
        for name, expected in run_offline(plan, inputs).items():
            got = streamed[name][-1] if plan.outputs[name].running else streamed[name]
            error = np.abs(got.astype("float64") - expected)
            squares, count = squares + float(np.sum(error**2)), count + error.size
            worst, scale = max(worst, float(error.max())), max(scale, float(np.abs(expected).max()))
    return Approximation(steps, worst, float(np.sqrt(squares / count)), scale)


def _encode(stream: Any, plan: Plan, inputs: dict[str, np.ndarray]) -> None:
    if plan.encoded:
        stream.encode({name: inputs[name] for name in plan.encoded})


def _length(plan: Plan, inputs: dict[str, np.ndarray]) -> int:
    return max(len(inputs[name]) for name, signal in plan.inputs.items() if signal.timeline)


def _part(plan: Plan, sequence: dict[str, np.ndarray], length: int) -> dict[str, np.ndarray]:
    """The beginning of a sequence, of a length at which the stream is exact."""
    whole = _length(plan, sequence)
    exact = [steps for steps in range(1, whole + 1) if plan.exact(steps)]
    if not exact:
        raise InputError(f"a calibration sequence has {whole} steps, too few for the model; give longer ones")
    steps = min((e for e in exact if e >= length), default=exact[-1])
    return {n: x[:steps] if n in plan.inputs and plan.inputs[n].timeline else x for n, x in sequence.items()}


def verify(
    plan: Plan, model: StreamingModel, tolerance: float, data: list[dict[str, np.ndarray]] | None = None, seed: int = 0
) -> Verification:
    """Compare offline and streamed outputs over random sequences, or over given ones; raises ParityError.

    Every sequence is streamed whole, step by step and in random pieces, from one stream that is reset in between.
    """
    generator = np.random.default_rng(seed)
    stream = model.create_stream()
    worst, relative, steps = 0.0, 0.0, 0
    lengths = _lengths(plan, model.chunk)
    quantized = model.metadata.source.get("quantize", "none")
    remedy = "" if quantized == "none" else f"; {quantized!r} is too coarse for the model, quantize it less"
    for index, length in enumerate(lengths):
        inputs = (
            random_inputs(plan, length, generator) if data is None else _part(plan, data[index % len(data)], length)
        )
        length = _length(plan, inputs)
        offline = run_offline(plan, inputs)
        for cuts in _cuts(length, generator):
            stream.reset()
            _encode(stream, plan, inputs)
            streamed = run_stream(stream, plan, inputs, cuts)
            for name, expected in offline.items():
                error, scale = difference(name, expected, streamed[name], plan.outputs[name].running)
                worst, relative = max(worst, error), max(relative, error / scale)
                if not error <= tolerance * scale:
                    raise ParityError(
                        f"output {name!r} of the stream differs from the offline model by {error:.3g} on {length} "
                        f"steps (values up to {scale:.3g}), more than {tolerance:g} relative; no file was written"
                        f"{remedy}"
                    )
        steps += length
    return Verification(len(lengths), steps, worst, relative, tolerance, model.runtime)


def random_inputs(plan: Plan, length: int, generator: np.random.Generator) -> dict[str, np.ndarray]:
    """Normal floats, integers within the tables that they index; (T, *shape), static inputs (*shape)."""
    found: dict[str, np.ndarray] = {}
    # Ids that reach a table through other layers must not lie outside it either.
    sizes = [layer.input_dim for layer in plan.model._flatten_layers() if isinstance(layer, keras.layers.Embedding)]
    tables = min([100, *sizes])
    for name, signal in (plan.inputs | plan.encoded).items():
        shape = tuple(size or 1 for size in signal.shape)
        shape = (length, *shape) if signal.timeline else shape
        if signal.spread:
            shape = (int(generator.integers(1, shape[0] + 1)), *shape[1:])
        if signal.dtype == "float32" and name not in plan.id_limits:
            found[name] = generator.standard_normal(shape).astype("float32")
        else:
            high = 2 if signal.dtype == "bool" else plan.id_limits.get(name, tables)
            found[name] = generator.integers(0, high, shape).astype(signal.dtype)
            if signal.spread and any(output.weights for output in plan.outputs.values()):
                # Keras defines no weights over a source that is masked throughout, as one of zeros may be.
                found[name][:1] = np.maximum(found[name][:1], min(1, high - 1))
    return found


def run_offline(plan: Plan, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The Keras model on one whole sequence, stateful layers reset; outputs without the batch axis.

    For a stream of windows: its outputs on each window, one after the other.
    """
    if plan.window is not None:
        return _run_windows(plan, inputs)
    stateful = [layer for layer in plan.model._flatten_layers() if getattr(layer, "stateful", False)]
    kept = [[variable.numpy() for variable in keras.tree.flatten(layer.states)] for layer in stateful]
    # Keras 3.15 takes an operand of one sequence with one axis larger than 1 for a bias, whichever axis that is: two.
    batch = next((tensor.shape[0] for tensor in plan.model.inputs if tensor.shape[0]), 2)
    batched = [keras.ops.convert_to_tensor(np.repeat(inputs[name][None], batch, axis=0)) for name in plan.names]
    for layer in stateful:
        layer.reset_state()
    outputs = plan.offline(keras.tree.pack_sequence_as(plan.model._inputs_struct, batched), training=False)
    for layer, values in zip(stateful, kept, strict=True):
        for variable, value in zip(keras.tree.flatten(layer.states), values, strict=True):
            variable.assign(value)
    flat = [keras.ops.convert_to_numpy(output)[0] for output in keras.tree.flatten(outputs)]
    found = dict(zip(plan.outputs, flat, strict=True))
    for name, signal in plan.outputs.items():
        if signal.weights:
            found[name] = np.pad(found[name], [(0, 0), (0, int(signal.shape[-1] or 0) - found[name].shape[-1])])
    return found


def windows(plan: Plan, steps: int) -> list[tuple[int, int]]:
    """First step and the one after the last of each window of a sequence; shorter ones where they are padded."""
    assert plan.window is not None
    ends = range(plan.window, steps + 1, plan.hop)
    if not plan.pad:
        return [(end - plan.window, end) for end in ends]
    first = plan.window % plan.hop or plan.hop
    padded = [*range(first, steps + 1, plan.hop)]
    if steps and (not padded or padded[-1] != steps):
        padded.append(steps)
    return [(max(0, end - plan.window), end) for end in padded]


def _run_windows(plan: Plan, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    assert plan.window is not None
    spans = windows(plan, _length(plan, inputs))
    fixed = next((tensor.shape[0] for tensor in plan.model.inputs if tensor.shape[0]), None)
    size = 1 if fixed else 64
    found: list[list[np.ndarray]] = [[] for _ in plan.outputs]
    for begin in range(0, len(spans), size):
        part = spans[begin : begin + size]
        # Two at least: Keras 3.15 takes some operands of one sequence for a bias.
        rows = part * (fixed or (2 if len(part) == 1 else 1))
        batched = []
        for name in plan.names:
            if plan.inputs[name].timeline:
                values = np.stack([_padded(inputs[name][a:b], plan.window, plan.pad) for a, b in rows])
            else:
                values = np.repeat(inputs[name][None], len(rows), axis=0)
            batched.append(keras.ops.convert_to_tensor(values))
        for layer in plan.model._flatten_layers():
            if getattr(layer, "stateful", False):
                layer.reset_state()
        outputs = plan.offline(keras.tree.pack_sequence_as(plan.model._inputs_struct, batched), training=False)
        for column, output in zip(found, keras.tree.flatten(outputs), strict=True):
            column.append(keras.ops.convert_to_numpy(output)[: len(part)])
    empty = [np.zeros((0, *signal.shape), signal.dtype) for signal in plan.outputs.values()]  # type: ignore[arg-type]
    return {n: np.concatenate([e, *c]) for n, e, c in zip(plan.outputs, empty, found, strict=True)}


def _padded(rows: np.ndarray, window: int, pad: str | None) -> np.ndarray:
    missing = window - len(rows)
    before, after = (missing, 0) if pad == "pre" else (0, missing)
    return np.pad(rows, [(before, after), *[(0, 0)] * (rows.ndim - 1)])


def run_stream(stream: Any, plan: Plan, inputs: dict[str, np.ndarray], cuts: list[int]) -> dict[str, np.ndarray]:
    """Feed the pieces between the cuts, finish, and join what came out by output name."""
    pieces: dict[str, list[np.ndarray]] = {name: [] for name in plan.outputs}

    def keep(outputs: Any) -> None:
        outputs = outputs if isinstance(outputs, dict) else {next(iter(pieces)): outputs}
        for name, value in outputs.items():
            pieces[name].append(value)

    for begin, end in zip([0, *cuts], [*cuts, None], strict=True):
        keep(stream.feed({n: inputs[n][begin:end] if s.timeline else inputs[n] for n, s in plan.inputs.items()}))
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


def _lengths(plan: Plan, chunk: int) -> list[int]:
    """The shortest lengths that the model takes, some longer ones, and some beside whole chunks."""
    if plan.window is not None:
        return sorted(
            {1, plan.window - 1, plan.window, plan.window + 1, plan.window + 3 * max(plan.hop, chunk) + 2} - {0}
        )
    exact = [steps for steps in range(1, 400) if plan.exact(steps)]
    if not exact:
        raise ParityError("no input of up to 400 steps passes through the offline model; give it longer sequences")
    wanted = {*exact[:3], exact[0] + 6, exact[0] + 15, exact[0] + 40, 3 * chunk + 1, 4 * chunk - 1}
    return sorted({min((e for e in exact if e >= want), default=exact[-1]) for want in wanted})


def _cuts(length: int, generator: np.random.Generator) -> list[list[int]]:
    """Whole, step by step, and two random ways between."""
    random = [sorted(generator.integers(0, length + 1, generator.integers(1, 6)).tolist()) for _ in range(2)]
    return [[], list(range(1, length)), *random]
