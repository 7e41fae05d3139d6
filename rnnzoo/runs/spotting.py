"""Measures a keyword spotter as its users notice it: misses, false alarms an hour and delay, over thresholds."""

from __future__ import annotations

import contextlib
import dataclasses
import math
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import streaming
from rnnzoo.data.config import AudioConfig
from rnnzoo.data.files.marks import read_marks
from rnnzoo.data.files.recordings import audio_files, read_recording
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.hub.manifest import hash_file
from rnnzoo.registry.layout import CONFIG_FILE
from rnnzoo.runs.building import load_task
from rnnzoo.runs.config import dump_config
from rnnzoo.runs.export import export_kind
from rnnzoo.runs.ledger import record_look
from rnnzoo.runs.provenance import commit
from rnnzoo.runs.store import WEIGHTS_FILE, Run
from rnnzoo.tasks.keyword_spotter.detection import THRESHOLDS, Heard, Spoken, find_episodes, tally, threshold_for
from rnnzoo.util.files import write_text
from rnnzoo.util.quiet import held_stderr
from streaming.errors import ArtifactError
from streaming.runtime.tasks import KeywordSpotter, task_for

_FILE = "int8.tflite"


@dataclass(frozen=True)
class Listening:
    """The result of a spotter on some signals.

    Args:
        name: of the model.
        where: name of the recordings.
        shipped: the threshold of the model.
        spoken: signals with keywords, by condition.
        quiet: signals without.
        chosen: the lowest threshold with at most the requested rate of false alarms; None if no rate was requested, no
            threshold is high enough, or no keyword is found there.
        asked: the requested rate, false alarms an hour.
    """

    name: str
    where: str
    shipped: float
    spoken: dict[str, list[Heard]]
    quiet: list[Heard]
    chosen: float | None = None
    asked: float | None = None

    def rows(self) -> list[dict[str, Any]]:
        """For each threshold: misses by condition, false alarms, their rate and its bound at 95 %, and the delay."""
        signals = [signal for rows in self.spoken.values() for signal in rows]
        table = []
        for threshold in sorted({*THRESHOLDS, self.shipped, *([self.chosen] if self.chosen else [])}):
            row: dict[str, Any] = {"threshold": threshold}
            for name, rows in self.spoken.items():
                row[f"misses{name and f' {name}'}"] = _number(1 - tally(rows, threshold).recall)
            # Signals with keywords are listened to as well: an event that is none is a false alarm there, too.
            every = tally([*signals, *self.quiet], threshold)
            row |= {"false_alarms": every.false, "per_hour": every.rate, "per_hour_bound": every.bound}
            table.append({**row, "delay_seconds": _number(every.delay)})
        return table

    @property
    def hours(self) -> float:
        """Hours listened to."""
        return sum(signal.seconds for rows in (*self.spoken.values(), self.quiet) for signal in rows) / 3600

    def summary(self) -> dict[str, Any]:
        """All figures as plain data."""
        plain = dataclasses.asdict(self)
        kept = {key: plain[key] for key in ("name", "where", "shipped", "asked", "chosen")}
        return {**kept, "hours": self.hours, "thresholds": self.rows()}

    def draw(self, folder: Path) -> Path:
        """Draw misses against false alarms, as `det.png`."""
        from rnnzoo.tasks.keyword_spotter.drawing import draw_det

        signals = [signal for rows in self.spoken.values() for signal in rows]
        named = {name or "as recorded": rows for name, rows in self.spoken.items()}
        return draw_det(folder / "det.png", [*signals, *self.quiet], named, self.shipped)


def listen_to_files(
    source: Run | Path, audio: Path, labels: Path | None = None, rate: float | None = None, skip: bool = False
) -> Listening:
    """Measure a spotter on a user's recordings; each file is a signal that begins with a fresh state.

    The table of labels gives the places of keywords. Without it, a file in a folder with the name of a keyword contains
    it once, and other files contain none.

    Args:
        source: a run (its int8 file is measured), or a streaming file.
        audio: a file, or a folder with files at any depth.
        labels: see `rnnzoo.data.files.marks.read_marks`; labels that are not keywords of the model are ignored.
        rate: false alarms an hour, for which a threshold is chosen.
        skip: leave out files that are not recordings, and list them.

    Raises:
        ConfigError: the model is no keyword spotter.
        DataError: there are no recordings, or one of them or the table cannot be read.
    """
    folder = audio if audio.is_dir() else audio.parent
    paths = audio_files(audio) if audio.is_dir() else [audio]
    if not paths:
        raise DataError(f"{audio} holds no WAV, FLAC or OGG file; name a recording, or a folder with some")
    with _spotter(source) as spotter:
        config = AudioConfig(dataset="", sample_rate=spotter.sample_rate)
        names = [str(path.relative_to(folder)) for path in paths]
        marks = read_marks(labels, names) if labels else None
        heard, left_out = [], []
        for path, name in zip(paths, names, strict=True):
            try:
                samples = read_recording(path, config)
            except DataError as error:
                if not skip:
                    raise
                left_out.append(str(error))
                continue
            seconds = len(samples) / spotter.sample_rate
            if marks is None:
                label = Path(name).parts[0]
                spoken = [(label, 0.0, seconds)] if len(Path(name).parts) > 1 else []
            else:
                spoken = [(mark.label, mark.begin, mark.end) for mark in marks[name]]
            known = [Spoken(spotter.labels.index(a), b, c, c) for a, b, c in spoken if a in _keywords(spotter)]
            heard.append(_heard(spotter, samples, known))
        shown = [f"left out: {line}" for line in left_out]
        return _chosen(spotter, str(audio), {"": heard}, [], rate, shown)


