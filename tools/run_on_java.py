"""Runs the Java client against test vectors: the rows of its streams, and the events of its command."""

from __future__ import annotations

import json
import os
import struct
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
from command_input import command_input

from streaming import vectors

ROOT = Path(__file__).resolve().parents[1]
SOURCE = ROOT / "clients" / "java"
# Numbers of `streaming_type` in clients/c/streaming.h.
TYPES = {"float32": 1, "int32": 2, "uint8": 3, "int64": 4, "bool": 6, "int16": 7, "int8": 9, "float64": 11}


def build(folder: Path) -> Path:
    """The classes of the client and of its tests, and the native library, in a folder."""
    subprocess.run(["sh", SOURCE / "build.sh", folder], check=True)
    classes = folder / "classes"
    subprocess.run(["javac", "-cp", classes, "-d", classes, SOURCE / "tests" / "Rows.java"], check=True)
    return folder


def differences(built: Path, library: Path, path: Path, found: dict[str, Any], rate: int) -> list[str]:
    """What is wrong, as lines: an output, or an event."""
    environment = {**os.environ, "STREAMING_LITERT": str(library), "STREAMING_JAVA": str(built)}
    native = f"-Dstreaming.library={built / 'libstreaming_jni.so'}"
    java = ["java", "-XX:TieredStopAtLevel=1", native, "-cp", str(built / "classes"), "streaming.Rows", str(path)]
    done = subprocess.run(java, input=arrays(found["steps"]), capture_output=True, env=environment)
    if done.returncode:
        return [done.stderr.decode(errors="replace").splitlines()[-1]]
    lines = list(wrong_rows(done.stdout, found))
    if "task" in found:
        given, options = command_input(found, rate)
        command = ["sh", str(SOURCE / "stream"), str(path), *options]
        done = subprocess.run(command, input=given, capture_output=True, env=environment)
        if done.returncode:
            return [*lines, done.stderr.decode(errors="replace").splitlines()[-1]]
        lines += wrong_events(done.stdout, found)
    return lines


def arrays(steps: dict[str, Any]) -> bytes:
    """The steps as Rows.java reads them."""

    def packed(array: np.ndarray) -> bytes:
        raw = array.astype(array.dtype.newbyteorder("<")).tobytes()
        return struct.pack("<2i", TYPES[str(array.dtype)], array.size) + raw

    source = {name: vectors.array_of(item) for name, item in steps.get("encode", {}).items()}
    out = struct.pack("<i", len(source))
    out += b"".join(struct.pack("<i", len(array)) + packed(array) for array in source.values())
    out += struct.pack("<i", len(steps["cuts"]))
    given, begin = {name: vectors.array_of(item) for name, item in steps["inputs"].items()}, 0
    for end in steps["cuts"]:
        out += struct.pack("<i", end - begin)
        # An input without time has as many rows as the cuts end at in no published model.
        out += b"".join(packed(a[begin:end] if len(a) == steps["cuts"][-1] else a) for a in given.values())
        begin = end
    return out


def wrong_rows(output: bytes, found: dict[str, Any]) -> list[str]:
    lines, place = [], 0
    for name, item in found["steps"]["outputs"].items():
        (count,) = struct.unpack_from("<i", output, place)
        rows = np.frombuffer(output, "<f4", count, place + 4)
        place += 4 + 4 * count
        expected = vectors.array_of({**item, "shape": [-1]}).astype(np.float64)
        if count != np.prod(item["shape"]):
            lines.append(f"output {name} has {count} values, expected {item['shape']}")
            continue
        error = np.abs(rows[:: item["stride"]] - expected).max(initial=0)
        if error > found["tolerance"] * max(1.0, np.abs(expected).max(initial=0)):
            lines.append(f"output {name} differs by {error:.2g}")
    return lines


def wrong_events(output: bytes, found: dict[str, Any]) -> list[str]:
    records, events = [json.loads(line) for line in output.decode().splitlines()], found["task"]["events"]
    if len(records) != len(events):
        return [f"{len(records)} events, expected {len(events)}"]
    lines = []
    for place, (record, event) in enumerate(zip(records, events, strict=True)):
        for key, value in event.items():
            # Quantiles have no names in the command.
            if key != "quantiles" and (key != "event" or key in record) and not near(record.get(key), value):
                lines.append(f"event {place}: {key} is {record.get(key)}, expected {value}")
    return lines


def near(mine: Any, theirs: Any) -> bool:
    """Whether values are equal, numbers to what six digits after the point leave."""
    if isinstance(theirs, list):
        return isinstance(mine, list) and len(mine) == len(theirs) and all(map(near, mine, theirs))
    if isinstance(theirs, float) and isinstance(mine, (int, float)):
        return abs(mine - theirs) <= 2e-5 + 1e-4 * abs(theirs)
    return bool(mine == theirs)
