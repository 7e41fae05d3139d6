"""`streaming run` on tasks: text, rows, audio, arrays; what a terminal shows; what is refused."""

import io
import json
import sys
import types
import wave

import keras
import numpy as np
import pytest
from keras import layers
from task_models import (
    COLUMNS,
    FEATURES,
    RATE,
    SCALER,
    codecs,
    labels_file,
    language_model,
    save,
    tagger_of_rows,
    tone,
    translation_model,
)

import streaming
from streaming.cli import main
from streaming.cli.display import Live
from streaming.runtime.codec import TextCodec
from streaming.runtime.tasks import Keyword, TaggedWord
from streaming.runtime.text import WordEncoder

SPOT = {"kind": "keyword_spotter", "sample_rate": RATE, "features": FEATURES, "threshold": 0.4, "refractory": 0.0}


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    """A file for each kind of task."""
    folder = tmp_path_factory.mktemp("run")
    codec, (source, target) = TextCodec.fit(["To be, or not to be"], "characters"), codecs()
    texts = {"source.json": source.to_bytes(), "target.json": target.to_bytes()}
    rows = {"columns": list(COLUMNS), "scaler": SCALER}
    encoder = WordEncoder.fit([["the", "dog"]], ["A", "B"], inputs=("words",), min_count=1)
    words = keras.Input((None,), dtype="int32", name="words")
    tagger = keras.Model(words, layers.GRU(2, return_sequences=True)(layers.Embedding(9, 3)(words)))
    image = keras.Input((2, 3), name="image")
    taken = keras.Input((None,), dtype="int32", name="target")
    seen = layers.Dense(4)(layers.Flatten()(image))
    decoded = layers.GRU(4, return_sequences=True)(layers.Embedding(len(target), 4)(taken), initial_state=seen)
    captioner = keras.Model([image, taken], layers.Dense(len(target))(decoded))
    translator = translation_model(len(source), len(target))
    labels = {"labels.txt": labels_file()}
    forecaster = tagger_of_rows(2, 2)
    return {
        "spotter": save(tagger_of_rows(6, 3), folder, SPOT, labels),
        "tagger": save(tagger, folder, {"kind": "tagger"}, encoder.to_files()),
        "sensor": save(tagger_of_rows(2, 3), folder, {"kind": "sequence_tagger", **rows}, labels),
        "forecaster": save(forecaster, folder, {"kind": "forecaster", **rows}, {}),
        "generator": save(language_model(len(codec)), folder, {"kind": "generator"}, {"target.json": codec.to_bytes()}),
        "translator": save(
            translator, folder, {"kind": "translator", "max_length": 6}, texts, encode=["source"], max_length=9
        ),
        "captioner": save(
            captioner, folder, {"kind": "captioner", "max_length": 4}, texts, encode=["image"], max_length=1
        ),
    }


@pytest.fixture
def call(capsys, monkeypatch):
    """call(arguments..., stdin=) -> (code, parsed lines, stderr)."""

    def run(*arguments, stdin=b""):
        data = stdin if isinstance(stdin, bytes) else stdin.encode()
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
        code = main(["run", *map(str, arguments)])
        out, err = capsys.readouterr()
        return code, [json.loads(line) for line in out.splitlines()], err

    return run


def wav(samples, rate=RATE, channels=1):
    out = io.BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(channels)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.asarray(samples) * 32767).astype("<i2").tobytes())
    return out.getvalue()


def test_audio_from_a_file_and_a_pipe(paths, call, tmp_path):
    samples = np.concatenate([np.zeros(4000), tone(0.5), np.zeros(2000)])
    (tmp_path / "a.wav").write_bytes(wav(samples))
    code, found, err = call(paths["spotter"], tmp_path / "a.wav")
    assert (code, err) == (0, "")
    expected = streaming.pipeline(paths["spotter"]).spot((samples * 32767).astype("int16") / 32768)
    assert {item["event"] for item in found} == {"keyword"}
    assert [item["label"] for item in found] == [event.label for event in expected]
    np.testing.assert_allclose([item["time"] for item in found], [event.time for event in expected], atol=1e-6)
    assert call(paths["spotter"], stdin=wav(samples))[1] == found


