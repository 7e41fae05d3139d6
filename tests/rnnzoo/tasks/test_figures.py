"""What an evaluation measures is what `streaming.pipeline` gives, by the public calls of each task."""

import dataclasses
import itertools
from typing import NamedTuple

import keras
import numpy as np
import pytest
from places import ROOT
from sacrebleu.metrics import BLEU
from task_models import loud

import streaming
from rnnzoo.data.encoders.audio import AudioEncoder
from rnnzoo.data.problems import arm
from rnnzoo.data.sets.babi_qa import Story
from rnnzoo.data.source import Source
from rnnzoo.runs.config import load_config
from rnnzoo.runs.store import read_encoder
from rnnzoo.tasks.anomaly_detector.scoring import ScoredSeries, nab_score
from rnnzoo.tasks.composer.harmony import harmony_figures, read_chords
from rnnzoo.tasks.discovery import task_class, task_names
from rnnzoo.tasks.keyword_spotter.config import KeywordAudioConfig, KeywordSpotterConfig
from rnnzoo.tasks.keyword_spotter.model import build_keyword_spotter
from rnnzoo.tasks.keyword_spotter.task import BACKGROUND, KeywordSpotterTask
from rnnzoo.tasks.one_to_one.task import OneToOneTask
from rnnzoo.tasks.sequence_generator.smiles import is_valid
from rnnzoo.tasks.sequence_tagger.rows import RowTaggerTask
from rnnzoo.tasks.sequence_tagger.task import SequenceTaggerTask
from rnnzoo.tasks.tagger.task import TaggerTask
from streaming.errors import InputError
from streaming.runtime.codec import END, START
from streaming.runtime.decoding.mixtures import PenMixture

RNG = np.random.default_rng(3)
SENTENCES = ["Anna saw the red house of her friends .", "no", "Two men in blue sit on a small bench , and talk !"]
GERMAN = ["Ein Hund läuft durch das hohe Gras .", "Zwei Männer sitzen .", "Eine Frau in Rot .", "Hund " * 60]


def arms(payloads):
    """One episode; what was collected of it does not matter."""
    return np.zeros((5, 12), np.float32), (np.zeros((5, 2)), arm.draw_episode(RNG, payloads))


class Case(NamedTuple):
    """A bundle, the kind of its examples, some of them, and figures by hand of what its task object gives."""

    bundle: str
    kind: str
    rows: list
    figures: object


def tagged(task, rows, config):
    right = [token.tag == tag for words, tags in rows for token, tag in zip(task.tag(words), tags, strict=True)]
    return {"accuracy": np.mean(right), "count": len(right)}


def classified(task, rows, config):
    return {"accuracy": np.mean([task.classify(given).label == label for given, label in rows]), "count": len(rows)}


def answered(task, rows, config):
    right = [task.classify(story.words).label == answer for story, answer in rows]
    return {"accuracy": np.mean(right), "qa1_accuracy": float(right[0]), "count": len(rows)}


def summarized(task, rows, config):
    chosen = []
    for sentences, scores in rows:
        tags = task.tag([word for words in sentences for word in (*words, "</s>")])
        ends = [tag.score if tag.tag == "summary" else 1 - tag.score for tag in tags if tag.word == "</s>"]
        chosen.append(scores[int(np.argmax(ends))])
    return {"rouge_1": np.mean(chosen), "count": len(rows)}


def several_labels(task, rows, config):
    found = [set(task.classify(words).labels) for words, _ in rows]
    hits = sum(len(got & set(labels)) for got, (_, labels) in zip(found, rows, strict=True))
    return {"micro_f1": 2 * hits / sum(len(got) + len(labels) for got, (_, labels) in zip(found, rows, strict=True))}


def forecast(task, rows, config):
    ((values, begin),) = rows
    scaler, errors = task.spec.scaler, []
    for at in range(begin, len(values) - config.horizon + 1):
        # A user's stream knows all rows since it began, which is at the context of the first window.
        wrong = task.forecast(values[begin - config.context : at]).values - values[at : at + config.horizon]
        errors.append(wrong / scaler.scale)
    return {"mse": np.mean(np.square(errors)), "mae": np.mean(np.abs(errors)), "count": len(errors)}


