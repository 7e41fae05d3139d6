#!/usr/bin/env python3
"""Write the table of docs/applications.md: each application with its model, its figure and a classical baseline.

`--measure NAME ...` first measures the baselines of these models on their test splits, for zoo_configs/baselines.csv.
That needs the data: TensorFlow Datasets downloads them, or RNNZOO_DATA_MIRROR names a folder that has them.
"""

import argparse
import csv
import io
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rnnzoo.bundles.cards import figure, measures
from rnnzoo.errors import RnnzooError
from rnnzoo.registry.layout import CONFIG_FILE, bundle_paths, root
from rnnzoo.registry.names import list_models
from rnnzoo.runs.building import load_task
from rnnzoo.runs.config import load_config
from rnnzoo.runs.store import read_encoder
from rnnzoo.util.quiet import quiet_tensorflow

PAGE, CONFIGS = "docs/applications.md", "zoo_configs"
BEGIN, END = "<!-- applications -->", "<!-- /applications -->"
FIELDS = ("name", "method", "metric", "value")
# Figures of naive methods that an evaluation measures beside the model: metric -> theirs and how it is called.
BESIDE = {
    ("music-jsb", "nll"): ("baseline_nll", "a Markov chain for each note"),
    ("caption-nlvr", "cider"): ("nearest_cider", "caption of the nearest picture"),
    ("anomaly-nab", "nab_score"): ("windowed_gaussian", "windowed Gaussian"),
    ("forecast-etth1", "mse"): ("seasonal_mse", "value of 24 hours before"),
    ("weather-nyc", "mase"): ("seasonal_mase", "value of 24 hours before"),
}


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--measure", nargs="+", metavar="NAME", default=[], help="bundles whose baselines are measured")
    arguments = parser.parse_args(argv)
    try:
        if unknown := [name for name in arguments.measure if name not in bundle_paths()]:
            raise RnnzooError(f"no bundle is called {unknown[0]!r}; known: {', '.join(bundle_paths())}")
        if arguments.measure:
            quiet_tensorflow()
            write_baselines([row for name in arguments.measure for row in measured(name)])
        page = root() / PAGE
        page.write_text(with_table(page.read_text(encoding="utf-8"), table()), encoding="utf-8", newline="\n")
        print(f"wrote {page}")
    except RnnzooError as error:
        print(f"make_applications: error: {error}", file=sys.stderr)
        return 2
    return 0


def measured(name: str) -> Iterable[dict[str, Any]]:
    """The figures of the classical method of a model's task on the test split."""
    print(f"measuring the baseline of {name} ...", flush=True)
    folder = bundle_paths()[name]
    config = load_config(folder / CONFIG_FILE)
    baseline = load_task(config, read_encoder(folder, config)).baseline("test")
    if baseline is None:
        raise RnnzooError(f"the task of {name} has no classical method")
    for metric, value in measures(baseline.figures).items():
        yield {"name": name, "method": baseline.name, "metric": metric, "value": f"{value:.6g}"}


def write_baselines(rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace the rows of these models in zoo_configs/baselines.csv."""
    names = {row["name"] for row in rows}
    kept = [row for row in read("baselines.csv") if row["name"] not in names]
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted([*kept, *rows], key=lambda row: row["name"]))
    (root() / CONFIGS / "baselines.csv").write_text(text.getvalue(), encoding="utf-8", newline="\n")


def read(name: str) -> list[dict[str, str]]:
    """The rows of a table of `zoo_configs`; none where it is missing."""
    path = root() / CONFIGS / name
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def table() -> list[str]:
    """The lines of the table.

    Raises:
        RnnzooError: an application names a model or a figure that is not there.
    """
    results = {(row["name"], row["metric"]): row for row in read("results.csv")}
    baselines = {(row["name"], row["metric"]): row for row in read("baselines.csv")}
    lines = ["| field | application | model | measure | figure | classical method |", "| --- |" + " --- |" * 5]
    last = ""
    for row in read("applications.csv"):
        name, metric = row["model"], row["metric"]
        if name not in list_models() or (name, metric) not in results:
            raise RnnzooError(f"{row['application']!r}: no bundle {name!r} with a figure {metric!r} in results.csv")
        own = results[name, metric]
        classical = "none"
        if (name, metric) in BESIDE:
            other, method = BESIDE[name, metric]
            classical = f"{figure(metric, float(results[name, other]['offline']))} ({method})"
        elif (name, metric) in baselines:
            baseline = baselines[name, metric]
            classical = f"{figure(metric, float(baseline['value']))} ({baseline['method']})"
        link = f"[`{name}`](../pretrained/{name}/card.md)"
        value = figure(metric, float(own["float32"] or own["offline"]))
        field, last = "" if row["field"] == last else row["field"], row["field"]
        lines.append(
            f"| {field} | {row['application']} | {link} | {metric.replace('_', ' ')} | {value} | {classical} |"
        )
    return lines


def with_table(page: str, lines: Sequence[str]) -> str:
    """A page with the table between its markers replaced."""
    begin, end = page.find(BEGIN), page.find(END)
    if not 0 <= begin < end:
        raise RnnzooError(f"{PAGE}: expected {BEGIN} and {END}; put them there")
    return page[:begin] + BEGIN + "\n" + "\n".join(lines) + "\n" + page[end:]


if __name__ == "__main__":
    sys.exit(main())
