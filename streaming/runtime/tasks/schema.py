"""Specifications of tasks, a dataclass for each kind: `metadata.task` of a file. docs/tasks.md explains the fields."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError
from streaming.runtime.audio import LogMel
from streaming.runtime.decoding import Sampling
from streaming.runtime.tables import POLICIES
from streaming.runtime.typed_json import fields_of, from_plain

_Spec = TypeVar("_Spec")

# Intervals that a session keeps until their values come.
_MAX_INTERVALS = 2**22


def read_spec(kind: type[_Spec], task: Mapping[str, Any]) -> _Spec:
    """The typed form of a task.

    Raises:
        ArtifactError: a field is missing, of another type or out of range.
    """
    try:
        spec: _Spec = from_plain(kind, task, f"task {task.get('kind')!r}")
    except InputError as error:
        raise ArtifactError(f"task {task.get('kind')!r}: {error}") from error
    return spec


def expect(right: bool, message: str) -> None:
    """Raises InputError with the message unless all is right."""
    if not right:
        raise InputError(message)


@dataclass(frozen=True)
class Scaler:
    """z = (x - mean) / scale, a number for each column."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    def __post_init__(self) -> None:
        right = len(self.mean) == len(self.scale) and bool(np.all(np.array(self.scale) != 0))
        sizes = f"{len(self.mean)} means and {len(self.scale)} scales"
        expect(right, f"scaler has {sizes}, expected one of each a column, and no scale of 0")

    def apply(self, rows: NDArray[Any]) -> NDArray[Any]:
        """Rows (n, columns) as the model takes them, float32."""
        return ((rows - np.array(self.mean)) / np.array(self.scale)).astype(np.float32)


@dataclass(frozen=True, kw_only=True)
class TaskSpec:
    """Specification of the task of a file; `kind` names it.

    dataset: the data set that the model was trained on; for information.
    """

    kind: ClassVar[str]

    dataset: str | None = None

    def to_json(self) -> dict[str, Any]:
        """The `metadata.task` of a file: its kind, and every field that is set."""
        return {"kind": self.kind, **fields_of(self, unset=False)}


@dataclass(frozen=True, kw_only=True)
class RowsSpec(TaskSpec):
    """Rows of a table.

    Args:
        time: the column of times, which is copied to the output.
        missing: what becomes of missing values, as `streaming.runtime.tables.Filler` says it.
        mask: after the columns, the model takes one more number for each, 1 where its value was missing.
        resample: seconds of the even steps to which rows are resampled by their times.
    """

    time: str | None = None
    missing: str = "refuse"
    mask: bool = False
    resample: float | None = None

    def __post_init__(self) -> None:
        expect(self.missing in POLICIES, f"missing is {self.missing!r}, expected one of {', '.join(POLICIES)}")
        expect(
            not self.mask or self.missing in ("hold", "interpolate"),
            f"mask goes with missing=hold or interpolate; missing is {self.missing!r}",
        )
        expect(
            self.resample is None or (self.resample > 0 and self.time is not None),
            f"resample must be more than 0 s and time name a column; they are {self.resample} and {self.time!r}",
        )


@dataclass(frozen=True)
class TaggerSpec(TaskSpec):
    """Words to tags."""

    kind = "tagger"

    labels: int | None = None
    viterbi_delay: int | None = None


@dataclass(frozen=True)
class ClassifierSpec(RowsSpec):
    """Words or rows of numbers to a label, or several, of the whole sequence."""

    kind = "classifier"

    labels: int | None = None
    input: str = "words"
    multi_label: bool = False
    threshold: float = 0.5
    columns: tuple[str, ...] = ()
    scaler: Scaler | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(self.input in ("words", "rows"), f"input is {self.input!r}, expected 'words' or 'rows'")
        expect(0 < self.threshold < 1, f"threshold is {self.threshold}, expected a probability")


@dataclass(frozen=True)
class SequenceTaggerSpec(RowsSpec):
    """Rows of numbers to tags."""

    kind = "sequence_tagger"

    labels: int | None = None
    columns: tuple[str, ...] = ()
    scaler: Scaler | None = None
    sample_rate: float | None = None
    viterbi_delay: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(
            self.sample_rate is None or self.sample_rate > 0, f"sample_rate is {self.sample_rate}, expected more than 0"
        )


@dataclass(frozen=True)
class EndpointSpec:
    """An utterance ends after `silence` seconds below `level` dB."""

    silence: float = 0.5
    level: float = -40.0

    def __post_init__(self) -> None:
        expect(
            self.silence > 0 > self.level,
            f"endpoint is {self.silence} s below {self.level} dB; silence must be more than 0 s, level less than 0 dB",
        )


