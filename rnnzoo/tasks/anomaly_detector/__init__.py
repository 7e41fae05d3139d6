"""Anomaly detection in series: a forecast of the next row, and how far each row is from it."""
