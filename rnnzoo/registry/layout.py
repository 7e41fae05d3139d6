"""Paths of the zoo's files: configurations in `zoo_configs/`, bundles in `pretrained/`."""

from __future__ import annotations

import re
from pathlib import Path

CONFIG_FILE = "config.yaml"
_CONFIGS, _BUNDLES = "zoo_configs", "pretrained"
# The folder of `zoo_configs` whose files reproduce papers, and the folder of their results in a clone.
_PAPERS, _RESULTS = "papers", "docs/papers"
# What this version makes; a bundle of a later format is refused by name.
BUNDLE_FORMAT = 1
MANIFEST = f"{_CONFIGS}/manifest.yaml"
OVERLAPS = f"{_CONFIGS}/overlaps.csv"
# The streaming files that a bundle holds and an evaluation measures: float32 arithmetic, and int8 weights.
KINDS = ("float32", "int8")


def root() -> Path:
    """The folder that holds `zoo_configs/` and `pretrained/`: the wheel's own, else the clone."""
    packaged = Path(__file__).resolve().parent / "zoo"
    return packaged if packaged.is_dir() else Path(__file__).resolve().parents[2]


def config_paths() -> dict[str, Path]:
    """Name -> file of every experiment in `zoo_configs/`; none without `zoo_configs/`."""
    paths = sorted((root() / _CONFIGS).glob("*/*.yaml"))
    return {path.stem: path for path in paths if path.parent.name != _PAPERS}


def paper_paths() -> dict[str, Path]:
    """Name -> file of every paper that `rnnzoo paper` reproduces."""
    return {path.stem: path for path in sorted((root() / _CONFIGS / _PAPERS).glob("*.yaml"))}


def paper_results() -> Path:
    """The folder of the stored results of papers; it does not exist in a wheel."""
    return root() / _RESULTS


def bundles_folder() -> Path:
    """The folder of all bundles of the repository."""
    return root() / _BUNDLES


def bundle_paths() -> dict[str, Path]:
    """Name -> folder of every bundle in `pretrained/`: all of them in a clone, the smallest in a wheel."""
    return {path.parent.name: path.parent for path in sorted(bundles_folder().glob(f"[!.]*/{CONFIG_FILE}"))}


def demo_file() -> Path | None:
    """The int8 streaming file that a wheel has for `rnnzoo demo`; None in a clone, which has the bundle."""
    return next(iter(sorted((root() / "demo").glob("*.tflite"))), None)


def listed_bundles() -> set[str]:
    """The names of all bundles in the manifest, also of those that are not here."""
    return set(listed_licences())


def listed_licences() -> dict[str, str]:
    """The licences of the weights of all bundles that the manifest lists, by name."""
    path = root() / MANIFEST
    if not path.is_file():
        return {}
    text = path.read_text(encoding="utf-8")
    return dict(re.findall(r"^- name: (\S+)\n(?:  .*\n)*?  licence: (.+)$", text, re.MULTILINE))
