"""Misses against false alarms, as a picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from rnnzoo.tasks.keyword_spotter.detection import THRESHOLDS, Heard, tally
from rnnzoo.util.plots import COLOURS, figure


def draw_det(path: Path, quiet: Sequence[Heard], spoken: Mapping[str, Sequence[Heard]], shipped: float) -> Path:
    """A curve of misses over false alarms an hour (detection error trade-off, Martin et al. 1997) for each condition.

    Args:
        path: of the PNG.
        quiet: signals without a keyword.
        spoken: signals with keywords, by the name of the condition.
        shipped: the threshold of the model, which is marked.
    """
    hours = sum(signal.seconds for signal in quiet) / 3600
    # No false alarm at all lies at the left edge: a logarithmic axis has no zero.
    least = 0.5 / hours
    thresholds = sorted({*THRESHOLDS, shipped})
    rates = {threshold: max(least, tally(quiet, threshold).rate) for threshold in thresholds}
    with figure(path) as (axis,):
        for colour, (name, signals) in zip(COLOURS, spoken.items(), strict=False):
            misses = {threshold: 100 * (1 - tally(signals, threshold).recall) for threshold in thresholds}
            axis.plot(
                [rates[t] for t in thresholds], [misses[t] for t in thresholds], "-o", ms=3, color=colour, label=name
            )
            axis.plot(rates[shipped], misses[shipped], "s", ms=9, mfc="none", color=colour)
        axis.axvline(least, color="#999999", ls=":", lw=1)
        axis.annotate("none", (least, 1.0), xycoords=("data", "axes fraction"), ha="center", va="bottom", fontsize=8)
        axis.set(
            title=f"Misses against false alarms, {hours:.2f} hours without a keyword (square: threshold {shipped:g})",
            xlabel="false alarms an hour",
            ylabel="missed keywords, %",
            xscale="log",
        )
        axis.set_ylim(bottom=0)
        axis.legend(frameon=False, fontsize=9)
        axis.title.set_fontsize(9)
    return path