def written_on(task, rows, config):
    """Of a text that the model wrote itself the scores of its pieces are known."""
    ((text, _),) = rows
    pieces = list(task.stream(text[0], max_length=len(text) - 1, temperature=1.0, seed=5))
    assert text == text[0] + "".join(piece.text for piece in pieces)
    return {"nats": -np.mean([piece.score for piece in pieces]), "count": len(pieces)}


def music(task, rows, config):
    nats = []
    for roll, _ in rows:
        for end in range(1, len(roll)):
            chance = np.clip(task.forecast(roll[:end]).values[0], 1e-7, 1 - 1e-7)
            nats.append(-np.log(np.where(roll[end] > 0, chance, 1 - chance)).sum())
    return {"nll": np.mean(nats), "count": len(nats)}


def steered(task, rows, config):
    """Arms one after the other, each angle less that of its reference, once the beginning has passed."""
    errors, begin = [], round(config.settle * 1000)
    for _, (_, episode) in rows:
        simulation, session = arm.Simulation([episode], round(config.seconds * 1000)), task.session()
        for wanted in simulation.wanted[0]:
            errors.append(simulation.state[0, :2] - wanted[:2])
            (event,) = session.feed(simulation.observe())
            simulation.apply(event.values)
    errors = np.reshape(errors, (len(rows), -1, 2))[:, begin:]
    rms = [np.sqrt(np.mean(error**2)) for error in errors]
    return {"rms": rms[0], "worst": np.abs(errors[0]).max(), "rms_beyond": rms[1], "count": len(rows)}


def drawn(task, rows, config):
    """Nats of movements by one mixture after the other; what the pen does by a softmax."""
    moves, pens, scale = [], [], task.spec.scaler.scale[0]
    for points, _ in rows:
        stream, last = task.model.create_stream(), (0, 0, 1)
        for i, (dx, dy, lift) in enumerate(points.tolist()):
            output = stream.step(task.reader.scaled(np.array([last])))[0].astype(np.float64)
            mixture = PenMixture.read(output, config.floor)
            moves.append(-float(mixture.log_density(np.array([dx / scale, dy / scale]))))
            pen = 2 if i == len(points) - 1 else int(lift)
            pens.append(float(np.log(np.exp(output[-3:]).sum()) - output[-3 + pen]))
            last = (dx, dy, lift)
    figures = {"movement_nats": np.mean(moves), "pen_nats": np.mean(pens), "count": len(moves)}
    return {**figures, "nats": figures["movement_nats"] + figures["pen_nats"]}


def strings(task, rows, config):
    """Nats a token, ends included, and how many of the drawn texts differ."""
    nats = []
    for text, _ in rows:
        stream, ids = task.model.create_stream(), [START, *task.codec.encode(text), END]
        for token, following in itertools.pairwise(ids):
            scores = stream.step(np.array([token], np.int32))[0].astype(np.float64)
            nats.append(float(np.log(np.exp(scores).sum()) - scores[following]))
    valid = [t for t in (task.generate(seed=seed) for seed in range(config.samples)) if is_valid(t)]
    figures = {"nats": np.mean(nats), "count": len(nats), "valid": len(valid) / config.samples}
    return {**figures, "unique": len(set(valid)) / len(valid)}


def styled(task, rows, config):
    """Nats a token with the number of the style before it, and without; drawn texts hold no style."""
    nats = {}
    for name, told in (("nats", True), ("unstyled_nats", False)):
        found = []
        for text, style in rows:
            first = task.codec.entries.index(f"<{style}>") if told else START
            stream, ids = task.model.create_stream(), [first, *task.codec.encode(text), END]
            for token, following in itertools.pairwise(ids):
                scores = stream.step(np.array([token], np.int32))[0].astype(np.float64)
                found.append(float(np.log(np.exp(scores).sum()) - scores[following]))
        nats[name] = np.mean(found)
    assert not any("<" in task.generate(style=style, max_length=40, seed=1) for style in task.styles)
    return {**nats, "count": sum(len(text) + 1 for text, _ in rows)}