def test_audio_that_does_not_fit(paths, call, tmp_path):
    samples = tone(0.2)
    for data, options, message in (
        (
            wav(samples, 16000),
            [],
            "has 16000 samples a second, the model takes 8000; record it at that rate, or ask for",
        ),
        (wav(samples, channels=2), [], "has 2 channels, expected 1; ask for mono"),
        (wav([]), [], "holds no samples"),
        (b"", [], "no WAV file"),
        (b"hello", [], "no WAV file"),
    ):
        code, found, err = call(paths["spotter"], *options, stdin=data)
        assert (code, found, err.count("\n")) == (2, [], 1)
        assert message in err
    assert call(paths["spotter"], "--resample", "--mono", stdin=wav(samples, 16000, 2))[0] == 0
    code, _, err = call(paths["tagger"], tmp_path / "a.wav")
    assert code == 2
    assert "is audio, the model takes words" in err


def test_options_stand_before_or_after_the_input_and_a_folder_is_a_bundle(paths, call, tmp_path):
    rows = np.random.default_rng(0).standard_normal((3, 2)).round(4)
    (tmp_path / "rows.csv").write_text("\n".join(f"{a},{b}" for a, b in rows))
    (tmp_path / "bundle").mkdir()
    (tmp_path / "bundle" / "float32.tflite").write_bytes(paths["sensor"].read_bytes())
    expected = call(paths["sensor"], tmp_path / "rows.csv")
    assert (expected[0], len(expected[1])) == (0, 3)
    assert call(paths["sensor"], "--json", tmp_path / "rows.csv") == expected
    assert call(tmp_path / "bundle", tmp_path / "rows.csv", "--json") == expected
    code, _, err = call(paths["sensor"], tmp_path / "rows.csv", "--json", "more")
    assert (code, err) == (2, "streaming: error: unrecognized arguments: more; see `streaming --help`\n")
    code, _, err = call(tmp_path, tmp_path / "rows.csv")
    assert code == 2
    assert "float32.tflite: No such file" in err


def test_rows_by_name_and_in_order(paths, call, tmp_path):
    rows = np.random.default_rng(0).standard_normal((6, 2)).round(4)
    expected = [(e.tag, round(e.score, 6)) for e in streaming.pipeline(paths["sensor"]).tag(rows)]
    plain = "\n".join(f"{a},{b}" for a, b in rows)
    named = "when,load,heat\n" + "\n".join(f"12:0{i},{b},{a}" for i, (a, b) in enumerate(rows))
    objects = "\n".join(json.dumps({"load": b, "heat": a, "note": "x"}) for a, b in rows)
    arrays = "\n".join(json.dumps([a, b]) for a, b in rows)
    for text in (plain, named, objects, arrays, "\ufeff" + named.replace("\n", "\r\n")):
        (tmp_path / "rows.csv").write_text(text, newline="")
        code, found, err = call(paths["sensor"], tmp_path / "rows.csv")
        told = "streaming: note: the input has no header: its columns were taken as heat, load\n"
        assert (code, err) == (0, told if text is plain else "")
        assert [(item["tag"], item["score"]) for item in found] == expected
    code, found, _ = call(paths["sensor"], stdin=f"{plain}\n\n{plain}")
    assert [(item["sequence"], item["row"]) for item in found] == [(s, t) for s in range(2) for t in range(6)]
    code, found, _ = call(paths["forecaster"], stdin=plain)
    values = [event.values for event in streaming.pipeline(paths["forecaster"]).run([rows])]
    np.testing.assert_allclose([item["values"] for item in found], values, atol=1e-5)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("heat,cold\n1,2", "line 1 names the columns heat, cold, expected heat, load among them; load is missing"),
        ("1,2\n1,2,3", "line 2 is '1,2,3': 3 columns, expected 2 numbers"),
        ("1,2\n1,x", "line 2 is '1,x': no numbers"),
        ("1,2\n1,nan", "line 2: no value in column load; fill it, or train with data.missing=hold"),
        ("1,2\n1,inf", "line 2 is '1,inf': no numbers ('inf' is no number)"),
        ('{"heat": 1}', "an object without load"),
        ("[1, 2, 3]", "another row"),
        ("[[1], 2]", "another row"),
        ("[1, 2", "no JSON"),
        ("[" * 50_000, "no JSON"),
        (b"1,2\n\xff\xfe", "line 2 is not UTF-8"),
        ("", "the input holds no rows"),
        ("heat,load\n", "the input holds no rows"),
    ],
)
def test_rows_that_do_not_fit(text, message, paths, call):
    code, _, err = call(paths["sensor"], stdin=text)
    assert (code, err.count("\n")) == (2, 1)
    assert message in err
    assert len(err) < 400


