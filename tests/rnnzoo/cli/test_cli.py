"""Every command from its arguments: what it prints and writes, and one line for every mistake."""

import errno
import io
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from places import ROOT
from safetensors.numpy import load
from zoo_runs import write_colours

import streaming
from rnnzoo.bundles.converted import cache_folder
from rnnzoo.cli import demo, main
from rnnzoo.cli.live import layout, printable
from rnnzoo.cli.main import explain
from rnnzoo.runs.store import load_run
from streaming.runtime.tasks import TaggedWord


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with an experiment, its data and its trained run; the command that trained it has passed."""
    folder = tmp_path_factory.mktemp("cli")
    (folder / "colours.yaml").write_text(write_colours(folder / "data"))
    arguments = ["train", str(folder / "colours.yaml"), "training.epochs=2", "--out", str(folder / "run")]
    assert main(arguments) == 0
    return folder


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(autouse=True)
def _own_cache(cache, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(cache))


def test_train_saves_a_run(place):
    run = load_run(place / "run")
    assert run.config.training.epochs == 2
    assert len(run.metrics["history"]["loss"]) == 2
    assert run.metrics["parameters"] == run.model.count_params()
    assert run.metrics["dev"]["accuracy"] > 0.5
    assert not (place / "run.checkpoints").exists()


@pytest.mark.slow
def test_a_run_in_half_precision_is_measured_as_it_is_stored(place, capfd, tmp_path):
    config, out = str(place / "colours.yaml"), tmp_path / "half"
    assert main(["train", config, "--out", str(out), "--dtype", "float16", "training.epochs=1"]) == 0
    stored = load((out / "weights.safetensors").read_bytes())
    assert {str(array.dtype) for array in stored.values()} == {"float16"}
    assert main(["evaluate", str(out), "--split", "dev", "--json", str(tmp_path / "dev.json")]) == 0
    found = json.loads((tmp_path / "dev.json").read_text())
    assert found["offline"]["accuracy"] == load_run(out).metrics["dev"]["accuracy"] == found["float32"]["accuracy"]
    assert capfd.readouterr().err == ""


def test_evaluate_writes_all_figures(place, capsys, tmp_path):
    assert main(["evaluate", str(place / "run"), "--json", str(tmp_path / "figures.json")]) == 0
    found = json.loads((tmp_path / "figures.json").read_text())
    assert found["float32"]["accuracy"] == found["offline"]["accuracy"]
    assert found["int8"]["accuracy"] == pytest.approx(found["offline"]["accuracy"], abs=0.1)
    assert found["float32"]["max_abs_error"] < 1e-4
    assert (found["split"], found["float32"]["delay"]) == ("test", 1)
    assert f"{found['offline']['accuracy']:.2%}" in capsys.readouterr().out


@pytest.mark.slow
def test_figures_that_cannot_be_written_are_shown(place, capsys, tmp_path, monkeypatch):
    replace = os.replace

    def full(source, target):
        if Path(target).name == "figures.json":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        replace(source, target)

    monkeypatch.setattr(os, "replace", full)
    assert main(["evaluate", str(place / "run"), "--split", "dev", "--json", str(tmp_path / "figures.json")]) == 2
    shown = capsys.readouterr()
    assert "accuracy" in shown.out
    assert "figures.json (No space left on device): choose another folder, or make room" in shown.err
    assert len(shown.err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_evaluate_says_what_cannot_be_streamed(tmp_path, capsys):
    write_colours(tmp_path / "data")
    text = write_colours(tmp_path / "data").replace("lookahead: 1", "lookahead: 0, bidirectional: true")
    (tmp_path / "both.yaml").write_text(text)
    out = str(tmp_path / "run")
    assert main(["train", str(tmp_path / "both.yaml"), "training.epochs=1", "--out", out]) == 0
    assert main(["evaluate", out, "--split", "dev"]) == 0
    assert "not streamed: " in capsys.readouterr().out


def test_export_makes_a_file_that_tags(place, capfd, tmp_path):
    for options in ([], ["--quantize", "none"], ["--quantize", "dynamic"], ["--quantize", "int8"]):
        assert main(["export", str(place / "run"), str(tmp_path / "x.tflite"), *options]) == 0
        shown = capfd.readouterr()
        assert "max error" in shown.out
        assert shown.err == ""
        assert len(streaming.pipeline(tmp_path / "x.tflite").tag(["red", "blue"])) == 2


def test_demo_shows_proof_tags_and_speed(place, capfd):
    assert main(["demo", "--bundle", str(place / "run"), "--text", "red blue. green"]) == 0
    shown = capfd.readouterr()
    assert "equal to the Keras model" in shown.out
    assert "red/B blue/" in shown.out
    assert "int8" in shown.out
    assert shown.err.count("Converting") == 1
    assert main(["demo", "--bundle", str(place / "run"), "--fast"]) == 0
    assert capfd.readouterr().err == ""


def test_the_second_demo_does_not_import_tensorflow(place):
    main(["demo", "--bundle", str(place / "run"), "--text", "red"])
    code = (
        "import sys\nfrom rnnzoo.cli import main\n"
        f"code = main(['demo', '--bundle', {str(place / 'run')!r}, '--text', 'red blue'])\n"
        "sys.exit(code or len({'tensorflow', 'keras'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_damaged_cache_is_made_anew(place, capfd):
    arguments = ["demo", "--bundle", str(place / "run"), "--text", "red"]
    main(arguments)
    kept = cache_folder(place / "run") / "int8.tflite"
    kept.write_bytes(kept.read_bytes()[:1000])
    capfd.readouterr()
    assert main(arguments) == 0
    assert "Converting" in capfd.readouterr().err
    assert [path.name for path in kept.parent.parent.iterdir()] == [kept.parent.name]


def standard_input(data, *arguments):
    return subprocess.run(
        [sys.executable, "-m", "rnnzoo", "demo", *arguments], input=data, capture_output=True, cwd=ROOT
    )


def test_standard_input_is_a_filter(place):
    main(["demo", "--bundle", str(place / "run"), "--text", "red"])
    for dash in (["-"], []):
        done = standard_input("red blue\n\n  \ngreen é\n".encode(), *dash, "--bundle", str(place / "run"))
        assert (done.returncode, done.stderr) == (0, b"")
        first, second = done.stdout.decode().splitlines()
        assert first.startswith("red/B blue/")
        assert second.split()[1].startswith("é/")


@pytest.mark.parametrize(("data", "said"), [(b"", "empty"), (b" \n\n", "empty"), (b"ok\n\xff\xfe\n", "line 2, is not")])
def test_useless_standard_input_is_one_line(data, said, place):
    done = standard_input(data, "-", "--bundle", str(place / "run"))
    assert done.returncode == 2
    assert done.stderr.decode().splitlines()[-1].startswith("rnnzoo: error: standard input")
    assert said in done.stderr.decode()


def test_each_line_is_tagged_before_the_next_is_read(place):
    main(["demo", "--bundle", str(place / "run"), "--text", "red"])
    models = demo.load_models(place / "run")
    out, seen = io.StringIO(), []

    def source():
        for word in (b"red\n", b"blue\n"):
            seen.append(out.getvalue())
            yield word

    demo._filter(demo.Console(file=out), demo._tagger(models["float32"]), source())
    assert seen[0] == ""
    assert seen[1].startswith("red/")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ([], "expected a command: train, "),
        (["trian"], "unknown command 'trian'; did you mean 'train'?"),
        (["train"], "required: CONFIG"),
        (["train", "nope.yaml"], "cannot read nope.yaml"),
        (["train", "tagger-en-ewt-steram"], "did you mean 'tagger-en-ewt-stream'?"),
        (["train", "RUN/../colours.yaml", "training.epoch=3"], "did you mean 'training.epochs'?"),
        (
            ["train", "RUN/../colours.yaml", "training.epochs=0"],
            "training.epochs is at least 1; received epochs=0",
        ),
        (["train", "RUN/../colours.yaml", "--out", "RUN"], "holds a saved run"),
        (["train", "RUN/../colours.yaml", "--out", "RUN/.."], "is no saved run"),
        (
            ["train", "RUN/../colours.yaml", "data.dataset=conll:nowhere", "--out", "RUN2"],
            "nowhere is no file and no folder",
        ),
        (["train", "RUN/../colours.yaml", "data.dataset=clinc", "--out", "RUN2"], "unknown data set 'clinc'"),
        (["train", "RUN/../colours.yaml", "training.learning_rate=1e30", "--out", "RUN2"], "Lower training"),
        (["evaluate", "nowhere"], "no pretrained model is called 'nowhere'"),
        (["evaluate", "./nowhere"], "is no saved run"),
        (["evaluate", "RUN/config.yaml"], "is no saved run"),
        (["evaluate", "RUN", "--split", "tset"], "expected one of train, dev, test; received 'tset'"),
        (["evaluate", "RUN", "--json", "nowhere/x.json"], "nowhere"),
        (["evaluate", "RUN", "--jsno", "x"], "--jsno"),
        (["export", "RUN", "nowhere/x.tflite"], "nowhere does not exist"),
        (
            ["export", "RUN", "x.tflite", "--quantize", "int4"],
            "expected one of none, float16, dynamic, int8; received",
        ),
        (["demo", "file.txt"], "expected `-`"),
        (["draw", "nowhere"], "no pretrained model"),
        (["compose", "nowhere"], "no pretrained model"),
        (["compose", "charlm-lstm", "--out", "a.ogg"], "--out is a .mid or .wav file"),
        (["compose", "charlm-lstm", "--tempo", "3"], "--tempo is 10 to 400"),
        (["compose", "charlm-lstm", "--tries", "0"], "--tries is 1 to 100"),
        (["compose", "charlm-lstm", "--melody", "C4 H9"], "--melody: 'H9' is no note"),
        (["compose", "charlm-lstm", "--bass", "none.mid"], "none.mid"),
        (["compose", "charlm-lstm"], "composing needs a generator of MIDI numbers"),
        (["compose", "wake-word"], "rnnzoo compose needs a generator; the model is a keyword spotter"),
        (["draw", "charlm-lstm", "--out", "a.jpg"], "--out is a .png file"),
        (["draw", "charlm-lstm", "--count", "0"], "--count is 1 to 400"),
        (["draw", "charlm-lstm", "--count", "many"], "expected a whole number"),
        (["draw", "charlm-lstm", "--temperature", "hot"], "expected a number"),
        (["draw", "charlm-lstm"], "rnnzoo draw needs a sketcher; the model is a generator"),
        (["demo", "-", "--text", "x"], "both"),
        (["demo", "--text", " "], "the text is empty"),
        (["demo", "--text", "caf\udce9"], "not UTF-8"),
        (["demo", "--bundle", "nowhere", "--text", "x"], "no pretrained model"),
        (["list", "zzz"], "no model matches 'zzz'"),
        (["info", "intent-clnic"], "did you mean 'intent-clinc'?"),
    ],
)
def test_mistakes_are_one_line_and_exit_code_2(arguments, said, place, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    run = str(place / "run")
    replaced = [text.replace("RUN2", str(tmp_path / "new")).replace("RUN", run) for text in arguments]
    assert main(replaced) == 2
    error = capsys.readouterr().err.splitlines()
    assert len(error) == 1
    assert error[0].startswith("rnnzoo: error: ")
    assert said in error[0]
    assert {name for name in os.listdir(tmp_path) if name != "new.checkpoints"} == set()


def test_debug_shows_the_traceback():
    with pytest.raises(streaming.InputError):
        main(["demo", "--text", "", "--debug"])


def test_version_and_help_are_no_errors(capsys):
    assert main(["--version"]) == 0
    assert main(["train", "--help"]) == 0
    assert "KEY=VALUE" in capsys.readouterr().out


def test_interrupted_and_broken_off(monkeypatch, capsys):
    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(demo, "run_demo", lambda *a, **k: interrupt())
    assert main(["demo"]) == 130
    assert capsys.readouterr().err == "rnnzoo: interrupted\n"
    done = subprocess.run(
        f"{sys.executable} -m rnnzoo list | true", shell=True, capture_output=True, cwd=ROOT, check=False
    )
    assert done.stderr == b""


@pytest.mark.parametrize(
    ("backend", "command", "said"),
    [
        ("jaxx", ["train", "intent-clinc"], "expected KERAS_BACKEND among tensorflow, jax, torch; received 'jaxx'"),
        ("jax", ["export", "intent-clinc", "x.tflite"], "this needs KERAS_BACKEND=tensorflow; received 'jax'"),
        ("jax", ["train", "intent-clinc"], "jax is not installed: pip install 'rnnzoo[backends]'"),
    ],
)
def test_a_backend_that_cannot_run_is_refused_in_one_line(monkeypatch, capsys, backend, command, said):
    monkeypatch.setenv("KERAS_BACKEND", backend)
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert main(command) == 2
    assert said in capsys.readouterr().err


def test_faults_of_the_program_are_not_explained():
    assert explain(KeyError("x")) is None
    assert explain(ModuleNotFoundError("no", name="own_module")) is None
    assert "rnnzoo[train]" in explain(ModuleNotFoundError("no", name="keras.src"))


def test_layout_keeps_tags_under_their_words_within_the_width():
    heard = ["I", "quite\x1b[31m", "x" * 60, "中文", "like"]
    decided = [TaggedWord("I", "PRON", 1.0), TaggedWord(heard[1], "ADV", 1.0)]
    rows = [text.plain for text in layout(heard, decided, 40).renderables]
    assert all(len(row) <= 40 for row in rows)
    assert rows[0].startswith("I     quite\N{REPLACEMENT CHARACTER}[31m")
    assert rows[1].split() == ["PRON", "ADV"] + ["·"] * (len(rows[1].split()) - 2)
    assert rows[1].index("ADV") == rows[0].index("quite")
    assert printable("a\tb\x07") == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"


def test_overrides_may_stand_behind_options():
    from rnnzoo.cli.parser import parse

    arguments = parse(["train", "tagger-en-ewt-stream", "model.units=9", "--out", "x", "training.epochs=1"])
    assert arguments.overrides == ["model.units=9", "training.epochs=1"]


@pytest.mark.parametrize("argv", [["train", "x", "--dtype", "float17"], ["train", "x", "--outt", "y"]])
def test_wrong_options_are_refused_before_anything_runs(argv, capsys):
    assert main(argv) == 2
    assert argv[2] in capsys.readouterr().err


def test_a_silent_pipe_is_no_text(monkeypatch):
    reader, writer = os.pipe()
    with os.fdopen(reader) as silent, os.fdopen(writer, "w") as speaker:
        monkeypatch.setattr("sys.stdin", silent)
        assert not demo._piped()
        speaker.write("Hello .\n")
        speaker.flush()
        assert demo._piped()


@pytest.mark.parametrize(
    ("argv", "code"),
    [
        (["list"], 0),
        (["info", "intent-clinc"], 0),
        (["train", "tagger-en-ewt-stream", "training.epoch=3"], 2),
        (["train", "tagger-en-ewt-stream", "training.optimizer=magic"], 2),
        (["train", "tagger-en-ewt-stream", "model.bidirectional=true"], 2),
    ],
)
def test_what_needs_no_model_imports_no_keras(argv, code):
    program = (
        "import sys; from rnnzoo.cli import main; code = main(sys.argv[1:]); "
        "assert not {'keras', 'tensorflow'} & set(sys.modules); sys.exit(code)"
    )
    assert subprocess.run([sys.executable, "-c", program, *argv], capture_output=True).returncode == code


@pytest.mark.slow
def test_native_libraries_are_quiet_even_where_somebody_asked_for_tensorflow_before():
    program = """
from rnnzoo.util.quiet import quiet_tensorflow
quiet_tensorflow()
import importlib.util
importlib.util.find_spec("tensorflow")
import tensorflow
print(tensorflow.constant([1]).numpy())
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("[1]\n", "")


@pytest.mark.parametrize("package", ["rnnzoo", "streaming"])
def test_a_package_is_its_command(package):
    found = subprocess.run([sys.executable, "-m", package, "--help"], cwd=ROOT, capture_output=True, text=True)
    assert found.returncode == 0
    assert found.stdout.startswith(f"usage: {package} ")
