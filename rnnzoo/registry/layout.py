"""Where the files of the zoo are: configurations in `zoo_configs/`, bundles in `pretrained/`."""

from __future__ import annotations

from pathlib import Path

CONFIG_FILE = "config.yaml"
_CONFIGS, _BUNDLES = "zoo_configs", "pretrained"
# What this version makes; a bundle of a later format is refused by name.
BUNDLE_FORMAT = 1
MANIFEST = f"{_CONFIGS}/manifest.yaml"
# The streaming files that a bundle holds and an evaluation measures: float32 arithmetic, and int8 weights.
KINDS = ("float32", "int8")


def root() -> Path:
    """The folder that holds `zoo_configs/` and `pretrained/`: the repository, beside the package."""
    return Path(__file__).resolve().parents[2]


def config_paths() -> dict[str, Path]:
    """Name -> file of every experiment in `zoo_configs/`; empty where the package is installed without it."""
    return {path.stem: path for path in sorted((root() / _CONFIGS).glob("*/*.yaml"))}


def bundles_folder() -> Path:
    """The folder of all bundles of the repository."""
    return root() / _BUNDLES


def bundle_paths() -> dict[str, Path]:
    """Name -> folder of every bundle in `pretrained/`; empty where the package is installed without it."""
    return {path.parent.name: path.parent for path in sorted(bundles_folder().glob(f"*/{CONFIG_FILE}"))}
