"""Pairs of texts as numbers, decoders against equations, translations that are the same in Keras and in a file."""

import dataclasses
import itertools
import json
import re

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.cli import main
from rnnzoo.data import Source
from rnnzoo.data.config import PairsConfig
from rnnzoo.data.encoders.pairs import PairEncoder
from rnnzoo.data.mirror import find_mirror
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.registry.names import find_config
from rnnzoo.runs.building import build_model, load_task
from rnnzoo.runs.config import load_config
from rnnzoo.runs.store import read_metrics
from rnnzoo.tasks.translator.config import TranslatorConfig
from rnnzoo.tasks.translator.model import build_translator, decoding_models
from rnnzoo.tasks.translator.task import TranslatorTask, _searched, average_lagging
from streaming.errors import ArtifactError, InputError
from streaming.runtime.codec import END, PAD, SPECIAL, START, TextCodec

WORDS = {"red": "rot", "blue": "blau", "cat": "Katze", "dog": "Hund", "runs": "rennt", "sees": "sieht"}
SPACE = "\u2581"
SMALL = {"token_size": 10, "units": 8, "heads": 2, "dropout": 0.0}
PAIRS = PairsConfig(dataset="toy", level="words", max_length=7)
WHOLE = ["luong", "bahdanau", "cho", "sutskever", "transformer"]


def sentences(count, seed):
    rng = np.random.default_rng(seed)
    chosen = [[str(word) for word in rng.choice(list(WORDS), rng.integers(1, 5))] for _ in range(count)]
    return [(" ".join(words), " ".join(WORDS[word] for word in words)) for words in chosen]


def toy(config):
    splits = {split: sentences(count, seed) for seed, (split, count) in enumerate({"train": 60, "dev": 8}.items())}
    return TranslatorTask.from_source(Source("text-text", splits), config)


def model_of(problem, architecture, **options):
    """Weights large enough that no two tokens score alike."""
    keras.utils.set_random_seed(3)
    model = build_translator(TranslatorConfig(architecture=architecture, **{**SMALL, **options}), problem.encoder)
    rng = np.random.default_rng(4)
    model.set_weights([rng.normal(0, 0.6, weight.shape) for weight in model.get_weights()])
    return model


def converted(model, problem, path):
    config = problem.config
    metadata = {"task": problem.spec(config, problem.encoder), "files": problem.encoder.to_files()}
    report = streaming.convert(model, path, metadata=metadata, **problem.conversion(config))
    assert report.max_abs_error < 1e-4
    return streaming.load(path)


def test_a_pair_becomes_what_the_decoder_reads_and_what_follows():
    encoder = PairEncoder.fit(sentences(60, 0), PAIRS)
    row = encoder.encode(("red cat runs", "rot Katze rennt"))
    assert encoder.source.decode(row["source"]) == "red cat runs"
    assert (row["source"][-1], row["target"][0], row["targets"][-1]) == (END, START, END)
    np.testing.assert_array_equal(row["target"][1:], row["targets"][:-1])
    backwards = dataclasses.replace(encoder, reverse_source=True).encode(("red cat runs", "rot"))["source"]
    np.testing.assert_array_equal(backwards, [*row["source"][2::-1], END])
    assert len(encoder.encode(("red " * 30, "rot " * 30))["source"]) == PAIRS.max_length
    assert PairEncoder.from_files(encoder.to_files(), PAIRS) == encoder
    with pytest.raises(ArtifactError, match=r"target\.json is missing"):
        PairEncoder.from_files({"source.json": encoder.source.to_bytes()}, PAIRS)


def subwords(words, endings):
    """A codec whose pieces are these words, each after a space, and what may follow them."""
    merges = [(part[:-1], part[-1]) for word in words for part in prefixes(f"{SPACE}{word}")]
    merges += [(ending[0], ending[1]) for ending in endings if len(ending) == 2]
    entries = (*SPECIAL, *(f"{SPACE}{word}" for word in words), *endings)
    return TextCodec(entries, "subwords", tuple(dict.fromkeys(merges)))


def prefixes(word):
    return [word[:end] for end in range(2, len(word) + 1)]


