"""Verifies that a stream equals the offline model, on sequences that could show a difference, in pieces.

docs/streaming-guide.md describes the sequences and comparisons.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from streaming.conversion.driving import length_of, run_together
from streaming.conversion.lengths import Lengths
from streaming.conversion.offline import Inputs, run_offline, run_offline_rows
from streaming.conversion.plan import Plan
from streaming.conversion.progress import Progress
from streaming.conversion.trials import DOMAINS, KINDS, Trials, nudged
from streaming.errors import InputError, ParityError
from streaming.runtime.costs import count_costs
from streaming.runtime.driving import run_whole
from streaming.runtime.facts import Approximation

if TYPE_CHECKING:
    from streaming.runtime.model import StreamingModel

# Steps that an approximation is measured on, at most.
MAX_STEPS = 2**14

DEFAULT_TOLERANCE = {None: 1e-5, "float16": 2e-2, "dynamic": 0.3, "int8": 0.5}

# Bounds of the work: multiply-adds of the streams of one length, pieces of a sequence that is cut step by step,
# different sequences in a batch, and positions of a source.
WORK = 1e10
SINGLE_STEPS = 300
ROWS = 6
MAX_SOURCE = 256


@dataclass(frozen=True)
class Verification:
    """Result of a comparison. Errors are largest differences; `relative` is to the largest offline value, at least 1.

    domain: the numbers that were fed; see `trials.DOMAINS`, or "calibration data".
    """

    sequences: int
    steps: int
    max_abs_error: float
    max_relative_error: float
    tolerance: float
    runtime: str
    domain: str = "normal"


def approximation(plan: Plan, model: StreamingModel, data: list[Inputs] | None = None, seed: int = 0) -> Approximation:
    """Measure the difference on given sequences, or on random ones longer than the bound of the stream."""
    trials = Trials(plan, seed)
    length = min(4 * Lengths(plan).greatest + 10 * model.chunk, plan.longest or MAX_STEPS, MAX_STEPS)
    sequences = data or _finite(plan, trials, length, 4)
    stream = model.create_stream()
    squares, count, worst, scale, steps = 0.0, 0, 0.0, 0.0, 0
    # Sequences of one length are one batch of the model, whose loops take as long for several as for one.
    alike = not data and not plan.encoded
    offline = run_offline_rows(plan, sequences) if alike else [run_offline(plan, inputs) for inputs in sequences]
    for inputs, wanted in zip(sequences, offline, strict=True):
        streamed = run_whole(stream, inputs)
        steps += length_of(plan, inputs)
        for name, expected in wanted.items():
            got = streamed[name][-1] if plan.outputs[name].running else streamed[name]
            error = np.abs(got.astype("float64") - expected)
            squares, count = squares + float(np.sum(error**2)), count + error.size
            worst, scale = max(worst, float(error.max())), max(scale, float(np.abs(expected).max()))
    return Approximation(steps, worst, float(np.sqrt(squares / count)), scale)


def verify(
    plan: Plan,
    model: StreamingModel,
    tolerance: float,
    data: Sequence[Inputs] | None = None,
    *,
    only_data: bool = False,
    kinds: Sequence[str] = KINDS,
    seed: int = 0,
    where: Callable[[Inputs], str] | None = None,
    progress: Progress | None = None,
) -> Verification:
    """Compare offline and streamed outputs; raises ParityError.

    Args:
        plan, model: what is compared.
        tolerance: relative to the largest offline value, at least 1.
        data: sequences of the user's to compare on, too.
        only_data: compare on these alone, as for int8, which is calibrated on them.
        kinds: of random sequences, of `trials.KINDS`.
        seed: of the random numbers.
        where: names the first layer that differs on an input, for the error.
        progress: shows the steps that were compared.
    """
    proof = _Proof(plan, model, tolerance, Trials(plan, seed), where, progress or Progress())
    return proof.run(data or [], only_data, kinds)


class _Proof:
    def __init__(
        self,
        plan: Plan,
        model: StreamingModel,
        tolerance: float,
        trials: Trials,
        where: Callable[[Inputs], str] | None,
        progress: Progress,
    ) -> None:
        self.progress, self.stage = progress, "proof"
        self.plan, self.model, self.tolerance, self.trials, self.where = plan, model, tolerance, trials, where
        self.generator = np.random.default_rng(0)
        self.lengths = Lengths(plan)
        self.sequences, self.steps, self.worst, self.relative = 0, 0, 0.0, 0.0
        self.flush = plan.flush
        self.cost = count_costs(model.recipe.flatbuffer).signatures["step"].multiply_adds
        quantized = model.metadata.source.quantize or "none"
        self.remedy = "" if quantized == "none" else f"; {quantized!r} is too coarse for the model, quantize it less"

    def run(self, data: Sequence[Inputs], only_data: bool, kinds: Sequence[str]) -> Verification:
        """All comparisons."""
        domain = "calibration data"
        if not only_data:
            finite_domain = _find_domain(self.plan, self.trials, self.lengths)
            if finite_domain is None and not data:
                raise InputError(
                    f"the model gives NaN or infinity on random numbers ({', '.join(DOMAINS)}); give real sequences in "
                    "calibration=[...] to prove the stream on"
                )
            domain = finite_domain or domain
        if domain in DOMAINS:
            for index, length in enumerate(lengths := self._lengths()):
                self.stage = f"proof: sequences of {length} steps, {index + 1} of {len(lengths)} lengths"
                self._compare_kinds(length, kinds, MAX_SOURCE if length == lengths[-1] else None)
            self.stage = "proof: batches of streams"
            self._compare_batches()
        self.stage = "proof: calibration data"
        self._compare_data(data)
        return Verification(
            self.sequences, self.steps, self.worst, self.relative, self.tolerance, self.model.runtime, domain
        )

    def _lengths(self) -> list[int]:
        return self.lengths.chosen(self.model.chunk, lambda length: self._affordable(length) > 1)

    def _affordable(self, length: int) -> int:
        """Number of streams of a length that fit into the bound of the work, the steps after their end included."""
        return int(WORK / max(1.0, (length + self.flush) / self.plan.unit * self.cost))

    def _compare_kinds(self, length: int, kinds: Sequence[str], source: int | None) -> None:
        """One sequence of each kind, the plain one step by step, too; fewer where the work is bounded."""
        kinds = kinds[: max(2, self._affordable(length) // 2)]
        rows = [self.trials.draw(length, kind, source) for kind in kinds]
        sources = {name: min(len(row[name]) for row in rows) for name, s in self.plan.encoded.items() if s.spread}
        rows = [{n: x[: sources[n]] if n in sources else x for n, x in row.items()} for row in rows]
        again = [nudged(row, self.generator) for row, kind in zip(rows, kinds, strict=True) if kind == "large"]
        offline = run_offline_rows(self.plan, [*rows, *again])
        for kind, inputs, expected in zip(kinds, rows, offline, strict=False):
            if not _is_finite(expected) or (kind == "large" and self._is_shaky(expected, offline[-1])):
                continue
            self._compare(inputs, expected, self._cuts(length, kind == "plain"))

    def _is_shaky(self, expected: Inputs, nudged: Inputs) -> bool:
        """Whether the last bits of an input move the output by as much as is allowed to the stream."""
        # Truth values have no difference of their own.
        pairs = ((value.astype("float64"), nudged[name].astype("float64")) for name, value in expected.items())
        return any(float(np.abs(a - b).max(initial=0)) > self.tolerance / 4 * _scale(a) for a, b in pairs)

    def _compare_data(self, data: Sequence[Inputs]) -> None:
        """The user's sequences, each in turn, at the lengths that the model takes."""
        if data and not any(self.lengths.below(length_of(self.plan, sequence)) for sequence in data):
            longest = max(length_of(self.plan, sequence) for sequence in data)
            raise InputError(f"a calibration sequence has {longest} steps, too few for the model; give longer ones")
        for index, length in enumerate(self._lengths() if data else []):
            sequence = data[index % len(data)]
            steps = self.lengths.below(min(length_of(self.plan, sequence), length))
            if steps is None:
                continue
            moving = {name for name, signal in self.plan.inputs.items() if signal.timeline}
            inputs = {n: x[:steps] if n in moving else x for n, x in sequence.items()}
            expected = run_offline(self.plan, inputs)
            if not _is_finite(expected):
                raise InputError(f"the model gives NaN or infinity on calibration sequence {index % len(data)}")
            self._compare(inputs, expected, self._cuts(steps, True))

    def _cuts(self, length: int, thorough: bool) -> list[list[int]]:
        """Whole and at random; where thorough also step by step, and at random again."""
        cuts: list[list[int]] = [[]]
        if thorough and length <= SINGLE_STEPS * self.plan.unit:
            cuts.append(list(range(1, length, 1 if length <= SINGLE_STEPS else self.plan.unit)))
        for _ in range(1 + thorough):
            cuts.append(sorted(self.generator.integers(0, length + 1, self.generator.integers(1, 6)).tolist()))
        return cuts[: max(1, self._affordable(length) // 4)]

    def _compare(self, inputs: Inputs, expected: Inputs, cuts: list[list[int]]) -> None:
        """One sequence in every way of cutting it, by one stream."""
        stream = self.model.create_stream()
        for cut in cuts:
            self.progress.stage(f"{self.stage}; {self.steps:,} steps compared")
            self._judge(inputs, expected, run_whole(stream, inputs, cut), "")
        self.sequences += 1
        self.steps += length_of(self.plan, inputs)

    def _compare_batches(self) -> None:
        """Different sequences side by side, through every signature of several streams."""
        unit, chunk = self.plan.unit, self.model.chunk
        for size in sorted({unit, chunk}):
            for batch in (batch for batch in self.model.batches[size] if batch > 1):
                length = self.lengths.near(self.lengths.least + 2 * size + 1)
                rows = [self.trials.draw(length, kind) for kind in ("plain", "sparse") * (ROWS // 2)][:batch]
                # Sources of different lengths are no batch offline.
                groups = [[row] for row in rows] if self.plan.encoded else [rows]
                offline = [row for group in groups for row in run_offline_rows(self.plan, group)]
                pairs = [pair for pair in zip(rows, offline, strict=True) if _is_finite(pair[1])]
                if not pairs:
                    continue
                used = [pairs[index % len(pairs)] for index in range(batch)]
                outputs = run_together(self.plan, self.model, [inputs for inputs, _ in used], size)
                name = self._signature(batch, size)
                for (inputs, expected), streamed in zip(used, outputs, strict=True):
                    self._judge(inputs, expected, streamed, f" in signature {name!r}")
                self.sequences += len(pairs)
                self.steps += length * len(pairs)

    def _signature(self, batch: int, size: int) -> str:
        known = self.model.metadata.signatures.items()
        return next(name for name, info in known if (info.batch, info.chunk) == (batch, size))

    def _judge(self, inputs: Inputs, offline: Inputs, streamed: Inputs, at: str) -> None:
        for name, expected in offline.items():
            error, scale = difference(name, expected, streamed[name], self.plan.outputs[name].running)
            self.worst, self.relative = max(self.worst, error), max(self.relative, error / scale)
            if not error <= self.tolerance * scale:
                layer = self.where(inputs) if self.where else ""
                raise ParityError(
                    f"output {name!r} of the stream differs from the offline model by {error:.3g} on "
                    f"{length_of(self.plan, inputs)} steps{at} (values up to {scale:.3g}), more than "
                    f"{self.tolerance:g} relative{layer}; no file was written{self.remedy}"
                )


def _find_domain(plan: Plan, trials: Trials, lengths: Lengths) -> str | None:
    """The first domain in which the model is finite on plain or on sparse sequences, None where there is none."""
    length = lengths.near(lengths.least + 2 * plan.unit)
    for trials.domain in DOMAINS:
        # A mean over what an inverted mask leaves is one of nothing where no row is masked.
        for kind in ("plain", "sparse"):
            rows = run_offline_rows(plan, [trials.draw(length, kind, 3) for _ in range(2)])
            if all(_is_finite(row) for row in rows):
                return trials.domain
        if not any(signal.dtype == "float32" for signal in (plan.inputs | plan.encoded).values()):
            break
    return None


def _finite(plan: Plan, trials: Trials, length: int, count: int) -> list[Inputs]:
    """Random sequences from the domain in which the model is finite."""
    _find_domain(plan, trials, Lengths(plan))
    return [trials.draw(length) for _ in range(count)]


def random_inputs(plan: Plan, length: int, generator: np.random.Generator) -> Inputs:
    """A plain sequence from the domain in which the model is finite; (T, *shape), static inputs (*shape)."""
    trials = Trials(plan, int(generator.integers(2**31)))
    return _finite(plan, trials, length, 1)[0]


def difference(name: str, expected: NDArray[Any], streamed: NDArray[Any], running: bool) -> tuple[float, float]:
    """Largest absolute difference, and the scale it is compared with. Raises ParityError where shapes differ."""
    if running:
        streamed = streamed[-1] if len(streamed) else streamed
    if expected.shape != streamed.shape:
        raise ParityError(
            f"output {name!r} of the stream has shape {streamed.shape}, the offline model {expected.shape}; "
            "no file was written"
        )
    if not expected.size:
        return 0.0, 1.0
    return float(np.max(np.abs(expected.astype("float64") - streamed.astype("float64")))), _scale(expected)


def _scale(expected: NDArray[Any]) -> float:
    return max(1.0, float(np.abs(expected.astype("float64")).max(initial=0)))


def _is_finite(outputs: Inputs) -> bool:
    return all(bool(np.isfinite(value).all()) for value in outputs.values())