def said(task, rows, config):
    """Nats a feature, by one normal distribution after the other; how many sounds end."""
    nats, spec = [], task.spec
    for samples, (word, voice) in rows:
        stream, last = task.model.create_stream(), np.zeros(spec.features.num_mels, np.float32)
        frames = spec.scaler.apply(spec.features(samples))
        frames = np.concatenate([frames, frames[-1:]])[: len(frames) + len(frames) % 2]
        for pair in frames.reshape(-1, 2, len(last)):
            output = stream.step({"rows": last[None], "given": task.given(word, voice)[None]})[0].astype(np.float64)
            means, logs = output[:-1].reshape(2, *pair.shape)
            deviations = spec.floor + np.exp(logs)
            nats.append((pair - means) ** 2 / 2 / deviations**2 + np.log(deviations) + np.log(2 * np.pi) / 2)
            last = pair[-1]
    ended = [
        task.frames(w, voice=v, seed=(s, 0)).ended for w in spec.words for v in spec.voices for s in range(config.draws)
    ]
    return {"nats": np.mean(nats), "ended": np.mean(ended), "count": len(ended)}


def composed(task, rows, config):
    """Nats a chord of its words, whatever order the task gives them; faults of the pieces that it draws."""
    total, chords = 0.0, 0
    for roll, _ in rows:
        stream, words = task.model.create_stream(), []
        for row in roll:
            notes = [int(note) + 21 + 12 * config.octave for note in np.flatnonzero(row)[::-1]]
            words += [*notes[:1], *notes[1:][-1:], *notes[1:-1], "|"]
        ids = [START, *task.codec.encode(" ".join(map(str, words)))]
        for token, following in itertools.pairwise(ids):
            scores = stream.step(np.array([token], np.int32))[0].astype(np.float64)
            total += float(np.log(np.exp(scores).sum()) - scores[following])
        chords += len(roll)
    made = harmony_figures(read_chords(task.generate(seed=seed)) for seed in range(config.samples))
    return {"nll": total / chords, "count": chords, **made}


def hymn(steps):
    roll = np.zeros((steps, 88), np.float32)
    for step, row in enumerate(roll):
        row[[39 + step % 3, 48, 55, 63 - step % 2]] = 1
    return roll


def beats(task, rows, config):
    ((signal, true),) = rows
    found, last = [], BACKGROUND
    for row in task.tag(signal):
        if row.tag != BACKGROUND and last == BACKGROUND:
            found.append(row.time * config.sample_rate)
        last = row.tag
    # A label begins about three frames after its beat.
    near = [any(abs(at - 36 - beat) < 54 for at in found) for beat, _ in true]
    return {"sensitivity": np.mean(near), "precision": sum(near) / len(found)}


def transcribed(task, rows, config):
    exact = [task.transcribe(samples) == text for samples, text in rows]
    return {"exact_accuracy": np.mean(exact), "count": sum(len(text.split()) for _, text in rows)}


def translated(task, rows, config):
    written = []
    for text, _ in rows:
        try:
            written.append(task.translate(text))
        except InputError:
            written.append("")
    # What is too long for the file is refused, and cannot be right.
    assert "" in written
    return {"bleu": BLEU().corpus_score(written, [[target for _, target in rows]]).score}


def while_read(task, rows, config):
    written = []
    for text, _ in rows:
        session = task.session()
        events = [event for word in text.split() for event in session.feed(f"{word} ")]
        written.append(" ".join(event.word for event in (*events, *session.finish())))
    return {"bleu": BLEU().corpus_score(written, [[target for _, target in rows]]).score}


def captioned(task, rows, config):
    written = [task.caption(picture) for picture, _ in rows]
    return {"bleu": BLEU(lowercase=True).corpus_score(written, [[texts[0] for _, texts in rows]]).score}


def alarms(task, rows, config):
    ((values, about),) = rows
    raised = np.array([event.alarm for event in task.detect(values)], float)
    assert 0 < raised.sum() < len(values) / 10
    # One series: none is left to choose a threshold by.
    score = nab_score([ScoredSeries(raised, about["windows"], about["probation"])], 0.5)
    return {"shipped_nab_score": score, "nab_score": score}


def own_text():
    task = streaming.pipeline(ROOT / "pretrained" / "charlm-mingru" / "int8.tflite")
    return "T" + "".join(piece.text for piece in task.stream("T", max_length=60, temperature=1.0, seed=5))


