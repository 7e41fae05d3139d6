"""NAB, real series with known causes: anomalies in streams (Lavin and Ahmad 2015)."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from rnnzoo.data.builder import PackedFiles
from rnnzoo.data.config import DataConfig
from rnnzoo.data.mirror import rows
from rnnzoo.data.source import Example, Splits, register_dataset
from rnnzoo.data.terms import register_terms

_WINDOWS = "labels/combined_windows.json"
# NAB's detectors may learn from the first rows of a series: this share of it, of at most 5,000 rows.
_PROBATION, _PROBATION_ROWS = 0.15, 5000

register_terms(
    "nab_known_cause",
    title="Numenta Anomaly Benchmark, known causes",
    licence="MIT",
    citation="Ahmad et al. (2017), Unsupervised Real-Time Anomaly Detection for Streaming Data, Neurocomputing 262",
    url="https://github.com/numenta/NAB",
)


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


class NabKnownCause(PackedFiles):
    """A series is timestamps, values and the windows around its anomalies; MIT licence."""

    VERSION = "1.0.0"
    FILES = {
        _WINDOWS: "3a791c09a5595c4c50a929a3ae53112c5703e8fa2370e29830bc5352e6b6c9d2",
        "realKnownCause/ambient_temperature_system_failure.csv": (
            "230b68ccca20f59d562afd5d24ad52939c9b784386bed0054018358bf9120581"
        ),
        "realKnownCause/cpu_utilization_asg_misconfiguration.csv": (
            "58ba65dc0737cfbac11b51514476d50c438d44011232144bb8d93f392df58f9f"
        ),
        "realKnownCause/ec2_request_latency_system_failure.csv": (
            "98378580aa80157e057c61d59d81daddccc6c65a2c0c800e3f01f603b8215c3f"
        ),
        "realKnownCause/machine_temperature_system_failure.csv": (
            "92bf5b87fc7f9bba8ca0b7ec63ccaac8cb4a1371a258e8c29a10ae9c018d82a4"
        ),
        "realKnownCause/nyc_taxi.csv": "d8fa6f7f0734bf5c8be12c52a94e20a82664c397d9dec4449156bd453d32856d",
        "realKnownCause/rogue_agent_key_hold.csv": "47b110baa8e3636574c1033dda1cce780873647fab58223d159d4fee6f180e86",
        "realKnownCause/rogue_agent_key_updown.csv": (
            "9797cfef477c13306f7a33874ab4d6cf700f8f2c7e5825a2a5bc02004370909a"
        ),
    }
    MIRROR = "nab_realKnownCause"

    def _info(self) -> Any:
        import tensorflow_datasets as tfds

        text = tfds.features.Text()
        features = tfds.features.FeaturesDict(
            {
                "name": text,
                "timestamps": tfds.features.Sequence(text),
                "values": tfds.features.Tensor(shape=(None,), dtype=np.float32),
                "windows": tfds.features.Tensor(shape=(None, 2), dtype=np.int64),
            }
        )
        return self.dataset_info_from_configs(
            features=features, homepage="https://github.com/numenta/NAB", disable_shuffling=True
        )

    def _split_generators(self, dl_manager: Any) -> Any:
        return {"test": self._generate_examples(self.paths(dl_manager))}

    def _generate_examples(self, paths: dict[str, Path]) -> Iterator[tuple[int, dict[str, Any]]]:
        windows = json.loads(paths.pop(_WINDOWS).read_text(encoding="utf-8"))
        for i, (name, path) in enumerate(paths.items()):
            with path.open(encoding="utf-8", newline="") as file:
                rows = list(csv.DictReader(file))
            timestamps = [row["timestamp"] for row in rows]
            # First and last row of a window; the labels write fractions of a second that the rows lack.
            bounds = [[timestamps.index(moment.partition(".")[0]) for moment in window] for window in windows[name]]
            yield (
                i,
                {
                    "name": Path(name).stem,
                    "timestamps": timestamps,
                    "values": np.array([row["value"] for row in rows], np.float32),
                    "windows": np.array(bounds, np.int64).reshape(-1, 2),
                },
            )
