"""Tiny TFLite models whose every output has an equation in NumPy, wrapped as streaming artifacts."""

from __future__ import annotations

import contextlib
import dataclasses
import functools
import os
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

import streaming
from streaming.runtime import artifact
from streaming.runtime.metadata import InputInfo, Metadata, OutputInfo, SignatureInfo, StatePack

TAPS = np.array([0.1, -0.4, 0.5, 0.3, -0.2], np.float32)
DECAY, START = 0.9, 0.5
TABLE = np.random.default_rng(7).standard_normal((7, 2)).astype(np.float32)


def filter_oracle(x: np.ndarray) -> dict[str, np.ndarray]:
    """level_t = 0.9 level_(t-1) + x_t from 0.5 on; smooth_t = sum_k TAPS_k x_(t-2+k), zeros beyond both ends."""
    level, levels = np.full(x.shape[1:], START), []
    for row in x.astype(np.float64):
        level = DECAY * level + row
        levels.append(level)
    padded = np.pad(x.astype(np.float64), ((2, 2), (0, 0)))
    smooth = [sum(TAPS[k] * padded[t + k] for k in range(5)) for t in range(len(x))]
    empty = np.zeros((0, *x.shape[1:]))
    return {"level": np.array(levels) if levels else empty, "smooth": np.array(smooth) if smooth else empty}


def lookup_oracle(ids: np.ndarray) -> np.ndarray:
    """y_t = TABLE[id_t] + t."""
    return TABLE[ids] + np.arange(len(ids))[:, None]


def pairs_oracle(x: np.ndarray, gain: float) -> np.ndarray:
    """y_k = gain (x_2k + x_(2k+1)); a last pair that is half there counts as one."""
    padded = np.pad(x, ((0, len(x) % 2), (0, 0)))
    return gain * padded.reshape(-1, 2, x.shape[1]).sum(axis=1)


def _filter_step(batch: int, chunk: int) -> Any:
    import tensorflow as tf

    def step(x: Any, valid: Any, state: Any) -> Any:
        level, past = state[:, :3], tf.reshape(state[:, 3:], (batch, 4, 3))
        mask = tf.cast(valid, tf.float32)[:, :, None]
        levels = []
        for t in range(chunk):
            level = mask[:, t] * (DECAY * level + x[:, t]) + (1.0 - mask[:, t]) * level
            levels.append(level)
        line = tf.concat([past, x * mask], axis=1)
        smooth = tf.add_n([float(TAPS[k]) * line[:, k : k + chunk] for k in range(5)])
        packed = tf.concat([level, tf.reshape(line[:, chunk:], (batch, 12))], axis=1)
        return {"level": tf.stack(levels, axis=1), "smooth": smooth, "state": packed}

    return step, {
        "x": ((batch, chunk, 3), "float32"),
        "valid": ((batch, chunk), "bool"),
        "state": ((batch, 15), "float32"),
    }


def _lookup_step(batch: int, chunk: int) -> Any:
    import tensorflow as tf

    def step(ids: Any, count: Any) -> Any:
        times = count + tf.range(chunk)[None]
        return {"y": tf.gather(TABLE, ids) + tf.cast(times, tf.float32)[:, :, None], "count": count + chunk}

    return step, {"ids": ((batch, chunk), "int32"), "count": ((batch, 1), "int32")}


def _pairs_step(batch: int, chunk: int) -> Any:
    import tensorflow as tf

    pairs = chunk // 2

    def step(x: Any, gain: Any, valid: Any, state: Any) -> Any:
        sums = tf.reduce_sum(tf.reshape(x, (batch, pairs, 2, 2)), axis=2)
        real = tf.cast(valid, tf.float32)[:, ::2, None]
        late = tf.concat([tf.reshape(state, (batch, 1, 3)), tf.concat([sums, real], axis=2)], axis=1)
        rows = late[:, :pairs]
        return {
            "y": rows[:, :, :2] * gain[:, None],
            "exists": rows[:, :, 2] > 0.5,
            "state": tf.reshape(late[:, pairs:], (batch, 3)),
        }

    return step, {
        "x": ((batch, chunk, 2), "float32"),
        "gain": ((batch, 1), "float32"),
        "valid": ((batch, chunk), "bool"),
        "state": ((batch, 3), "float32"),
    }


