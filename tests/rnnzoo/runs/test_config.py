"""Experiments in YAML: what is read is what is written, and every mistake is named with its place."""

import dataclasses
from dataclasses import dataclass, field
from typing import Literal, get_type_hints

import pytest

import rnnzoo
from rnnzoo.errors import ConfigError
from rnnzoo.registry.layout import config_paths
from rnnzoo.registry.names import find_config
from rnnzoo.runs.config import _Reader, dump_config, load_config, parse_config
from rnnzoo.tasks.classifier.config import ClassifierConfig
from rnnzoo.tasks.discovery import model_config, task_names
from rnnzoo.tasks.tagger.config import TaggerConfig

TEXT = """
name: small
topology: tagger
seed: 3
data: {dataset: x}
model: {units: 8, char_widths: [2, 3]}
training: {clip_norm: null}
"""


@dataclass(frozen=True)
class Inner:
    size: int = 1


@dataclass(frozen=True)
class Outer:
    kind: Literal["a", "b"]
    rate: float = 0.5
    on: bool = False
    names: tuple[str, ...] = ()
    widths: list[int] = field(default_factory=list)
    inner: Inner = field(default_factory=Inner)
    limit: int | None = None


def read(tree):
    return _Reader("file", {}).build(Outer, tree, "")


def test_values_get_the_types_of_their_fields():
    tree = {"kind": "b", "rate": 2, "on": True, "names": ["x"], "widths": [3], "inner": {"size": 4}, "limit": None}
    made = read(tree)
    assert made == Outer("b", 2.0, True, ("x",), [3], Inner(4), None)
    assert isinstance(made.rate, float)
    assert read({"kind": "a"}) == Outer("a")
    assert read({"kind": "a", "rate": "1e-3"}).rate == 1e-3


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ({}, "kind is missing"),
        ({"kind": "c"}, "expected one of a, b; received 'c'"),
        ({"kind": "a", "rate": "fast"}, "rate: expected a number; received 'fast'"),
        ({"kind": "a", "rate": True}, "expected a number; received True"),
        ({"kind": "a", "rate": float("nan")}, "expected a number"),
        ({"kind": "a", "on": 1}, "on: expected true or false; received 1"),
        ({"kind": "a", "limit": 1.5}, "limit: expected a whole number; received 1.5"),
        ({"kind": "a", "limit": True}, "expected a whole number"),
        ({"kind": "a", "names": "x"}, "names: expected a list"),
        ({"kind": "a", "names": ["x", 2]}, r"names[1]: expected text; received 2"),
        ({"kind": "a", "inner": 3}, "inner: expected a section"),
        ({"kind": "a", "inner": {"sise": 3}}, "unknown key 'inner.sise'; did you mean 'inner.size'?"),
        ({"kind": "a", "zzz": 3}, "unknown key 'zzz'; known: kind, rate"),
        ({"kind": "a", 7: 3}, "unknown key '7'"),
    ],
)
def test_wrong_values_are_named(tree, said):
    with pytest.raises(ConfigError) as error:
        read(tree)
    assert said in str(error.value)
    assert "file: " in str(error.value)
    assert "\n" not in str(error.value)


def test_topology_decides_the_class_of_the_model():
    assert parse_config(TEXT, "t").model == TaggerConfig(units=8, char_widths=(2, 3))
    assert isinstance(parse_config("name: x\ntopology: classifier\ndata: {dataset: y}\n", "t").model, ClassifierConfig)


def test_dumped_configurations_come_back():
    text = "learning_rate: 1e-7, label_smoothing: 0.1, clip_norm: null"
    config = parse_config(f"name: 'no'\ntopology: tagger\ntraining: {{{text}}}\ndata: {{dataset: 'conll:é'}}\n", "t")
    dumped = dump_config(config)
    assert parse_config(dumped, "again") == config
    assert dump_config(parse_config(dumped, "again")) == dumped


@pytest.mark.parametrize("path", config_paths().values(), ids=config_paths())
def test_experiments_of_the_zoo_are_valid(path):
    config = load_config(path)
    assert config.name == path.stem
    assert parse_config(dump_config(config), "again") == config


def test_overrides_win_and_are_yaml():
    overrides = ["training.epochs=3", "model.char_widths=[5]", "training.clip_norm=2", "training.epochs=4", "seed=9"]
    config = parse_config(TEXT, "t", overrides)
    assert (config.training.epochs, config.training.clip_norm, config.seed) == (4, 2.0, 9)
    assert config.model.char_widths == (5,)
    assert config == dataclasses.replace(config, name="small")


