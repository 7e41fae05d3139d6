"""The two-link arm against mechanics: energy, positions of masses, the closed form of a controlled error."""

import dataclasses

import numpy as np
import pytest

from rnnzoo.data.config import DataConfig
from rnnzoo.data.problems import arm
from rnnzoo.data.source import read_source


def episodes(count, seed=0, **changes):
    rng = np.random.default_rng(seed)
    return [dataclasses.replace(arm.draw_episode(rng), **changes) for _ in range(count)]


def energy(state, payload):
    """Of many point masses along the links, and of the payload."""
    a, b, va, vb = state
    places = (np.arange(2000) + 0.5) / 2000
    elbow = np.array([np.cos(a), np.sin(a)]) * arm.LENGTHS[0]
    elbow_speed = np.array([-np.sin(a), np.cos(a)]) * arm.LENGTHS[0] * va
    along = np.array([np.cos(a + b), np.sin(a + b)])[:, None] * arm.LENGTHS[1]
    along_speed = np.array([-np.sin(a + b), np.cos(a + b)])[:, None] * arm.LENGTHS[1] * (va + vb)
    total = 0.0
    for mass, heights, speeds in (
        (arm.MASSES[0], elbow[1] * places, elbow_speed[:, None] * places),
        (arm.MASSES[1], elbow[1] + along[1] * places, elbow_speed[:, None] + along_speed * places),
        (payload, elbow[1] + along[1], elbow_speed[:, None] + along_speed),
    ):
        total += mass * np.mean(9.81 * heights + 0.5 * (speeds**2).sum(axis=0))
    return total


def test_an_arm_without_torque_keeps_its_energy():
    chosen = episodes(3)
    simulation = arm.Simulation(chosen, 1001)
    before = [energy(state, e.payload) for state, e in zip(simulation.state, chosen, strict=True)]
    kinetic = []
    for _ in range(1000):
        simulation.apply(np.zeros((3, 2)))
        kinetic.append(np.abs(simulation.state[:, 2:]).max())
    after = [energy(state, e.payload) for state, e in zip(simulation.state, chosen, strict=True)]
    assert max(kinetic) > 3  # it falls and swings
    np.testing.assert_allclose(after, before, atol=2e-5 * max(kinetic) ** 2)


def test_work_of_the_torques_is_the_energy_that_comes():
    (chosen,) = episodes(1)
    simulation, work = arm.Simulation([chosen], 401), 0.0
    before = energy(simulation.state[0], chosen.payload)
    for step in range(400):
        torque = np.array([[20 + 5 * np.sin(step / 40), 9.0]])
        angles = simulation.state[0, :2].copy()
        simulation.apply(torque)
        work += float(torque[0] @ (simulation.state[0, :2] - angles))
    assert energy(simulation.state[0], chosen.payload) - before == pytest.approx(work, rel=1e-4)


def test_the_error_of_the_expert_is_that_of_a_critically_damped_spring():
    chosen = episodes(2, 4)
    simulation, time = arm.Simulation(chosen, 300), np.arange(300)[:, None] * arm.STEP
    errors = np.empty((2, 300, 2))
    for step in range(300):
        errors[:, step] = simulation.wanted[:, step, :2] - simulation.state[:, :2]
        simulation.apply(simulation.expert())
    for episode, found in zip(chosen, errors, strict=True):
        angle, rate = -episode.offset[:2], -episode.offset[2:]
        np.testing.assert_allclose(found, (angle + (rate + 10 * angle) * time) * np.exp(-10 * time), atol=2e-3)


def test_a_reference_has_the_velocities_and_accelerations_of_its_angles():
    way = arm.reference(episodes(1, 2)[0], 2000)
    np.testing.assert_allclose(np.gradient(way[:, :2], arm.STEP, axis=0)[1:-1], way[1:-1, 2:4], atol=1e-4)
    np.testing.assert_allclose(np.gradient(way[:, 2:4], arm.STEP, axis=0)[1:-1], way[1:-1, 4:], atol=1e-3)


def test_observations_are_what_their_columns_say():
    simulation = arm.Simulation(episodes(64), 3)
    simulation.apply(np.full((64, 2), 7.0))
    seen, wanted = simulation.observe(), simulation.wanted[:, 1]
    assert seen.shape == (64, len(arm.COLUMNS))
    np.testing.assert_allclose(seen[:, :2] + seen[:, 4:6], wanted[:, :2], atol=1e-12)
    np.testing.assert_allclose(seen[:, 2:4] + seen[:, 6:8], wanted[:, 2:4], atol=1e-12)
    np.testing.assert_array_equal(seen[:, 8:10], wanted[:, 4:])
    np.testing.assert_array_equal(seen[:, 10:], 7.0)
    noise = seen[:, :4] - simulation.state
    assert noise[:, :2].std() == pytest.approx(5e-4, rel=0.3)
    assert noise[:, 2:].std() == pytest.approx(5e-3, rel=0.3)


def test_torques_of_a_collection_do_not_tell_the_payload():
    chosen = episodes(120, 5)
    rows, torques = arm.collect(chosen, 120, np.random.default_rng(0))
    payloads = np.array([episode.payload for episode in chosen])
    believed = rows[:, -1, -2] - torques[:, -2, 0]
    # What the driver gave beyond the expert falls with the payload, as its belief does not rise with it.
    assert np.corrcoef(believed, payloads)[0, 1] < -0.3
    assert np.abs(rows[:, 60:, 4:6]).std() > 0.01


@pytest.mark.parametrize("payload", [-0.1, np.nan, np.inf])
def test_a_payload_that_cannot_be_is_one_line(payload):
    with pytest.raises(ValueError, match="expected a payload of 0 kg or more; received"):
        episodes(1, payload=payload)


@pytest.mark.slow
def test_the_data_set_has_its_episodes_and_heavier_ones_for_the_figures():
    splits = read_source(DataConfig(dataset="two_link_arm")).splits
    counts = {"train": (480, 0), "dev": (16, 8), "test": (24, 8)}
    for split, (count, heavy) in counts.items():
        payloads = [episode.payload for _, (_, episode) in splits[split]]
        assert len(payloads) == count + heavy
        assert 0 <= min(payloads[:count]) <= max(payloads[:count]) <= 2
        assert all(2 <= payload <= 3 for payload in payloads[count:])
    rows, (torques, episode) = splits["dev"][0]
    assert rows.shape == (500, 12)
    assert torques.shape == (500, 2)
    # The first observation is that of its episode.
    np.testing.assert_allclose(rows[0], arm.Simulation([episode], 500).observe()[0], atol=1e-5)