def build(make: Callable[[int, int], Any], sizes: Mapping[str, tuple[int, int]]) -> bytes:
    """A flatbuffer with a signature for each batch and chunk, of the step and inputs that `make` gives."""
    import tensorflow as tf

    functions = {}
    for name, (batch, chunk) in sizes.items():
        step, specs = make(batch, chunk)
        tensors = {key: tf.TensorSpec(shape, dtype, name=key) for key, (shape, dtype) in specs.items()}
        functions[name] = tf.function(step, autograph=False).get_concrete_function(**tensors)
    return tflite(tf.Module(), functions)


def tflite(module: Any, functions: Mapping[str, Any], quantize: bool = False) -> bytes:
    """Concrete functions by signature name as one flatbuffer."""
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder, silent():
        tf.saved_model.save(module, folder, signatures=dict(functions))
        converter = tf.lite.TFLiteConverter.from_saved_model(folder, signature_keys=list(functions))
        converter.experimental_enable_resource_variables = True
        if quantize:
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        return converter.convert()


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """Without what TensorFlow writes to the standard error."""
    sys.stderr.flush()
    saved = os.dup(2)
    with open(os.devnull, "w") as nowhere:
        os.dup2(nowhere.fileno(), 2)
        try:
            yield
        finally:
            os.dup2(saved, 2)
            os.close(saved)


def _signatures(sizes: Mapping[str, tuple[int, int]]) -> dict[str, SignatureInfo]:
    return {name: SignatureInfo(*size) for name, size in sizes.items()}


@functools.cache
def filter_model() -> tuple[bytes, Metadata, dict[str, bytes]]:
    """Two outputs with different delays, a mask, a state that does not start at zero; batches 1 and 4, chunk 5."""
    sizes = {"step": (1, 1), "step_b4": (4, 1), "chunk_5": (1, 5), "chunk_5_b4": (4, 5)}
    initial = np.concatenate([np.full(3, START), np.zeros(12)]).astype("<f4").tobytes()
    meta = Metadata(
        fingerprint="",
        flatbuffer_bytes=0,
        signatures=_signatures(sizes),
        inputs=(InputInfo("x", (3,), "float32"),),
        outputs=(
            OutputInfo("smooth", (3,), "float32", start=2, end=2),
            OutputInfo("level", (3,), "float32"),
        ),
        packs=(StatePack("state", "state", "float32", 15, "initial/state.bin"),),
        delay=2,
        flush=2,
        valid="valid",
    )
    return build(_filter_step, sizes), meta, {"initial/state.bin": initial, "labels.txt": b"a\nb\n"}


@functools.cache
def lookup_model() -> tuple[bytes, Metadata, dict[str, bytes]]:
    """Ids into a table of seven rows, an int32 state."""
    sizes = {"step": (1, 1), "step_b4": (4, 1)}
    meta = Metadata(
        fingerprint="",
        flatbuffer_bytes=0,
        signatures=_signatures(sizes),
        inputs=(InputInfo("ids", (), "int32", low=0, high=7),),
        outputs=(OutputInfo("y", (2,), "float32"),),
        packs=(StatePack("count", "count", "int32", 1),),
    )
    return build(_lookup_step, sizes), meta, {}


@functools.cache
def pairs_model() -> tuple[bytes, Metadata, dict[str, bytes]]:
    """Two steps make one row, one row late; the second input has no time axis."""
    sizes = {"step": (1, 2), "step_b4": (4, 2), "chunk_6": (1, 6), "chunk_6_b4": (4, 6)}
    meta = Metadata(
        fingerprint="",
        flatbuffer_bytes=0,
        signatures=_signatures(sizes),
        inputs=(InputInfo("x", (2,), "float32"), InputInfo("gain", (1,), "float32", time=False)),
        outputs=(OutputInfo("y", (2,), "float32", rate=(1, 2), end=2, valid="exists"),),
        packs=(StatePack("state", "state", "float32", 3),),
        chunk=2,
        unit=2,
        delay=2,
        flush=2,
        valid="valid",
    )
    return build(_pairs_step, sizes), meta, {}


