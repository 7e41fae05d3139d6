"""The card of a bundle: a template, the figures, and the hand-written text beside the configuration."""

from __future__ import annotations

import math
import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rnnzoo.bundles.reproduction import REPRODUCTIONS, read_reproductions
from rnnzoo.data.overlap import read_overlaps
from rnnzoo.data.terms import Terms, terms_of
from rnnzoo.errors import ConfigError
from rnnzoo.registry import layout
from rnnzoo.registry.layout import config_paths
from rnnzoo.runs.config import ExperimentConfig, load_config
from rnnzoo.runs.ledger import LEDGER, read_looks
from rnnzoo.util import licences

_SECTIONS = ("Use", "Intended use", "Limits")
# Kinds of figures that a bundle may have, and what they are called.
KINDS = {
    "offline": "offline",
    "float32": "streamed",
    "float32_never_reset": "never reset",
    "int8": "streamed, int8",
    "int8_never_reset": "int8, never reset",
}
FILE_FIGURES = ("count", "size_bytes", "delay", "max_abs_error")
# What the figures of keyword spotters mean, on cards that have the first of them.
_LED_BY = "recall"
FIGURES = {
    "recall": "share of the keywords that were events at threshold {threshold}, chosen on the development split; all "
    "recordings in one stream with pauses of 0.2 to 1 s, never reset",
    "precision": "share of the events in that stream that were keywords",
    "speech_false_alarms_per_hour": "events in speech without a keyword, never reset",
    "speech_rate_bound": "the rate may be as high as this, at 95 % (Poisson)",
    "noise_false_alarms_per_hour": "events in digital silence, and in white and recorded noise of -75 to -20 dB",
    "noisy_recall": "recall with recorded noise 10 dB below each keyword",
    "isolated_recall": "each recording by itself, from a fresh state",
    "delay_seconds": "median time from the end of a keyword to its event",
    "accuracy": "the label that is most probable at any time in a recording whose end is known, background left out: "
    "what earlier cards gave; no device decides so",
    "never_reset_accuracy": "the same in one stream",
}
# In the names of figures that are shares.
_SHARES = (
    "accuracy",
    "recall",
    "sensitivity",
    "precision",
    "f1",
    "error_rate",
    "coverage",
    "valid",
    "unique",
    "novel",
    "understood",
    "ended",
)
_TEMPLATE = """# {name}

{about}

## Use

{use}

`rnnzoo.load("{name}")` gives the Keras model, ready for `fit`.

## Figures

Test split of {title}, {count:,} decisions; `rnnzoo evaluate {name}` measures them anew. {looks}{overlap}

{table}
{explained}
{files}

{parameters:,} parameters, weights stored in {dtype}. On the development split it was chosen with: {dev}.{latency}

## Data and licence

{data}

The weights are under {own}{restriction}. {asked}

## Intended use

{intended}

## Limits

{limits}

## Made by

```sh
{command}
rnnzoo bundle {run} --to pretrained
```

Commit {commit}. {reproduced} `tools/make_results.py {name} --check` measures these weights, whatever the commit.
`config.yaml` is the configuration with every default, `metrics.json` has the history of the training.
"""


@dataclass(frozen=True)
class Notes:
    """The hand-written part of a card: the paragraph `about` the model, and sections by their titles."""

    about: str
    sections: Mapping[str, str]


