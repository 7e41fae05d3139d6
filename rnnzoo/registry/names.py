"""From the name of a model to its configuration and its bundle."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path

from rnnzoo.errors import ConfigError
from rnnzoo.registry.layout import (
    CONFIG_FILE,
    bundle_paths,
    config_paths,
    listed_bundles,
    listed_licences,
    paper_paths,
    root,
)
from rnnzoo.util.suggest import suggest


def list_models(pattern: str = "*", pretrained: bool | None = None, licence: str | None = None) -> list[str]:
    """Names of models, sorted.

    Args:
        pattern: with `*` and `?`, as a shell takes it.
        pretrained: only those with (True) or without (False) trained weights; None: all.
        licence: only those with trained weights under it: an SPDX name or a pattern of names, ignoring case.
    """
    configs, bundles = set(config_paths()), set(bundle_paths()) | listed_bundles()
    chosen = configs | bundles if pretrained is None else bundles if pretrained else configs - bundles
    if licence is not None:
        named = {name: text.lower() for name, text in listed_licences().items()}
        chosen = {name for name in chosen if name in named and fnmatch.fnmatchcase(named[name], licence.lower())}
    return sorted(fnmatch.filter(chosen, pattern))


def find_bundle(name: str) -> Path:
    """The folder of a bundle: in `pretrained/`, else downloaded.

    Raises:
        ConfigError: others are known, and none of this name; the nearest is named.
        HubError: it cannot be downloaded.
    """
    bundles = bundle_paths()
    if name in bundles:
        return bundles[name]
    known = set(bundles) | listed_bundles()
    if known and name.partition("@")[0] not in known:
        raise ConfigError(f"no pretrained model is called {name!r}; {suggest(name, sorted(known))}")
    from rnnzoo.hub.download import download

    return download(name)


def find_config(name: str) -> Path:
    """The file of an experiment: in `zoo_configs/`, else the resolved one of a bundle.

    Raises:
        ConfigError: there is none of this name; the nearest is named.
    """
    configs, bundles = config_paths(), bundle_paths()
    if name in configs:
        return configs[name]
    if name in bundles:
        return bundles[name] / CONFIG_FILE
    raise ConfigError(f"no model is called {name!r}; {_known(name, {**bundles, **configs})}")


def config_path(named: str) -> Path:
    """The file of an experiment, given by its path or as `find_config` takes it, and raises."""
    path = Path(named)
    if not path.exists() and path.parent.parent.name == "zoo_configs" and path.stem in (known := config_paths()):
        # A wheel has it in another place; and folders of earlier versions had other names.
        return known[path.stem]
    given = path.suffix in (".yaml", ".yml") or os.sep in named or path.exists()
    return path if given else find_config(named)


def find_paper(name: str) -> Path:
    """The configuration of a paper that `rnnzoo paper` reproduces.

    Raises:
        ConfigError: there is none of this name; the nearest is named.
    """
    papers = paper_paths()
    if name not in papers:
        raise ConfigError(f"no paper is called {name!r}; {_known(name, papers)}")
    return papers[name]


def _known(name: str, known: dict[str, Path]) -> str:
    if not known:
        return f"{root()} holds no zoo_configs/ or pretrained/: work in a clone of the repository"
    return suggest(name, known)