def listen_to_split(run: Run, split: str, rate: float | None = None) -> Listening:
    """The same on the signals that the figures of a split are measured on; see `KeywordSpotterTask.trials`."""
    if run.config.topology != "keyword_spotter":
        raise ConfigError(f"{run.config.name} is a {run.config.topology}; false alarms are those of a keyword_spotter")
    task: Any = load_task(run.config, run.encoder)
    with _spotter(run) as spotter:
        heard = {
            name: [_heard(spotter, trial.samples, trial.spoken) for trial in trials]
            for name, trials in task.trials(split).items()
            if name != "isolated"
        }
        conditions = {"": heard.pop("stream"), **({"at 10 dB": heard.pop("noisy")} if "noisy" in heard else {})}
        quiet = [signal for signals in heard.values() for signal in signals]
        listening = _chosen(spotter, f"{run.config.data.dataset}, split {split}", conditions, quiet, rate, [])
    row = next(row for row in listening.rows() if row["threshold"] == listening.shipped)
    look = {"split": split, "dataset": run.config.data.dataset, "offline": row, "made": {"commit": commit()}}
    record_look(run.config, hash_file(run.path / WEIGHTS_FILE), look)
    return listening


def save_threshold(run: Run, threshold: float) -> None:
    """Write a threshold to the configuration of a run, for its figures and exports.

    Raises:
        ConfigError: the run is a bundle, whose files and figures would no longer fit, or cannot be written.
    """
    if (run.path / _FILE).exists():
        raise ConfigError(f"{run.path} is a bundle with ready files; save the threshold to the run that it was made of")
    data = dataclasses.replace(run.config.data, threshold=threshold)  # type: ignore[call-arg]
    try:
        write_text(run.path / CONFIG_FILE, dump_config(dataclasses.replace(run.config, data=data)))
    except OSError as error:
        raise ConfigError(f"cannot write {run.path / CONFIG_FILE} ({error.strerror})") from error


@contextlib.contextmanager
def _spotter(source: Run | Path) -> Iterator[KeywordSpotter]:
    """The task object of a run's int8 file, or of a streaming file."""
    with tempfile.TemporaryDirectory() as folder:
        path = source if isinstance(source, Path) else source.path / _FILE
        if not isinstance(source, Path) and not path.is_file():
            path = Path(folder) / _FILE
            export_kind(source, path, "int8")
        with held_stderr():
            model = streaming.load(path)
        try:
            task = task_for(model)
        except ArtifactError as error:
            raise ConfigError(str(error)) from error
        if not isinstance(task, KeywordSpotter):
            raise ConfigError(f"{path.name} is a {type(task).__name__.lower()}; --audio measures keyword spotters")
        yield task


def _keywords(spotter: KeywordSpotter) -> set[str]:
    return {spotter.labels[i] for i in spotter.keywords}


def _heard(spotter: KeywordSpotter, samples: Any, spoken: Sequence[Spoken]) -> Heard:
    smooth, seen = spotter.probabilities(samples)
    episodes = find_episodes(smooth, seen / spotter.sample_rate, spotter.rule())
    return Heard(tuple(episodes), tuple(spoken), len(samples) / spotter.sample_rate)


def _chosen(
    spotter: KeywordSpotter,
    where: str,
    spoken: dict[str, list[Heard]],
    quiet: list[Heard],
    rate: float | None,
    left_out: Sequence[str],
) -> Listening:
    every = [signal for rows in (*spoken.values(), quiet) for signal in rows]
    chosen = None if rate is None else threshold_for(every, rate)
    for line in left_out:
        print(line)
    name = str(spotter.model.metadata.source.more.get("name", "the model"))
    return Listening(name, where, spotter.spec.threshold, spoken, quiet, chosen, rate)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else value
