"""Saved models and arrays that declare more than they hold: refused in one line before anything is allocated."""

from __future__ import annotations

import json
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import pytest
from keras import layers

from streaming.conversion.budget import budget
from streaming.conversion.loading import load_keras, load_sequences
from streaming.errors import InputError
from streaming.runtime import memory


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    model = keras.Sequential(
        [keras.Input((None,)), layers.Embedding(77, 5), layers.LSTM(7, return_sequences=True), layers.Dense(3)]
    )
    path = tmp_path_factory.mktemp("saved") / "model.keras"
    model.save(path)
    model.save(path.with_suffix(".h5"))
    return path


def forged(path: Path, to: Path, edit: Callable[[str], str]) -> Path:
    """The file with other text as its configuration."""
    to = to / path.name
    if path.suffix == ".h5":
        to.write_bytes(path.read_bytes())
        with h5py.File(to, "r+") as file:
            file.attrs["model_config"] = changed(str(file.attrs["model_config"]), edit)
        return to
    with zipfile.ZipFile(path) as source, zipfile.ZipFile(to, "w") as target:
        for name in source.namelist():
            data = source.read(name)
            target.writestr(name, changed(data.decode(), edit) if name == "config.json" else data)
    return to


def changed(text: str, edit: Callable[[str], str]) -> str:
    assert edit(text) != text
    return edit(text)


@pytest.mark.parametrize("suffix", [".keras", ".h5"])
@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('"units": 3', '"units": 1000000000'),
        ('"units": 7', '"units": 100000'),
        ('"input_dim": 77', '"input_dim": 1000000000'),
        ('"output_dim": 5', '"output_dim": 10000000'),
    ],
)
def test_sizes_are_held_against_the_file(saved: Path, tmp_path: Path, suffix: str, old: str, new: str) -> None:
    assert load_keras(saved.with_suffix(suffix)).count_params() == 77 * 5 + 28 * (5 + 7 + 1) + 24
    path = forged(saved.with_suffix(suffix), tmp_path, lambda text: text.replace(old, new))
    with pytest.raises(InputError, match=r"declares weights of shape .* more than the file holds") as caught:
        load_keras(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("seed", ["-1", "1" + "0" * 30, "0.5", '"a"'])
def test_seeds_are_refused_or_taken_in_one_line(saved: Path, tmp_path: Path, seed: str) -> None:
    path = forged(saved, tmp_path, lambda text: text.replace('"seed": null', f'"seed": {seed}'))
    said = ""
    try:
        assert load_keras(path).count_params() == 773
    except InputError as error:
        said = str(error)
    assert "\n" not in said


def test_weights_are_held_against_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    with budget(None, "the model") as spent:
        layers.Dense(100).build((None, 100))
        with pytest.raises(InputError, match=r"layer 'wide' of the model .* takes 0\.4 GB of memory, and 0\.0 GB are"):
            layers.Dense(10**6, name="wide").build((None, 100))
        assert spent.problem is not None
    monkeypatch.undo()
    layers.Dense(5).build((None, 5))


def test_archives_are_held_against_their_unpacked_size(saved: Path, tmp_path: Path) -> None:
    path = tmp_path / "bomb.keras"
    path.write_bytes(saved.read_bytes())
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("assets/zeros", bytes(1 << 27))
    with pytest.raises(InputError, match=r"unpacks from \d+ to \d+ bytes; refused"):
        load_keras(path)


def test_arrays_are_held_against_memory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x: Any = keras.Input((None, 4), name="x")
    np.savez_compressed(tmp_path / "bomb.npz", x=np.zeros((1, 1 << 18, 4), "float32"))
    assert len(load_sequences(tmp_path / "bomb.npz", [x])) == 1
    monkeypatch.setattr(memory, "available_bytes", lambda: 10**6)
    with pytest.raises(InputError, match=r"bomb\.npz, unpacked, takes .* give fewer sequences"):
        load_sequences(tmp_path / "bomb.npz", [x])
    header = json.dumps({"descr": "<f4", "fortran_order": False, "shape": [1 << 40]})
    header = header.replace("false", "False").replace("[", "(").replace("]", ",)")
    (tmp_path / "long.npy").write_bytes(b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header.encode())
    with pytest.raises(InputError, match="as numbers"):
        load_sequences(tmp_path / "long.npy", [x])


def test_memory_is_what_the_least_of_all_limits_leaves(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:   3000 kB\n")
    for name, value in (("max", "5000000"), ("current", "1000000")):
        (tmp_path / f"memory.{name}").write_text(f"{value}\n")
    monkeypatch.setattr(memory, "_MEMINFO", tmp_path / "meminfo")
    monkeypatch.setattr(memory, "_CGROUP", tmp_path)
    assert memory.available_bytes() == 3000 * 1024
    (tmp_path / "memory.current").write_text("4999000\n")
    assert memory.available_bytes() == 1000
    memory.check_memory(1000, "it", "less")
    with pytest.raises(InputError, match=r"it takes 0\.0 GB of memory"):
        memory.check_memory(1001, "it", "less")
