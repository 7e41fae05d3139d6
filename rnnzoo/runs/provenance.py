"""Provenance of a run: the command and the commit that made it."""

from __future__ import annotations

import contextlib
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

import yaml

from rnnzoo.registry import layout
from rnnzoo.registry.layout import config_paths
from rnnzoo.runs.config import ExperimentConfig, dump_config, load_config


def commit() -> str | None:
    """The commit of the clone that this code runs from; None where there is none."""
    if not (layout.root() / ".git").exists():
        return None
    try:
        done = subprocess.run(
            ["git", "rev-parse", "HEAD"], cwd=layout.root(), capture_output=True, text=True, check=False
        )
    except OSError:
        return None
    return done.stdout.strip() or None


def train_command(config: ExperimentConfig, dtype: str, start: Path | None = None) -> str:
    """The command that trains a configuration again: the zoo's own file, and the differences from it."""
    from keras.backend import backend

    path, options = config_paths().get(config.name), f" --dtype {dtype}{f' --start {start.name}' if start else ''}"
    # Other backends draw other random numbers.
    begin = "rnnzoo train" if backend() == "tensorflow" else f"KERAS_BACKEND={backend()} rnnzoo train"
    if path is None:
        return f"{begin} config.yaml{options}"
    own, zoo = (_flat(yaml.safe_load(dump_config(one))) for one in (config, load_config(path)))
    changed = [f" {key}={_inline(value)}" for key, value in own.items() if zoo.get(key, _inline) != value]
    return f"{begin} {path.relative_to(layout.root()).as_posix()}{options}{''.join(changed)}"


def hardware() -> str:
    """The processor of this machine, its cores, and its GPUs where TensorFlow sees any."""
    import tensorflow as tf

    gpus = [
        tf.config.experimental.get_device_details(device).get("device_name", device.name)
        for device in tf.config.list_physical_devices("GPU")
    ]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return ", ".join([_processor(), f"{cores} cores", *(gpus or ["no GPU"])])


def _processor() -> str:
    with contextlib.suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace").splitlines():
            name, _, value = line.partition(":")
            if name.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def _flat(tree: dict[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {f"{prefix}{key}": value}
    return flat


def _inline(value: Any) -> str:
    return yaml.safe_dump(value, default_flow_style=True, width=1000).split("\n")[0]
