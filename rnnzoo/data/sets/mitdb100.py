"""Record 100 of the MIT-BIH Arrhythmia Database: half an hour of two-lead ECG (Moody and Mark 2001)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.builder import DownloadedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

_COMMIT = "6850ad1aa0c1fcb2282b3625f767de98396cf740"
_SOURCE = f"https://raw.githubusercontent.com/MIT-LCP/wfdb-python/{_COMMIT}/sample-data"
SAMPLE_RATE = 360
_GAIN, _BASELINE = 200.0, 1024
# Codes of annotations that are beats, and their symbols (the WFDB Programmer's Guide, "Annotation Codes").
_BEATS = {1: "N", 5: "V", 8: "A"}
_SKIP, _NUM, _SUB, _CHN, _AUX = 59, 60, 61, 62, 63
_MINUTE = 60 * SAMPLE_RATE

register_terms(
    "mitdb100",
    title="MIT-BIH Arrhythmia Database, record 100",
    licence="ODC-By-1.0",
    citation="Moody and Mark (2001), The Impact of the MIT-BIH Arrhythmia Database, IEEE Eng. in Med. and Biol. 20",
    url="https://physionet.org/content/mitdb",
)


@register_dataset("mitdb100", "signal-events")
def read_ecg(config: DataConfig) -> Splits:
    """Moody and Mark 2001, record 100: leads (T, 2) in millivolts, and (sample, symbol) of each beat.

    The first 22 minutes are for training, the next three for development, the last five for the test.
    """
    (record,) = rows("mitdb100", "train")
    beats = [(int(at), symbol.decode()) for at, symbol in zip(record["positions"], record["symbols"], strict=True)]

    def part(begin: int, end: int) -> list[Example]:
        inside = [(at - begin, symbol) for at, symbol in beats if begin <= at < end]
        return [(record["signal"][begin:end], inside)]

    length = len(record["signal"])
    test, dev = length - 5 * _MINUTE, length - 8 * _MINUTE
    return {"train": part(0, dev), "dev": part(dev, test), "test": part(test, length)}


class Mitdb100(DownloadedFiles):
    """One example: 650,000 samples of two leads in millivolts, and its beats; ODC-BY 1.0."""

    VERSION = "1.0.0"
    FILES = {name: f"{_SOURCE}/{name}" for name in ("100.dat", "100.atr")}
    MIRROR = "ecg_mitdb_100"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        features = tfds.features.FeaturesDict(
            {
                "signal": tfds.features.Tensor(shape=(None, 2), dtype=np.float32),
                "positions": tfds.features.Tensor(shape=(None,), dtype=np.int64),
                "symbols": tfds.features.Sequence(tfds.features.Text()),
            }
        )
        return self.dataset_info_from_configs(features=features, homepage="https://physionet.org/content/mitdb")

    def _split_generators(self, dl_manager: Any) -> Any:
        paths = self.paths(dl_manager)
        return {"train": self._generate_examples(paths["100.dat"], paths["100.atr"])}

    def _generate_examples(self, signal: Path, annotations: Path) -> Iterator[tuple[str, dict[str, Any]]]:
        positions, symbols = read_beats(annotations.read_bytes())
        leads = (read_format_212(signal.read_bytes()) - _BASELINE) / np.float32(_GAIN)
        yield "100", {"signal": leads.astype(np.float32), "positions": positions, "symbols": symbols}


def read_format_212(data: bytes) -> NDArray[Any]:
    """Two leads of 12-bit samples, a pair in three bytes (WFDB format 212); int16, (samples, 2)."""
    parts = np.frombuffer(data[: len(data) // 3 * 3], np.uint8).reshape(-1, 3).astype(np.int16)
    first = parts[:, 0] | (parts[:, 1] & 0x0F) << 8
    second = parts[:, 2] | (parts[:, 1] & 0xF0) << 4
    pairs = np.stack([first, second], axis=1)
    return np.where(pairs > 2047, pairs - 4096, pairs).astype(np.int16)


def read_beats(data: bytes) -> tuple[NDArray[Any], list[str]]:
    """Sample numbers and symbols of the beats in an annotation file of MIT format."""
    words = np.frombuffer(data[: len(data) // 2 * 2], "<u2")
    time, positions, symbols, i = 0, [], [], 0
    while i < len(words) and words[i]:
        code, value = int(words[i]) >> 10, int(words[i]) & 0x3FF
        i += 1
        if code == _SKIP:
            time += (int(words[i]) << 16) + int(words[i + 1])
            i += 2
        elif code == _AUX:
            i += (value + 1) // 2
        elif code not in (_NUM, _SUB, _CHN):
            time += value
            if code in _BEATS:
                positions.append(time)
                symbols.append(_BEATS[code])
    return np.array(positions, np.int64), symbols
