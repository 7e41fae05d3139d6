"""The Beam pipeline on the local runner with events out of order, doubled and late: what one stream gives in order."""

from __future__ import annotations

import logging
import random
import sys
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.soak.verdict import Verdict

STEPS, KEYS, LATENESS, INPUTS = 24, 3, 2, 4
_found: list[tuple[int, Any]] = []
_rejected: list[tuple[int, Any]] = []


def main(seconds: float) -> None:
    """Run pipelines until the time is over."""
    import keras

    import streaming

    logging.getLogger("apache_beam").setLevel(logging.ERROR)
    logging.getLogger().setLevel(logging.ERROR)
    keras.utils.set_random_seed(1)
    x = keras.Input((None, INPUTS))
    model = keras.Model(x, keras.layers.LSTM(6, return_sequences=True)(x))
    verdict, until = Verdict(), time.monotonic() + seconds
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.tflite"
        streaming.convert(model, path)
        while time.monotonic() < until:
            one(path, verdict)
    verdict.end()


def one(path: Path, verdict: Verdict) -> None:
    """One pipeline."""
    import streaming

    inputs = np.random.default_rng(random.randrange(1 << 30)).standard_normal((KEYS, STEPS, INPUTS)).astype("float32")
    # When an event comes, in seconds of the watermark: in time, waited for, or too late, which is rejected.
    delays = [[random.choice([0, 0, 0, 0, 1, 1, STEPS]) for _ in range(STEPS)] for _ in range(KEYS)]
    for key in range(KEYS):
        delays[key][-1] = 0
    doubled = [[random.random() < 0.15 for _ in range(STEPS)] for _ in range(KEYS)]
    run(path, inputs, delays, doubled)
    stream = streaming.load(path).create_stream()
    for key in range(KEYS):
        stream.reset()
        kept = [time_ for time_ in range(STEPS) if delays[key][time_] < STEPS]
        fed = [time_ for time_ in kept for _ in range(1 + doubled[key][time_])]
        expected = stream.feed(inputs[key][fed])
        rows = [np.reshape(result.y, (-1, 6)) for owner, result in _found if owner == key]
        verdict.check(
            bool(np.array_equal(np.concatenate(rows), expected)), f"key {key}: other rows, delays {delays[key]}"
        )
        late = sum(1 + doubled[key][time_] for time_ in range(STEPS) if delays[key][time_] >= STEPS)
        rejects = sum(owner == key for owner, _ in _rejected)
        verdict.check(rejects == late, f"key {key}: {rejects} rejected, {late} were late")
        verdict.counts["late"] += late
        verdict.counts["doubled"] += sum(doubled[key])
    verdict.counts["pipelines"] += 1


def run(path: Path, inputs: np.ndarray, delays: list[list[int]], doubled: list[list[bool]]) -> None:
    """Give the events to the pipeline, out of order; results and rejects go to the lists of this module."""
    import apache_beam as beam
    from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions
    from apache_beam.testing.test_stream import TestStream
    from apache_beam.transforms.window import TimestampedValue

    from streaming.beam import StreamInference

    source = TestStream().advance_watermark_to(0)
    # The events of four seconds come together; at the end those that are too late.
    for begin in range(0, 2 * STEPS, 4):
        due = [
            TimestampedValue((key, inputs[key][time_ : time_ + 1]), time_)
            for key in range(KEYS)
            for time_ in range(STEPS)
            if begin <= time_ + delays[key][time_] < begin + 4
            for _ in range(1 + doubled[key][time_])
        ]
        random.shuffle(due)
        source = source.add_elements(due) if due else source
        source = source.advance_watermark_to(begin + 4)
    options = PipelineOptions([])
    options.view_as(StandardOptions).streaming = True
    _found.clear()
    _rejected.clear()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with beam.Pipeline("BundleBasedDirectRunner", options=options) as pipeline:
            events = pipeline | source.advance_watermark_to_infinity()
            results, rejects = events | StreamInference(path, allowed_lateness=LATENESS).with_rejects()
            results | "results" >> beam.Map(_keep_result)
            rejects | "rejects" >> beam.Map(_keep_reject)


def _keep_result(element: tuple[int, Any]) -> None:
    _found.append(element)


def _keep_reject(element: tuple[int, Any]) -> None:
    _rejected.append(element)


if __name__ == "__main__":
    from benchmarks.soak import pipeline

    pipeline.main(float(sys.argv[1]))
