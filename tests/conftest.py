"""Fixtures for all tests. TensorFlow is imported here and nowhere before."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from runtimes import RUNTIMES, installed

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "-1")
# What tests measure is no look at a test split.
os.environ["RNNZOO_LEDGER"] = "off"

# tflite-runtime breaks where TensorFlow was imported before it; this order lets one process test all three.
with contextlib.suppress(ImportError):
    import tflite_runtime.interpreter  # noqa: F401

# Long matrices of like cases: of each test in them the suite runs one case in so many, `make test-slow` the others.
THINNED = {
    "test_adopt.py": 2,
    "test_architectures.py": 12,
    "test_attention.py": 2,
    "test_bad_input.py": 3,
    "test_bidirectional.py": 2,
    "test_builders.py": 6,
    "test_captioner.py": 2,
    "test_cells.py": 2,
    "test_conversion.py": 8,
    "test_datasets.py": 2,
    "test_docs_layers.py": 3,
    "test_docs_streaming.py": 2,
    "test_encode.py": 4,
    "test_file_format.py": 4,
    "test_forms.py": 5,
    "test_framing.py": 3,
    "test_hostile.py": 2,
    "test_hub.py": 2,
    "test_internal_state.py": 4,
    "test_joining.py": 3,
    "test_keras2.py": 2,
    "test_keras_layers.py": 8,
    "test_keras_loops.py": 6,
    "test_keras_ops.py": 8,
    "test_keras_quantized.py": 2,
    "test_layer_cases.py": 12,
    "test_layer_rules.py": 9,
    "test_loops.py": 3,
    "test_masks.py": 6,
    "test_micro.py": 4,
    "test_micro_types.py": 2,
    "test_models.py": 2,
    "test_over_time.py": 4,
    "test_precision.py": 4,
    "test_proof.py": 8,
    "test_quantization.py": 12,
    "test_recurrent.py": 6,
    "test_reference.py": 4,
    "test_sampling.py": 2,
    "test_scan.py": 2,
    "test_scan_layers.py": 2,
    "test_sequence_layers.py": 3,
    "test_server_tasks.py": 2,
    "test_sources.py": 3,
    "test_strings.py": 4,
    "test_tasks_sound.py": 2,
    "test_translator.py": 6,
    "test_window_layers.py": 8,
    "test_windows.py": 8,
    "test_wrappers.py": 4,
    "test_zoo_training.py": 2,
}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the cases of long matrices that the suite leaves to `make test-slow`."""
    places: dict[str, int] = {}
    for item in items:
        test = item.nodeid.partition("[")[0]
        place = places[test] = places.get(test, -1) + 1
        if place % THINNED.get(item.path.name, 1):
            item.add_marker(pytest.mark.slow)


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
