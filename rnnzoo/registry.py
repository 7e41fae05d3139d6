"""What the zoo holds: topologies, experiments in `zoo_configs/`, bundles in `pretrained/`."""

from __future__ import annotations

import fnmatch
import importlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from rnnzoo.errors import ConfigError
from rnnzoo.suggest import suggest

if TYPE_CHECKING:
    from rnnzoo.data.config import DataConfig
    from rnnzoo.problems.base import Problem

CONFIG_FILE = "config.yaml"
_CONFIGS, _BUNDLES = "zoo_configs", "pretrained"
# What this version makes; a bundle of a later format is refused by name.
BUNDLE_FORMAT = 1
MANIFEST = f"{_CONFIGS}/manifest.yaml"
# The streaming files that a bundle holds and an evaluation measures: float32 arithmetic, and int8 weights.
KINDS = ("float32", "int8")


class _Topology(NamedTuple):
    """Where the parts of a topology are: named, so that nothing is imported early."""

    # By what `data.input` says; the first is the default.
    data: dict[str, str]
    model: str
    builder: str
    problem: str


_TOPOLOGIES = {
    "one_to_one": _Topology(
        data={"words": "rnnzoo.data.config:WordsConfig"},
        model="rnnzoo.models.config:FeedForwardConfig",
        builder="rnnzoo.models.one_to_one:build_one_to_one",
        problem="rnnzoo.problems.tagger:OneToOneProblem",
    ),
    "tagger": _Topology(
        data={"words": "rnnzoo.data.config:WordsConfig"},
        model="rnnzoo.models.config:TaggerConfig",
        builder="rnnzoo.models.tagger:build_tagger",
        problem="rnnzoo.problems.tagger:TaggerProblem",
    ),
    "classifier": _Topology(
        data={"words": "rnnzoo.data.config:WordsConfig", "rows": "rnnzoo.data.config:RowsConfig"},
        model="rnnzoo.models.config:ClassifierConfig",
        builder="rnnzoo.models.classifier:build_classifier",
        problem="rnnzoo.problems.classifier:ClassifierProblem",
    ),
    "keyword_spotter": _Topology(
        data={"audio": "rnnzoo.data.config:AudioConfig"},
        model="rnnzoo.models.config:AudioModelConfig",
        builder="rnnzoo.models.keyword_spotter:build_keyword_spotter",
        problem="rnnzoo.problems.keyword_spotter:KeywordSpotterProblem",
    ),
    "transcriber": _Topology(
        data={"audio": "rnnzoo.data.config:AudioConfig"},
        model="rnnzoo.models.config:TranscriberConfig",
        builder="rnnzoo.models.transcriber:build_transcriber",
        problem="rnnzoo.problems.transcriber:TranscriberProblem",
    ),
    "language_model": _Topology(
        data={"text": "rnnzoo.data.config:TextConfig"},
        model="rnnzoo.models.config:LanguageModelConfig",
        builder="rnnzoo.models.language_model:build_language_model",
        problem="rnnzoo.problems.language_model:LanguageModelProblem",
    ),
    "translator": _Topology(
        data={"pairs": "rnnzoo.data.config:PairsConfig"},
        model="rnnzoo.models.config:TranslatorConfig",
        builder="rnnzoo.models.translator:build_translator",
        problem="rnnzoo.problems.translator:TranslatorProblem",
    ),
    "captioner": _Topology(
        data={"pictures": "rnnzoo.data.config:PicturesConfig"},
        model="rnnzoo.models.config:CaptionerConfig",
        builder="rnnzoo.models.captioner:build_captioner",
        problem="rnnzoo.problems.captioner:CaptionerProblem",
    ),
    "event_tagger": _Topology(
        data={"rows": "rnnzoo.data.config:SignalConfig"},
        model="rnnzoo.models.config:SignalModelConfig",
        builder="rnnzoo.models.event_tagger:build_event_tagger",
        problem="rnnzoo.problems.event_tagger:EventTaggerProblem",
    ),
    "forecaster": _Topology(
        data={"rows": "rnnzoo.data.config:SeriesConfig"},
        model="rnnzoo.models.config:ForecasterConfig",
        builder="rnnzoo.models.forecaster:build_forecaster",
        problem="rnnzoo.problems.forecaster:ForecasterProblem",
    ),
    "anomaly_detector": _Topology(
        data={"rows": "rnnzoo.data.config:AnomalyConfig"},
        model="rnnzoo.models.config:ForecasterConfig",
        builder="rnnzoo.models.forecaster:build_forecaster",
        problem="rnnzoo.problems.anomaly_detector:AnomalyDetectorProblem",
    ),
    "polyphony": _Topology(
        data={"rows": "rnnzoo.data.config:RollsConfig"},
        model="rnnzoo.models.config:RowModelConfig",
        builder="rnnzoo.models.polyphony:build_polyphony",
        problem="rnnzoo.problems.polyphony:PolyphonyProblem",
    ),
}


