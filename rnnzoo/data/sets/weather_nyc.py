"""Hourly weather at the three airports of New York in 2013, with gaps (Wickham's and Waskom's nycflights13)."""

from __future__ import annotations

import csv
import gzip
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig, RowsConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import SPLITS, Findings, Reading, register_dataset
from rnnzoo.data.terms import register_terms
from rnnzoo.errors import DataError
from streaming.errors import InputError
from streaming.runtime.tables import fill_rows

_NAME = "weather_nyc"
_PAGE = "https://github.com/tidyverse/nycflights13"
STATIONS = ("EWR", "JFK", "LGA")
VALUES = ("temp", "dewp", "pressure", "wind_speed")
# One wind of 1048 mph is an error of the source.
_FASTEST = 150.0
_HOURS = 24

register_terms(
    _NAME,
    title="Hourly weather at three New York airports, 2013",
    licence="CC0-1.0",
    citation="Wickham (2014), nycflights13: Flights that Departed NYC in 2013, from ASOS stations",
    url=_PAGE,
)


def column_names() -> tuple[str, ...]:
    """The columns of a row: four values of each station, then the hour (UTC) on a circle."""
    return (*(f"{station}_{value}" for station in STATIONS for value in VALUES), "hour_sin", "hour_cos")


@register_dataset(_NAME, "series")
def read_weather(config: DataConfig) -> Reading:
    """8,730 hours: temperature, dew point (F), pressure (mbar) and wind (mph) of each airport, and the hour of the day.

    January to August are for training, September and October for development, November and December for the test. What
    is missing, most of it pressure, is treated as `data.missing` says.

    Raises:
        DataError: values are missing, and nothing says what becomes of them.
    """
    hours = list(rows(_NAME, "train"))
    table = np.stack([_row(hour) for hour in hours])
    assert isinstance(config, RowsConfig)
    try:
        filled = fill_rows(config.missing, column_names(), table)
    except InputError as error:
        raise DataError(f"{_NAME} has gaps: {error}") from error
    values = (filled.with_mask() if config.mask else filled.rows).astype(np.float32)
    split = np.array([hours[i]["split"].decode() for i in filled.numbers])
    ends = {name: int(np.flatnonzero(split == name)[-1]) + 1 for name in SPLITS}
    begins = {"train": 0, "dev": ends["train"], "test": ends["dev"]}
    masks = [f"{name}_missing" for name in column_names()] if config.mask else []
    splits = {name: [(values[: ends[name]], begins[name])] for name in SPLITS}
    return Reading(splits, Findings((*column_names(), *masks)))


def _row(hour: dict[str, Any]) -> NDArray[np.float64]:
    values = hour["values"].astype(np.float64)
    wind = values[:, VALUES.index("wind_speed")]
    wind[wind > _FASTEST] = np.nan
    angle = 2 * np.pi * datetime.fromisoformat(hour["time"].decode()).hour / _HOURS
    return np.concatenate([values.reshape(-1), [np.sin(angle), np.cos(angle)]])


class WeatherNyc(PackedFiles):
    """An hour: values (station, value), NaN where missing, its time in UTC and its split; CC0."""

    VERSION = "1.0.0"
    FILES = {"weather_hourly.csv.gz": "43f1f444753d217b38130707764e297be2b0dd97df61099847c60275e806aebf"}
    MIRROR = _NAME

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        text = tfds.features.Text()
        values = tfds.features.Tensor(shape=(len(STATIONS), len(VALUES)), dtype=np.float64)
        features = tfds.features.FeaturesDict({"time": text, "split": text, "values": values})
        # Time runs through the rows.
        return self.dataset_info_from_configs(features=features, homepage=_PAGE, disable_shuffling=True)

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"train": self._generate_examples(self.paths(dl_manager)["weather_hourly.csv.gz"])}

    def _generate_examples(self, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
        hours: dict[str, dict[str, Any]] = {}
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            for row in csv.DictReader(file):
                empty = np.full((len(STATIONS), len(VALUES)), np.nan)
                hour = hours.setdefault(row["time_utc"], {"split": row["split"], "values": empty})
                hour["values"][STATIONS.index(row["origin"])] = [
                    np.nan if row[name] == "NA" else float(row[name]) for name in VALUES
                ]
        for i, (time, hour) in enumerate(sorted(hours.items())):
            yield i, {"time": time, **hour}