@pytest.mark.parametrize("topology", task_names())
def test_every_number_of_a_model_has_a_range(topology):
    hints = get_type_hints(model_config(topology), include_extras=True)
    bare = [name for name, hint in hints.items() if hint in (int, float, tuple[int, ...], tuple[float, ...])]
    assert bare == []


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.epoch=3", "override 'training.epoch=3': unknown key 'training.epoch'; did you mean 'training.ep"),
        ("training.epochs=many", "override 'training.epochs=many': expected a whole number; received 'many'"),
        ("model.char_widths=[2, x]", "override 'model.char_widths=[2, x]': expected a whole number"),
        ("modle.units=3", "did you mean 'model'?"),
        ("training.epochs", "expected key=value"),
        ("=3", "expected key=value"),
        ("training..epochs=3", "expected key=value"),
        ("seed.x=3", "'seed' is no section"),
        ("training.epochs=[", "not valid YAML"),
        ("training=3", "override 'training=3': expected a section"),
        ("model.units=0", "override 'model.units=0': expected at least 1; received 0. Change model.units"),
        ("model.char_widths=[3, 0]", "override 'model.char_widths=[3, 0]': expected at least 1; received 0"),
        ("model.char_widths=[]", "model.char_filters=64 needs a width or more in model.char_widths"),
        ("model.layers=-1", "expected at least 0; received -1"),
        ("model.dropout=1", "expected at least 0 and below 1; received 1. Change model.dropout"),
        ("model.word_dropout=-0.1", "expected at least 0 and below 1; received -0.1"),
        ("data.limit=0", "expected at least 1; received 0. Change data.limit"),
        ("data.min_count=0", "expected at least 1"),
        ("data.inputs=[wrds]", "override 'data.inputs=[wrds]': expected one of words, chars, affixes; received 'wrds'"),
        ("name=../x", "override 'name=../x': expected a name that a folder can have; received '../x'"),
        ("name=' '", "expected a name that a folder can have"),
        ("seed=-1", "override 'seed=-1': expected at least 0 and below 4294967296; received -1"),
        ("topology=taggr", f"override 'topology=taggr': expected one of {', '.join(task_names())}; received 'taggr'"),
    ],
)
def test_wrong_overrides_are_named(override, said):
    with pytest.raises(ConfigError) as error:
        parse_config(TEXT, "t", [override])
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("data.window=0", "expected at least 1 and below 10000; received 0. Change data.window"),
        # Days of silence before each recording would not fit into memory.
        ("data.pause=100000", "expected at least 0 and below 10; received 100000. Change data.pause"),
        ("data.speed=1", "expected at least 0 and below 1; received 1. Change data.speed"),
        ("data.white_noise=-0.1", "expected at least 0; received -0.1. Change data.white_noise"),
    ],
)
def test_wrong_streams_of_recordings_are_named(override, said):
    with pytest.raises(ConfigError) as error:
        load_config(find_config("digits-kws-stream"), [override])
    assert said in str(error.value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "received NoneType"),
        ("- 1\n", "received list"),
        ("a: [", "line 1: not valid YAML"),
        ("name: x\nname: y\ntopology: tagger\n", "line 2: not valid YAML (the key 'name' comes twice)"),
        ("topology: tagger\n", "name is missing"),
        ("name: 3\ntopology: tagger\n", "name: expected text; received 3"),
        ("name: x\n", f"topology: expected one of {', '.join(task_names())}; received None"),
        ("name: x\ntopology: tagger\n", "data.dataset is missing"),
        ("name: x\ntopology: [tagger]\n", "received ['tagger']"),
        ("name: x\ntopology: tagger\ndata: 5\n", "data: expected a section"),
        ("name: !!python/object/apply:os.getcwd []\ntopology: tagger\n", "not valid YAML"),
    ],
)
def test_wrong_files_are_named(text, said, tmp_path):
    path = tmp_path / "experiment.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError) as error:
        load_config(path)
    assert said in str(error.value)
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_files_that_cannot_be_read_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"nope\.yaml.*No such file"):
        load_config(tmp_path / "nope.yaml")
    with pytest.raises(ConfigError, match="directory"):
        load_config(tmp_path)
    (tmp_path / "latin.yaml").write_bytes(b"name: \xe9\n")
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_config(tmp_path / "latin.yaml")


def test_every_error_of_the_zoo_has_one_base():
    for error in (rnnzoo.ConfigError, rnnzoo.DataError, rnnzoo.Diverged):
        assert issubclass(error, rnnzoo.RnnzooError)
        assert issubclass(error, ValueError)
