"""What uses streams works on windows: tasks, the batcher, the server, Beam, `streaming run`."""

from __future__ import annotations

import asyncio
import json

import keras
import numpy as np
import pytest
from keras import layers
from task_models import COLUMNS, FEATURES, LABELS, RATE, SCALER, labels_file, save
from window_models import draw, expected, keyword_cnn

import streaming
from streaming.cli import main
from streaming.runtime.audio.features import LogMel, LogMelStream
from streaming.runtime.decoding import softmax

W, HOP = 8, 3


def classifier():
    keras.utils.set_random_seed(0)
    x = keras.Input((W, 2))
    return keras.Model(x, layers.Dense(3)(layers.Bidirectional(layers.GRU(4))(x)))


def rows(count, seed=0):
    return np.random.default_rng(seed).standard_normal((count, 2)) * [2.0, 4.0] + [1.0, -2.0]


def scaled(values):
    return ((values - [1.0, -2.0]) / [2.0, 4.0]).astype("float32")


@pytest.fixture(scope="module")
def saved(tmp_path_factory):
    model = classifier()
    task = {"kind": "classifier", "input": "rows", "columns": list(COLUMNS), "scaler": SCALER}
    folder = tmp_path_factory.mktemp("classifier")
    return model, save(model, folder, task, {"labels.txt": labels_file()}, hop=HOP)


def test_a_classifier_says_a_label_every_hop(saved):
    model, path = saved
    data = rows(30)
    found = [event.scores for event in streaming.pipeline(path).run(np.split(data, [1, 9, 20]))]
    wanted = [softmax(np.asarray(model(scaled(data)[None, k : k + W])))[0] for k in range(0, 30 - W + 1, HOP)]
    np.testing.assert_allclose(found, wanted, rtol=1e-4)


def test_command_line(saved, tmp_path, capsys):
    model, path = saved
    data = rows(20, 1)
    (tmp_path / "rows.csv").write_text("heat,load\n" + "\n".join(f"{a},{b}" for a, b in data))
    assert main(["run", str(path), str(tmp_path / "rows.csv")]) == 0
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    best = [LABELS[int(np.argmax(model(scaled(data)[None, k : k + W])))] for k in range(0, 20 - W + 1, HOP)]
    assert [line["label"] for line in lines] == best


def test_keywords_have_the_time_at_which_their_window_ends(tmp_path):
    keras.utils.set_random_seed(1)
    x = keras.Input((W, 6))
    y = layers.Dense(3)(layers.Flatten()(layers.Conv1D(4, 3, activation="relu")(x)))
    model = keras.Model(x, layers.Rescaling(3.0)(y))
    task = {"kind": "keyword_spotter", "sample_rate": RATE, "features": FEATURES, "threshold": 0.5, "refractory": 0.0}
    spotter = streaming.pipeline(save(model, tmp_path, task, {"labels.txt": labels_file()}, hop=HOP))
    signal = np.random.default_rng(2).normal(size=RATE).astype("float32") * 0.1
    features = np.asarray(LogMelStream(LogMel(**FEATURES)).feed(signal), "float32")
    above, wanted = set(), []
    for k in range(0, len(features) - W + 1, HOP):
        scores = softmax(np.asarray(model(features[None, k : k + W])))[0]
        now = {label for label in range(3) if scores[label] >= 0.5}
        last = (k + W - 1) * FEATURES["frame_step"] + FEATURES["frame_length"]
        wanted += [(LABELS[label], last / RATE) for label in now - above]
        above = now
    assert len(wanted) > 1
    found = [(event.label, event.time) for event in spotter.spot(signal)]
    assert [label for label, _ in found] == [label for label, _ in wanted]
    np.testing.assert_allclose([time for _, time in found], [time for _, time in wanted])


def test_batched_and_awaited(tmp_path):
    model = keyword_cnn()
    streaming.convert(model, tmp_path / "m.tflite", hop=5, batch_sizes=(1, 4))
    loaded = streaming.load(tmp_path / "m.tflite")
    data = [draw(model, 40 + seed, seed) for seed in range(4)]

    async def one(x):
        stream = loaded.create_stream()
        parts = [await stream.afeed(part) for part in np.split(x, [3, 17, 30])]
        return np.concatenate([*parts, await stream.afinish()])

    async def together():
        return await asyncio.gather(*map(one, data))

    for x, got in zip(data, asyncio.run(together()), strict=True):
        np.testing.assert_allclose(got, expected(model, x, 5), atol=3e-6)


def test_over_the_wire_with_a_token(tmp_path):
    pytest.importorskip("aiohttp", reason="the extra `server` is not installed")
    from serving import connected, running

    model = keyword_cnn()
    streaming.convert(model, tmp_path / "m.tflite", hop=5)
    x = draw(model, 41)

    async def talk():
        async with running(tmp_path / "m.tflite") as server:
            async with connected(server.make_url("/stream")) as client:
                parts = [await client.say(type="feed", x=x[:23].tolist())]
                token = (await client.say(type="save"))["token"]
            async with connected(server.make_url("/stream")) as client:
                await client.say(type="resume", token=token)
                parts.append(await client.say(type="feed", x=x[23:].tolist()))
                parts.append(await client.say(type="finish"))
        return parts

    parts = asyncio.run(talk())
    assert parts[-1]["position"] == 41
    got = np.concatenate([np.reshape(part["y"], (-1, 4)) for part in parts])
    np.testing.assert_allclose(got, expected(model, x, 5), atol=3e-6)
