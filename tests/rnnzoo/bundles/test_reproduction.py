"""What a bundle's command gives when it is run again is noted, and told by its card."""

import dataclasses
from pathlib import Path

import pytest
from places import ROOT

from rnnzoo.bundles import cards, reproduction
from rnnzoo.bundles.reproduction import note_reproduction, read_reproductions
from rnnzoo.errors import ConfigError
from rnnzoo.registry.names import list_models
from rnnzoo.runs.config import load_config
from rnnzoo.runs.store import Run, read_metrics

BUNDLE = ROOT / "pretrained" / "speaker-vowels"


def trained(found: float, **changes: object) -> Run:
    """A run of the bundle's command, whose model and encoder nobody asks for."""
    config = dataclasses.replace(load_config(BUNDLE / "config.yaml"), **changes)
    metrics = {"dev": {"accuracy": found, "count": 54.0}, "made": {"commit": "f" * 40}}
    return Run(Path("runs/speaker-vowels"), config, None, None, metrics)


def card() -> str:
    config, metrics = load_config(BUNDLE / "config.yaml"), read_metrics(BUNDLE)
    return cards.write_card(config, metrics, cards.read_notes("speaker-vowels"))


def test_a_card_tells_what_its_command_gave_again(tmp_path, monkeypatch):
    monkeypatch.setattr(reproduction, "REPRODUCTIONS", str(tmp_path / "reproductions.csv"))
    assert "is not noted in" in card()
    for found in (0.9, 0.95):
        note_reproduction(trained(found))
    first, second = read_reproductions()
    assert (first.name, first.commit, first.figure, first.found, second.found) == (
        "speaker-vowels", "f" * 12, "accuracy", 0.9, 0.95,
    )  # fmt: skip
    dev = read_metrics(BUNDLE)["dev"]["accuracy"]
    assert f"90.00% at commit ffffffffffff ({first.date}) and 95.00% at commit" in card()
    assert f"; these weights have {dev:.2%} (accuracy on the development split)" in card()
    # What other weights gave says nothing of these.
    metrics = read_metrics(BUNDLE)
    metrics["made"]["weights"] = "0" * 64
    config = load_config(BUNDLE / "config.yaml")
    assert "is not noted in" in cards.write_card(config, metrics, cards.read_notes("speaker-vowels"))


def test_another_configuration_is_no_reproduction():
    with pytest.raises(
        ConfigError, match=r"another configuration than .*speaker-vowels; train by the command of its card"
    ):
        note_reproduction(trained(0.9, seed=2))
    with pytest.raises(ConfigError, match="mine has no bundle to compare with"):
        note_reproduction(trained(0.9, name="mine"))


def test_what_is_noted_is_of_bundles_that_are_there():
    assert {row.name for row in read_reproductions()} <= set(list_models(pretrained=True))
