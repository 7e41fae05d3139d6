"""A forecaster of one row."""

from __future__ import annotations

import keras

from rnnzoo.data.encoders.series import SeriesEncoder
from rnnzoo.tasks.anomaly_detector.config import AnomalyDetectorConfig
from rnnzoo.tasks.forecaster.model import build_forecaster


def build_anomaly_detector(config: AnomalyDetectorConfig, encoder: SeriesEncoder) -> keras.Model:
    """The forecaster of the next row, as `build_forecaster` describes it."""
    return build_forecaster(config, encoder)