@pytest.mark.parametrize(
    ("source", "target", "steps"),
    [
        # Two words are read; then the first is written, and what it says next is the second, which has to wait.
        (
            "red, cat runs",
            "rot Katze, rennt",
            "red - -  , - rot  - rot Katze  cat - Katze  - Katze ,  runs - ,  - , rennt  end - rennt  - rennt end",
        ),
        # Nothing is left to write: so it says, at each word that is read.
        ("red cat runs", "rot", "red - -  cat - rot  - rot end  runs - end  end - end"),
        # The source ends before two words have come.
        ("red", "rot Katze", "red - -  end - rot  - rot Katze  - Katze end"),
        # A word of two pieces is read, and written, as one.
        ("cats cat", "rotes rot", "cat - -  s - -  cat - rot  - rot es  - es rot  end - rot  - rot end"),
    ],
)
def test_a_word_is_written_for_each_that_is_read(source, target, steps):
    """Steps as a piece that is read, one that is written, and one that follows; - where there is none."""
    encoder = PairEncoder(
        subwords(["red", "cat", "runs"], ["s", ","]), subwords(["rot", "Katze", "rennt"], ["es", ","]), 9, wait_k=2
    )
    sides = {"source": encoder.source, "target": encoder.target, "targets": encoder.target}
    rows = [encoder.encode((source, target))[name] for name in sides]
    empty = {"source": PAD, "target": PAD, "targets": -1}
    for step, pieces in enumerate(steps.split("  ")):
        for (name, codec), row, piece in zip(sides.items(), rows, pieces.split(), strict=True):
            known = {entry.strip(SPACE): number for number, entry in enumerate(codec.entries)}
            assert row[step] == {"-": empty[name], "end": END}.get(piece, known.get(piece)), (step, name)
    assert {len(row) for row in rows} == {len(steps.split("  "))}


@pytest.mark.parametrize(
    ("read", "source", "lag"),
    [
        ([3, 4, 5, 5, 5], 5, 3.0),  # wait-3 where both are as long: always three behind
        ([5, 5, 5], 5, 5.0),  # all is read first: |x|
        ([1, 2, 3, 4], 4, 1.0),
        ([2, 4], 4, (2 + (4 - 2)) / 2),  # the translation is half as long
    ],
)
def test_average_lagging_is_that_of_the_paper(read, source, lag):
    assert average_lagging(read, source) == pytest.approx(lag)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def gru(weights, rows, h):
    """Cho et al. (2014), as Keras lays it out: update and reset gates, candidate, biases on both sides."""
    kernel, recurrent, (b, d) = weights
    for x in rows:
        (xz, xr, xn), (hz, hr, hn) = np.split(x @ kernel + b, 3), np.split(h @ recurrent + d, 3)
        z, r = sigmoid(xz + hz), sigmoid(xr + hr)
        h = z * h + (1 - z) * np.tanh(xn + r * hn)
        yield h


def test_without_attention_the_source_is_one_vector_at_every_step():
    problem = toy(PAIRS)
    model = model_of(problem, "cho")
    row = problem.encode(("red cat runs", "rot Katze rennt"))
    w = {layer.name: layer.get_weights() for layer in model.layers}
    *_, context = gru(w["encoder_0"], w["source_embedding"][0][row["source"]], np.zeros(SMALL["units"]))
    h = np.tanh(context @ w["state_0"][0] + w["state_0"][1])
    table, bias = w["target_embedding"]
    states = gru(w["decoder_0"], table[row["target"]] + context @ w["context_in"][0], h)
    read = [np.tanh(h @ w["readout"][0] + w["readout"][1] + context @ w["context_out"][0]) for h in states]
    given = {name: row[name][None] for name in ("source", "target")}
    np.testing.assert_allclose(model(given)[0], np.array(read) @ table.T + bias, rtol=1e-4, atol=1e-5)


def made(architecture):
    """A problem, and a model that is as deep and as reversed as in its paper."""
    deep, reverse = architecture in ("sutskever", "transformer"), architecture == "sutskever"
    problem = toy(dataclasses.replace(PAIRS, reverse_source=reverse))
    return problem, model_of(problem, architecture, cell="lstm" if reverse else "gru", layers=2 if deep else 1)


