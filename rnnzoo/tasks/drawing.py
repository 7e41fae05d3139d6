"""Plots of a model's results: confusion, attention, forecasts, alarms, surprise, scores, notes, captions."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rnnzoo.util.plots import COLOURS, curves, figure

# Of more labels, those with the most mistakes are shown.
_LABELS = 24
_SHADES = "Blues"
# Letters that fit below a picture.
_LINE = 34
# Scores of anomalies that are nearer to 1 are drawn as this.
_SUREST = 1e-14


def draw_history(path: Path, history: Mapping[str, Sequence[float]]) -> Path:
    """Learning curves: the loss and the other metrics, in training and on `dev`."""
    lines = {name: values for name, values in history.items() if name not in ("seconds", "learning_rate")}
    losses = {name: values for name, values in lines.items() if name.endswith("loss")}
    others = {name: values for name, values in lines.items() if name not in losses}
    with figure(path, 2 if others else 1) as axes:
        for axis, shown, title in zip(axes, (losses, others), ("Loss", "Figures"), strict=False):
            curves(axis, shown, title=title, x="epoch", y="", log=False, start=1)
    return path


def draw_confusion(path: Path, true: Sequence[str], predicted: Sequence[str]) -> Path:
    """Confusion matrix: the share of each true label (rows) that was predicted as each label (columns)."""
    pairs = np.array(true), np.array(predicted)
    labels, counts = np.unique(np.concatenate(pairs)), None
    if len(labels) > _LABELS:
        wrong = np.concatenate([side[pairs[0] != pairs[1]] for side in pairs])
        most, counts = np.unique(wrong, return_counts=True)
        labels = np.sort(most[np.argsort(-counts, kind="stable")[:_LABELS]])
    share = np.zeros((len(labels), len(labels)))
    for i, label in enumerate(labels):
        held = pairs[0] == label
        share[i] = [np.mean(pairs[1][held] == other) if held.any() else 0 for other in labels]
    title = "Confusion" if counts is None else f"Confusion of the {len(labels)} labels with the most mistakes"
    with figure(path, size=(7.2, 6.4)) as (axis,):
        shown = axis.imshow(share, cmap=_SHADES, vmin=0, vmax=1)
        axis.set(title=title, xlabel="found", ylabel="true")
        names = [_plain(label) for label in labels]
        axis.set_xticks(range(len(labels)), names, rotation=90, fontsize=8)
        axis.set_yticks(range(len(labels)), names, fontsize=8)
        axis.grid(visible=False)
        if len(labels) <= _LABELS // 2:
            for i, j in zip(*np.nonzero(share >= 0.005), strict=True):
                colour = "white" if share[i, j] > 0.5 else "black"
                axis.text(j, i, f"{share[i, j]:.0%}", ha="center", va="center", fontsize=8, color=colour)
        axis.figure.colorbar(shown, ax=axis, fraction=0.046, label="share of the true label")
    return path


def draw_classes(path: Path, classes: Mapping[str, Mapping[str, float]]) -> Path:
    """Precision and recall of each label that examples have; of many, those with the most examples."""
    held = sorted((name for name in classes if classes[name]["count"]), key=lambda name: -classes[name]["count"])
    names = held[:_LABELS]
    with figure(path, size=(7.2, 1.6 + 0.24 * len(names))) as (axis,):
        for i, figure_name in enumerate(("precision", "recall")):
            values = [classes[name][figure_name] for name in names]
            axis.plot(values, range(len(names)), "os"[i], color=COLOURS[i], ms=6, label=figure_name)
        title = "Labels" if len(names) == len(held) else f"The {len(names)} labels with the most examples"
        axis.set(title=title, xlabel="share", xlim=(-0.03, 1.03), ylim=(len(names) - 0.5, -0.5))
        axis.set_yticks(range(len(names)), [f"{_plain(name)} ({classes[name]['count']:.0f})" for name in names])
        axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return path


def draw_alignments(path: Path, alignments: Sequence[tuple[Sequence[str], Sequence[str], NDArray[Any]]]) -> Path:
    """Weights of attention (T, S), with the target (T) and the source (S)."""
    with figure(path, len(alignments)) as axes:
        for number, (axis, (written, read, weights)) in enumerate(zip(axes, alignments, strict=True), 1):
            _heat(axis, weights, "weight of attention")
            axis.set(title=f"Attention of sentence {number}", xlabel="read", ylabel="written")
            axis.set_xticks(range(len(read)), map(_plain, read), rotation=90, fontsize=8)
            axis.set_yticks(range(len(written)), map(_plain, written), fontsize=8)
    return path


def draw_surprise(path: Path, texts: Sequence[tuple[Sequence[str], NDArray[Any]]]) -> Path:
    """Bits (T,) that each piece (T) of a text costs, each text in a line of its own; what is sure costs none."""
    with figure(path, size=(12.8, 2.9), rows=len(texts)) as axes:
        for number, (axis, (pieces, bits)) in enumerate(zip(axes, texts, strict=True), 1):
            axis.bar(range(len(pieces)), bits, color=COLOURS[0])
            title = f"Surprise, text {number}: {np.mean(bits):.2f} bits a piece on average"
            axis.set(title=title, ylabel="bits", xlim=(-0.6, len(pieces) - 0.4))
            names = [_plain(piece.replace("\n", "↵")) for piece in pieces]
            axis.set_xticks(range(len(pieces)), names, fontsize=8, rotation=90 if max(map(len, names)) > 1 else 0)
    return path


def draw_forecasts(path: Path, columns: Mapping[str, Mapping[str, NDArray[Any]]], origin: int) -> Path:
    """For each column the true values (also from before the forecast), and the forecast from row `origin` on.

    Values are in the units of the data. A forecast of several quantiles (H, Q) is a band with a line for the one in the
    middle.
    """
    with figure(path, len(columns)) as axes:
        for axis, (name, lines) in zip(axes, columns.items(), strict=True):
            true, ahead = lines["true"], lines["forecast"]
            # The last row that is known is 0.
            axis.plot(np.arange(len(true)) - origin + 1, true, color=COLOURS[6], lw=1.4, label="true")
            steps = 1 + np.arange(len(ahead))
            if ahead.ndim > 1:
                axis.fill_between(
                    steps, ahead[:, 0], ahead[:, -1], color=COLOURS[0], alpha=0.25, lw=0, label="outer quantiles"
                )
                ahead = ahead[:, ahead.shape[1] // 2]
            axis.plot(steps, ahead, color=COLOURS[0], lw=1.8, label="forecast")
            axis.axvline(0.5, color="grey", lw=0.8, ls=":")
            axis.set(title=f"Forecast of {_plain(name)}", xlabel="rows after the last known one", ylabel=_plain(name))
            axis.legend(frameon=False, fontsize=9)
    return path


def draw_anomalies(
    path: Path, name: str, values: Mapping[str, NDArray[Any]], score: NDArray[Any], threshold: float, marks: Any
) -> Path:
    """Columns of a series (T,) in the units of the data, and below them how near scores (T,) are to 1.

    Args:
        path: a .png.
        name: of the series.
        values: the columns by name.
        score: of each row, 0 to 1.
        threshold: that makes an alarm.
        marks: pairs of the first and the last row of an anomaly.
    """
    with figure(path, size=(12.8, 2.9), rows=2) as (above, below):
        for i, (column, series) in enumerate(values.items()):
            above.plot(series, color=COLOURS[(i - 1) % len(COLOURS)], lw=0.9, label=_plain(column))
        above.set(title=f"Anomalies of {_plain(name)}", ylabel=_plain(", ".join(values)))
        # Thresholds are so near to 1 that only the distance from it tells scores apart.
        rest, alarms = np.clip(1 - score, _SUREST, 1), np.flatnonzero(score >= threshold)
        below.plot(rest, color=COLOURS[0], lw=0.9, label="1 - score")
        below.axhline(
            max(1 - threshold, _SUREST), color=COLOURS[1], ls="--", lw=1, label=f"1 - threshold, {1 - threshold:.2g}"
        )
        below.plot(alarms, rest[alarms], "o", ms=4, color=COLOURS[1], label=f"{len(alarms)} alarms")
        below.set(xlabel="row", ylabel="1 - score", yscale="log")
        below.invert_yaxis()
        for axis in (above, below):
            for i, (begin, end) in enumerate(marks):
                axis.axvspan(begin, end, color=COLOURS[4], alpha=0.3, lw=0, label="" if i else "marked as anomaly")
            axis.set_xlim(0, len(score) - 1)
            axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return path


def draw_scores(path: Path, true: NDArray[Any], given: NDArray[Any], sentences: Sequence[str]) -> Path:
    """The sentences of a text with true scores (S,) and those that a model gives, each as a share of its highest."""
    with figure(path, size=(12.8, 1.2 + 0.5 * len(sentences))) as (axis,):
        places = np.arange(len(sentences))
        for values, shift, name, colour in ((true, -0.2, "true", COLOURS[0]), (given, 0.2, "found", COLOURS[1])):
            axis.barh(places + shift, values / max(float(np.max(values)), 1e-9), height=0.4, label=name, color=colour)
        axis.set_yticks(places, [_plain(textwrap.shorten(text, 2 * _LINE)) for text in sentences], fontsize=8)
        axis.invert_yaxis()
        axis.set(title="The score of each sentence", xlabel="share of the highest")
        axis.legend(frameon=False, fontsize=9, loc="upper left", bbox_to_anchor=(1, 1))
    return path


def draw_roll(path: Path, true: NDArray[Any], probability: NDArray[Any], names: Sequence[str]) -> Path:
    """Probabilities of notes (T, D), and a ring around each note that sounds."""
    used = np.flatnonzero((true > 0).any(axis=0) | (probability > 0.1).any(axis=0))
    low, high = (int(used[0]), int(used[-1])) if len(used) else (0, len(names) - 1)
    with figure(path, size=(12.8, 5.2)) as (axis,):
        _heat(axis, probability[:, low : high + 1].T, "probability", origin="lower")
        steps, notes = np.nonzero(true[:, low : high + 1])
        axis.plot(steps, notes, "o", ms=5, mfc="none", mec=COLOURS[1], mew=1.2, label="sounds")
        axis.set(title="Notes that are expected, and those that sound", xlabel="step", ylabel="note")
        shown = range(0, high - low + 1, max(1, (high - low) // 12))
        axis.set_yticks(shown, [_plain(names[low + i]) for i in shown], fontsize=8)
        axis.legend(frameon=False, fontsize=9, loc="lower left", bbox_to_anchor=(0, 1))
    return path


def draw_heard(
    path: Path, probability: NDArray[Any], labels: Sequence[str], step: float, texts: Mapping[str, str]
) -> Path:
    """Probabilities of labels (T, L) over time, a row every `step` seconds; `texts` stand above, each with its name."""
    most = np.sort(np.argsort(-probability.max(axis=0), kind="stable")[:_LABELS])
    with figure(path, size=(12.8, 1.8 + 0.24 * len(most))) as (axis,):
        # Cells are centred on the times of their rows.
        span = (0.5 * step, (len(probability) + 0.5) * step, len(most) - 0.5, -0.5)
        _heat(axis, probability[:, most].T, "probability", extent=span)
        title = "\n".join(f"{name}: {text}" for name, text in texts.items())
        axis.set(xlabel="seconds", ylabel="label")
        axis.set_title(_plain(title), loc="left", fontsize=10)
        axis.set_yticks(range(len(most)), [_plain(labels[i]) for i in most], fontsize=8)
    return path


def draw_events(path: Path, signal: NDArray[Any], rate: float, marks: Mapping[str, Sequence[Any]]) -> Path:
    """A signal (T,) with events, pairs of a sample and a label, on a line for each name."""
    with figure(path, size=(12.8, 4.4)) as (axis,):
        axis.plot(np.arange(len(signal)) / rate, signal, color=COLOURS[6], lw=0.9)
        low, step = float(signal.min()), 0.08 * float(np.ptp(signal))
        for line, (name, events) in enumerate(marks.items(), 1):
            at = [begin / rate for begin, _ in events]
            axis.plot(at, [low - line * step] * len(at), "|", ms=9, mew=2, color=COLOURS[line - 1], label=name)
            for seconds, (_, label) in zip(at, events, strict=True):
                axis.text(
                    seconds, low - line * step, f" {_plain(label)}", fontsize=7, va="center", color=COLOURS[line - 1]
                )
        axis.set(title="Events", xlabel="seconds", ylabel="signal")
        axis.legend(frameon=False, fontsize=9, loc="upper right")
    return path


def draw_captions(path: Path, pictures: Sequence[NDArray[Any]], captions: Sequence[str]) -> Path:
    """Pictures (H, W, 3) of 0 .. 255, each with its caption below."""
    with figure(path, len(pictures), size=(3.2, 3.8)) as axes:
        for axis, picture, caption in zip(axes, pictures, captions, strict=True):
            axis.imshow(np.clip(picture, 0, 255).astype(np.uint8))
            axis.set_xticks([])
            axis.set_yticks([])
            axis.set_xlabel(_plain(textwrap.fill(caption, _LINE)), fontsize=9)
            axis.grid(visible=False)
            axis.spines[:].set_visible(False)
    return path


def draw_chords(path: Path, chords: Sequence[Sequence[int]]) -> Path:
    """Notes of chords, a tuple of MIDI numbers a step, as a roll; a note that sounds on is one line."""
    with figure(path, size=(12.8, 4.4)) as (axis,):
        for step, chord in enumerate(chords):
            for note in chord:
                held = step > 0 and note in chords[step - 1]
                axis.plot([step - 0.2 * held, step + 0.8], [note, note], color=COLOURS[0], lw=4, solid_capstyle="butt")
        axis.set(title="Notes", xlabel="quarter note", ylabel="MIDI number")
    return path


def draw_sketches(path: Path, drawings: Sequence[NDArray[Any]], columns: int = 8) -> Path:
    """Drawings (N, 3) of movements of a pen and lifts, y downwards, each in a box of its own."""
    rows = -(-len(drawings) // columns)
    with figure(path, min(columns, len(drawings)), size=(1.2, 1.2), rows=rows) as axes:
        for axis in axes:
            axis.set_axis_off()
        for axis, points in zip(axes, drawings, strict=False):
            places = np.cumsum(points[:, :2], axis=0)
            for stroke in np.split(places, np.flatnonzero(points[:-1, 2] > 0) + 1):
                axis.plot(*stroke.T, color=COLOURS[6], lw=1.6, solid_capstyle="round", solid_joinstyle="round")
            axis.set_aspect("equal")
            axis.invert_yaxis()
    return path


def draw_paths(path: Path, pictures: Mapping[str, Mapping[str, NDArray[Any]]]) -> Path:
    """Lines (T, 2) in a plane, a box for each title with its lines by name."""
    with figure(path, len(pictures), size=(3.2, 3.4)) as axes:
        for axis, (title, lines) in zip(axes, pictures.items(), strict=True):
            for colour, (name, places) in zip(COLOURS, lines.items(), strict=False):
                axis.plot(*places.T, color=colour, lw=1.4, label=name)
            axis.set(title=_plain(title), xlabel="m", aspect="equal")
        axes[0].legend(frameon=False, fontsize=8)
    return path


def draw_sounds(
    path: Path, sounds: Mapping[str, Sequence[NDArray[Any]]], names: Sequence[str] = ("true", "said")
) -> Path:
    """Log-mel features (T, M) of two sounds of each word, one below the other, with the names of both rows."""
    longest = max(len(rows) for pair in sounds.values() for rows in pair)
    shown = [(f"{word}, {name}", pair[row]) for row, name in enumerate(names) for word, pair in sounds.items()]
    with figure(path, len(sounds), size=(1.5, 1.9), rows=2) as axes:
        for axis, (title, rows) in zip(axes, shown, strict=True):
            axis.imshow(rows.T, origin="lower", aspect="auto", cmap=_SHADES, interpolation="nearest")
            axis.set_xlim(-0.5, longest - 0.5)
            axis.set_title(_plain(title), fontsize=8)
            axis.set_axis_off()
    return path


def _heat(axis: Any, values: NDArray[Any], label: str, **options: Any) -> None:
    """Values of 0 to 1 (rows, columns) as shades, with the bar that says what a shade means."""
    shown = axis.imshow(values, cmap=_SHADES, vmin=0, vmax=1, aspect="auto", interpolation="nearest", **options)
    axis.grid(visible=False)
    axis.figure.colorbar(shown, ax=axis, fraction=0.046, label=label)


def _plain(piece: str) -> str:
    """Text that fonts can draw: the sign of a space becomes a line, and dollars are no formulas."""
    return piece.replace("▁", "_").replace("$", r"\$")
