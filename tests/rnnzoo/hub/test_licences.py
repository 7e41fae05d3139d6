"""Licences of data and weights: what restricts is said in the manifest, on cards, in lists, and before a download."""

import dataclasses
import re

import pytest

import rnnzoo
from rnnzoo.bundles import publish
from rnnzoo.bundles.cards import terms_behind
from rnnzoo.cli import main
from rnnzoo.data.source import known_datasets
from rnnzoo.data.terms import terms_of
from rnnzoo.hub.manifest import parse_manifest
from rnnzoo.registry import layout
from rnnzoo.runs import ledger
from rnnzoo.runs.config import load_config
from rnnzoo.util import licences

RESEARCH = ["translate-de-en", "translate-en-de", "translate-en-de-waitk"]


def manifest():
    return parse_manifest((layout.root() / layout.MANIFEST).read_bytes(), "the manifest")


def test_every_data_set_has_licences_that_are_known():
    expressions = [load_config(path).data.dataset for path in layout.config_paths().values()]
    known_datasets()
    for dataset in expressions:
        for name in licences.parts(terms_of(dataset).licence):
            assert licences.LICENCES[name].title


def test_weights_of_research_data_are_for_research():
    bundles = manifest().bundles
    restricted = sorted(name for name, bundle in bundles.items() if licences.restriction(bundle.licence))
    assert restricted == RESEARCH
    for name in RESEARCH:
        card = (layout.bundle_paths()[name] / "card.md").read_text(encoding="utf-8")
        assert "non-commercial research and education only" in card
        assert "Apache" not in card


def test_cards_link_licences_and_say_what_they_ask():
    def card(name):
        return (layout.bundle_paths()[name] / "card.md").read_text(encoding="utf-8")

    assert "[CC BY-SA 4.0](https://creativecommons.org/licenses/by-sa/4.0/)" in card("tagger-en-ewt")
    assert "under the same licence" in card("tagger-en-ewt")
    assert "(c) 2025 Unicode, Inc." in card("caption-emoji")
    # It begins from the weights of another model, whose data have terms of their own.
    assert manifest().bundles["ner-wnut17"].data_licence == "CC-BY-4.0 AND CC-BY-SA-4.0"
    assert "Universal Dependencies English" in card("ner-wnut17")


def test_terms_of_the_models_that_a_training_began_from():
    config = load_config(layout.config_paths()["ner-wnut17"])
    assert len(terms_behind(config, "rnnzoo train ner-wnut17")) == 1
    assert len(terms_behind(config, "rnnzoo train ner-wnut17 --start runs/first --dtype float16")) == 1
    assert len(terms_behind(config, "rnnzoo train ner-wnut17 --start tagger-en-ewt")) == 2


@pytest.mark.parametrize(
    ("data", "weights"),
    [
        ("CC-BY-4.0", "Apache-2.0"),
        ("LicenseRef-Flickr30K", "LicenseRef-Flickr30K"),
        ("CC-BY-4.0 AND LicenseRef-Flickr30K", "LicenseRef-Flickr30K"),
        ("one of your own", "Apache-2.0"),
    ],
)
def test_licence_of_weights(data, weights):
    assert licences.licence_of_weights(data) == weights


def test_models_are_listed_by_licence(capsys):
    assert rnnzoo.list_models(licence="licenseref-*") == RESEARCH
    assert set(rnnzoo.list_models(licence="Apache-2.0")).isdisjoint(RESEARCH)
    assert main(["list", "--licence", "LicenseRef-Flickr30K"]) == 0
    shown = capsys.readouterr().out
    assert all(name in shown for name in RESEARCH)
    assert "speaker-vowels" not in shown
    assert main(["list", "--licence", "GPL-3.0"]) == 2
    assert re.search("there are Apache-2.0, LicenseRef-Flickr30K", capsys.readouterr().err)


def test_a_restriction_is_said_before_a_download(tmp_path, capsys):
    url = layout.root().as_uri()
    rnnzoo.download("speaker-vowels", cache_dir=tmp_path, url=url)
    assert capsys.readouterr().err == ""
    rnnzoo.download("translate-en-de", cache_dir=tmp_path, url=url)
    assert "translate-en-de: for non-commercial research and education only" in capsys.readouterr().err


def test_model_hubs_read_a_restriction():
    lines = publish._licence_lines("LicenseRef-Flickr30K")
    assert lines[:2] == ["license: other", "license_name: flickr30k"]
    assert publish._licence_lines("Apache-2.0") == ["license: apache-2.0"]


@pytest.fixture
def clone(tmp_path, monkeypatch):
    """A clone with one configuration and no looks."""
    (tmp_path / ".git").mkdir()
    (tmp_path / "zoo_configs" / "classifier").mkdir(parents=True)
    name = "speaker-vowels"
    text = layout.config_paths()[name].read_bytes()
    (tmp_path / "zoo_configs" / "classifier" / f"{name}.yaml").write_bytes(text)
    monkeypatch.setattr(layout, "root", lambda: tmp_path)
    monkeypatch.delenv("RNNZOO_LEDGER")
    return load_config(layout.config_paths()[name])


def test_a_bundle_that_is_being_made_is_none_yet(tmp_path, monkeypatch):
    for name in ("speaker-vowels", ".intent-clinc.x1y2.part"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.yaml").touch()
    monkeypatch.setattr(layout, "bundles_folder", lambda: tmp_path)
    assert list(layout.bundle_paths()) == ["speaker-vowels"]


def test_the_same_weights_at_another_setting_are_another_look(clone):
    """A threshold that is changed after a look at the test split is chosen by it."""
    found = {"split": "test", "dataset": "japanese_vowels", "made": {"commit": "a" * 40}}
    first, second = {"recall": 0.95, "count": 9.0}, {"recall": 0.9, "count": 9.0}
    assert ledger.record_look(clone, "1" * 64, {**found, "offline": first}) is not None
    assert ledger.record_look(clone, "1" * 64, {**found, "offline": {**first, "recall": 0.95001}}) is None
    assert ledger.record_look(clone, "1" * 64, {**found, "offline": second}) is not None
    assert ledger.record_look(clone, "1" * 64, {**found, "offline": first}) is None
    assert [look.figures for look in ledger.read_looks()] == ["recall=0.95", "recall=0.9"]


def test_looks_at_the_test_split_are_noted_once_for_each_model(clone, monkeypatch):
    found = {"split": "test", "dataset": "japanese_vowels", "offline": {"accuracy": 0.5, "count": 9.0}}
    found["made"] = {"commit": "a" * 40}
    assert ledger.record_look(clone, "1" * 64, {**found, "split": "dev"}) is None
    assert ledger.record_look(clone, "1" * 64, found) is not None
    assert ledger.record_look(clone, "1" * 64, found) is None
    assert ledger.record_look(clone, "2" * 64, found) is not None
    assert ledger.record_look(dataclasses.replace(clone, name="my-own"), "3" * 64, found) is None
    monkeypatch.setenv("RNNZOO_LEDGER", "off")
    assert ledger.record_look(clone, "4" * 64, found) is None
    looks = ledger.read_looks("speaker-vowels")
    assert [look.weights for look in looks] == ["1" * 12, "2" * 12]
    assert looks[0].figures == "accuracy=0.5"
    assert looks[0].commit == "a" * 12


def test_every_bundle_is_in_the_ledger():
    assert {look.name for look in ledger.read_looks()} == set(rnnzoo.list_models(pretrained=True))