@functools.cache
def internal_model(reset: bool = True) -> tuple[bytes, Metadata, dict[str, bytes]]:
    """level_t = 0.9 level_(t-1) + x_t from 0.5 on, the level kept in a variable, which a signature may reset."""
    import tensorflow as tf

    class Level(tf.Module):
        def __init__(self) -> None:
            super().__init__()
            self.level = tf.Variable(tf.fill((1, 3), START), name="level")

        @tf.function(autograph=False)
        def step(self, x: Any) -> Any:
            self.level.assign(DECAY * self.level + x[:, 0])
            return {"level": self.level.read_value()[:, None]}

        @tf.function(autograph=False)
        def reset(self) -> Any:
            self.level.assign(tf.fill((1, 3), START))
            return {"done": tf.constant(True)}

    module = Level()
    functions = {
        "step": module.step.get_concrete_function(x=tf.TensorSpec((1, 1, 3), "float32", name="x")),
    }
    if reset:
        functions["reset"] = module.reset.get_concrete_function()
    meta = Metadata(
        fingerprint="",
        flatbuffer_bytes=0,
        signatures=_signatures({"step": (1, 1), **({"reset": (1, 0)} if reset else {})}),
        inputs=(InputInfo("x", (3,), "float32"),),
        outputs=(OutputInfo("level", (3,), "float32"),),
        state="internal",
    )
    return tflite(module, functions), meta, {}


@functools.cache
def dense_model() -> tuple[bytes, Metadata, dict[str, bytes]]:
    """y_t = x_t W, the weights int8 with one scale a channel, and no state."""
    import tensorflow as tf

    weights = noise(64, 64)
    function = tf.function(lambda x: {"y": tf.matmul(x[:, 0], weights)[:, None]}, autograph=False)
    concrete = function.get_concrete_function(x=tf.TensorSpec((1, 1, 64), "float32", name="x"))
    meta = Metadata(
        fingerprint="",
        flatbuffer_bytes=0,
        signatures=_signatures({"step": (1, 1)}),
        inputs=(InputInfo("x", (64,), "float32"),),
        outputs=(OutputInfo("y", (64,), "float32"),),
    )
    return tflite(tf.Module(), {"step": concrete}, quantize=True), meta, {}


def write(path: Path, model: tuple[bytes, Metadata, dict[str, bytes]]) -> Path:
    """The artifact of a model, at a path."""
    artifact.write(path, artifact.pack(*model))
    return path


def load(folder: Path, name: str, runtime: str = "litert", num_threads: int = 1, **changes: Any) -> Any:
    """The tiny model of that name, with changes of its metadata, written into a folder and loaded."""
    flatbuffer, meta, files = MODELS[name]()
    path = folder / f"{name}-{len(list(folder.iterdir()))}.tflite"
    write(path, (flatbuffer, dataclasses.replace(meta, **changes), files))
    return streaming.load(path, runtime, num_threads)


def noise(*shape: int, seed: int = 0) -> np.ndarray:
    """Normal float32 numbers."""
    return np.random.default_rng(seed).standard_normal(shape).astype(np.float32)


def joined(pieces: list[Any]) -> Any:
    """Pieces of the outputs one after the other."""
    if isinstance(pieces[0], dict):
        return {name: np.concatenate([piece[name] for piece in pieces]) for name in pieces[0]}
    return np.concatenate(pieces)


def assert_same(found: Any, expected: Any) -> None:
    """Equal bit for bit, in shape and dtype too."""
    if isinstance(expected, dict):
        assert found.keys() == expected.keys()
        for name, value in expected.items():
            assert_same(found[name], value)
    else:
        assert found.dtype == expected.dtype
        np.testing.assert_array_equal(found, expected, strict=True)


MODELS = {
    "filter": filter_model,
    "lookup": lookup_model,
    "pairs": pairs_model,
    "internal": internal_model,
}
