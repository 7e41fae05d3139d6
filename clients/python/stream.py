"""A streaming model in plain Python, written from docs/format.md alone: NumPy and a TFLite interpreter, nothing else.

It takes what the page says and gives what the page says; the checks that a product needs are those of `streaming`.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter

Arrays = dict[str, np.ndarray]


class Model:
    """The file: metadata, associated files, and one interpreter."""

    def __init__(self, path: str):
        with open(path, "rb") as file:
            content = file.read()
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            self.files = {name: archive.read(name) for name in archive.namelist()}
            end = min(entry.header_offset for entry in archive.infolist())
        self.meta: dict[str, Any] = json.loads(self.files.pop("streaming.json"))
        model = content[: self.meta["flatbuffer_bytes"]]
        hashes = {name: hashlib.sha256(data).hexdigest() for name, data in self.files.items()}
        if not 1 <= self.meta["schema"] <= 3:
            raise ValueError(f"schema {self.meta['schema']} is newer than this client")
        if hashlib.sha256(content[:-64]).hexdigest().encode() != content[-64:] or hashes != self.meta["files"]:
            raise ValueError("the file is damaged")
        if hashlib.sha256(model).hexdigest() != self.meta["fingerprint"]:
            raise ValueError("the model does not match its fingerprint")
        self.content = content[:end]
        self.restart()
        self.flags = self.meta.get("flags", "bool")

    def restart(self) -> None:
        """A new interpreter, with the first values of the states inside."""
        self.interpreter = Interpreter(model_content=self.content)
        self.runners: dict[str, Any] = {}

    def run(self, name: str, values: Arrays) -> Arrays:
        """One signature: tensors by name, each in the dtype that the graph has for it."""
        if name not in self.runners:
            runner = self.interpreter.get_signature_runner(name)
            self.runners[name] = runner, {key: item["dtype"] for key, item in runner.get_input_details().items()}
        runner, kinds = self.runners[name]
        found: Arrays = runner(**{key: np.asarray(value).astype(kinds[key]) for key, value in values.items()})
        return found


class Stream:
    """The state of one sequence."""

    def __init__(self, model: Model):
        self.model, self.meta = model, model.meta
        steps = {name: s for name, s in self.meta["signatures"].items() if name not in ("reset", "encode", "fill")}
        self.names = {s["chunk"]: name for name, s in steps.items() if s["batch"] == 1}
        self.reset()

    def reset(self) -> None:
        self.states: Arrays = {}
        for pack in self.meta["packs"]:
            zeros = np.zeros((1, pack["size"]), pack["dtype"])
            stored = self.model.files.get(pack.get("initial") or "")
            self.states[pack["input"]] = zeros if stored is None else np.frombuffer(stored, zeros.dtype)[None]
        if "reset" in self.meta["signatures"]:
            self.model.run("reset", {})
        elif self.meta["state"] == "internal":
            self.model.restart()
        self.position, self.held = 0, self.zeros(self.meta.get("lead", 0))

    def zeros(self, steps: int) -> Arrays:
        found = {}
        for info in self.meta["inputs"]:
            tensor = info.get("tensor") or info
            shape = (1, steps, *tensor["shape"]) if info["time"] else (1, *tensor["shape"])
            found[info["name"]] = np.full(shape, info.get("zero_point") or 0, tensor["dtype"])
        return found

    def encode(self, source: Arrays) -> None:
        encode, values = self.meta["encode"], {}
        for info in encode["inputs"]:
            array = np.asarray(source[info["name"]])[None]
            if info["time"]:
                length, most = array.shape[1], encode["max_length"]
                array = np.pad(array, [(0, 0), (0, most - length)] + [(0, 0)] * (array.ndim - 2))
                values[encode["valid"][info["name"]]] = np.arange(most)[None] < length
            values[info["name"]] = array
        self.states.update(self.model.run("encode", values))

    def feed(self, x: Arrays) -> Arrays:
        """Any number of steps, (n, *shape) by input; the rows that are ready, (m, *shape) by output."""
        given, pieces, done, meta = self._joined(x), [], 0, self.meta
        unit, chunk, steps = meta["unit"], meta["chunk"], self._steps(given)
        filled = meta.get("hop", 1) * min(out["start"] for out in meta["outputs"])
        while steps - done >= unit:
            if "fill" in meta["signatures"] and self.position + unit <= filled:
                found = self.model.run("fill", {**self._cut(given, done, done + unit), **self.states})
                self._carry(found)
                done, self.position = done + unit, self.position + unit
                continue
            size = chunk if steps - done >= chunk else unit
            pieces.append(self._invoke(size, self._cut(given, done, done + size), size, None))
            done += size
        self.held = self._cut(given, done, steps)
        return self._rows(pieces)

    def finish(self) -> Arrays:
        """What is held back at the end of the sequence."""
        meta, pending, begin, pieces = self.meta, self._steps(self.held), self.position, []
        total, lead = begin + pending, meta.get("lead", 0)
        end = total + meta["flush"] if total > lead else 0
        if meta.get("window") is not None:
            end = total if meta.get("pad") and total > lead else begin
        while self.position < end:
            unit, place = meta["unit"], self.position - begin
            part = self.zeros(unit)
            for name, rows in self._cut(self.held, place, place + unit).items():
                timed = next(info["time"] for info in meta["inputs"] if info["name"] == name)
                part[name] = np.concatenate([rows, part[name][:, rows.shape[1] :]], axis=1) if timed else rows
            last = None if meta.get("window") is not None else total
            pieces.append(self._invoke(unit, part, total - self.position, last))
        return self._rows(pieces)

    def _invoke(self, size: int, values: Arrays, real: int, total: int | None) -> Arrays:
        if self.meta["valid"]:
            values[self.meta["valid"]] = np.arange(size)[None] < real
        found = self.model.run(self.names[size], {**values, **self.states})
        self._carry(found)
        rows, begin = {}, self.position
        for out in self.meta["outputs"]:
            given, (up, down) = found[out["name"]][0], out["rate"]
            if out.get("valid"):
                rows[out["name"]] = given[found[out["valid"]][0] != 0]
            else:
                last = len(given) if total is None else max(0, total + out["end"] - begin) * up // down
                rows[out["name"]] = given[max(0, out["start"] - begin // self.meta.get("hop", 1)) : last]
        self.position += size
        return rows

    def _carry(self, found: Arrays) -> None:
        for pack in self.meta["packs"]:
            if pack["output"]:
                self.states[pack["input"]] = found[pack["output"]]

    def _joined(self, x: Arrays) -> Arrays:
        given = {}
        for info in self.meta["inputs"]:
            rows, kind = np.asarray(x[info["name"]])[None], np.dtype((info.get("tensor") or info)["dtype"])
            if info.get("scale") is not None and rows.dtype.kind == "f":
                limits, rows = np.iinfo(kind), np.rint(rows / np.float32(info["scale"])) + (info.get("zero_point") or 0)
                rows = np.clip(rows, limits.min, limits.max)
            rows = rows.astype(kind)
            given[info["name"]] = np.concatenate([self.held[info["name"]], rows], axis=1) if info["time"] else rows
        return given

    def _cut(self, given: Arrays, begin: int, end: int) -> Arrays:
        timed = {info["name"]: info["time"] for info in self.meta["inputs"]}
        return {name: rows[:, begin:end] if timed[name] else rows for name, rows in given.items()}

    def _steps(self, given: Arrays) -> int:
        name = next(info["name"] for info in self.meta["inputs"] if info["time"])
        return given[name].shape[1]

    def _rows(self, pieces: list[Arrays]) -> Arrays:
        found = {}
        for out in self.meta["outputs"]:
            empty = np.zeros((0, *out["shape"]), out["dtype"])
            found[out["name"]] = np.concatenate([empty, *(piece[out["name"]] for piece in pieces)]).astype(out["dtype"])
        return found