def walk(rows, width):
    return np.cumsum(RNG.standard_normal((rows, width)), axis=0).astype(np.float32)


def heart(beats):
    """An ECG in millivolts as record 100 has it, roughly: a flat line and the peaks of beats."""
    signal = -0.35 + 0.01 * RNG.standard_normal((beats[-1] + 300, 2))
    for beat in beats:
        signal += 1.3 * np.exp(-(((np.arange(len(signal)) - beat) / 4) ** 2))[:, None] * [1.0, 0.6]
    return signal.astype(np.float32), [(beat, "N") for beat in beats]


def spiked():
    values = np.sin(np.arange(1500) / 9)[:, None] + 0.1 * RNG.standard_normal((1500, 1))
    values[1200] += 6
    about = {"name": "spiked", "windows": np.array([[1190, 1230]]), "probation": 300}
    return values.astype(np.float32), about


CASES = {
    "tagger": lambda: Case(
        "tagger-en-ewt-stream",
        "words-tags",
        [(s.split(), ["NOUN"] * len(s.split())) for s in SENTENCES],
        tagged,
    ),
    "classifier of rows": lambda: Case(
        "speaker-vowels",
        "rows-label",
        [(walk(9, 12) / 4, str(label)) for label in (1, 2, 3, 4, 5, 6, 7, 8, 9)],
        classified,
    ),
    "classifier of words": lambda: Case(
        "intent-clinc",
        "text-label",
        [("what is my balance".split(), "balance"), ("set a timer".split(), "alarm"), (["no"], "no")],
        classified,
    ),
    "classifier, several labels": lambda: Case(
        "emotion-goemotions",
        "text-labels",
        [("i love this so much , thank you".split(), ["love"]), ("that is sad".split(), ["sadness", "anger"])],
        several_labels,
    ),
    "question_answerer": lambda: Case(
        "qa-babi",
        "story-answer",
        [
            (Story("Mary went to the kitchen . Where is Mary ?".split(), "qa1"), "kitchen"),
            (Story("Mary is in the park . Is Mary in the office ?".split(), "qa6"), "no"),
        ],
        answered,
    ),
    "summarizer": lambda: Case(
        "summarize-tldr",
        "sentences-scores",
        [([text.split() for text in SENTENCES], np.array([0.5, 0.0, 0.2], np.float32))],
        summarized,
    ),
    "forecaster": lambda: Case("forecast-etth1", "series", [(walk(450, 7), 340)], forecast),
    "generator": lambda: Case("charlm-mingru", "text", [(own_text(), None)], written_on),
    "polyphony": lambda: Case(
        "music-jsb", "rolls", [((RNG.random((n, 88)) < 0.05).astype(np.float32), None) for n in (2, 9)], music
    ),
    "sketcher": lambda: Case(
        "draw-kanji",
        "strokes",
        [(np.array([[10, -40, 0], [0, 90, 1], [-60, -60, 0], [120, 5, 1]], np.float32)[:n], None) for n in (4, 2)],
        drawn,
    ),
    "controller": lambda: Case("steer-arm", "rows-control", [arms(arm.PAYLOADS), arms((2.5, 2.5))], steered),
    "composer": lambda: Case("compose-chorales", "rolls", [(hymn(n), None) for n in (3, 8)], composed),
    "sequence_generator": lambda: Case("molecules", "lines", [("CCO", None), ("Cc1ccccc1N", None)], strings),
    "styled_generator": lambda: Case(
        "lyrics-shakespeare",
        "styled-lines",
        [("ROMEO:\nO, speak again!\n", "Romeo and Juliet"), ("MENENIUS:\nWhat then?\n", "Coriolanus")],
        styled,
    ),
    "synthesizer": lambda: Case(
        "say-digits",
        "audio-voice",
        [
            (0.1 * RNG.standard_normal(n).astype(np.float32), about)
            for n, about in ((700, ("3", "theo")), (640, ("0", "george")))
        ],
        said,
    ),
    "sequence_tagger": lambda: Case("ecg-beats-stream", "signal-events", [heart([400, 700, 1010, 1290, 1600])], beats),
    "transcriber": lambda: Case(
        "asr-digits-stream",
        "audio-text",
        [(0.3 * RNG.standard_normal(4000).astype(np.float32), text) for text in ("6", "1 2", "8", "")],
        transcribed,
    ),
    "translator": lambda: Case(
        "translate-de-en", "text-text", [(text, "A dog is running through tall grass .") for text in GERMAN], translated
    ),
    "translator, wait-k": lambda: Case(
        "translate-en-de-waitk",
        "text-text",
        [(text, "Zwei Männer in Blau sitzen auf einer") for text in SENTENCES],
        while_read,
    ),
    "captioner": lambda: Case(
        "caption-nlvr",
        "image-captions",
        [(RNG.integers(0, 256, (100, 400, 3), np.uint8), ["There is a box with a black item"]) for _ in range(2)],
        captioned,
    ),
    "anomaly_detector": lambda: Case("anomaly-nab", "series-windows", [spiked()], alarms),
}