def test_text_is_translated_and_written(paths, call):
    task = streaming.pipeline(paths["translator"])
    code, found, err = call(paths["translator"], "--width", 2, "--n-best", 2, stdin="the dog\n\nA zebra\n")
    assert code == 0
    assert [item["line"] for item in found] == [1, 1, 3, 3]
    assert found[0]["text"] == task.translations(["the dog"], width=2, n_best=2)[0][0].text
    assert err == "streaming: note: 1 of 4 pieces of the input are unknown to the model\n"
    code, found, _ = call(paths["translator"], "--wait-k", 2, stdin="the dog sees\n")
    expected = [event for word in ("the", "dog", "sees") for event in (word,)]
    session = task.simultaneous(2)
    expected = [e for word in ("the", "dog", "sees") for e in session.feed(word)] + list(session.finish())
    assert [(item["word"], item["read"]) for item in found] == [tuple(event) for event in expected]
    options = {"temperature": 0.7, "top_k": 4, "top_p": 0.9, "seed": 3, "max_length": 9}
    flags = [part for name, value in options.items() for part in (f"--{name.replace('_', '-')}", value)]
    code, found, _ = call(paths["generator"], *flags, stdin="To\n")
    assert "".join(i["text"] for i in found) == streaming.pipeline(paths["generator"]).generate("To", **options)


def test_options_of_other_tasks_are_refused(paths, call):
    for name, flags, message in (
        ("tagger", ["--temperature", 1], "--temperature does not go with this model, whose task is tagger"),
        ("generator", ["--width", 3], "--width does not go"),
        ("sensor", ["--wait-k", 3], "--wait-k does not go"),
        ("generator", ["--top-p", 7, "--temperature", 1], "top_p 7"),
        ("translator", ["--width", 1, "--n-best", 2], "n_best 2"),
        ("generator", ["--temperature", "hot"], "expected a number, got 'hot'"),
        ("sensor", ["--microphone"], "the model takes rows, a microphone gives audio"),
    ):
        code, found, err = call(paths[name], *flags, stdin="To be\n")
        assert (code, found, err.count("\n")) == (2, [], 1), name
        assert message in err


def test_text_that_does_not_fit(paths, call):
    for name, text, message in (
        ("tagger", "", "the input holds no text"),
        ("tagger", "\n \n", "the input holds no text"),
        ("tagger", b"a\n\xff", "line 2 is not UTF-8"),
        ("translator", "a\n" + "the " * 20, "line 2: source"),
    ):
        code, _, err = call(paths[name], stdin=text)
        assert (code, err.count("\n")) == (2, 1)
        assert message in err


def test_arrays_are_described(paths, call, tmp_path):
    array = np.random.default_rng(0).standard_normal((2, 3))
    np.save(tmp_path / "a.npy", array)
    code, found, _ = call(paths["captioner"], tmp_path / "a.npy")
    assert code == 0
    assert found[0]["text"] == streaming.pipeline(paths["captioner"]).caption(array)
    np.savez(tmp_path / "a.npz", array)
    np.save(tmp_path / "wrong.npy", array[0])
    for name, message in (("a.npz", "several arrays"), ("wrong.npy", "shape (3,)")):
        code, _, err = call(paths["captioner"], tmp_path / name)
        assert code == 2
        assert message in err
    for data in (b"", b"text", np.array([None]).dumps()):
        code, _, err = call(paths["captioner"], stdin=data)
        assert code == 2
        assert "is no array" in err


