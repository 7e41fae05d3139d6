"""Plots of a model's results: confusion, attention, forecasts, captions."""

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


def draw_alignments(path: Path, alignments: Sequence[tuple[Sequence[str], Sequence[str], NDArray[Any]]]) -> Path:
    """Weights of attention (T, S), with the target (T) and the source (S)."""
    with figure(path, len(alignments)) as axes:
        for axis, (written, read, weights) in zip(axes, alignments, strict=True):
            axis.imshow(weights, cmap=_SHADES, vmin=0, vmax=1, aspect="auto")
            axis.set(xlabel="read", ylabel="written")
            axis.set_xticks(range(len(read)), map(_plain, read), rotation=90, fontsize=8)
            axis.set_yticks(range(len(written)), map(_plain, written), fontsize=8)
            axis.grid(visible=False)
    return path


def draw_forecasts(path: Path, columns: Mapping[str, Mapping[str, NDArray[Any]]], origin: int) -> Path:
    """For each column the true values (also from before the forecast), and the forecast from row `origin` on.

    A forecast of several quantiles (H, Q) is a band with a line for the one in the middle.
    """
    with figure(path, len(columns)) as axes:
        for axis, (name, lines) in zip(axes, columns.items(), strict=True):
            true, ahead = lines["true"], lines["forecast"]
            steps = origin + np.arange(len(ahead))
            axis.plot(true, color=COLOURS[6], lw=1.4, label="true")
            if ahead.ndim > 1:
                axis.fill_between(steps, ahead[:, 0], ahead[:, -1], color=COLOURS[0], alpha=0.25, lw=0)
                ahead = ahead[:, ahead.shape[1] // 2]
            axis.plot(steps, ahead, color=COLOURS[0], lw=1.8, label="forecast")
            axis.axvline(origin, color="grey", lw=0.8, ls=":")
            axis.set(title=_plain(name), xlabel="rows")
            axis.legend(frameon=False, fontsize=9)
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
        axis.set(xlabel="seconds")
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


def _plain(piece: str) -> str:
    """Text that fonts can draw: the sign of a space becomes a line, and dollars are no formulas."""
    return piece.replace("▁", "_").replace("$", r"\$")
