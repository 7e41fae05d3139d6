"""Addresses and caches: arguments, variables, defaults; and the manifest where PyYAML is not installed."""

import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from places import ROOT

import rnnzoo
from rnnzoo.cli import main
from rnnzoo.errors import HubError
from rnnzoo.hub.settings import read_settings
from rnnzoo.hub.yaml_subset import BadYaml, read_plain, scalar
from rnnzoo.registry import layout


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch):
    for name in ("RNNZOO_URL", "RNNZOO_CACHE", "RNNZOO_OFFLINE"):
        monkeypatch.delenv(name, raising=False)


def test_arguments_come_before_defaults(tmp_path, monkeypatch):
    assert read_settings().urls == (layout.root().as_uri() + "/",)
    assert read_settings().is_default
    chosen = read_settings(url="https://a.example/x file:///b/", cache_dir=tmp_path, offline=True)
    assert chosen.urls == ("https://a.example/x/", "file:///b/")
    assert (chosen.cache, chosen.offline, chosen.is_default) == (tmp_path, True, False)
    monkeypatch.setenv("RNNZOO_OFFLINE", "1")
    assert read_settings().offline


@pytest.mark.parametrize(
    ("variable", "arguments", "said"),
    [
        (
            "RNNZOO_URL",
            {"url": "https://b.example"},
            "url 'https://b.example' and RNNZOO_URL='https://a.example' disagree",
        ),
        ("RNNZOO_CACHE", {"cache_dir": "/elsewhere"}, "'/elsewhere' and RNNZOO_CACHE='https://a.example' disagree"),
    ],
)
def test_two_that_disagree_are_refused(variable, arguments, said, monkeypatch, capsys):
    monkeypatch.setenv(variable, "https://a.example")
    with pytest.raises(HubError, match=said):
        rnnzoo.download("speaker-vowels", **arguments)
    option = [f"--{name.removesuffix('_dir')}={value}" for name, value in arguments.items()]
    assert main(["download", "speaker-vowels", *option]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_same_in_two_ways_is_no_disagreement(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_URL", "https://a.example")
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path))
    assert read_settings(url="https://a.example", cache_dir=tmp_path).cache == tmp_path


def test_a_revision_is_an_argument_too(tmp_path):
    folder = rnnzoo.download("speaker-vowels", cache_dir=tmp_path)
    assert rnnzoo.download("speaker-vowels", cache_dir=tmp_path, revision=folder.name) == folder
    with pytest.raises(HubError, match="revision 0123abcd of speaker-vowels is gone"):
        rnnzoo.download("speaker-vowels", cache_dir=tmp_path, revision="0123abcd")
    with pytest.raises(HubError, match="disagree"):
        rnnzoo.download("speaker-vowels@ffff", cache_dir=tmp_path, revision="0123abcd")


def test_the_script_needs_the_standard_library_alone(tmp_path):
    # -I and -S: no environment, no packages.
    command = [sys.executable, "-I", "-S", str(ROOT / "tools" / "download_zoo.py"), "--cache", str(tmp_path)]
    done = subprocess.run([*command, "speaker-vow*"], capture_output=True, text=True, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    folder = Path(done.stdout.strip())
    assert folder == rnnzoo.download("speaker-vowels", cache_dir=tmp_path)
    assert "speaker-vowels" in subprocess.run([*command, "--list"], capture_output=True, text=True).stdout
    done = subprocess.run([*command, "speakr-vowels"], capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.splitlines() == [
        "download_zoo: error: no pretrained model is called 'speakr-vowels'; did you mean 'speaker-vowels'?"
    ]


def test_a_manifest_reads_the_same_without_pyyaml():
    text = (layout.root() / layout.MANIFEST).read_text(encoding="utf-8")
    assert read_plain(text) == yaml.load(text, Loader=yaml.BaseLoader)


@pytest.mark.parametrize(
    "text",
    ["12345", "1e5", "0x1f", "1.5", "12:30:45", "2001-01-01", "yes", "None", "null", "CC BY 4.0", "a: b", "it's", "#x"],
)
def test_texts_come_back_as_texts(text):
    line = f"key: {scalar(text)}"
    assert yaml.safe_load(line) == read_plain(line) == {"key": text}


@pytest.mark.parametrize(
    "text", ["a: *x", "a: {b: 1}", "? a", "a: 1\na: 2", "- a: 1", "a:\n   b: 1", "a: &x b", "a: !!t b"]
)
def test_other_yaml_is_refused(text):
    with pytest.raises(BadYaml, match="line"):
        read_plain(text)