class Terminal(io.StringIO):
    def isatty(self):
        return True


def on_screen(paths, name, monkeypatch, stdin, *more):
    screen = Terminal()
    monkeypatch.setattr(sys, "stdout", screen)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(stdin)))
    assert main(["run", str(paths[name]), *more]) == 0
    return screen.getvalue()


def test_a_terminal_shows_what_grows(paths, monkeypatch):
    text = on_screen(paths, "tagger", monkeypatch, b"The dog\nthe\n")
    tags = [f"{t.word}/{t.tag} " for t in streaming.pipeline(paths["tagger"]).tag(["The", "dog"])]
    assert text.splitlines()[0] == "".join(tags)
    assert len(text.splitlines()) == 2
    text = on_screen(paths, "spotter", monkeypatch, wav(np.concatenate([np.zeros(4000), tone(0.5)])))
    assert "keyword     label " in text
    assert "\r\x1b[2K" in text  # the bar gives way to what follows
    assert "█" in text
    assert json.loads(on_screen(paths, "tagger", monkeypatch, b"dog\n", "--json"))["word"] == "dog"


def test_a_terminal_obeys_no_label():
    screen = Terminal()
    live = Live(screen)
    live.show(TaggedWord("\x1b[2Jx", "\x07", 1.0), {})
    live.end()
    live.show(Keyword("\x1b]0;", 0.5, 1.0), {})
    live.status({"\x1b[31m": 0.25})
    assert screen.getvalue().count("\x1b") == 0
    assert "█████ " in screen.getvalue()


class Recorder:
    """A stand-in for sounddevice: gives the samples, then what a user's Ctrl-C gives."""

    def __init__(self, samples, error=None):
        self.samples, self.error, self.PortAudioError = samples, error, type("PortAudioError", (Exception,), {})
        self.asked = None

    def InputStream(self, **asked):
        self.asked = asked
        if self.error:
            raise self.PortAudioError(self.error)
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def read(self, size):
        block, self.samples = self.samples[:size], self.samples[size:]
        if not len(block):
            raise KeyboardInterrupt
        return block[:, None].astype("float32"), False


def test_the_microphone_is_heard(paths, call, monkeypatch):
    samples = np.concatenate([np.zeros(4000), tone(0.5), np.zeros(2000)])
    recorder = Recorder(samples)
    module = types.SimpleNamespace(InputStream=recorder.InputStream, PortAudioError=recorder.PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    code, found, err = call(paths["spotter"], "--microphone")
    assert (code, err) == (130, "streaming: interrupted\n")
    assert recorder.asked == {"samplerate": RATE, "channels": 1, "dtype": "float32", "blocksize": RATE // 20}
    expected = streaming.pipeline(paths["spotter"]).session().feed(samples.astype("float32"))
    assert [(item["label"], item["time"]) for item in found] == [(e.label, round(e.time, 6)) for e in expected]


def test_a_microphone_that_is_not_there(paths, call, monkeypatch):
    recorder = Recorder([], "no device")
    module = types.SimpleNamespace(InputStream=recorder.InputStream, PortAudioError=recorder.PortAudioError)
    monkeypatch.setitem(sys.modules, "sounddevice", module)
    code, _, err = call(paths["spotter"], "--microphone")
    assert (code, err.count("\n")) == (2, 1)
    assert "does not record at 8000 samples a second (no device)" in err
    monkeypatch.setitem(sys.modules, "sounddevice", None)
    code, _, err = call(paths["spotter"], "--microphone")
    assert (code, err.count("\n")) == (2, 1)
    assert "pip install 'rnnzoo[microphone]'" in err
