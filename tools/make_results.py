#!/usr/bin/env python3
"""Measure every bundle from its files, and rewrite zoo_configs/results.csv, docs/results.md and the table of README.md.

`--check` measures a fast subset (the first examples of the development split) and compares it with what is stored.
Both need the data: TensorFlow Datasets downloads it, or RNNZOO_DATA_MIRROR names a folder that has it.
"""

import argparse
import csv
import io
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rnnzoo.bundles.build import ready_files
from rnnzoo.bundles.cards import KINDS, figure, measures
from rnnzoo.data.terms import terms_of
from rnnzoo.errors import DataError, RnnzooError
from rnnzoo.hub import parse_manifest
from rnnzoo.registry.layout import CONFIG_FILE, MANIFEST, bundle_paths, root
from rnnzoo.registry.names import list_models
from rnnzoo.runs.config import load_config
from rnnzoo.runs.experiment import evaluate_run
from rnnzoo.runs.store import load_run, read_metrics
from rnnzoo.util.quiet import quiet_tensorflow

SHOWN = ("offline", "float32", "float32_never_reset", "int8")
# Figures of a model that docs/results.md shows; all are in the CSV. And the models that the README shows.
MEASURES = 3
SHORT = (
    "tagger-en-ewt-stream",
    "digits-kws-stream",
    "asr-digits-stream",
    "translate-tatoeba-de-en",
    "charlm-lstm",
    "forecast-etth1",
)
# Bundles that `--fast` takes.
FAST = ("ecg-beats-stream", "emotion-goemotions", "intent-clinc", "music-jsb", "speaker-vowels")
FIELDS = ("name", "topology", "dataset", "split", "metric", *KINDS, "count", "parameters", "delay", "float32_bytes")
FIELDS = (*FIELDS, "int8_bytes", "revision")
BEGIN, END = "<!-- results -->", "<!-- /results -->"
# Processors and runtimes round differently: so much may a share differ, or another figure relative to its size.
TOLERANCE = 0.006


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="*", help="which bundles, such as 'tagger*' (all)")
    parser.add_argument("--check", action="store_true", help="compare a fast subset, write nothing")
    parser.add_argument("--fast", action="store_true", help=f"those that take seconds: {', '.join(FAST)}")
    parser.add_argument("--stored", action="store_true", help="write what metrics.json says, measure nothing")
    arguments = parser.parse_args(argv)
    quiet_tensorflow()
    names = [name for name in list_models(arguments.pattern, pretrained=True) if name in FAST or not arguments.fast]
    try:
        if not names:
            raise RnnzooError(f"no bundle matches {arguments.pattern!r}")
        if arguments.check:
            return check(names)
        write({name: stored(name) if arguments.stored else measured(name) for name in names})
    except RnnzooError as error:
        print(f"make_results: error: {error}", file=sys.stderr)
        return 2
    return 0


def check(names: Sequence[str]) -> int:
    """Measure the subset of each bundle anew; the exit code says whether all figures are those that are stored."""
    wrong = 0
    for name in names:
        run = load_run(bundle_paths()[name])
        kept = run.metrics["check"]
        try:
            measured = evaluate_run(run, kept["split"], files=ready_files(run.path), limit=kept["limit"])
        except DataError as error:
            if os.environ.get("RNNZOO_DATA_MIRROR"):
                raise
            print(f"{name}: skipped, no data ({error})")
            continue
        off = list(differences(kept, measured))
        wrong += len(off)
        print(f"{name}: {'; '.join(off) or 'as stored'}")
    return 1 if wrong else 0


def differences(kept: Mapping[str, Any], found: Mapping[str, Any]) -> Iterator[str]:
    """A line for each stored figure that is not found again."""
    for kind in (kind for kind in KINDS if kind in kept):
        for metric, old in measures(kept[kind]).items():
            new = found.get(kind, {}).get(metric)
            if old is None and new is not None and new != new:
                continue
            allowed = TOLERANCE * max(1.0, abs(old or 0.0))
            if kind == "int8" and kept[kind].get("count") and 0 <= (old or 0.0) <= 1:
                # Kernels for int8 weights differ from processor to processor: of a share, one example may be another.
                allowed = max(allowed, 1.5 / kept[kind]["count"])
            if old is None or new is None or abs(new - old) > allowed:
                yield f"{kind} {metric}: stored {old}, found {new}"


def measured(name: str) -> dict[str, Any]:
    """The figures of a bundle on the test split, by its own files."""
    run = load_run(bundle_paths()[name])
    print(f"measuring {name} ...", flush=True)
    return evaluate_run(run, "test", files=ready_files(run.path))


