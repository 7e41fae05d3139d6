"""Fixtures for all tests. TensorFlow is imported here and nowhere before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# What tests measure is no look at a test split.
os.environ["RNNZOO_LEDGER"] = "off"

# tflite-runtime breaks where TensorFlow was imported before it; this order lets one process test all three.
with contextlib.suppress(ImportError):
    import tflite_runtime.interpreter  # noqa: F401

RUNTIMES = ("litert", "tflite_runtime", "tf")


def installed(runtime: str) -> bool:
    """Whether a TFLite runtime can be imported here."""
    from streaming.errors import InputError
    from streaming.runtime.interpreter import resolve

    try:
        resolve(runtime)
    except InputError:
        return False
    return True


@pytest.fixture(params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    """Each of the three runtimes that is installed."""
    if not installed(request.param):
        pytest.skip(f"{request.param} is not installed for this Python")
    return request.param


@pytest.fixture
def convert(tmp_path: Path) -> Callable[..., Any]:
    """convert(model, **options) -> (report, path)."""
    import streaming

    def run(model: Any, **options: Any) -> Any:
        path = tmp_path / f"{len(list(tmp_path.iterdir()))}.tflite"
        return streaming.convert(model, path, **options), path

    return run
