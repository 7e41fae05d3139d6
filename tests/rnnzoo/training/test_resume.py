"""A training that is killed goes on to the very weights that it would have reached."""

import errno
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
from places import SUPPORT
from zoo_runs import colours

from rnnzoo.errors import DataError
from rnnzoo.runs.building import build_model
from rnnzoo.training import TrainingConfig, fit
from rnnzoo.training.snapshot import Snapshot, read_snapshot, write_snapshot

PROGRAM = SUPPORT / "killed_training.py"


def run(folder, step=0, save=0):
    command = [sys.executable, str(PROGRAM), str(folder), str(step), str(save)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def result(done):
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-2:]


# In the first epoch; while a snapshot is written (each is synced twice: its bytes, then its name); in the last.
@pytest.mark.parametrize(
    "kills", [[(4, 0), (0, 5)], pytest.param([(4, 0), (0, 5), (0, 4), (7, 0)], marks=pytest.mark.slow)], ids=len
)
@pytest.mark.slow
def test_a_killed_training_ends_with_the_same_bits(kills, tmp_path):
    whole = result(run(tmp_path / "whole"))
    for step, save in kills:
        assert run(tmp_path / "killed", step, save).returncode == -9
    assert result(run(tmp_path / "killed")) == whole


def snapshot(value):
    return Snapshot({"x": np.full(3, value, np.float32)}, {"value": value})


def test_two_snapshots_are_kept_and_the_newest_whole_one_is_read(tmp_path):
    assert read_snapshot(tmp_path) is None
    paths = [write_snapshot(tmp_path, snapshot(value)) for value in (1, 2, 3)]
    assert [path.exists() for path in paths] == [False, True, True]
    assert read_snapshot(tmp_path).progress == {"value": 3}
    for damaged in (b"", paths[2].read_bytes()[:-1], b"\xff" * 100):
        paths[2].write_bytes(damaged)
        found = read_snapshot(tmp_path)
        assert found.progress == {"value": 2}
        np.testing.assert_array_equal(found.arrays["x"], [2, 2, 2])


def test_a_full_disk_is_one_line_and_loses_nothing(tmp_path, monkeypatch):
    write_snapshot(tmp_path, snapshot(1))

    def full(_):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(DataError, match=r"snapshot-00000002.*No space left on device.*make room"):
        write_snapshot(tmp_path, snapshot(2))
    monkeypatch.undo()
    assert [path.name for path in tmp_path.iterdir()] == ["snapshot-00000001.safetensors"]
    assert read_snapshot(tmp_path).progress == {"value": 1}


class Worse(keras.callbacks.Callback):
    """Tells of every epoch that it is worse than the one before, and stops in the last."""

    def __init__(self, stops):
        super().__init__()
        self.stops = stops

    def on_epoch_end(self, epoch, logs=None):
        logs["val_accuracy"] = 0.9 - 0.1 * epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.stops and int(self.model.optimizer.iterations) == 8:
            raise KeyboardInterrupt


@pytest.mark.slow
def test_the_best_epoch_outlives_an_interruption(tmp_path, monkeypatch):
    """The weights that are kept are those of the first epoch, which a snapshot of the last one still holds."""
    experiment, problem = colours(tmp_path / "data")
    config = TrainingConfig(epochs=3, batch_size=50, learning_rate=0.05, snapshot_seconds=0.0)
    assert problem.steps("train", config.batch_size) == 3

    def train(folder, stops=False):
        monkeypatch.setattr(problem, "callbacks", lambda: [Worse(stops)])
        model = build_model(experiment, problem.encoder)
        history = fit(model, problem, config, seed=1, run_dir=tmp_path / folder)
        assert history["val_accuracy"] == pytest.approx([0.9, 0.8, 0.7])
        return model.get_weights()

    whole = train("whole")
    with pytest.raises(KeyboardInterrupt):
        train("cut", stops=True)
    for a, b in zip(train("cut"), whole, strict=True):
        np.testing.assert_array_equal(a, b)
