"""Series of numbers: transformers, servers, hearts, speakers and chorales."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset

_MONTH = 30 * 24
_ECG_RATE = 360
_MINUTE = 60 * _ECG_RATE
# NAB's detectors may learn from the first rows of a series: this share of it, of at most 5,000 rows.
_PROBATION, _PROBATION_ROWS = 0.15, 5000


@register_dataset("etth1", "series")
def read_etth1(config: DataConfig) -> Splits:
    """Zhou et al. 2021, 12, 4 and 4 months.

    An example is all rows (T, 7) up to the end of the split, and the number of the first row to be forecast.
    """
    values = np.array([row["values"] for row in rows("etth1", "train")], np.float32)
    borders = {"train": (0, 12), "dev": (12, 16), "test": (16, 20)}
    return {split: [(values[: end * _MONTH], begin * _MONTH)] for split, (begin, end) in borders.items()}


@register_dataset("nab_known_cause", "series-windows")
def read_nab(config: DataConfig) -> Splits:
    """Lavin and Ahmad 2015: values (T, 1), and name, timestamps, rows on probation, windows (W, 2) of rows.

    There is no training split beside the probation: each split holds all series.
    """
    series: list[Example] = []
    for row in rows("nab_known_cause", "test"):
        about = {
            "name": row["name"].decode(),
            "timestamps": [moment.decode() for moment in row["timestamps"]],
            "probation": int(_PROBATION * min(len(row["values"]), _PROBATION_ROWS)),
            "windows": row["windows"],
        }
        series.append((row["values"][:, None], about))
    return dict.fromkeys(("train", "dev", "test"), series)


@register_dataset("japanese_vowels", "rows-label")
def read_vowels(config: DataConfig) -> Splits:
    """Kudo et al. 1999: 7 to 29 rows of 12 coefficients, and the speaker; every fifth of train is dev."""

    def examples(split: str) -> list[Example]:
        return [(row["rows"], row["speaker"].decode()) for row in rows("japanese_vowels", split)]

    known = examples("train")
    return {"train": [row for i, row in enumerate(known) if i % 5], "dev": known[::5], "test": examples("test")}


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


@register_dataset("jsb_chorales", "rolls")
def read_chorales(config: DataConfig) -> Splits:
    """Boulanger-Lewandowski et al. 2012: piano rolls (T, 88) of zeros and ones, a row a quarter note."""

    def examples(split: str) -> Iterator[Example]:
        for row in rows("jsb_chorales", split):
            yield row["roll"].astype(np.float32), None

    return {"train": examples("train"), "dev": examples("validation"), "test": examples("test")}
