"""The `data` section of an experiment: one dataclass for each kind of input."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args

from rnnzoo.errors import ConfigError
from rnnzoo.util.ranges import Factor, Range, Rate, Size
from streaming.errors import InputError
from streaming.runtime.tables import parse_step

TextLevel = Literal["characters", "words", "subwords"]
_ROW_FILES = ("time", "label", "group", "header", "encoding", "missing", "mask", "resample", "ratio", "split")
_WORD_FILES = ("text", "label", "labels", "label_separator", "max_words", "word_column", "tag_column", "encoding")
Missing = Literal["refuse", "drop", "hold", "interpolate"]
WordInput = Literal["words", "chars", "affixes"]
BadFiles = Literal["refuse", "skip"]


@dataclass(frozen=True, kw_only=True)
class DataConfig:
    """Which data a model is trained on; subclasses also say what its `input` is.

    Args:
        dataset: a name that `rnnzoo.data.known_datasets()` lists, such as `universal_dependencies/en_ewt`.
        limit: use only the first so many examples of each split, for small budgets (in data sorted by label, these have
            only a few labels); None: all.
    """

    dataset: str
    limit: Size | None = None

    @classmethod
    def current(cls, tree: Mapping[str, Any]) -> Mapping[str, Any]:
        """The section in its current form, from the form of an earlier version."""
        return tree


@dataclass(frozen=True, kw_only=True)
class WordsConfig(DataConfig):
    """Texts, word by word.

    Args:
        input: `words`.
        inputs: which arrays the encoder makes: any of `words`, `chars`, `affixes`.
        min_count: words seen less often in the training split become the unknown word.
        affix_min_count: the same for prefixes, suffixes and word shapes.
        max_word_length: characters of a word that the model sees; the middle of a longer one is left out.
        multi_label: for a classifier: a text may have any number of labels.
        threshold: the probability from which on one of several labels holds.
        text, label: of files: the names of the columns (or fields) of texts and of labels.
        labels: of files, for several labels: columns of 1 and 0, one for each label, that say whether it holds.
        label_separator: of files: what separates several labels in one cell.
        max_words: of files: texts are cut to so many words in the training; evaluation and device use whole texts.
        word_column, tag_column: of CoNLL files: numbers of the columns, from 1; None: 2 and 4 where words have numbers,
            as in CoNLL-U, else the first and the last.
        encoding: of files: such as `cp1252`; None: UTF-8, or UTF-16 if there is a byte order mark.

    Raises:
        ConfigError: the threshold is no probability, or there are columns of labels for one label.
    """

    input: Literal["words"] = "words"
    inputs: tuple[WordInput, ...] = ("words", "chars", "affixes")
    min_count: Size = 2
    affix_min_count: Size = 3
    max_word_length: Size = 20
    multi_label: bool = False
    threshold: float = 0.5
    text: str = "text"
    label: str = "label"
    labels: tuple[str, ...] = ()
    label_separator: str = "|"
    max_words: Size | None = None
    word_column: Size | None = None
    tag_column: Size | None = None
    encoding: str | None = None

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        if self.labels and not self.multi_label:
            raise ConfigError(f"data.labels={list(self.labels)} are several: say data.multi_label=true")
        if not self.label_separator:
            raise ConfigError("data.label_separator is what separates labels, such as '|'; received ''")


@dataclass(frozen=True, kw_only=True)
class RowsConfig(DataConfig):
    """Rows of numbers, one a step.

    Args:
        input: `rows`.
        columns: names of the columns, in the order of the model's features; of files: the columns to use, none: all
            columns of numbers, sorted by name.
        time: of files: the column of times, numbers or ISO dates, by which rows are sorted; it is no feature.
        label: of files: the column of labels, where rows have one.
        group: of files: the column of the group of each row, such as a person; all rows of a group are in one split.
        header: of files: whether the first line names the columns; None: it does where it holds no number.
        encoding: of files: such as `cp1252`; None: UTF-8, or UTF-16 if there is a byte order mark.
        missing: of files: what becomes of rows that lack a value: `refuse` them; `drop` them; `hold` the last value;
            `interpolate` between the values before and after. The device does the same.
        mask: of files: one more feature for each column, 1 where its value was missing.
        resample: of files: a step of time such as `1s` or `15min`, of which rows are the means; needs `time`.
        ratio: of files: sizes of train, dev and test, such as [8, 1, 1]; none: 8 to 1 to 1, of a series 3 to 1 to 1.
        split: of files: what is divided: `files` (or groups, where there is a `group`), or `time`, the rows of each
            file in their order; None: files where there are several.
        scale: bring each column to mean 0 and deviation 1, by the training split.
        multi_label: for a classifier: a sequence may have any number of labels.
        threshold: the probability from which on one of several labels holds.

    Raises:
        ConfigError: the threshold is no probability, or options of files contradict each other.
    """

    input: Literal["rows"] = "rows"
    columns: tuple[str, ...] = ()
    time: str | None = None
    label: str | None = None
    group: str | None = None
    header: bool | None = None
    encoding: str | None = None
    missing: Missing = "refuse"
    mask: bool = False
    resample: str | None = None
    ratio: tuple[Factor, ...] = ()
    split: Literal["files", "time"] | None = None
    scale: bool = True
    multi_label: bool = False
    threshold: float = 0.5

    def __post_init__(self) -> None:
        check_threshold(self.threshold)
        if self.resample is not None:
            check_step(self.resample, self.time)
        if self.ratio and (len(self.ratio) != 3 or not min(self.ratio) > 0):
            raise ConfigError(f"data.ratio has sizes of train, dev and test, such as [8, 1, 1]; received {self.ratio}")
        if self.mask and self.missing not in ("hold", "interpolate"):
            raise ConfigError(
                f"data.mask=true says where a value was filled: it needs data.missing=hold or interpolate; received "
                f"{self.missing!r}"
            )
        if self.split == "time" and self.group is not None:
            raise ConfigError(f"data.group={self.group} keeps groups whole, data.split=time cuts them: set one of them")


@dataclass(frozen=True, kw_only=True)
class TextConfig(DataConfig):
    """Running text.

    Args:
        input: `text`.
        level: what a step is: `characters`, `words` or `subwords`.
        vocabulary: most entries of the vocabulary; None: all that are frequent enough.
        min_count: entries seen less often in the training split become the unknown one.
        lower: lower-case all text.
        window: steps of a training window, through which gradients flow; the state is carried from window to window.

    Raises:
        ConfigError: the level is unknown, or the window has no step.
    """

    input: Literal["text"] = "text"
    level: TextLevel = "characters"
    vocabulary: Size | None = None
    min_count: Size = 1
    lower: bool = False
    window: int = 128

    def __post_init__(self) -> None:
        if self.level not in get_args(TextLevel):
            raise ConfigError(f"data.level is one of {', '.join(get_args(TextLevel))}; received {self.level!r}")
        if self.window < 1:
            raise ConfigError(f"data.window is at least 1 step; received {self.window}")


@dataclass(frozen=True, kw_only=True)
class PairsConfig(DataConfig):
    """Texts and their translations.

    Args:
        input: `pairs`.
        level: what a step is: `characters`, `words` or `subwords`.
        vocabulary: most entries of each of the two vocabularies; None: all that are frequent enough.
        min_count: entries seen less often in the training split become the unknown one.
        lower: lower-case all text.
        max_length: most steps of a text, its end included; a longer one is cut.
        reverse_source: read the source from its end (Sutskever et al. 2014).
        wait_k: translate simultaneously, so many words behind the source (Ma et al. 2019); None: after the source.
        width: of the beam that figures are measured with, and that the device searches with.
        length_penalty: of that search: 0 prefers short texts, 1 has no preference.

    Raises:
        ConfigError: a value is out of its range, or two contradict each other.
    """

    input: Literal["pairs"] = "pairs"
    level: TextLevel = "subwords"
    vocabulary: int | None = 4000
    min_count: Size = 1
    lower: bool = False
    max_length: int = 48
    reverse_source: bool = False
    wait_k: int | None = None
    width: int = 5
    length_penalty: Factor = 1.0

    def __post_init__(self) -> None:
        if self.level not in get_args(TextLevel):
            raise ConfigError(f"data.level is one of {', '.join(get_args(TextLevel))}; received {self.level!r}")
        if self.level == "subwords" and not self.vocabulary:
            raise ConfigError(f"data.level=subwords needs data.vocabulary; received {self.vocabulary}")
        for name, least in (("max_length", 2), ("wait_k", 1), ("width", 1), ("vocabulary", 5), ("min_count", 1)):
            if (value := getattr(self, name)) is not None and value < least:
                raise ConfigError(f"data.{name} is at least {least}; received {value}")
        if self.wait_k is not None and self.reverse_source:
            raise ConfigError(
                f"data.wait_k={self.wait_k} reads the source from its beginning, data.reverse_source=true from its "
                "end: set one of them"
            )


@dataclass(frozen=True, kw_only=True)
class PicturesConfig(DataConfig):
    """Pictures, and what is said of them.

    Args:
        input: `pictures`.
        size: height and width that all pictures are brought to; none: they have one size.
        level: what a step is: `characters`, `words` or `subwords`.
        vocabulary: most entries; None: all that are frequent enough.
        min_count: entries seen less often in the training split become the unknown one.
        lower: lower-case all captions.
        max_length: most steps of a caption, its end included; a longer one is cut.
        shift: in training a picture is moved by up to so many pixels, in any direction.
        mirror: in training half of the pictures are mirrored, left to right.
        width: of the beam that figures are measured with, and that the device searches with.
        length_penalty: of that search: 0 prefers short texts, 1 has no preference.

    Raises:
        ConfigError: a value is out of its range.
    """

    input: Literal["pictures"] = "pictures"
    size: tuple[Size, ...] = ()
    level: TextLevel = "words"
    vocabulary: Size | None = None
    min_count: Size = 1
    lower: bool = False
    max_length: int = 32
    shift: int = 0
    mirror: bool = False
    width: int = 5
    length_penalty: Factor = 1.0

    def __post_init__(self) -> None:
        if len(self.size) not in (0, 2):
            raise ConfigError(f"data.size is a height and a width, such as [96, 128]; received {list(self.size)}")
        if self.level not in get_args(TextLevel):
            raise ConfigError(f"data.level is one of {', '.join(get_args(TextLevel))}; received {self.level!r}")
        if self.level == "subwords" and not self.vocabulary:
            raise ConfigError(f"data.level=subwords needs data.vocabulary; received {self.vocabulary}")
        for name, least in (("max_length", 2), ("width", 1), ("vocabulary", 5), ("min_count", 1), ("shift", 0)):
            if (value := getattr(self, name)) is not None and value < least:
                raise ConfigError(f"data.{name} is at least {least}; received {value}")


@dataclass(frozen=True, kw_only=True)
class AudioConfig(DataConfig):
    """Recordings, as log-mel features.

    Args:
        input: `audio`.
        sample_rate: samples a second of the recordings.
        frame_length, frame_step, fft_length: in samples.
        num_mels: features of a frame.
        low_hz, high_hz: range of the features.
        window: frames of a training window; the state is carried from window to window.
        lead: silence that a fresh state hears before the first sample, in seconds, by whole frames.
        pause: longest silence between two recordings of a training stream, in seconds.
        speed: recordings are played faster or slower by up to this share, in training.
        white_noise: deviation of the loudest white noise that is added in training; samples lie in -1 .. 1.
        noise: recordings of noise that are mixed with the speech in training: names of data sets, or folders.
        snr: lowest and highest signal-to-noise ratio of speech and that noise, in dB.
        room: share of the recordings with simulated reverberation, in training.
        level: lowest and highest change of the loudness of a training stream, in dB.
        bad_files: a file that is not a recording is an error (`refuse`), or is listed and left out (`skip`).

    Raises:
        ConfigError: the end of a range lies below its beginning.
    """

    input: Literal["audio"] = "audio"
    sample_rate: int = 8000
    frame_length: int = 256
    frame_step: int = 128
    fft_length: int = 256
    num_mels: int = 40
    low_hz: float = 60.0
    high_hz: float = 3800.0
    # Streams of many windows are held in memory, with a pause before each recording.
    window: Annotated[int, Range(1, 10_000)] = 128
    lead: Annotated[float, Range(0, 10)] = 0.0
    pause: Annotated[float, Range(0, 10)] = 0.5
    speed: Rate = 0.15
    white_noise: Factor = 0.01
    noise: tuple[str, ...] = ()
    snr: tuple[float, ...] = (0.0, 30.0)
    room: Rate = 0.0
    level: tuple[float, ...] = (0.0, 0.0)
    bad_files: BadFiles = "refuse"

    def __post_init__(self) -> None:
        for name in ("snr", "level"):
            value = getattr(self, name)
            if len(value) != 2 or value[0] > value[1]:
                raise ConfigError(f"data.{name} is a lowest and a highest number of dB; received {list(value)}")

    @classmethod
    def current(cls, tree: Mapping[str, Any]) -> Mapping[str, Any]:
        """In earlier configurations, `noise` is white noise."""
        if not isinstance(tree.get("noise"), int | float):
            return tree
        return {("white_noise" if key == "noise" else key): value for key, value in tree.items()}

    @property
    def lead_frames(self) -> int:
        """The lead in frames."""
        return round(self.lead * self.sample_rate / self.frame_step)


def check_threshold(threshold: float) -> None:
    """Raises ConfigError where the threshold is no probability."""
    if not 0 < threshold < 1:
        raise ConfigError(f"data.threshold is a probability between 0 and 1; received {threshold}")


def check_step(resample: str, time: str | None) -> None:
    """Raises ConfigError where the step is not valid, or there is no column of times."""
    if time is None:
        raise ConfigError(f"data.resample={resample} goes by times: name their column by data.time")
    try:
        parse_step(resample)
    except InputError as error:
        raise ConfigError(f"data.resample: {error}") from error


def file_option(config: DataConfig) -> str | None:
    """The first option of a user's own files that is set, None where there is none."""
    names = _ROW_FILES if isinstance(config, RowsConfig) else _WORD_FILES if isinstance(config, WordsConfig) else ()
    defaults = {field.name: field.default for field in dataclasses.fields(config)}
    return next((name for name in names if getattr(config, name) != defaults[name]), None)
