"""Every task behind the server: the same events as alone, and from any moment on in another session, by its token."""

from __future__ import annotations

import asyncio
import functools
import json
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from task_models import (
    COLUMNS,
    FEATURES,
    LABELS,
    RATE,
    SCALER,
    codecs,
    forecaster_model,
    labels_file,
    language_model,
    lockstep_model,
    picture_model,
    save,
    tagger_of_rows,
    translation_model,
)

pytest.importorskip("aiohttp", reason="the extra `server` is not installed")

from serving import SENTENCES, connected, convert_tagger, running

import streaming
from rnnzoo.tasks.classifier.config import ClassifierConfig
from rnnzoo.tasks.classifier.model import build_classifier
from streaming.errors import InputError, StateMismatchError
from streaming.runtime.codec import TextCodec
from streaming.runtime.interpreter import Recipe
from streaming.runtime.tasks import task_for
from streaming.runtime.text import WordEncoder
from streaming.server.event_session import EventSession

AUDIO = {"sample_rate": RATE, "features": FEATURES}
ROWS = {"columns": list(COLUMNS), "scaler": SCALER}
SOURCE, TARGET = codecs()
WRITER = TextCodec.fit(["To be, or not to be"], "characters")
CHAIN = {"transitions": [[0.0, -1.0, 0.5], [0.3, 0.0, -2.0], [None, 1.0, 0.0]], "start": [0, 0, 0], "end": [0, 0, 0]}
FILES = {
    "labels.txt": labels_file(LABELS),
    "source.json": SOURCE.to_bytes(),
    "target.json": TARGET.to_bytes(),
}


@functools.cache
def model(name: str) -> Any:
    """The Keras model of that name; several tasks share one, so that it is converted once."""
    makers = {
        "mels": lambda: tagger_of_rows(6, 3),
        "sensors": lambda: tagger_of_rows(2, 3, running=True),
        "series": lambda: forecaster_model(6),
        "writer": lambda: language_model(len(WRITER)),
        "reader": lambda: translation_model(len(SOURCE), len(TARGET)),
        "lockstep": lambda: lockstep_model(len(SOURCE), len(TARGET)),
        "pictures": lambda: picture_model(len(TARGET)),
    }
    return makers[name]()