def topologies() -> tuple[str, ...]:
    """The names that `topology:` may have."""
    return tuple(_TOPOLOGIES)


def data_inputs(topology: str) -> tuple[str, ...]:
    """What `data.input` may say in a topology, the default first."""
    return tuple(_TOPOLOGIES[topology].data)


def data_config(topology: str, kind: str) -> type[DataConfig]:
    """The class of the `data` section of a topology, by what `data.input` says."""
    return _resolve(_TOPOLOGIES[topology].data[kind])


def model_config(topology: str) -> type:
    """The class of the `model` section of a topology."""
    return _resolve(_TOPOLOGIES[topology].model)


def model_builder(topology: str) -> Callable[..., Any]:
    """The function (config, encoder) -> keras.Model of a topology; importing it imports Keras."""
    return _resolve(_TOPOLOGIES[topology].builder)


def problem_class(topology: str) -> type[Problem]:
    """How a topology is trained, measured and exported."""
    return _resolve(_TOPOLOGIES[topology].problem)


def _resolve(place: str) -> Any:
    module, _, name = place.partition(":")
    return getattr(importlib.import_module(module), name)


def root() -> Path:
    """The folder that holds `zoo_configs/` and `pretrained/`: the repository, beside the package."""
    return Path(__file__).resolve().parents[1]


def config_paths() -> dict[str, Path]:
    """Name -> file of every experiment in `zoo_configs/`; empty where the package is installed without it."""
    return {path.stem: path for path in sorted((root() / _CONFIGS).glob("*/*.yaml"))}


def bundles_folder() -> Path:
    """The folder of all bundles of the repository."""
    return root() / _BUNDLES


def bundle_paths() -> dict[str, Path]:
    """Name -> folder of every bundle in `pretrained/`; empty where the package is installed without it."""
    return {path.parent.name: path.parent for path in sorted(bundles_folder().glob(f"*/{CONFIG_FILE}"))}


def list_models(pattern: str = "*", pretrained: bool | None = None) -> list[str]:
    """Names of models, sorted.

    Args:
        pattern: with `*` and `?`, as a shell takes it.
        pretrained: only those with (True) or without (False) trained weights; None: all.
    """
    configs, bundles = set(config_paths()), set(bundle_paths())
    chosen = configs | bundles if pretrained is None else bundles if pretrained else configs - bundles
    return sorted(fnmatch.filter(chosen, pattern))


def find_bundle(name: str) -> Path:
    """The folder of a bundle: in `pretrained/`, else downloaded.

    Raises:
        ConfigError: `pretrained/` has others, and none of this name; the nearest is named.
        HubError: there is no `pretrained/`, and it cannot be downloaded.
    """
    bundles = bundle_paths()
    if name in bundles:
        return bundles[name]
    if bundles:
        raise ConfigError(f"no pretrained model is called {name!r}; {suggest(name, bundles)}")
    from rnnzoo.hub import download

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
    given = path.suffix in (".yaml", ".yml") or os.sep in named or path.exists()
    return path if given else find_config(named)


def _known(name: str, known: dict[str, Path]) -> str:
    if not known:
        return f"{root()} holds no {_CONFIGS}/ or {_BUNDLES}/: work in a clone of the repository"
    return suggest(name, known)