def stored(name: str) -> dict[str, Any]:
    """The same, as its metrics.json says."""
    return read_metrics(bundle_paths()[name])["test"]


def write(results: Mapping[str, Mapping[str, Any]]) -> None:
    """Replace the rows of these bundles in the CSV; the table of the README is made of all rows of bundles."""
    path = root() / "zoo_configs" / "results.csv"
    kept = []
    if path.is_file():
        with path.open(encoding="utf-8", newline="") as file:
            kept = [row for row in csv.DictReader(file) if row["name"] not in results and row["name"] in bundle_paths()]
    made = [row for name, found in results.items() for row in rows(name, found)]
    everything = sorted([*kept, *made], key=lambda row: row["name"])
    text = io.StringIO()
    writer = csv.DictWriter(text, FIELDS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(everything)
    path.write_text(text.getvalue(), encoding="utf-8", newline="\n")
    print(f"wrote {path}")
    for page, table in ((root() / "docs" / "results.md", full_table), (root() / "README.md", short_table)):
        text = with_table(page.read_text(encoding="utf-8"), table(everything), page.name)
        page.write_text(text, encoding="utf-8", newline="\n")
        print(f"wrote {page}")


def rows(name: str, found: Mapping[str, Any]) -> Iterator[dict[str, str]]:
    """One row for each metric of a bundle, every value as text."""
    folder = bundle_paths()[name]
    config = load_config(folder / CONFIG_FILE)
    manifest = parse_manifest((root() / MANIFEST).read_bytes(), MANIFEST)
    common = {
        "name": name,
        "topology": config.topology,
        "dataset": config.data.dataset,
        "split": "test",
        "count": str(int(found["offline"]["count"])),
        "parameters": str(read_metrics(folder)["parameters"]),
        "delay": str(found.get("float32", {}).get("delay", "")),
        "float32_bytes": str(found.get("float32", {}).get("size_bytes", "")),
        "int8_bytes": str(found.get("int8", {}).get("size_bytes", "")),
        "revision": manifest.bundles[name].revision if name in manifest.bundles else "",
    }
    for metric in dict.fromkeys(name for kind in KINDS for name in measures(found.get(kind, {}))):
        values = {kind: found.get(kind, {}).get(metric) for kind in KINDS}
        texts = {kind: "" if value is None else f"{value:.6g}" for kind, value in values.items()}
        yield {**common, "metric": metric, **texts}


def with_table(page: str, table: Sequence[str], name: str) -> str:
    """The text of a page with the table between its markers made anew.

    Raises:
        RnnzooError: the markers are missing.
    """
    begin, end = page.find(BEGIN), page.find(END)
    if not 0 <= begin < end:
        raise RnnzooError(f"{name}: expected {BEGIN} and {END} around the table of results; put them there")
    return page[:begin] + BEGIN + "\n" + "\n".join(table) + "\n" + page[end:]


def full_table(everything: Sequence[Mapping[str, str]]) -> list[str]:
    """The lines of the table of all models, with the first few measures of each."""
    lines = [
        "| model | data (test) | measure | offline | streamed | never reset | int8 | parameters | MB (float32, int8) |",
        "| --- | --- | --- | --- | --- | --- | --- | --- | --- |",
    ]
    last, number = "", 0
    for row in everything:
        number = number + 1 if row["name"] == last else 0
        if number >= MEASURES:
            continue
        first, last = number == 0, row["name"]
        name, data = (f"`{last}`", terms_of(row["dataset"]).title) if first else ("", "")
        cells = [name, data, row["metric"].replace("_", " "), *_figures(row, SHOWN)]
        cells += [f"{int(row['parameters']):,}", _megabytes(row)] if first else ["", ""]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def short_table(everything: Sequence[Mapping[str, str]]) -> list[str]:
    """The lines of the table of a few models, with the first measure of each."""
    lines = [
        "| model | data (test) | measure | offline | streamed | int8 | MB |",
        "| --- | --- | --- | --- | --- | --- | --- |",
    ]
    for name in SHORT:
        row = next(row for row in everything if row["name"] == name)
        cells = [f"`{name}`", terms_of(row["dataset"]).title, row["metric"].replace("_", " ")]
        cells += [*_figures(row, ("offline", "float32", "int8")), _megabytes(row)]
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _figures(row: Mapping[str, str], kinds: Sequence[str]) -> list[str]:
    return [figure(row["metric"], float(row[kind])) if row[kind] else "" for kind in kinds]


def _megabytes(row: Mapping[str, str]) -> str:
    return ", ".join(f"{int(row[key]) / 1e6:.2f}" for key in ("float32_bytes", "int8_bytes") if row[key])


if __name__ == "__main__":
    sys.exit(main())