@dataclass(frozen=True)
class AudioSpec(TaskSpec):
    """Audio input: rows of `features`, if they are computed outside of the graph, otherwise rows of samples.

    lead: seconds of silence that a fresh state hears before the first sample.
    frame_length: for a model that takes samples, the number that its first output row depends on; None: one row.
    zeros: for a model that takes samples, the number of zeros before the first sample of an utterance, if it is not
    that of the lead: the front end in the graph may have part of the lead in its initial state, or need more zeros for
    a whole row.
    """

    sample_rate: int
    features: LogMel | None = None
    endpoint: EndpointSpec | None = None
    lead: float = 0.0
    frame_length: int | None = None
    zeros: int | None = None

    def __post_init__(self) -> None:
        expect(self.sample_rate >= 100, f"sample_rate is {self.sample_rate}, expected 100 samples a second or more")
        expect(0 <= self.lead <= 60, f"lead is {self.lead}, expected seconds, 0 to 60")
        made = self.features
        expect(
            made is None or made.sample_rate == self.sample_rate,
            f"sample_rate is {self.sample_rate}, that of the features {made and made.sample_rate}; they must be equal",
        )
        expect(
            made is None or self.frame_length is self.zeros is None,
            "frame_length and zeros go with a model that takes samples, and features with one that does not",
        )


@dataclass(frozen=True)
class KeywordSpotterSpec(AudioSpec):
    """Audio to events."""

    kind = "keyword_spotter"

    labels: int | None = None
    background: tuple[str, ...] = ()
    multi_label: bool = False
    smoothing: float = 0.0
    threshold: float = 0.5
    refractory: float = 1.0

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(0 < self.threshold < 1, f"threshold is {self.threshold}, expected a probability")
        expect(min(self.smoothing, self.refractory) >= 0, "smoothing and refractory are seconds, 0 or more")


@dataclass(frozen=True)
class TranscriberSpec(AudioSpec):
    """Audio to text by CTC."""

    kind = "transcriber"

    labels: int | None = None
    blank: int = 0
    width: int = 1
    joiner: str = " "

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(
            self.blank >= 0 and self.width >= 1,
            f"blank is {self.blank} and width {self.width}; blank must be 0 or more, width 1 or more",
        )


@dataclass(frozen=True)
class SearchSpec(TaskSpec):
    """Settings of a beam search."""

    width: int = 5
    length_penalty: float = 1.0
    max_length: int = 100

    def __post_init__(self) -> None:
        expect(
            min(self.width, self.max_length) >= 1,
            f"width is {self.width} and max_length {self.max_length}, expected 1 or more",
        )


@dataclass(frozen=True)
class TranslatorSpec(SearchSpec):
    """Text to text."""

    kind = "translator"

    source_end: bool = True
    reverse_source: bool = False
    wait_k: int | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(self.wait_k is None or self.wait_k >= 1, f"wait_k is {self.wait_k}, expected 1 or more")
        expect(
            self.wait_k is None or not self.reverse_source,
            f"wait_k is {self.wait_k}, which does not go with reverse_source",
        )


@dataclass(frozen=True)
class CaptionerSpec(SearchSpec):
    """An array to text."""

    kind = "captioner"

    scale: float = 1.0
    offset: float = 0.0


@dataclass(frozen=True)
class GeneratorSpec(TaskSpec):
    """Text to more text.

    styles: names of the styles that a text may be asked for; the vocabulary has `<NAME>` for each, which takes the
    place of the start number.
    """

    kind = "generator"

    start: bool = True
    max_length: int = 500
    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    styles: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        expect(self.max_length >= 1, f"max_length is {self.max_length}, expected 1 or more")
        Sampling(self.temperature, self.top_k, self.top_p)


@dataclass(frozen=True)
class IntervalsSpec:
    """Quantiles that follow the errors of their forecasts, see `intervals.AdaptiveIntervals`.

    Args:
        coverage: the share of the values that is to lie between the outer quantiles.
        rate: how much an error changes the logarithm of the width.
    """

    coverage: float
    rate: float

    def __post_init__(self) -> None:
        expect(0 < self.coverage < 1, f"intervals.coverage is {self.coverage}, expected a share between 0 and 1")
        expect(0 < self.rate <= 1, f"intervals.rate is {self.rate}, expected more than 0, at most 1")


