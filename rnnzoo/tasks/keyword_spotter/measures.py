"""Evaluation of a keyword spotter: its events in streams, as its users get them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.encoders.audio import AudioEncoder, after_lead
from rnnzoo.data.files.sounds import read_sounds
from rnnzoo.data.source import SPLITS, Example
from rnnzoo.tasks.keyword_spotter.config import KeywordAudioConfig
from rnnzoo.tasks.keyword_spotter.detection import Heard, find_episodes, smoothed, tally
from rnnzoo.tasks.keyword_spotter.drawing import draw_det
from rnnzoo.tasks.keyword_spotter.trials import Trial, noises, recording, speech, stream
from rnnzoo.tasks.labels import LabelTask
from streaming.runtime.decoding import EventRule, softmax
from streaming.runtime.tasks import KeywordSpotter

if TYPE_CHECKING:
    import keras

# Takes a signal (N,), gives smoothed probabilities (T, L) and the time of each row in seconds, (T,).
Listener = Callable[[NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]]

# Labels of what is no keyword, by convention: also with underscores around them.
_QUIET = ("background", "background_noise", "noise", "silence", "unknown")


class SpotterMeasures(LabelTask):
    """The evaluation of the task: signals, listeners, and figures of events."""

    def __init__(
        self, config: KeywordAudioConfig, encoder: AudioEncoder, splits: dict[str, list[Example]], seed: int = 0
    ):
        super().__init__(config, encoder, splits, seed)
        self._sounds: dict[str, dict[str, list[NDArray[Any]]]] = {}

    def number(self, label: str) -> int:
        """The number of a label; 0 for other than keywords, -1 for a keyword that is not in the training split."""
        return 0 if is_background(label, self.config) else super().number(label)

    def sounds(self, names: Sequence[str], split: str) -> list[NDArray[Any]]:
        """The recordings (N,) of a split of data sets and folders, in their order."""
        for name in names:
            if name not in self._sounds:
                self._sounds[name] = read_sounds(name, self.config)
        return [samples for name in names for samples in self._sounds[name][split]]

    def offline(self, model: keras.Model) -> Listener:
        """A Keras model as a listener: the smoothed probabilities of a signal, and the time of each row in seconds."""
        config = self.config
        window = max(1, round(config.smoothing * config.sample_rate / config.frame_step))

        def listen(samples: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
            features = self.encoder.encode(after_lead(samples, config))["features"]
            probabilities = softmax(model.predict_on_batch({"features": features[None]})[0])
            ends = np.arange(len(features)) * config.frame_step + config.frame_length
            return smoothed(probabilities, window), (ends - config.lead_frames * config.frame_step) / config.sample_rate

        return listen

    def heard(self, listen: Listener, trial: Trial, rule: EventRule | None = None) -> Heard:
        """The result of a listener on a signal."""
        smooth, times = listen(trial.samples)
        episodes = find_episodes(smooth, times, rule or self.rule())
        return Heard(tuple(episodes), trial.spoken, len(trial.samples) / self.config.sample_rate)

    def rule(self) -> EventRule:
        """The rule by which probabilities are events, as the device has it."""
        config = self.config
        rest = round(config.refractory * config.sample_rate / config.frame_step)
        return EventRule(range(1, len(self.labels)), [0], config.threshold, rest)

    def trials(self, split: str) -> dict[str, list[Trial]]:
        """The signals of a split: `isolated` and `stream`; `noisy`, `noise` and `speech` where there is such sound."""
        config, rows = self.config, self.examples(split)
        rate, clips = config.sample_rate, [samples for samples, _ in rows]
        labels = [self.number(label) for _, label in rows]
        trials = {
            "isolated": [recording(clip, label, rate) for clip, label in zip(clips, labels, strict=True)],
            "stream": [stream(clips, labels, rate)],
        }
        noise = self.sounds(config.noise, split)
        if config.noise:
            trials["noisy"] = [stream(clips, labels, rate, noise)]
            trials["noise"] = [noises(noise, rate)]
        if config.negatives or config.unheard:
            quiet = self.sounds(config.negatives, split)
            # What is never trained on serves whole where figures are final, and not at all where choices are made.
            if split == "test":
                quiet = quiet + [clip for part in SPLITS for clip in self.sounds(config.unheard, part)]
            trials["speech"] = [speech(quiet, rate)]
        return trials

    def detected(self, listen: Listener, split: str) -> dict[str, float]:
        """Figures of events at the threshold of the configuration; see `notes`."""
        tallies = {
            name: tally([self.heard(listen, trial) for trial in trials], self.config.threshold)
            for name, trials in self.trials(split).items()
        }
        alone, running = tallies["isolated"], tallies["stream"]
        figures = {"recall": running.recall, "precision": running.precision}
        for name in ("speech", "noise"):
            if name in tallies:
                figures[f"{name}_false_alarms_per_hour"] = tallies[name].rate
                figures[f"{name}_hours"] = tallies[name].hours
                figures[f"{name}_rate_bound"] = tallies[name].bound
        if "noisy" in tallies:
            figures["noisy_recall"] = tallies["noisy"].recall
        figures |= {"isolated_recall": alone.recall, "isolated_precision": alone.precision}
        return {**figures, "delay_seconds": running.delay}

    def draw_trade(self, listen: Listener, split: str, folder: Path) -> list[Path]:
        """Misses against false alarms of a split, at every threshold; none where it has no sound without keywords."""
        trials = self.trials(split)
        quiet = [self.heard(listen, trial) for name in ("speech", "noise") for trial in trials.get(name, ())]
        if not quiet:
            return []
        spoken = {
            title: [self.heard(listen, trial) for trial in trials[name]]
            for name, title in (("stream", "as recorded"), ("noisy", "noise at 10 dB"))
            if name in trials
        }
        return [draw_det(folder / "det.png", quiet, spoken, self.config.threshold)]


def streamed(spotter: KeywordSpotter) -> Listener:
    """A streaming spotter as a listener."""

    def listen(samples: NDArray[Any]) -> tuple[NDArray[Any], NDArray[Any]]:
        smooth, seen = spotter.probabilities(samples)
        return smooth, seen / spotter.sample_rate

    return listen


def is_background(label: str, config: KeywordAudioConfig) -> bool:
    """Whether a label is not a keyword."""
    return label.strip("_").lower() in _QUIET or label in config.background
