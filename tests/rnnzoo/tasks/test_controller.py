"""Controllers: the stream drives the arms as the Keras model does; figures and the classical method by hand."""

import dataclasses

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.data.problems import arm
from rnnzoo.data.source import Source
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.tasks.controller.config import ControlConfig, ControllerConfig
from rnnzoo.tasks.controller.model import build_controller
from rnnzoo.tasks.controller.task import ControllerTask
from streaming.runtime.tasks import Forecaster

SIZES = {"seconds": 0.12, "settle": 0.02}


def examples(count, seed, heavy=0):
    rng = np.random.default_rng(seed)
    ranges = [arm.PAYLOADS] * count + [arm.HEAVY_PAYLOADS] * heavy
    episodes = [arm.draw_episode(rng, payloads) for payloads in ranges]
    rows, torques = arm.collect(episodes, 40, rng)
    return [(row.astype(np.float32), (torque, e)) for row, torque, e in zip(rows, torques, episodes, strict=True)]


def problem_of(**options):
    config = ControlConfig(dataset="arm", **SIZES | options)
    splits = {"train": examples(6, 1), "dev": examples(2, 2, 1), "test": examples(3, 3, 2)}
    return ControllerTask.from_source(Source("rows-control", splits), config)


@pytest.mark.parametrize("layers", [0, 1])
def test_the_stream_drives_the_arms_as_the_model_does(layers, tmp_path):
    problem = problem_of()
    keras.utils.set_random_seed(4)
    model = build_controller(ControllerConfig(cell="lstm", units=6, width=8, layers=layers, dropout=0), problem.encoder)
    path = tmp_path / "policy.tflite"
    metadata = {"task": problem.spec(problem.config, problem.encoder), "files": problem.encoder.to_files()}
    streaming.convert(model, path, metadata=metadata)
    offline = problem.evaluate(model, "test")
    assert problem.evaluate_stream(streaming.load(path), "test") == pytest.approx(offline, rel=1e-4)
    task = streaming.pipeline(path)
    assert isinstance(task, Forecaster)
    assert task.targets == arm.TORQUES
    # By hand: the torques of a whole recording, those of the Keras model in N m.
    rows = problem.examples("test")[0][0]
    mean, scale = np.array(problem.encoder.mean), np.array(problem.encoder.scale)
    outputs = model.predict_on_batch({"rows": ((rows - mean) / scale).astype(np.float32)[None]})[0]
    torques = np.stack([event.values[0] for event in task.run([rows])])
    np.testing.assert_allclose(torques, outputs * scale[-2:] + mean[-2:], rtol=1e-4, atol=1e-4)
    assert [picture.name for picture in problem.draw(model, "test", tmp_path)] == ["paths.png"]


def test_targets_are_the_torques_of_the_expert_in_units_of_the_column_that_comes_back():
    problem = problem_of()
    (_, (torques, _)), encoded = problem.examples("train")[2], problem.arrays("train")[2]
    driven = np.concatenate([rows[:, -2:] for rows, _ in problem.examples("train")]).astype(np.float64)
    expected = (torques - driven.mean(axis=0)) / driven.std(axis=0)
    np.testing.assert_allclose(encoded["targets"], expected, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(
        np.concatenate([row["rows"] for row in problem.arrays("train")]).std(axis=0), 1, rtol=1e-3
    )


def test_figures_are_those_of_the_angles():
    problem = problem_of()
    wanted = np.stack([arm.reference(episode, 120)[:, :2] for episode in problem.episodes("test")])
    angles = wanted.copy()
    angles[:3, 20:] += [0.3, -0.4]  # payloads as in training
    angles[3:, 20:] += 1.0  # heavier ones
    angles[:, :20] += 99.0  # not counted
    found = problem.score("test", angles)
    assert found["rms"] == pytest.approx(np.sqrt((0.09 + 0.16) / 2))
    assert found["rms_beyond"] == pytest.approx(1.0)
    assert found["worst"] == pytest.approx(0.4)
    assert found["count"] == 5
    expert = arm.follow(problem.episodes("test")[:3], 120, arm.Simulation.expert)
    assert found["expert_rms"] == pytest.approx(np.sqrt(np.mean((expert - wanted[:3])[:, 20:] ** 2)))


def test_the_classical_method_believes_in_the_mean_payload():
    errors = {}
    for payload in (0.0, 1.0, 2.0):
        problem = problem_of(seconds=0.8, settle=0.6)
        rows, (torques, episode) = problem.examples("test")[0]
        problem.splits["test"] = [(rows, (torques, dataclasses.replace(episode, payload=payload)))]
        errors[payload] = problem.baseline("test").figures["rms"]
    assert errors[1.0] < 0.004
    assert min(errors[0.0], errors[2.0]) > 5 * errors[1.0]
    assert np.isnan(problem.baseline("test").figures["rms_beyond"])


def test_what_cannot_be_is_one_line():
    for wrong in ({"seconds": 0.02}, {"settle": -1.0}, {"seconds": 61.0}):
        with pytest.raises(ConfigError, match=r"expected 0 <= data\.settle < data\.seconds <= 60"):
            ControlConfig(dataset="arm", **SIZES | wrong)
    config = ControlConfig(dataset="arm")
    with pytest.raises(DataError, match="topology 'controller' takes data of the kind rows-control"):
        ControllerTask.from_source(Source("series", {"train": []}), config)
