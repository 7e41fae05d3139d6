"""A task's session that is saved at any moment and resumed in a fresh one goes on as if nothing had been."""

import keras
import numpy as np
import pytest
from task_models import FEATURES, LABELS, RATE, labels_file, save, tagger_of_rows

pytest.importorskip("aiohttp", reason="the extra `server` is not installed")

import streaming
from streaming.errors import StateMismatchError, StreamingError
from streaming.runtime.batcher import StreamBatcher
from streaming.runtime.tasks import task_for
from streaming.server import state
from streaming.server.batched import BatchedModel, BatchedStream

AUDIO = {"sample_rate": RATE, "features": FEATURES}
TASKS = {
    "spotter": {"kind": "keyword_spotter", **AUDIO, "threshold": 0.4, "smoothing": 0.05, "refractory": 0.1},
    "utterances": {"kind": "keyword_spotter", **AUDIO, "threshold": 0.4, "endpoint": {"silence": 0.1, "level": -30.0}},
    "greedy": {"kind": "transcriber", **AUDIO, "blank": 1},
    "rows": {"kind": "sequence_tagger", "labels": 3},
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("state")


@pytest.fixture(scope="module")
def model():
    return tagger_of_rows(6, 3)


def pieces(task):
    rng = np.random.default_rng(5)
    if task.takes == "rows":
        return [rng.standard_normal((n, 6)).astype("float32") for n in (1, 4, 2, 7, 3)]
    return [(0.4 * (n % 3) * rng.standard_normal(n)).astype("float32") for n in (700, 901, 1300, 44, 800, 1600)]


def plain(events):
    return [(type(event).__name__, *map(str, event)) for event in events]


@pytest.mark.parametrize("name", TASKS)
def test_a_session_goes_on_from_any_moment(name, model, folder):
    path = save(model, folder, TASKS[name], {"labels.txt": labels_file(LABELS)})
    with StreamBatcher(streaming.load(path)) as batcher:
        task = task_for(BatchedModel(batcher))
        given = pieces(task)
        expected = plain(task.run(given))
        assert expected
        session, found = task.session(), []
        for piece in given:
            found += session.feed(piece)
            captured = state.capture(session)
            session = task.session()
            state.restore(session, *captured)
        assert plain([*found, *session.finish()]) == expected


def test_what_is_no_data_is_refused(model, folder):
    class Holder:
        def __init__(self):
            self.file = object()

    with pytest.raises(StreamingError, match="holds object cannot be saved"):
        state.capture(Holder())
    path = save(model, folder, TASKS["rows"], {"labels.txt": labels_file(LABELS)})
    with StreamBatcher(streaming.load(path)) as batcher:
        session = task_for(BatchedModel(batcher)).session()
        for data, blobs in (
            ({"_stream": {"stream": 3}}, []),
            ({"_fed": {"what": 1}}, []),
            ({"_x": {"object": {}}}, []),
        ):
            with pytest.raises(StateMismatchError, match="does not fit"):
                state.restore(session, data, blobs)


def test_streams_of_a_batched_model_are_those_of_the_model(model, folder):
    path = save(model, folder, TASKS["rows"], {"labels.txt": labels_file(LABELS)})
    loaded = streaming.load(path)
    x = pieces(task_for(loaded))[3]
    with StreamBatcher(loaded) as batcher:
        shared = BatchedModel(batcher).create_stream()
        assert isinstance(shared, BatchedStream)
        rows = np.concatenate([shared.feed(x[:2]), shared.step(x[2:3]), shared.feed(x[3:]), shared.finish()])
        assert batcher.metrics().invokes > 0
    np.testing.assert_allclose(rows, np.asarray(keras.ops.convert_to_numpy(model(x[None])))[0], atol=1e-5)
