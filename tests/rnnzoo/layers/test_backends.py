"""The layers on Keras's other backends, each in a process of its own."""

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest
from layer_cases import cells, linear, sequence, wrappers
from places import ROOT, SUPPORT

HERE = Path(__file__).parent
WHOLE = (*cells.CASES, *wrappers.CASES, *linear.CASES, *sequence.CASES)
QUICK = ("lstm-all", "min-gru", "gru-reset-before", "wrappers-nested", "mlstm-cell-heads", "luong-dot", "crf")


@pytest.fixture(params=["jax", "torch"])
def other(request):
    """Runs Python under another backend; skips where it is not installed."""
    if importlib.util.find_spec(request.param) is None:
        pytest.skip(f"{request.param} is not installed: pip install 'rnnzoo[backends]'")

    def run(*arguments):
        environment = {**os.environ, "KERAS_BACKEND": request.param}
        done = subprocess.run([sys.executable, *arguments], capture_output=True, text=True, env=environment, cwd=ROOT)
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
        return done.stdout

    return run


@pytest.mark.slow
def test_noisy_cells_train_and_infer_exactly(other):
    assert " -> " in other(SUPPORT / "layer_training.py")


@pytest.mark.parametrize("which", [QUICK, pytest.param(WHOLE, marks=pytest.mark.slow)], ids=["quick", "whole"])
def test_cases_hold(other, which):
    file = HERE / "test_layer_cases.py"
    assert f"{len(which)} passed" in other("-m", "pytest", *(f"{file}::test_case[{name}]" for name in which))


@pytest.mark.slow
def test_bad_input_is_refused(other):
    # Each weight of each layer would be a compilation on JAX.
    assert " passed" in other("-m", "pytest", HERE / "test_bad_input.py", "-k", "not nan_in or MinGRU")


@pytest.mark.parametrize("other", ["jax"], indirect=True)
def test_a_training_carries_its_states_and_sees_all_of_dev(other, tmp_path):
    said = other(SUPPORT / "backend_training.py", tmp_path).splitlines()
    assert {"carried", "whole"} <= set(said)


@pytest.mark.parametrize("other", ["torch"], indirect=True)
def test_carried_states_are_refused_by_name(other, tmp_path):
    with pytest.raises(AssertionError, match=r"'generator' carries states.*received 'torch'"):
        other(SUPPORT / "backend_training.py", tmp_path)