def read_notes(name: str) -> Notes:
    """The text beside a configuration, `zoo_configs/*/NAME.md`.

    Raises:
        ConfigError: it is not there, or a section is missing.
    """
    config = config_paths().get(name)
    path = Path(f"zoo_configs/TOPOLOGY/{name}.md") if config is None else config.with_suffix(".md")
    wanted = ", ".join(f"## {title}" for title in _SECTIONS)
    if not path.is_file():
        raise ConfigError(f"{path} is missing: a card needs some lines about the model and the sections {wanted}")
    parts = re.split(r"^## (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    sections = {title.strip(): text.strip() for title, text in zip(parts[1::2], parts[2::2], strict=True)}
    missing = [title for title in _SECTIONS if not sections.get(title)]
    if missing or not parts[0].strip():
        raise ConfigError(f"{path}: expected some lines about the model, then {wanted}; missing: {missing or 'lines'}")
    return Notes(parts[0].strip(), sections)


def write_card(config: ExperimentConfig, metrics: Mapping[str, Any], notes: Notes) -> str:
    """The text of `card.md`.

    Args:
        config: of the run.
        metrics: of the bundle, with `test`, `dev`, `parameters`, `dtype` and `made`.
        notes: the hand-written part.

    Raises:
        DataError: the terms of the data set are not known.
    """
    test, terms = metrics["test"], terms_behind(config, metrics["made"]["command"])
    data = licences.together(item.licence for item in terms)
    own, kept = licences.licence_of_weights(data), licences.restriction(data)
    return _TEMPLATE.format(
        name=config.name,
        about=notes.about,
        use=notes.sections["Use"],
        intended=notes.sections["Intended use"],
        limits=notes.sections["Limits"],
        looks=_looks(config.name),
        overlap=_overlap(config.data.dataset),
        title=terms[0].title,
        data="\n".join(map(_data_set, terms)),
        own=licences.linked(own),
        restriction=f": {kept}" if kept else "",
        asked=licences.asked(data),
        count=int(test["offline"]["count"]),
        table=_table(test),
        explained=_explained(config, metrics),
        files=_files(test) + _micro(config.name, metrics),
        latency=""
        if "not_streamable" in test
        else f"\nLatency: `streaming bench pretrained/{config.name}/int8.tflite`.",
        dev=", ".join(f"{_words(key)} {figure(key, value)}" for key, value in measures(metrics["dev"]).items()),
        parameters=metrics["parameters"],
        dtype=metrics["dtype"],
        command=metrics["made"]["command"],
        commit=metrics["made"]["commit"] or "unknown",
        reproduced=_reproduced(config.name, metrics),
        run=f"runs/{config.name}",
    )


def _explained(config: ExperimentConfig, metrics: Mapping[str, Any]) -> str:
    """What figures mean, where the task says so, and the pictures of the bundle."""
    known, lines = measures(metrics["test"]["offline"]), []
    if _LED_BY in known:
        lines = [f"- {_words(name)}: {text}" for name, text in FIGURES.items() if name in known]
        lines = ["", *(line.format(threshold=f"{config.data.threshold:g}") for line in lines)]  # type: ignore[attr-defined]
    for name, text in metrics.get("pictures", {}).items():
        lines += ["", f"![{text}]({name})"]
    return "\n".join([*lines, ""]) if lines else ""


def terms_behind(config: ExperimentConfig, command: str) -> list[Terms]:
    """The terms of all data that weights were trained on, also of the model that the training started from.

    Args:
        config: of the run.
        command: that trained it; `--start NAME` names the model that it began from.

    Raises:
        DataError: the terms of a data set are not known.
    """
    sounds = [name for key in ("negatives", "noise") for name in getattr(config.data, key, ())]
    all_terms = list(dict.fromkeys(terms_of(name) for name in (config.data.dataset, *sounds)))
    words = shlex.split(command)
    start = words[words.index("--start") + 1] if "--start" in words[:-1] else ""
    if (path := config_paths().get(start)) is not None:
        all_terms += [terms for terms in terms_behind(load_config(path), "") if terms not in all_terms]
    return all_terms


def _looks(name: str) -> str:
    """How often trained models of that name were measured on the test split."""
    looks = [f"{look.date} ({look.figures.split(' ')[0]})" for look in read_looks(name)]
    count = "No look" if not looks else "One look" if len(looks) == 1 else f"{len(looks)} looks"
    dates = f": {', '.join(looks)}" if looks else ""
    return f"{count} at that split noted in `{LEDGER}`{dates}; earlier ones, where there were, are told below."


def _reproduced(name: str, metrics: Mapping[str, Any]) -> str:
    """What the command of a bundle gave when it was run again, beside what its weights have."""
    weights, dev = metrics["made"].get("weights", "")[:12], metrics["dev"]
    reproductions = [row for row in read_reproductions() if (row.name, row.bundle) == (name, weights)]
    if not reproductions:
        return (
            f"What the command gives at a later commit is not noted in `{REPRODUCTIONS}`: expect figures as far off as "
            "those of another seed, since code, libraries and processors have changed."
        )
    again = [f"{figure(row.figure, row.found)} at commit {row.commit} ({row.date})" for row in reproductions]
    measure = reproductions[0].figure
    own = figure(measure, dev.get(measure))
    return (
        f"The same command gave {' and '.join(again)}; these weights have {own} "
        f"({_words(measure)} on the development split)."
    )


def _overlap(dataset: str) -> str:
    """How many examples of the test split a model has seen in training; nothing where none is known."""
    row = read_overlaps(layout.root() / layout.OVERLAPS).get((dataset, "test"))
    if row is None or not row.inputs + row.targets:
        return ""
    parts = [f"the inputs of {row.inputs}"] if row.inputs else []
    parts += [f"the texts to write of {row.targets}"] if row.targets else []
    return f" Of its {row.examples:,} examples {' and '.join(parts)} are in the training split too."


def _data_set(terms: Terms) -> str:
    return f"{terms.title}, under {licences.linked(terms.licence)}. {terms.citation}, <{terms.url}>."


def figure(name: str, value: float | None) -> str:
    """A figure as text: shares in per cent, thresholds in full, others with four digits; "-" for none."""
    if value is None or math.isnan(value):
        return "-"
    if "threshold" in name:
        return repr(value)
    return f"{value:.2%}" if any(share in name for share in _SHARES) else f"{value:.4g}"


def _table(test: Mapping[str, Any]) -> str:
    columns = [key for key in KINDS if key in test]
    lines = [
        "| | " + " | ".join(KINDS[key] for key in columns) + " |",
        "| --- |" + " --- |" * len(columns),
    ]
    for name in dict.fromkeys(name for key in columns for name in measures(test[key])):
        cells = " | ".join(figure(name, test[key].get(name)) for key in columns)
        lines.append(f"| {_words(name)} | {cells} |")
    return "\n".join(lines)


def _files(test: Mapping[str, Any]) -> str:
    if "not_streamable" in test:
        return f"There is no streaming file: {test['not_streamable']}."
    exact, small = test["float32"], test["int8"]
    delay = f"{exact['delay']} step{'' if exact['delay'] == 1 else 's'}"
    return (
        f"`float32.tflite` ({exact['size_bytes'] / 1e6:.2f} MB) differs from the Keras model by at most "
        f"{exact['max_abs_error']:.1g}, `int8.tflite` ({small['size_bytes'] / 1e6:.2f} MB, int8 weights) by "
        f"{small['max_abs_error']:.1g}; an output comes {delay} after its input."
    )


def _micro(name: str, metrics: Mapping[str, Any]) -> str:
    micro = metrics.get("micro")
    if micro is None:
        return ""
    return (
        f"\n\n`micro.tflite` is for microcontrollers (`rnnzoo export {name} micro.tflite --target micro` makes it, "
        f"`streaming micro micro.tflite firmware/` what a firmware needs of it), in float32: "
        f"{micro['size_bytes'] / 1e6:.2f} MB of model, an arena of {micro['arena_bytes'] / 1024:.1f} KiB as TensorFlow "
        f"Lite for Microcontrollers measures it, and {micro['state_bytes']:,} bytes of state; it differs from the "
        f"Keras model by at most {micro['max_abs_error']:.1g}."
    )


def measures(row: Mapping[str, Any]) -> dict[str, Any]:
    """The figures of the model in a row, without those of the file."""
    return {key: value for key, value in row.items() if key not in FILE_FIGURES and not isinstance(value, dict)}


def _words(name: str) -> str:
    return name.replace("_", " ")