@pytest.mark.slow
@pytest.mark.parametrize("architecture", WHOLE)
def test_a_search_sees_what_training_saw(architecture, tmp_path):
    problem, model = made(architecture)
    inputs, _, _ = problem.collate(problem.arrays("dev"))
    encoder, decoder = decoding_models(model)
    source, target = inputs["source"], inputs["target"]
    found = encoder(source)
    given = found if isinstance(found, list) else [found]
    fixed = len(given) - len(decoder.outputs) + 1
    rows = []
    for t in range(target.shape[1]):
        logits, *new = decoder([source, target[:, t : t + 1], *map(np.asarray, given)])
        given = [*given[:fixed], *new]
        rows.append(np.asarray(logits)[:, 0])
    np.testing.assert_allclose(np.stack(rows, axis=1), model(inputs), rtol=1e-4, atol=1e-4)
    drawn = [picture.name for picture in problem.draw(model, "dev", tmp_path)]
    assert drawn == (["attention.png"] if architecture in ("luong", "bahdanau") else ["surprise.png"])


def test_a_transformer_sees_neither_padding_nor_what_is_to_come():
    problem, model = made("transformer")
    inputs, *_ = problem.collate(problem.arrays("dev"))
    found = np.asarray(model(inputs))
    padded = np.pad(inputs["source"], ((0, 0), (0, 5)), constant_values=PAD)
    np.testing.assert_allclose(model({**inputs, "source": padded}), found, rtol=1e-4, atol=1e-4)
    for row, logits, given in zip(problem.arrays("dev"), found, inputs["target"], strict=True):
        alone = model({"source": row["source"][None], "target": given[None]})[0]
        np.testing.assert_allclose(alone, logits, rtol=1e-4, atol=1e-4)
    later = inputs["target"].copy()
    later[:, 3:] = (later[:, 3:] + 1) % len(problem.encoder.target)
    other = np.asarray(model({**inputs, "target": later}))
    np.testing.assert_array_equal(other[:, :3], found[:, :3])
    assert abs(other[:, 3:] - found[:, 3:]).max() > 0.1


@pytest.mark.slow
def test_the_search_of_a_transformer_finds_the_best_of_all_translations():
    # A beam that holds every text of up to three of the six words.
    problem = toy(dataclasses.replace(PAIRS, max_length=3, width=300, length_penalty=0.0))
    model = model_of(problem, "transformer", layers=2)
    words = sorted({word for text in WORDS.values() for word in problem.encoder.target.encode(text)})
    assert len(words) == 6
    texts = [text for size in range(4) for text in itertools.product(words, repeat=size)]
    sources = [problem.encoder.read(text) for text, _ in problem.examples("dev")[:3]]
    for source, found in zip(sources, _searched(model, sources, problem.config, 3), strict=True):
        ended = [[*text, END][:3] for text in texts]
        read = np.array([[START, *text[:2], PAD, PAD][:3] for text in texts], np.int32)
        logits = np.asarray(model({"source": np.repeat(source[None], len(texts), axis=0), "target": read}), "float64")
        logits -= np.log(np.exp(logits).sum(-1, keepdims=True))
        chances = [sum(row[i, n] for i, n in enumerate(text)) for row, text in zip(logits, ended, strict=True)]
        assert found == texts[int(np.argmax(chances))]


@pytest.mark.slow
def test_a_transformer_trains_and_is_measured_from_a_shell(tmp_path, capsys):
    lines = ["source,target", *(",".join(pair) for pair in sentences(60, 5))]
    (tmp_path / "pairs.csv").write_text("\n".join(lines))
    small = ["model.units=8", "model.token_size=8", "model.heads=2", "model.layers=1", "data.level=words"]
    small += [
        "data.vocabulary=null",
        "data.max_length=6",
        "data.width=1",
        "training.epochs=2",
        "training.learning_rate=0.01",
    ]
    name = "translate-en-de-vaswani"
    given = ["train", name, f"data.dataset=pairs:{tmp_path / 'pairs.csv'}", *small, "--out", str(tmp_path / "run")]
    assert main(given) == 0
    said = capsys.readouterr()
    # The translations of the development split are no labels that training should have seen.
    assert "label" not in said.out + said.err
    assert main(["evaluate", str(tmp_path / "run"), "--json", str(tmp_path / "test.json")]) == 0
    figures = json.loads((tmp_path / "test.json").read_text())
    assert figures["offline"]["bleu"] == figures["float32"]["bleu"]
    losses = read_metrics(tmp_path / "run")["history"]["loss"]
    assert losses[1] < losses[0]


