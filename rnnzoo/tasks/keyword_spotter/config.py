"""The `data` and `model` sections of a keyword spotter."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from rnnzoo.data.config import AudioConfig, check_threshold
from rnnzoo.tasks.cells import AudioModelConfig
from rnnzoo.util.ranges import Range, Rate, Size


@dataclass(frozen=True, kw_only=True)
class KeywordAudioConfig(AudioConfig):
    """Recordings of keywords, other sounds, and the rule of events.

    Args:
        negatives: recordings without keywords: names of data sets, or folders of files.
        unheard: the same, never trained on: all of their recordings count in the figures of the test split.
        negative_share: share of the recordings of a training stream that are negatives.
        negative_speed: negatives are played faster or slower by up to this share, so that a few voices sound like more;
            0: by `speed`, as the keywords.
        fragments: share of the negatives that are beginnings, ends and reversals of keywords.
        splices: share of the fragments that are the beginning of one keyword and the end of another.
        keywordless: share of the training streams without a keyword: noise of changing kinds and levels alone, and in
            half of them, where there are negatives, other speech.
        equalizer: each recording of a training stream, and each noise, is heard through a microphone and a room that
            raise or lower parts of its spectrum by up to so many dB; some noises then come and go, as machines do.
        noise_speed: recordings of noise are played faster or slower by up to this share, in training.
        background: labels of the data set that are no keywords; `unknown`, `silence`, `noise` and `background` are none
            anyway, also written as `_unknown_` and the like.
        known: in the targets, a keyword begins after this share of its recording.
        after: seconds after its end for which a keyword stays in the targets.
        windows: windows of a training stream; then a new stream begins with a fresh state.
        threshold: smoothed probability from which a keyword is an event.
        smoothing: seconds over which probabilities are averaged.
        refractory: seconds for which a label must not lead before it can be an event again.

    Raises:
        ConfigError: the threshold is no probability.
    """

    negatives: tuple[str, ...] = ()
    unheard: tuple[str, ...] = ()
    negative_share: Rate = 0.5
    negative_speed: Rate = 0.0
    fragments: Rate = 0.0
    splices: Rate = 0.0
    keywordless: Rate = 0.06
    equalizer: Annotated[float, Range(0, 40)] = 0.0
    noise_speed: Rate = 0.0
    background: tuple[str, ...] = ()
    known: Rate = 0.5
    after: Annotated[float, Range(0, 10)] = 0.2
    windows: Size = 2
    threshold: float = 0.6
    smoothing: Annotated[float, Range(0, 10)] = 0.1
    refractory: Annotated[float, Range(0, 60)] = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        check_threshold(self.threshold)


@dataclass(frozen=True)
class KeywordSpotterConfig(AudioModelConfig):
    """A many-to-many model: the logits of the keywords after every frame."""


DATA = {"audio": KeywordAudioConfig}
MODEL = KeywordSpotterConfig
