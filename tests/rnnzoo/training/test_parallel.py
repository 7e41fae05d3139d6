"""Two devices, or two workers on loopback, train to the losses of one."""

import ast
import json
import os
import socket
import subprocess
import sys

import numpy as np
import pytest
from places import SUPPORT

from rnnzoo.errors import ConfigError
from rnnzoo.training.parallel import Parallel

PROGRAM = SUPPORT / "parallel_training.py"


def start(kind, folder, die=0, cluster=None):
    env = dict(os.environ) if cluster is None else {**os.environ, "TF_CONFIG": json.dumps(cluster)}
    command = [sys.executable, str(PROGRAM), kind, str(folder), str(die)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env)


def result(process):
    out, error = process.communicate(timeout=300)
    assert process.returncode == 0, error
    losses, size = out.splitlines()[-2:]
    return [*ast.literal_eval(losses), float(size)]


def free_ports(count):
    holders = [socket.socket() for _ in range(count)]
    for holder in holders:
        holder.bind(("127.0.0.1", 0))
    ports = [holder.getsockname()[1] for holder in holders]
    for holder in holders:
        holder.close()
    return ports


def pair(folder, die=0):
    """Two workers; the second one kills itself in a step."""
    addresses = [f"127.0.0.1:{port}" for port in free_ports(2)]
    cluster = [{"cluster": {"worker": addresses}, "task": {"type": "worker", "index": i}} for i in range(2)]
    return [start("multiworker", folder, die * i, cluster[i]) for i in range(2)]


@pytest.fixture(scope="module")
def expected(tmp_path_factory):
    return result(start("one", tmp_path_factory.mktemp("one")))


@pytest.mark.slow
def test_two_devices_train_as_one(expected, tmp_path):
    np.testing.assert_allclose(result(start("mirrored", tmp_path)), expected, rtol=1e-4)


@pytest.mark.slow
def test_two_workers_train_as_one(expected, tmp_path):
    for worker in pair(tmp_path):
        np.testing.assert_allclose(result(worker), expected, rtol=1e-4)


@pytest.mark.slow
def test_a_training_survives_the_loss_of_a_worker(expected, tmp_path):
    first, second = pair(tmp_path, die=8)
    second.communicate(timeout=300)
    assert second.returncode == -9
    _, error = first.communicate(timeout=300)
    assert first.returncode != 0
    assert "another worker was lost: start all workers again" in error
    found = [result(worker) for worker in pair(tmp_path)]
    np.testing.assert_allclose(found, [expected, expected], rtol=1e-4)


@pytest.mark.parametrize(
    "text", ["", "{", "[]", '{"cluster": {"worker": ["a:1"]}, "task": {"type": "worker", "index": 1}}']
)
def test_workers_without_a_cluster_are_told_what_it_looks_like(text, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", text)
    with pytest.raises(ConfigError, match="reads the cluster from TF_CONFIG: expected"):
        Parallel("multiworker")