@pytest.mark.slow
@pytest.mark.parametrize("architecture", WHOLE)
def test_a_file_writes_what_keras_writes(architecture, tmp_path):
    problem, model = made(architecture)
    stream = converted(model, problem, tmp_path / "m.tflite")
    assert problem.evaluate_stream(stream, "dev") == problem.evaluate(model, "dev")


def test_the_device_reads_as_training_did(tmp_path):
    problem, model = made("sutskever")
    metadata = {"task": problem.spec(problem.config, problem.encoder), "files": problem.encoder.to_files()}
    options = problem.conversion(problem.config)
    streaming.convert(model, tmp_path / "m.tflite", metadata=metadata, verify=False, **options)
    task = streaming.pipeline(tmp_path / "m.tflite")
    text = problem.examples("dev")[0][0]
    np.testing.assert_array_equal(task.numbers(text), problem.encoder.read(text))
    with pytest.raises(InputError, match="from its end"):
        task.simultaneous(3)


# A short limit holds for what is written after the end of the source, on the device and in Keras.
@pytest.mark.parametrize("max_length", [PAIRS.max_length, 2])
def test_what_is_written_while_it_is_read_is_the_same_in_a_file(max_length, tmp_path):
    problem = toy(dataclasses.replace(PAIRS, wait_k=2, max_length=max_length))
    model = model_of(problem, "wait_k")
    stream = converted(model, problem, tmp_path / "m.tflite")
    problem.splits["dev"] = [*problem.examples("dev"), ("", "rot")]
    figures = problem.evaluate(model, "dev")
    assert problem.evaluate_stream(stream, "dev") == figures
    assert figures["average_lagging"] > 1
    with pytest.raises(DataError, match="a simultaneous translator"):
        toy(PAIRS).evaluate_stream(stream, "dev")


def test_a_translation_that_is_right_scores_100():
    problem = toy(PAIRS)
    right = [target for _, target in problem.examples("dev")]
    assert problem.score("dev", right)["bleu"] == pytest.approx(100)
    assert problem.score("dev", ["rot"] * len(right))["bleu"] < 50
    assert re.fullmatch(r"nrefs:1\|case:mixed\|eff:no\|tok:13a\|smooth:exp\|version:[\d.]+", problem.signature("dev"))


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: PairsConfig(dataset="d", wait_k=3, reverse_source=True), r"data\.wait_k=3.*reverse_source"),
        (lambda: PairsConfig(dataset="d", vocabulary=None), r"data\.vocabulary"),
        (lambda: PairsConfig(dataset="d", max_length=1), r"data\.max_length is at least 2"),
        (lambda: TranslatorConfig(architecture="rnn"), r"luong, bahdanau.*'rnn'"),  # type: ignore[arg-type]
        (lambda: TranslatorConfig(cell="min_gru"), r"model\.cell is lstm or gru"),
        (lambda: TranslatorConfig(units=6), r"model\.units is a multiple.*heads=4"),
        (lambda: build_translator(TranslatorConfig(), PairEncoder.fit(sentences(9, 0), WAITING)), r"luong.*wait_k=2"),
    ],
    ids=["wait_k", "vocabulary", "max_length", "architecture", "cell", "units", "both"],
)
def test_contradictions_name_their_keys(make, said):
    with pytest.raises(ConfigError, match=said):
        make()


WAITING = dataclasses.replace(PAIRS, wait_k=2)


@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
@pytest.mark.slow
def test_real_pairs_train_convert_and_decode_the_same(tmp_path):
    small = ["data.limit=120", "data.vocabulary=200", "data.max_length=10", "data.width=2", "model.units=32"]
    config = load_config(find_config("translate-de-en"), [*small, "model.token_size=24"])
    problem = load_task(config)
    model = build_model(config, problem.encoder)
    model.compile(keras.optimizers.Adam(0.01), loss=problem.loss(config.training), jit_compile=False)
    data = problem.dataset("train", 40, training=True)
    losses = model.fit(data, epochs=3, shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < losses[0]
    problem.splits["dev"] = problem.examples("dev")[:8]
    stream = converted(model, problem, tmp_path / "m.tflite")
    assert problem.evaluate_stream(stream, "dev") == problem.evaluate(model, "dev")