# name -> (model, task, further files, options of the conversion)
TASKS: dict[str, tuple[str, dict[str, Any], dict[str, bytes], dict[str, Any]]] = {
    "keyword_spotter": (
        "mels",
        {"kind": "keyword_spotter", **AUDIO, "threshold": 0.4, "smoothing": 0.05, "refractory": 0.1},
        {},
        {},
    ),
    "utterances": (
        "mels",
        {"kind": "keyword_spotter", **AUDIO, "threshold": 0.4, "endpoint": {"silence": 0.1, "level": -30.0}},
        {},
        {},
    ),
    "transcriber": ("mels", {"kind": "transcriber", **AUDIO, "blank": 1}, {}, {}),
    "transcriber_beam": ("mels", {"kind": "transcriber", **AUDIO, "blank": 1, "width": 4}, {}, {}),
    "sequence_tagger": ("mels", {"kind": "sequence_tagger", "labels": 3}, {}, {}),
    "chain": (
        "mels",
        {"kind": "sequence_tagger", "viterbi_delay": 4},
        {"transitions.json": json.dumps(CHAIN).encode()},
        {},
    ),
    "sensors": ("sensors", {"kind": "classifier", "input": "rows", **ROWS}, {}, {}),
    "forecaster": ("series", {"kind": "forecaster", **ROWS, "quantiles": [0.1, 0.5, 0.9]}, {}, {}),
    "timed": ("series", {"kind": "forecaster", **ROWS, "horizon": 3, "time": "t", "resample": 1.5}, {}, {}),
    "anomalies": ("series", {"kind": "anomaly_detector", **ROWS, "horizon": 3, "warm_up": 4}, {}, {}),
    "generator": (
        "writer",
        {"kind": "generator", "max_length": 9, "temperature": 0},
        {"target.json": WRITER.to_bytes()},
        {},
    ),
    "translator": (
        "reader",
        {"kind": "translator", "width": 3, "max_length": 8},
        {},
        {"encode": ["source"], "max_length": 9, "batch_sizes": (1, 8)},
    ),
    "simultaneous": ("lockstep", {"kind": "translator", "wait_k": 2, "max_length": 9}, {}, {}),
    "captioner": (
        "pictures",
        {"kind": "captioner", "scale": 1 / 255, "max_length": 6},
        {},
        {"encode": ["image"], "max_length": 1},
    ),
    "tagger": ("", {}, {}, {}),
    "classifier": ("", {}, {}, {}),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("tasks")


def convert_classifier(path: Path) -> Path:
    """Words to the label of a sentence."""
    encoder = WordEncoder.fit(SENTENCES, ["A", "B"], inputs=("words",), min_count=1)
    model = build_classifier(ClassifierConfig(word_size=4, units=6), encoder)
    metadata = {"task": {"kind": "classifier", "labels": 2}, "files": encoder.to_files()}
    streaming.convert(model, path, metadata=metadata, verify=False)
    return path


def path_of(name: str, folder: Path) -> Path:
    """The file of a task."""
    if name in ("tagger", "classifier"):
        path = folder / f"{name}.tflite"
        convert = convert_tagger if name == "tagger" else convert_classifier
        return path if path.exists() else convert(path)
    kind, task, files, options = TASKS[name]
    return save(model(kind), folder, task, {**FILES, **files}, verify=False, **options)


def pieces_of(name: str, takes: str) -> list[Any]:
    """What a session is fed, piece by piece."""
    generator = np.random.default_rng(5)
    if takes == "rows":
        width = 6 if TASKS[name][0] == "mels" else 2
        return [generator.standard_normal((n, width)) for n in (1, 4, 2, 7, 3)]
    if takes == "audio":
        sizes = (700, 901, 1300, 44, 800, 1600)
        return [(0.4 * (i % 3 > 0) * generator.standard_normal(n)).astype("float32") for i, n in enumerate(sizes)]
    if takes == "array":
        return [generator.integers(0, 256, (4, 6, 3)) for _ in range(2)]
    if name == "simultaneous":
        return "the dog sees a whale now".split()
    return {
        "words": [["The"], ["dog", "barks"], ["at"], ["a", "whale", "."]],
        "text": ["the dog sees", "a whale"] if name == "translator" else ["To b", "xyz"],
    }[takes]


def plain(value: Any) -> Any:
    """An event, or a part of it, as JSON has it."""
    if hasattr(value, "_asdict"):
        return {"event": type(value).__name__, **{k: plain(v) for k, v in value._asdict().items()}}
    if isinstance(value, dict):
        return {str(k): plain(v) for k, v in value.items()}
    if isinstance(value, np.ndarray):
        return value.tolist()
    return list(value) if isinstance(value, tuple) else value


def assert_close(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Equal events, numbers to float32's precision: the server may run another batch signature."""
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in other.items():
            if isinstance(value, dict):
                assert one[name] == {key: pytest.approx(np.array(item), rel=1e-4) for key, item in value.items()}
            elif isinstance(value, list) and value and not isinstance(value[0], str):
                np.testing.assert_allclose(one[name], value, rtol=1e-4, atol=1e-5)
            else:
                assert one[name] == (pytest.approx(value, rel=1e-4, abs=1e-5) if isinstance(value, float) else value)


@pytest.mark.parametrize("name", list(TASKS))
def test_a_task_over_the_wire_and_from_any_moment_on(name: str, folder: Path) -> None:
    path = path_of(name, folder)
    task = streaming.pipeline(path)
    given = pieces_of(name, task.takes)
    expected = [plain(event) for event in task.run(given)]
    assert expected
    field = {"words": "words", "text": "text"}.get(task.takes, "x")

    async def run() -> tuple[list[dict[str, Any]], list[dict[str, Any]], Any]:
        async with running(path) as server:
            url = server.make_url("/stream")
            whole: list[dict[str, Any]] = []
            pieced: list[dict[str, Any]] = []
            async with connected(url) as client:
                seen = 0
                for piece in given:
                    times = {"time": [1.5 * (seen + i) for i in range(len(piece))]} if name == "timed" else {}
                    answer = await client.say(type="feed", **{field: plain(piece)}, **times)
                    whole += answer["events"]
                    seen += len(piece)
                whole += (await client.say(type="finish"))["events"]
            token = None
            for piece in [*given, None]:
                async with connected(url) as client:
                    if token:
                        resumed = await client.say(type="resume", token=token)
                        assert resumed["type"] == "resumed", resumed
                    message = {"type": "finish"} if piece is None else {"type": "feed", field: plain(piece)}
                    answer = await client.say(**message)
                    pieced += answer["events"]
                    token = (await client.say(type="save"))["token"]
            return whole, pieced, answer

    whole, pieced, answer = asyncio.run(run())
    assert_close(whole, expected)
    assert_close(pieced, expected)
    if "unknown" in answer:
        assert answer["unknown"] > 0
    assert answer["position"] == 0


@pytest.mark.parametrize("name", ["translator", "generator"])
def test_clients_of_a_task_share_the_interpreter_of_the_batcher(
    name: str, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, opened = path_of(name, folder), []
    real = Recipe.open
    monkeypatch.setattr(Recipe, "open", lambda recipe: (opened.append(recipe), real(recipe))[1])

    async def run() -> list[dict[str, Any]]:
        async with running(path) as server:

            async def one() -> dict[str, Any]:
                async with connected(server.make_url("/stream")) as client:
                    return await client.say(type="feed", text="the dog sees")

            return await asyncio.gather(*(one() for _ in range(6)))

    first, *others = asyncio.run(run())
    assert first["events"]
    for other in others:
        assert_close(other["events"], first["events"])
    assert len(opened) == 2  # to load the file, and for the batcher's thread


@pytest.mark.parametrize("name", list(TASKS))
def test_a_session_saved_between_any_two_calls_goes_on_bit_for_bit(name: str, folder: Path) -> None:
    task = streaming.pipeline(path_of(name, folder))
    given = pieces_of(name, task.takes)
    session, found = task.session(), []
    for piece in given:
        found += [plain(event) for event in session.feed(piece)]
        session = task.restore(session.save())
    found += [plain(event) for event in session.finish()]
    assert found == [plain(event) for event in task.run(given)]


def test_damaged_and_foreign_sessions_are_refused_and_change_nothing(folder: Path) -> None:
    kind, task, files, _ = TASKS["keyword_spotter"]
    spotter = streaming.pipeline(path_of("keyword_spotter", folder))
    other = streaming.pipeline(save(model(kind), folder, {**task, "threshold": 0.5}, {**FILES, **files}))
    session = spotter.session()
    given = pieces_of("keyword_spotter", "audio")
    session.feed(given[1])
    blob = session.save()
    assert spotter.restore(blob).save() == blob
    for bad, message in (
        (blob[:-1], "truncated or damaged"),
        (blob[:50] + bytes([blob[50] ^ 1]) + blob[51:], "truncated or damaged"),
        (b"", "0 bytes are no saved session"),
        ("text", "a saved session is str, expected bytes"),
        (spotter.model.create_stream().save(), "are no saved session"),
        (blob[:4] + b"\x09\x00" + blob[6:], "format 9, this package reads 1"),
        (other.session().save(), "was saved as a KeywordSpotterSession of model .*0.5.*this is .*0.4"),
        (streaming.pipeline(path_of("generator", folder)).session().save(), "was saved as a GeneratorSession"),
    ):
        with pytest.raises(StateMismatchError, match=message):
            session.restore(bad)
        assert session.save() == blob
    with pytest.raises(StateMismatchError, match="no saved stream"):
        spotter.model.restore(blob)


def test_forged_sessions_are_refused_and_change_nothing(folder: Path) -> None:
    from streaming.runtime import saved
    from streaming.runtime.carried import MAGIC, VERSION

    task = streaming.pipeline(path_of("anomalies", folder))
    session = task.session()
    session.feed(pieces_of("anomalies", "rows")[1])
    blob = session.save()
    text, data = saved.unseal(blob, MAGIC, VERSION, "session")

    def with_state(change: Any) -> bytes:
        header = json.loads(text)
        change(header)
        return saved.seal(MAGIC, VERSION, json.dumps(header).encode(), [data])

    def likelihood(header: dict[str, Any]) -> dict[str, Any]:
        return header["state"]["_likelihood"]["carrier"]

    changes = [
        lambda h: h["state"].pop("_row"),
        lambda h: h["state"].update(_task=1),
        lambda h: h["state"].update(_row="many"),
        lambda h: h["state"]["_likelihood"].update(carrier=3),
        lambda h: likelihood(h).update(_errors=[1]),
        lambda h: likelihood(h).update(_errors={"array": 9, "dtype": "<f8", "shape": [1]}),
        lambda h: likelihood(h)["_errors"].update(shape=[7, 7]),
        lambda h: likelihood(h)["_errors"].update(dtype="O"),
        lambda h: likelihood(h).update(_errors={"what": []}),
        lambda h: h["state"].update(_stream=3),
        lambda h: h["state"]["_stream"].update(stream=1),
        lambda h: h.update(sizes=[1, 2]),
        lambda h: h.update(sizes="ab"),
        lambda h: h.pop("state"),
        lambda h: h.update(session=None),
    ]
    for change in changes:
        with pytest.raises(StateMismatchError):
            session.restore(with_state(change))
        assert session.save() == blob
    with pytest.raises(StateMismatchError, match="does not fit"):
        session.restore(saved.seal(MAGIC, VERSION, b"[" * 100_000, []))


def test_streams_of_a_batched_model_are_those_of_the_model(folder: Path) -> None:
    from streaming.server.batched import BatchedModel, BatchedStream

    loaded = streaming.load(path_of("sequence_tagger", folder))
    x = pieces_of("sequence_tagger", task_for(loaded).takes)[3].astype("float32")
    with streaming.StreamBatcher(loaded) as batcher:
        shared = BatchedModel(batcher).create_stream()
        assert isinstance(shared, BatchedStream)
        rows = np.concatenate([shared.feed(x[:2]), shared.step(x[2:3]), shared.feed(x[3:]), shared.finish()])
        assert batcher.metrics().invokes > 0
    np.testing.assert_allclose(rows, np.asarray(model("mels")(x[None]))[0], atol=1e-5)


@pytest.mark.parametrize(("policy", "taken"), [("hold", True), ("refuse", False)])
def test_null_is_a_missing_value_where_the_task_fills_them(policy, taken):
    task = types.SimpleNamespace(takes="rows", reader=types.SimpleNamespace(policy=policy), session=lambda: None)
    session = EventSession(task, None)
    if taken:
        np.testing.assert_array_equal(next(session.read({"x": [[1, None], [2, 3]]})), [[1, np.nan], [2, 3]])
    else:
        with pytest.raises(InputError, match="something else than finite numbers"):
            session.read({"x": [[1, None], [2, 3]]})
    with pytest.raises(InputError, match="finite numbers"):
        session.read({"x": [[1, float("inf")]]})


def test_binary_rows_are_those_of_json(folder: Path) -> None:
    path = path_of("sensors", folder)
    x = np.random.default_rng(2).standard_normal((20, len(COLUMNS))).astype("<f4")

    async def run() -> tuple[Any, Any, Any]:
        async with running(path) as server:
            url = server.make_url("/stream")
            async with connected(url) as one, connected(url) as other:
                text = (await one.say(type="feed", x=x.tolist()))["events"]
                await other.socket.send_bytes(x.tobytes())
                (binary,) = await other.answers()
                await other.socket.send_bytes(b"12345")
                (wrong,) = await other.answers()
                return text, binary["events"], wrong["message"]

    text, binary, wrong = asyncio.run(run())
    assert len(text) == 20
    assert text == binary
    assert wrong == f"got 5 bytes, expected rows of float32, {4 * len(COLUMNS)} bytes each"


def test_a_threshold_is_set_for_one_stream_and_travels_with_its_token(folder: Path) -> None:
    path = path_of("keyword_spotter", folder)
    task = streaming.pipeline(path)
    given = pieces_of("keyword_spotter", "audio")
    expected = [plain(event) for event in task.adjusted(threshold=0.6).run(given)]
    assert expected != [plain(event) for event in task.run(given)]

    async def run() -> tuple[list[Any], list[Any], list[Any], list[float]]:
        async with running(path) as server:
            url = server.make_url("/stream?scores=1")
            async with connected(url) as client, connected(url) as other:
                assert client.ready["model"]["threshold"] == 0.4
                assert (await client.say(type="set", threshold=0.6))["threshold"] == 0.6
                first, scores, untouched = [], [], []
                for piece in given:
                    answer = await client.say(type="feed", x=plain(piece))
                    first += answer["events"]
                    scores.append(answer.get("scores", [0, 0, 0]))
                    untouched += (await other.say(type="feed", x=plain(piece)))["events"]
                # A new sequence goes on with it.
                answer = await client.say(type="finish")
                first += answer["events"]
                scores.append(answer.get("scores", [0, 0, 0]))
                untouched += (await other.say(type="finish"))["events"]
                await client.say(type="reset")
                again = (await client.say(type="feed", x=plain(given[0])))["events"]
                token = (await client.say(type="save"))["token"]
            async with connected(url) as client:
                assert (await client.say(type="resume", token=token))["type"] == "resumed"
                for piece in given[1:]:
                    again += (await client.say(type="feed", x=plain(piece)))["events"]
                again += (await client.say(type="finish"))["events"]
            return first, again, untouched, np.max(scores, axis=0)

    first, again, untouched, scores = asyncio.run(run())
    assert_close(first, expected)
    assert_close(again, expected)
    assert_close(untouched, [plain(event) for event in task.run(given)])
    np.testing.assert_allclose(scores, task.probabilities(np.concatenate(given))[0].max(axis=0), atol=1e-4)


def test_an_alarm_has_the_threshold_of_its_stream(folder: Path) -> None:
    task = streaming.pipeline(path_of("anomalies", folder))
    session, rows = task.session(), np.concatenate(pieces_of("anomalies", "rows"))
    first = session.feed(rows)
    middle = float(np.median([event.score for event in first if event.score > 0]))
    session.finish()
    session.set_threshold(middle)
    assert [e.alarm for e in session.feed(rows)] == [e.score >= middle for e in first]
    assert task.threshold == 0.9999


@pytest.mark.parametrize(
    ("name", "message", "error"),
    [
        ("keyword_spotter", {"type": "set", "threshold": 1.5}, "threshold is 1.5, expected a probability"),
        ("keyword_spotter", {"type": "set", "threshold": "high"}, "'threshold' is 'high', expected a probability"),
        ("keyword_spotter", {"type": "set"}, "a 'set' message has one field, threshold"),
        ("forecaster", {"type": "set", "threshold": 0.5}, "decides without a threshold"),
        ("forecaster", {"type": "feed", "x": [[1, 2]], "time": [0]}, "this model is fed 'x', got 'time'"),
        ("timed", {"type": "feed", "x": [[1, 2]], "time": [0, 1]}, "'time' is no list of 1 times"),
        ("timed", {"type": "feed", "time": [0]}, "a 'feed' message has one field"),
    ],
)
def test_settings_and_times_that_do_not_fit_are_named(name: str, message: Any, error: str, folder: Path) -> None:
    async def run() -> dict[str, Any]:
        async with running(path_of(name, folder)) as server, connected(server.make_url("/stream")) as client:
            return await client.say(**message)

    assert error in asyncio.run(run())["message"]