def check_intervals(quantiles: Sequence[float]) -> str | None:
    """What quantiles lack for adaptive intervals; None if nothing."""
    middle = min(quantiles, key=lambda q: abs(q - 0.5), default=0.0)
    if len(quantiles) > 2 and quantiles[0] < middle < quantiles[-1]:
        return None
    return f"intervals need quantiles on both sides of the one nearest to 0.5; they are {list(quantiles)}"


@dataclass(frozen=True)
class ForecasterSpec(RowsSpec):
    """Rows of numbers to those that follow."""

    kind = "forecaster"

    columns: tuple[str, ...]
    horizon: int = 1
    targets: tuple[str, ...] = ()
    scaler: Scaler | None = None
    quantiles: tuple[float, ...] = ()
    intervals: IntervalsSpec | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        strange = [name for name in self.targets if name not in self.columns]
        expect(
            not strange and self.horizon >= 1,
            f"targets must be columns and horizon 1 or more; {strange} are none, horizon is {self.horizon}",
        )
        right = all(0 < q < 1 for q in self.quantiles) and list(self.quantiles) == sorted(set(self.quantiles))
        expect(right, f"quantiles are {list(self.quantiles)}, expected different numbers between 0 and 1 in order")
        if self.intervals:
            lacking = check_intervals(self.quantiles)
            expect(lacking is None, str(lacking))
            size = self.horizon**2 * len(self.targets or self.columns)
            expect(size <= _MAX_INTERVALS, f"intervals that adapt are of at most {_MAX_INTERVALS} horizon^2 * targets")


@dataclass(frozen=True, kw_only=True)
class SketcherSpec(RowsSpec):
    """Points of a pen to those that follow.

    Args:
        columns: names of the movements and of the lift.
        scaler: of the rows; it moves nothing, the means are 0.
        floor: the least deviation of a component of the mixtures, in units of the scaler.
        temperature, max_length: as `SketcherSession` takes them.
    """

    kind = "sketcher"

    columns: tuple[str, ...] = ("dx", "dy", "lift")
    scaler: Scaler = Scaler((0.0, 0.0, 0.0), (1.0, 1.0, 1.0))
    floor: float = 0.01
    temperature: float = 1.0
    max_length: int = 200

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(self.missing == "refuse" and not self.resample, "a sketcher fills no gaps between points")
        expect(len(self.columns) == len(self.scaler.mean) == 3, "expected the columns dx, dy and lift")
        expect(not any(self.scaler.mean), "the scaler of movements has means of 0")


@dataclass(frozen=True, kw_only=True)
class SynthesizerSpec(TaskSpec):
    """Words and voices to speech.

    Args:
        features: the log-mel features that the model draws, and that the signal is made from.
        scaler: of these features.
        words, voices: what can be said, and by whom, in the order of the input `given`.
        reduction: frames that the model draws in a step (Wang et al. 2017).
        floor: the least deviation of a feature, in units of the scaler.
        temperature, max_length: as `Synthesizer.frames` takes them.
        iterations: of Griffin and Lim's method.
    """

    kind = "synthesizer"

    features: LogMel
    scaler: Scaler
    words: tuple[str, ...]
    voices: tuple[str, ...]
    reduction: int = 2
    floor: float = 0.1
    temperature: float = 1.0
    max_length: int = 200
    iterations: int = 60

    def __post_init__(self) -> None:
        expect(len(self.scaler.mean) == self.features.num_mels, "the scaler has a mean and a scale for each feature")
        expect(bool(self.words and self.voices), "expected a word and a voice, or more")
        expect(min(self.reduction, self.max_length) >= 1, "reduction and max_length are 1 or more")
        expect(self.iterations >= 0, f"iterations is {self.iterations}, expected 0 or more")
        expect(self.floor > 0 <= self.temperature, "floor is more than 0, temperature 0 or more")
        expect(not self.features.center, "a signal is made from frames that are not centred")


@dataclass(frozen=True)
class AnomalyDetectorSpec(ForecasterSpec):
    """Rows of numbers to anomaly scores."""

    kind = "anomaly_detector"

    short_window: int = 10
    long_window: int = 1000
    warm_up: int = 100
    threshold: float = 0.9999
    probation: int = 0

    def __post_init__(self) -> None:
        super().__post_init__()
        expect(self.intervals is None, "an anomaly detector has no intervals; they are of a forecaster")
        expect(self.probation >= 0, f"probation is {self.probation}, expected rows, 0 or more")
        expect(not (self.probation and self.scaler), "expected a scaler or a probation, not both")
        right = 1 <= self.short_window < self.long_window and self.warm_up >= 2
        expect(right, "expected 1 <= short_window < long_window and a warm_up of 2 rows or more")
        expect(0 < self.threshold < 1, f"threshold is {self.threshold}, expected a probability")