@pytest.mark.parametrize("name", CASES)
def test_an_evaluation_measures_what_the_task_object_gives(name):
    bundle, kind, rows, figures = CASES[name]()
    folder = ROOT / "pretrained" / bundle
    if not folder.is_dir():
        pytest.skip(f"{bundle} is a configuration without a bundle")
    config = load_config(folder / "config.yaml")
    few = 1 if name == "synthesizer" else 8  # of each word and voice
    for field in {"samples", "draws"} & vars(config.data).keys():
        config = dataclasses.replace(config, data=dataclasses.replace(config.data, **{field: few}))
    assert config.topology == name.split()[0].rstrip(",")
    source = Source(kind, {"train": rows, "test": rows})
    problem = task_class(config.topology).from_source(source, config.data, encoder=read_encoder(folder, config))
    path = folder / "int8.tflite"
    expected = figures(streaming.pipeline(path), rows, config.data)
    found = problem.evaluate_stream(streaming.load(path), "test")
    assert {key: found[key] for key in expected} == pytest.approx(expected, rel=1e-5)


def test_events_of_a_spotter_are_what_is_counted(tmp_path):
    config = KeywordAudioConfig(
        dataset="own", sample_rate=8000, frame_length=256, frame_step=128, fft_length=256, num_mels=8, low_hz=60.0,
        high_hz=3800.0, threshold=0.7, smoothing=0.05, refractory=0.1, lead=0.0,
    )  # fmt: skip
    # The same sounds in whatever order tests run: some are heard rightly and some are not.
    rng = np.random.default_rng(1)
    rows = [(rng.standard_normal(3000).astype(np.float32) * rng.uniform(0.01, 0.5), w) for w in ("yes", "no") * 6]
    encoder = AudioEncoder.fit([samples for samples, _ in rows], config, (BACKGROUND, "no", "yes"))
    problem = KeywordSpotterTask(config, encoder, {"train": rows, "test": rows})
    keras.utils.set_random_seed(1)
    model = loud(build_keyword_spotter(KeywordSpotterConfig(conv_units=8, units=8, layers=1), encoder), 3.0)
    path = tmp_path / "spotter.tflite"
    streaming.convert(model, path, metadata={"task": problem.spec(config, encoder), "files": encoder.to_files()})
    hits = events = 0
    for samples, word in rows:
        found = streaming.pipeline(path).spot(np.pad(samples, (0, 4000)))
        hits += any(event.label == word and event.time <= 3000 / 8000 + 0.5 for event in found)
        events += len(found)
    figures = problem.evaluate_stream(streaming.load(path), "test")
    assert 0 < hits < events
    assert figures["isolated_recall"] == hits / len(rows)
    assert figures["isolated_precision"] == hits / events
    # Another threshold gives other events, and other figures.
    strict = KeywordSpotterTask(dataclasses.replace(config, threshold=0.99), encoder, {"train": rows, "test": rows})
    assert strict.evaluate_stream(streaming.load(path), "test")["isolated_recall"] < figures["isolated_recall"]


def test_every_task_is_walked():
    walked = {name.split()[0].rstrip(",") for name in CASES} | {"keyword_spotter"}
    assert set(task_names()) == walked | {"one_to_one"}
    assert OneToOneTask.evaluate_stream is TaggerTask.evaluate_stream
    assert RowTaggerTask.topology == SequenceTaggerTask.topology == "sequence_tagger"
