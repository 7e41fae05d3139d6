"""What each task makes of raw input and of output rows, in plain Python, written from docs/format.md alone.

`events(model, given)` takes the input of a test vector and gives its events.
"""

from __future__ import annotations

import itertools
import json
import math
import re
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from stream import Model, Stream

Event = dict[str, Any]
PAD, UNKNOWN, START, END = range(4)
SPACE = "\u2581"


def softmax(row: np.ndarray) -> np.ndarray:
    """Probabilities along the last axis."""
    powers = np.exp(row - row.max(axis=-1, keepdims=True))
    found: np.ndarray = powers / powers.sum(axis=-1, keepdims=True)
    return found


def sigmoid(row: np.ndarray) -> np.ndarray:
    """Probabilities, each by itself."""
    small = np.exp(-np.abs(row))
    return np.where(row >= 0, 1.0, small) / (1.0 + small)


def log_softmax(row: np.ndarray) -> np.ndarray:
    """Log probabilities along the last axis."""
    shifted = row - row.max(axis=-1, keepdims=True)
    found: np.ndarray = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return found


def lines(data: bytes) -> list[str]:
    """The entries of a file with one a line."""
    found = data.decode().split("\n")
    return found[:-1] if found and not found[-1] else found


class Words:
    """Words to the arrays `words`, `chars` and `affixes`."""

    def __init__(self, files: dict[str, bytes]):
        self.settings = json.loads(files["features.json"])
        names = ("words", "chars", "affixes")
        self.ids = {n: {entry: i for i, entry in enumerate(lines(files[f"{n}.txt"]), 2)} for n in names}

    def encode(self, words: list[str]) -> dict[str, np.ndarray]:
        make: dict[str, Callable[[str], Any]] = {
            "words": lambda word: self._id("words", word.lower()),
            "chars": self._chars,
            "affixes": lambda word: [self._id("affixes", part) for part in self.affixes(word)],
        }
        return {n: np.array([make[n](word) for word in words], np.int32) for n in self.settings["inputs"]}

    def _id(self, name: str, entry: str) -> int:
        return self.ids[name].get(entry, UNKNOWN)

    def _chars(self, word: str) -> list[int]:
        size = self.settings["max_word_length"]
        seen = word if len(word) <= size else word[: size // 2] + word[-(size - size // 2) :]
        return [self._id("chars", c) for c in seen] + [PAD] * (size - len(seen))

    @staticmethod
    def affixes(word: str) -> list[str]:
        plain = re.sub(r"\d+", "0", word.lower())
        kinds = ["X" if c.isupper() else "x" if c.isalpha() else "d" if c.isdigit() else c for c in word]
        shape = "".join(kind for i, kind in enumerate(kinds) if i == 0 or kinds[i - 1] != kind)[:10]
        ends = [f"-{n}{plain[-n:]}" for n in (1, 2, 3, 4)]
        return [*ends, *(f"+{n}{plain[:n]}" for n in (1, 2, 3)), f"={shape}"]


class Codec:
    """Running text to numbers and back: `source.json`, `target.json`."""

    def __init__(self, data: bytes):
        found = json.loads(data)
        self.kind, self.lower, self.entries = found["kind"], found["lower"], found["entries"]
        self.ids = {entry: i for i, entry in enumerate(self.entries)}
        self.ranks = {tuple(pair): i for i, pair in enumerate(found["merges"])}

    def encode(self, text: str) -> list[int]:
        text = text.lower() if self.lower else text
        if self.kind == "characters":
            parts = list(text)
        else:
            found = re.finditer(r"(\s*)(\w+|[^\w\s])", text.rstrip().replace(SPACE, "_"))
            parts = [(SPACE if m.group(1) or m.start() == 0 else "") + m.group(2) for m in found]
        if self.kind == "subwords":
            parts = [piece for part in parts for piece in self._merged(list(part))]
        return [self.ids.get(part, UNKNOWN) for part in parts]

    def _merged(self, parts: list[str]) -> list[str]:
        while True:
            pairs = [pair for pair in itertools.pairwise(parts) if pair in self.ranks]
            if not pairs:
                return parts
            left, right = min(pairs, key=lambda pair: self.ranks[pair])
            made: list[str] = []
            for part in parts:
                if made and made[-1] == left and part == right:
                    made[-1] = left + right
                else:
                    made.append(part)
            parts = made

    def text(self, ids: list[int]) -> str:
        found = ""
        for number in ids:
            if number not in (PAD, START, END):
                lost = SPACE if number == UNKNOWN and self.kind == "words" else ""
                found += lost + self.entries[number]
        return found if self.kind == "characters" else found.replace(SPACE, " ")

    def decode(self, ids: list[int]) -> str:
        return self.text(ids) if self.kind == "characters" else self.text(ids).strip()

    def begins_word(self, number: int) -> bool:
        lost = number == UNKNOWN and self.kind == "words"
        return lost or self.kind == "characters" or self.entries[number].startswith(SPACE)

    def begins_unit(self, number: int) -> bool:
        return self.begins_word(number) or not re.match(r"\w", self.entries[number])


MEL = {"frame_length": 400, "frame_step": 160, "fft_length": 512, "num_mels": 40, "low_hz": 20.0, "high_hz": 8000.0}
MEL |= {"scale": "htk", "norm": None, "power": 2.0, "floor": 1e-6, "center": False, "sample_rate": 16000}


def log_mel(spec: dict[str, Any], samples: np.ndarray) -> np.ndarray:
    """All frames of a signal."""
    length, step, size = spec["frame_length"], spec["frame_step"], spec["fft_length"]
    if spec["center"]:
        samples = np.pad(samples, length // 2)
    slaney = spec["scale"] == "slaney"

    def mel(hz: float) -> float:
        if not slaney:
            return 2595 * math.log10(1 + hz / 700)
        return hz * 3 / 200 if hz < 1000 else 15 + 27 * math.log(hz / 1000) / math.log(6.4)

    def hertz(value: np.ndarray) -> np.ndarray:
        if not slaney:
            return 700 * (10 ** (value / 2595) - 1)
        return np.where(value < 15, value * 200 / 3, 1000 * np.exp(math.log(6.4) / 27 * np.maximum(value - 15, 0)))

    edges = hertz(np.linspace(mel(spec["low_hz"]), mel(spec["high_hz"]), spec["num_mels"] + 2))
    bins = np.arange(size // 2 + 1)[:, None] * spec["sample_rate"] / size
    rise = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    fall = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    weights = np.maximum(0, np.minimum(rise, fall))
    if spec["norm"] == "slaney":
        weights = weights * (2 / (edges[2:] - edges[:-2]))
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(length) / length)
    count = max(0, (len(samples) - length) // step + 1)
    frames = np.array([samples[i * step : i * step + length] for i in range(count)]).reshape(count, length)
    spectrum = np.abs(np.fft.rfft(frames * window, size)) ** spec["power"]
    return np.log(np.maximum(spectrum @ weights, spec["floor"])).astype(np.float32)


class LabelPath:
    """Rows of logits to (label, probability): each row's best, or the best path of `transitions.json`."""

    def __init__(self, model: Model, delay: int | None):
        self.chain = self.scores = None
        if "transitions.json" in model.files:
            found = json.loads(model.files["transitions.json"])
            read = lambda x: -np.inf if x is None else float(x)  # noqa: E731
            rows = np.array([[read(x) for x in row] for row in found["transitions"]])
            ends = [np.array([read(x) for x in found.get(n) or [0.0] * len(rows)]) for n in ("start", "end")]
            self.chain, self.delay, self.paths = (rows, *ends), delay, [[] for _ in rows]
            self.waiting: list[np.ndarray] = []

    def feed(self, rows: np.ndarray) -> list[tuple[int, float]]:
        if self.chain is None:
            return [(int(row.argmax()), float(row.max())) for row in map(softmax, rows)]
        return [item for row in rows for item in self._one(row)]

    def finish(self) -> list[tuple[int, float]]:
        if self.chain is None or self.scores is None:
            return []
        ends = self.scores + self.chain[2]
        last = int(np.argmax(ends if ends.max() > -np.inf else self.scores))
        return self._scored(self.paths[last])

    def _one(self, row: np.ndarray) -> list[tuple[int, float]]:
        moves, start, _ = self.chain
        self.waiting.append(softmax(row))
        row = row.astype(np.float64)
        if self.scores is None:
            self.scores, self.paths = start + row, [[label] for label in range(len(row))]
        else:
            reached = self.scores[:, None] + moves
            parents = reached.argmax(axis=0)
            self.scores = reached[parents, np.arange(len(row))] + row
            self.paths = [[*self.paths[parent], label] for label, parent in enumerate(parents)]
        self.scores = self.scores - self.scores.max()
        alive = [path for path, score in zip(self.paths, self.scores, strict=True) if score > -np.inf]
        agreed = next((i for i, at in enumerate(zip(*alive, strict=True)) if len(set(at)) > 1), len(alive[0]))
        found = alive[0][:agreed]
        if self.delay is not None and len(alive[0]) - agreed > self.delay:
            best = self.paths[int(self.scores.argmax())]
            found = best[: len(best) - self.delay]
            keeps = [path[: len(found)] == found for path in self.paths]
            self.scores = np.where(keeps, self.scores, -np.inf)
        self.paths = [path[len(found) :] for path in self.paths]
        return self._scored(found)

    def _scored(self, labels: list[int]) -> list[tuple[int, float]]:
        return [(label, float(self.waiting.pop(0)[label])) for label in labels]


def only(stream: Stream, found: dict[str, np.ndarray]) -> np.ndarray:
    """The rows of the first output, as real numbers."""
    out = stream.meta["outputs"][0]
    rows, scale = found[out["name"]], out.get("scale")
    return rows if scale is None else np.float32(scale) * (rows.astype(np.float32) - (out.get("zero_point") or 0))


def whole(model: Model, arrays: dict[str, np.ndarray]) -> np.ndarray:
    """The rows of a sequence that is there as a whole."""
    stream = Stream(model)
    return np.concatenate([only(stream, stream.feed(arrays)), only(stream, stream.finish())])


def decision(row: np.ndarray, labels: list[str], task: Event) -> Event:
    """The prediction of a row of logits."""
    scores = sigmoid(row) if task.get("multi_label") else softmax(row)
    found: Event = {"event": "prediction", "label": labels[int(scores.argmax())], "score": float(scores.max())}
    if task.get("multi_label"):
        least = task.get("threshold", 0.5)
        held = [name for name, score in zip(labels, scores, strict=True) if score >= least]
        found |= {"labels": held} if held else {}
    return found


def words(model: Model, task: Event, given: list[str]) -> list[Event]:
    """The events of a sentence."""
    rows, labels = whole(model, Words(model.files).encode(given)), lines(model.files["labels.txt"])
    if task["kind"] == "classifier":
        return [decision(row, labels, task) for row in rows]
    path = LabelPath(model, task.get("viterbi_delay"))
    found = [*path.feed(rows), *path.finish()]
    return [
        {"event": "taggedword", "word": word, "tag": labels[label], "score": score}
        for word, (label, score) in zip(given, found, strict=True)
    ]


def filled(task: Event, rows: np.ndarray) -> np.ndarray:
    """Rows without a gap, masks included."""
    found, missing = fill(task, rows)
    return np.concatenate([found, missing], axis=1) if task.get("mask") else found


def fill(task: Event, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rows without a gap, and where values were missing."""
    policy, missing = task.get("missing", "refuse"), np.isnan(rows)
    numbers, found = np.arange(len(rows)), rows.copy()
    for column, gaps in zip(found.T, missing.T, strict=True):
        known = numbers[~gaps]
        if policy == "interpolate" and len(known):
            column[:] = np.interp(numbers, known, column[known], left=np.nan)
        elif policy == "hold" and len(known):
            before = np.searchsorted(known, numbers, side="right") - 1
            column[:] = np.where(before >= 0, column[known[np.maximum(before, 0)]], np.nan)
    kept = ~np.isnan(found).any(axis=1)
    return found[kept], missing[kept]


def scaled(task: Event, rows: np.ndarray) -> np.ndarray:
    """Rows in units of the scaler."""
    scaler = task.get("scaler")
    return rows if scaler is None else (rows - np.array(scaler["mean"])) / np.array(scaler["scale"])


def last_step(model: Model, row: int) -> int:
    """The input step, counted from 0, that completes an output row."""
    meta = model.meta
    if meta.get("window") is not None:
        hop = meta["hop"]
        first = (meta["window"] % hop or hop) if meta.get("pad") else meta["window"]
        return int(first + row * hop - 1)
    up, down = meta["outputs"][0]["rate"]
    return int(-(-(row + 1) * down // up) - 1)


def sensors(model: Model, task: Event, given: np.ndarray) -> list[Event]:
    """The events of a recording."""
    info = model.meta["inputs"][0]
    values = scaled(task, given).astype(np.float32).reshape(len(given), *info["shape"])
    rows, labels = whole(model, {info["name"]: values}), lines(model.files["labels.txt"])
    if task["kind"] == "classifier":
        return [decision(row, labels, task) for row in rows]
    path, found = LabelPath(model, task.get("viterbi_delay")), []
    for number, (label, score) in enumerate([*path.feed(rows), *path.finish()]):
        up, down = model.meta["outputs"][0]["rate"]
        steps = number * down / up if model.meta.get("window") is None else last_step(model, number)
        time = steps / task["sample_rate"] if task.get("sample_rate") else None
        found.append({"event": "taggedrow", "row": number, "tag": labels[label], "score": score, "time": time})
    return found


def forecast_shape(task: Event) -> tuple[list[int], tuple[int, int, int], int]:
    """Places of the targets among the columns, the shape of a forecast, and which quantile is the middle."""
    targets, quantiles = task.get("targets") or task["columns"], task.get("quantiles") or []
    places = [task["columns"].index(name) for name in targets]
    middle = min(range(len(quantiles)), key=lambda i: abs(quantiles[i] - 0.5)) if quantiles else 0
    return places, (task.get("horizon", 1), len(targets), max(1, len(quantiles))), middle


def adapted(task: Event, made: np.ndarray, rows: np.ndarray, missing: np.ndarray, first: int) -> np.ndarray:
    """Quantiles (n, horizon, targets, quantiles) as the device gives them, whose widths follow the errors.

    rows (T, targets) are the true values, in the units of the forecasts, the first of which follows row `first`.
    """
    _, (horizon, targets, _), middle = forecast_shape(task)
    coverage, rate = task["intervals"]["coverage"], task["intervals"]["rate"]
    widths, given = np.zeros((horizon, targets)), np.empty_like(made)
    for row in range(len(rows)):
        for ahead in range(1, min(row - first, horizon) + 1):
            bounds = given[row - first - ahead, ahead - 1][:, [0, -1]]
            wrong = (rows[row] < bounds[:, 0]) | (rows[row] > bounds[:, 1])
            widths[ahead - 1] += np.where(missing[row], 0, rate * (wrong - (1 - coverage)))
        widths = np.clip(widths, -5, 5)
        if row >= first:
            center = made[row - first][..., middle, None]
            given[row - first] = center + np.exp(widths)[..., None] * (made[row - first] - center)
    return given


def forecasts(model: Model, task: Event, given: np.ndarray, missing: np.ndarray | None = None) -> list[Event]:
    """A forecast after each row without a gap; `missing`: where values had been missing."""
    info, (places, shape, middle) = model.meta["inputs"][0], forecast_shape(task)
    values = scaled(task, given).astype(np.float32).reshape(len(given), *info["shape"])
    found, rows = [], whole(model, {info["name"]: values}).astype(np.float64).reshape(-1, *shape)
    if task.get("scaler") is not None:
        mean, scale = (np.array(task["scaler"][key])[places, None] for key in ("mean", "scale"))
        rows = rows * scale + mean
    if task.get("intervals"):
        gaps = np.zeros(given.shape, bool) if missing is None else missing
        rows = adapted(task, rows, given[:, places], gaps[:, places], last_step(model, 0))
    for number, made in enumerate(rows):
        quantiles = {str(q): made[..., i].tolist() for i, q in enumerate(task.get("quantiles") or [])}
        found.append({"event": "forecast", "row": number, "values": made[..., middle].tolist(), "quantiles": quantiles})
    return found


def anomalies(model: Model, task: Event, given: np.ndarray) -> list[Event]:
    """How unexpected each row is."""
    info, (places, shape, middle) = model.meta["inputs"][0], forecast_shape(task)
    probation = task.get("probation", 0)
    values, judged = scaled(task, given), len(given)
    if probation:
        first = given[:probation]
        judged = len(given) - probation
        if judged < 0:
            return [anomaly(i, 0.0, 0.0, task) for i in range(len(given))]
        deviation = first.std(axis=0)
        values = (given - first.mean(axis=0)) / np.where(deviation > 0, deviation, 1.0)
    outputs = whole(model, {info["name"]: values.astype(np.float32).reshape(len(given), *info["shape"])})
    expected, errors, found = None, [], []
    for number, (row, output) in enumerate(zip(values[:, places], outputs, strict=True)):
        error = 0.0 if expected is None else float(np.sqrt(np.mean((row - expected) ** 2)))
        score = 0.0
        if expected is not None:
            errors.append(error)
            score = likelihood(errors, task)
        expected = output.astype(np.float64).reshape(shape)[0, :, middle]
        quiet = number < len(given) - judged
        found.append(anomaly(number, 0.0 if quiet else error, 0.0 if quiet else score, task))
    return found


def anomaly(row: int, error: float, score: float, task: Event) -> Event:
    """The event of a row."""
    alarm = score >= task.get("threshold", 0.9999)
    return {"event": "anomaly", "row": row, "error": error, "score": score, "alarm": alarm}


def likelihood(errors: list[float], task: Event) -> float:
    """How unlikely the latest errors are, from those before."""
    if len(errors) < task.get("warm_up", 100):
        return 0.0
    known, last = errors[-task.get("long_window", 1000) :], errors[-task.get("short_window", 10) :]
    z = (np.mean(last) - np.mean(known)) / max(float(np.std(known)), 1e-12)
    return 0.5 * math.erfc(-float(z) / math.sqrt(2))


def utterances(task: Event, samples: np.ndarray) -> Iterator[tuple[int, int]]:
    """Where each begins and ends, by its level; one without endpoints."""
    spec, begin = task.get("endpoint"), 0
    if spec is not None:
        block = task["sample_rate"] // 100
        wanted = max(1, round(spec.get("silence", 0.5) * task["sample_rate"] / block))
        energy, speaking, quiet = 10 ** (spec.get("level", -40.0) / 10), False, 0
        for end in range(block, len(samples) + 1, block):
            loud = bool(np.mean(samples[end - block : end] ** 2) > energy)
            quiet, speaking = 0 if loud else quiet + 1, speaking or loud
            if speaking and quiet >= wanted:
                yield begin, end
                begin, speaking = end, False
    if begin < len(samples):
        yield begin, len(samples)


class Sound:
    """What turns samples into rows, and rows into times."""

    def __init__(self, model: Model, task: Event):
        self.model, self.spec, self.rate = model, task.get("features"), task["sample_rate"]
        self.info = model.meta["inputs"][0]
        step = length = int(np.prod(self.info["shape"]))
        if self.spec:
            self.spec = {**MEL, **self.spec}
            step, length = self.spec["frame_step"], self.spec["frame_length"]
        self.step, self.length = step, length if self.spec else task.get("frame_length") or length
        self.lead = round(task.get("lead", 0.0) * self.rate / step) * step
        self.zeros = self.lead if task.get("zeros") is None else task["zeros"]

    def rows(self, samples: np.ndarray) -> np.ndarray:
        """Output rows of an utterance."""
        signal = np.concatenate([np.zeros(self.zeros), samples])
        whole_rows = len(signal) // self.step * self.step
        rows = log_mel(self.spec, signal) if self.spec else signal[:whole_rows].astype(np.float32)
        return whole(self.model, {self.info["name"]: rows.reshape(-1, *self.info["shape"])})

    def time(self, begin: int, row: int) -> float:
        seen = last_step(self.model, row) * self.step + self.length - self.lead
        return begin / self.rate + seen / self.rate


def keywords(model: Model, task: Event, samples: np.ndarray) -> list[Event]:
    """The keywords of a signal."""
    labels, sound, found = lines(model.files["labels.txt"]), Sound(model, task), []
    up, down = model.meta["outputs"][0]["rate"]
    per_row = sound.step * down / up / sound.rate
    window = max(1, round(task.get("smoothing", 0.0) / per_row))
    rest = max(1, round(task.get("refractory", 1.0) / per_row))
    threshold, several = task.get("threshold", 0.5), task.get("multi_label", False)
    wanted = [i for i, label in enumerate(labels) if label not in task.get("background", ())]
    others = [i for i in range(len(labels)) if i not in wanted]
    for begin, end in utterances(task, samples):
        recent: list[np.ndarray] = []
        led = dict.fromkeys(wanted, -math.inf)
        told: set[int] = set()
        for number, row in enumerate(sound.rows(samples[begin:end])):
            recent = [*recent, sigmoid(row) if several else softmax(row)][-window:]
            smooth, time = np.mean(recent, axis=0), sound.time(begin, number)
            if several:
                leading = [i for i in wanted if smooth[i] >= min(0.5, threshold)]
            else:
                best = max(wanted, key=lambda i: smooth[i], default=None)
                leading = [best] if best is not None and smooth[best] > smooth[others].sum() else []
            for i in sorted(leading, key=lambda i: -smooth[i]):
                if number - led[i] - 1 >= rest:
                    told.discard(i)
                led[i] = number
                if i not in told and smooth[i] >= threshold:
                    told.add(i)
                    found.append({"event": "keyword", "label": labels[i], "score": float(smooth[i]), "time": time})
        if task.get("endpoint") and recent:
            best = int(recent[-1].argmax())
            span = {"begin": begin / sound.rate, "end": end / sound.rate}
            found.append({"event": "utterance", "label": labels[best], "score": float(recent[-1][best]), **span})
    return found


def prefixes(rows: np.ndarray, blank: int, width: int) -> tuple[tuple[int, ...], float]:
    """The most probable text of CTC, and its log probability: prefix beam search."""
    kept: dict[tuple[int, ...], tuple[float, float]] = {(): (0.0, -math.inf)}
    for row in log_softmax(rows.astype(np.float64)):
        found: dict[tuple[int, ...], list[float]] = {}

        def add(text: tuple[int, ...], end: int, value: float, found: dict[Any, list[float]] = found) -> None:
            ends = found.setdefault(text, [-math.inf, -math.inf])
            ends[end] = float(np.logaddexp(ends[end], value))

        for text, (quiet, spoken) in kept.items():
            total = np.logaddexp(quiet, spoken)
            add(text, 0, total + row[blank])
            if text:
                add(text, 1, spoken + row[text[-1]])
            for token in range(len(row)):
                if token != blank:
                    add((*text, token), 1, (quiet if text[-1:] == (token,) else total) + row[token])
        best = sorted(found, key=lambda text: -np.logaddexp(*found[text]))[:width]
        kept = {text: (found[text][0], found[text][1]) for text in best if np.logaddexp(*found[text]) > -math.inf}
    text = max(kept, key=lambda text: np.logaddexp(*kept[text]))
    return text, float(np.logaddexp(*kept[text]))


def transcript(model: Model, task: Event, samples: np.ndarray) -> list[Event]:
    """What is said in a signal."""
    labels, sound, found = lines(model.files["labels.txt"]), Sound(model, task), []
    blank, width = task.get("blank", 0), task.get("width", 1)
    for begin, end in utterances(task, samples):
        rows, last, tokens = sound.rows(samples[begin:end]), blank, []
        for number, row in enumerate(rows if width == 1 else ()):
            token = int(row.argmax())
            if token not in (blank, last):
                found.append({"event": "token", "text": labels[token], "time": sound.time(begin, number)})
                tokens.append(token)
            last = token
        score = float(log_softmax(rows.astype(np.float64)).max(axis=-1).sum())
        if width > 1:
            best, score = prefixes(rows, blank, width)
            tokens = list(best)
        if tokens:
            text = task.get("joiner", " ").join(labels[token] for token in tokens)
            span = {"begin": begin / sound.rate, "end": end / sound.rate}
            found.append({"event": "transcript", "text": text, "log_probability": score, **span})
    return found


def beam(model: Model, source: dict[str, np.ndarray], width: int, penalty: float, most: int) -> tuple[list[int], float]:
    """The best tokens after the start token, and their score."""
    name, kind = (model.meta["inputs"][0][key] for key in ("name", "dtype"))
    stream = Stream(model)
    stream.encode(source)
    growing: list[tuple[float, list[int], Any]] = [(0.0, [], stream.states)]
    done: list[tuple[float, list[int]]] = []

    def worth(total: float, length: int) -> float:
        return float(total / ((5 + length) / 6) ** penalty)

    for _ in range(most):
        choices = []
        for total, tokens, states in growing:
            stream.states = dict(states)
            logits = only(stream, stream.feed({name: np.array([tokens[-1] if tokens else START], kind)}))[0]
            scores = log_softmax(logits)
            scores[[PAD, UNKNOWN, START]] = -np.inf
            # More than these of one hypothesis are never among the best of all.
            likely = np.argsort(-scores, kind="stable")[: 2 * width]
            choices += [
                (total + float(scores[i]), [*tokens, int(i)], stream.states) for i in likely if np.isfinite(scores[i])
            ]
        choices = sorted(choices, key=lambda item: -item[0])[: 2 * width]
        done += [(total, tokens[:-1]) for total, tokens, _ in choices if tokens[-1] == END]
        growing = [item for item in choices if item[1][-1] != END][:width]
        if not growing:
            break
        limit = max(total for total, _, _ in growing) / ((5 + most) / 6) ** penalty
        if done and max(worth(total, len(tokens) + 1) for total, tokens in done) >= limit:
            break
    found = [(worth(total, len(tokens) + 1), tokens) for total, tokens in done]
    found += [(worth(total, len(tokens)), tokens) for total, tokens, _ in growing]
    score, tokens = max(found, key=lambda item: item[0])
    return tokens, score


def translation(model: Model, task: Event, text: str) -> list[Event]:
    """The best translation of a text."""
    source, target = Codec(model.files["source.json"]), Codec(model.files["target.json"])
    ids = source.encode(text)
    if model.meta["encode"] is None:
        return list(in_turns(model, task, source, target, ids))
    ids = ids[::-1] if task.get("reverse_source") else ids
    ids = [*ids, END] if task.get("source_end", True) else ids
    info = model.meta["encode"]["inputs"][0]
    return written(model, task, target, {info["name"]: np.array(ids, info["dtype"])})


def written(model: Model, task: Event, target: Codec, source: dict[str, np.ndarray]) -> list[Event]:
    """The best text after a source."""
    width, penalty, most = task.get("width", 5), task.get("length_penalty", 1.0), task.get("max_length", 100)
    tokens, score = beam(model, source, width, penalty, most)
    return [{"event": "text", "text": target.decode(tokens), "score": score}]


def in_turns(model: Model, task: Event, source: Codec, target: Codec, ids: list[int]) -> Iterator[Event]:
    """Wait-k: k words or signs are read, then one is written for each that is read."""
    stream, most, count, opened, wrote = Stream(model), task.get("max_length", 100), 0, [], 0

    def step(side: str, number: int) -> np.ndarray:
        values = {"source": np.array([PAD]), "target": np.array([PAD]), side: np.array([number])}
        return only(stream, stream.feed(values))[-1]

    units: list[list[int]] = []
    for number in ids:
        if source.begins_unit(number) or not units:
            units.append([])
        units[-1].append(number)
    ending = [END if task.get("source_end", True) else PAD]
    for unit in [*units, ending] if units else []:
        ended = unit is ending
        count += not ended
        for number in unit:
            row = step("source", number)
        if not ended and count < task["wait_k"]:
            continue
        first = True
        while wrote < most:
            scores = np.array(row)
            scores[[PAD, UNKNOWN, START]] = -np.inf
            token = int(scores.argmax())
            if token == END or (not first and not ended and target.begins_unit(token)):
                break
            if opened and target.begins_word(token):
                yield {"event": "translatedword", "word": target.decode(opened), "read": count}
                opened = []
            opened, wrote, first = [*opened, token], wrote + 1, False
            row = step("target", token)
    if opened:
        yield {"event": "translatedword", "word": target.decode(opened), "read": count}


def caption(model: Model, task: Event, array: np.ndarray) -> list[Event]:
    """The best text for an array."""
    info = model.meta["encode"]["inputs"][0]
    values = (array * task.get("scale", 1.0) + task.get("offset", 0.0)).astype(np.float32)
    return written(model, task, Codec(model.files["target.json"]), {info["name"]: values})


def generated(model: Model, task: Event, text: str, most: int) -> list[Event]:
    """The most probable piece at each step (a temperature of 0)."""
    codec, stream, found = Codec(model.files["target.json"]), Stream(model), []
    info = model.meta["inputs"][0]
    ids = [*([START] if task.get("start", True) else []), *codec.encode(text)]
    banned = [PAD, UNKNOWN, START] + ([] if task.get("start", True) else [END])
    banned += [codec.entries.index(f"<{style}>") for style in task.get("styles", [])]
    for _ in range(most):
        row = only(stream, stream.feed({info["name"]: np.array(ids, info["dtype"])}))[-1]
        scores = row.astype(np.float64)
        scores[banned] = -np.inf
        token = int(scores.argmax())
        if token == END:
            break
        score = float(log_softmax(row.astype(np.float64))[token])
        found.append({"event": "piece", "text": codec.text([token]), "score": score})
        ids = [token]
    return found


def drawn(model: Model, task: Event, rows: np.ndarray, most: int) -> list[Event]:
    """The points after a beginning at a temperature of 0: the mean of the heaviest component, and the likeliest pen."""
    stream, info, found = Stream(model), model.meta["inputs"][0], []
    scale, floor = np.array(task["scaler"]["scale"])[:2], task.get("floor", 0.01)
    given = rows if len(rows) and tuple(rows[0]) == (0, 0, 1) else np.concatenate([[(0, 0, 1)], rows])
    for row in range(len(given) - 1, len(given) - 1 + most):
        fed = scaled(task, given).astype(np.float32).reshape(len(given), *info["shape"])
        output = only(stream, stream.feed({info["name"]: fed}))[-1].astype(np.float64).ravel()
        weights, x, y, s1, s2, c = output[:-3].reshape(-1, 6).T
        logs, pens = log_softmax(weights), log_softmax(output[-3:])
        best, pen = int(logs.argmax()), int(pens.argmax())
        d1, d2 = floor + np.exp(np.clip(s1, -20, 20)), floor + np.exp(np.clip(s2, -20, 20))
        rho, u, v = 0.95 * np.tanh(c), (x[best] - x) / d1, (y[best] - y) / d2
        square = (u * u + v * v - 2 * rho * u * v) / (1 - rho * rho)
        densities = np.exp(logs - square / 2) / (2 * math.pi * d1 * d2 * np.sqrt(1 - rho * rho))
        dx, dy = float(x[best] * scale[0]), float(y[best] * scale[1])
        score = float(math.log(densities.sum()) + pens[pen])
        found.append(
            {"event": "point", "row": row, "dx": dx, "dy": dy, "lift": pen > 0, "end": pen == 2, "score": score}
        )
        if pen == 2:
            break
        given = np.array([[dx, dy, float(pen > 0)]])
    return found


def events(model: Model, given: dict[str, Any]) -> list[Event]:
    """The events of one sequence: of "words", "text", "rows", "samples" or "array", whichever is given."""
    task = model.meta["task"]
    kind = task["kind"]
    if "words" in given:
        return words(model, task, given["words"])
    if "samples" in given:
        return (keywords if kind == "keyword_spotter" else transcript)(model, task, given["samples"])
    if "array" in given:
        return caption(model, task, given["array"])
    if "text" in given:
        if kind == "generator":
            return generated(model, task, given["text"], given["max_length"])
        return translation(model, task, given["text"])
    if kind == "sketcher":
        return drawn(model, task, given["rows"], given["max_length"])
    if kind == "forecaster":
        return forecasts(model, task, filled(task, given["rows"]), fill(task, given["rows"])[1])
    return (anomalies if kind == "anomaly_detector" else sensors)(model, task, filled(task, given["rows"]))
