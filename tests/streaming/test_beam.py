"""Events in any order through Beam's local runners give what one stream gives them in order."""

import json

import numpy as np
import pytest

beam = pytest.importorskip("apache_beam", reason="the extra `beam` is not installed")

from apache_beam.options.pipeline_options import PipelineOptions, StandardOptions  # noqa: E402
from apache_beam.testing import test_stream  # noqa: E402
from apache_beam.transforms.window import FixedWindows, TimestampedValue  # noqa: E402
from serving import FEATURES, convert_steps  # noqa: E402

import streaming  # noqa: E402
from streaming.beam import StreamInference  # noqa: E402
from streaming.errors import InputError  # noqa: E402

STEPS = 12
INPUTS = {key: np.random.default_rng(key).standard_normal((STEPS, FEATURES)).astype("float32") for key in (0, 1, 2)}


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return convert_steps(tmp_path_factory.mktemp("beam") / "steps.tflite")


class Log:
    """Elements written to a file by a pipeline; runners copy whatever else they are given."""

    def __init__(self, path):
        self.path = path

    def add(self, element):
        key, found = element
        found = {
            name: value.tolist() if isinstance(value, np.ndarray) else value for name, value in found._asdict().items()
        }
        with open(self.path, "a") as file:
            file.write(json.dumps([key, found]) + "\n")

    def read(self):
        rows = {}
        for line in self.path.read_text().splitlines() if self.path.exists() else ():
            key, found = json.loads(line)
            rows.setdefault(key, []).append(found)
        return rows


def event(key, time):
    return TimestampedValue((key, INPUTS[key][time : time + 1]), time)


def run(source, inference, tmp_path, runner="BundleBasedDirectRunner", window=None):
    """Results and rejects by key."""
    options = PipelineOptions([])
    options.view_as(StandardOptions).streaming = isinstance(source, test_stream.TestStream)
    results, rejects = Log(tmp_path / "results"), Log(tmp_path / "rejects")
    with beam.Pipeline(runner, options=options) as pipeline:
        events = pipeline | source
        if window is not None:
            events |= beam.WindowInto(window)
        found, refused = events | inference.with_rejects()
        found | "results" >> beam.Map(results.add)
        refused | "rejects" >> beam.Map(rejects.add)
    return results.read(), rejects.read()


def alone(path, x):
    stream = streaming.load(path).create_stream()
    return [*(stream.feed(row[None]) for row in x), stream.finish()]


def assert_equal(results, expected):
    found = np.concatenate([np.reshape(one["y"], (-1, 3)) for one in results]).astype("float32")
    np.testing.assert_array_equal(found, np.concatenate(expected))


@pytest.mark.parametrize("seed", [0, 1])
def test_shuffled_events_give_what_one_stream_gives(seed, path, tmp_path):
    rng = np.random.default_rng(seed)
    stream = test_stream.TestStream().advance_watermark_to(0)
    for begin in range(0, STEPS, 4):
        part = [event(key, time) for key in INPUTS for time in range(begin, begin + 4)]
        rng.shuffle(part)
        stream = stream.add_elements(part).advance_watermark_to(begin + 4)
    results, rejects = run(stream.advance_watermark_to_infinity(), StreamInference(path), tmp_path)
    assert not rejects
    for key, x in INPUTS.items():
        assert_equal(results[key], alone(path, x))
        # The last is what finish() gives.
        assert [one["time"] for one in results[key]] == [*range(STEPS), STEPS - 1]


def test_a_batch_in_any_order_gives_the_same(path, tmp_path):
    order = [(key, time) for time in reversed(range(STEPS)) for key in INPUTS]
    source = beam.Create([(key, time, INPUTS[key][time].tolist()) for key, time in order]) | beam.Map(
        lambda e: TimestampedValue((e[0], np.array([e[2]], "float32")), e[1])
    )
    results, rejects = run(source, StreamInference(path), tmp_path, runner="FnApiRunner")
    assert not rejects
    for key, x in INPUTS.items():
        assert_equal(results[key], alone(path, x))


def test_late_events_are_waited_for_or_rejected(path, tmp_path):
    def source():
        stream = test_stream.TestStream().advance_watermark_to(0)
        stream = stream.add_elements([event(0, 0), event(0, 1), event(0, 3)]).advance_watermark_to(4)
        # Two seconds behind the watermark.
        stream = stream.add_elements([event(0, 2)]).advance_watermark_to(6)
        return stream.add_elements([event(0, 4)]).advance_watermark_to_infinity()

    for folder in ("waited", "rejected"):
        (tmp_path / folder).mkdir()
    results, rejects = run(source(), StreamInference(path, allowed_lateness=3), tmp_path / "waited")
    assert not rejects
    assert_equal(results[0], alone(path, INPUTS[0][:5]))

    results, rejects = run(source(), StreamInference(path), tmp_path / "rejected")
    assert_equal(results[0], alone(path, INPUTS[0][[0, 1, 3, 4]]))
    assert [(one["time"], one["reason"]) for one in rejects[0]] == [(2.0, "came after an element of 3.0 was fed")]


def test_a_full_buffer_feeds_its_oldest(path, tmp_path):
    stream = test_stream.TestStream().advance_watermark_to(0)
    for time in (3, 1, 2, 0):
        stream = stream.add_elements([event(0, time)])
    results, rejects = run(stream.advance_watermark_to_infinity(), StreamInference(path, max_buffer=2), tmp_path)
    assert_equal(results[0], alone(path, INPUTS[0][[1, 2, 3]]))
    assert [one["time"] for one in rejects[0]] == [0.0]


def test_wrong_elements_are_handed_out_with_a_reason(path, tmp_path):
    wrong = [np.zeros((1, 2), "float32"), np.full((1, FEATURES), np.nan, "float32")]
    stream = test_stream.TestStream().advance_watermark_to(0).add_elements([event(0, 0)])
    stream = stream.add_elements([TimestampedValue((0, x), 1) for x in wrong]).add_elements([event(0, 2)])
    results, rejects = run(stream.advance_watermark_to_infinity(), StreamInference(path), tmp_path)
    assert_equal(results[0], alone(path, INPUTS[0][[0, 2]]))
    assert ["has shape (1, 2)" in rejects[0][0]["reason"], "holds nan" in rejects[0][1]["reason"]] == [True, True]


def test_each_window_is_a_sequence_of_its_own(path, tmp_path):
    stream = test_stream.TestStream().advance_watermark_to(0)
    stream = stream.add_elements([event(0, time) for time in (5, 2, 0, 3, 1, 4)]).advance_watermark_to_infinity()
    results, _ = run(stream, StreamInference(path, every=2), tmp_path, window=FixedWindows(3))
    ordered = sorted(results[0], key=lambda one: one["time"])
    assert_equal(ordered[:4], alone(path, INPUTS[0][:3]))
    assert_equal(ordered[4:], alone(path, INPUTS[0][3:6]))


@pytest.mark.parametrize("options", [{"allowed_lateness": -1}, {"max_buffer": 0}, {"every": float("inf")}])
def test_options_out_of_range_are_refused(options):
    with pytest.raises(InputError, match=next(iter(options))):
        StreamInference("model.tflite", **options)
