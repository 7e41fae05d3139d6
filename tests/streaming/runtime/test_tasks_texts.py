"""Tasks that write text, on the device and by the offline Keras model with plain loops."""

import itertools

import numpy as np
import pytest
from task_models import codecs, language_model, lockstep_model, picture_model, save, translation_model

import streaming
from streaming.errors import ArtifactError, InputError
from streaming.runtime.codec import END, PAD, START, UNKNOWN, TextCodec
from streaming.runtime.decoding import Decoder, beam_search, greedy, sample
from streaming.runtime.tasks import Captioner, Generator, SimultaneousTranslator, Translator

TEXT = "To be, or not to be:\nthat is the question."
BANNED = (PAD, UNKNOWN, START)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("texts")


@pytest.fixture(scope="module")
def writer(folder):
    codec = TextCodec.fit([TEXT], "characters")
    model = language_model(len(codec))
    path = save(model, folder, {"kind": "generator", "max_length": 30}, {"target.json": codec.to_bytes()})
    return model, codec, streaming.pipeline(path)


@pytest.fixture(scope="module")
def translator(folder):
    source, target = codecs()
    model = translation_model(len(source), len(target))
    task = {"kind": "translator", "width": 3, "max_length": 8}
    files = {"source.json": source.to_bytes(), "target.json": target.to_bytes()}
    path = save(model, folder, task, files, encode=["source"], max_length=9, batch_sizes=(1, 8))
    return model, source, target, streaming.pipeline(path)


def offline(call):
    """A decoder over an offline model, that runs all tokens so far, which are its states."""

    def step(states, tokens):
        states = [(*state, int(token)) for state, token in zip(states, tokens, strict=True)]
        return np.stack([np.asarray(call(np.array([state], "int32")))[0, -1] for state in states]), states

    return step


def test_generated_text_is_that_of_the_offline_model(writer):
    model, codec, task = writer
    assert isinstance(task, Generator)
    prompt = [START, *codec.encode("To b")]
    decoder = Decoder(offline(model), tuple(map(int, prompt[:-1])))
    for seed in range(3):
        options = {"temperature": 0.8, "top_k": 5, "top_p": 0.9, "seed": seed}
        expected = sample(decoder, int(prompt[-1]), END, 12, banned=BANNED, **options)
        assert task.generate("To b", max_length=12, **options) == codec.decode(expected.tokens)
    best = greedy(Decoder(offline(model), ()), START, END, 10, banned=BANNED)
    assert task.generate(max_length=10, temperature=0) == codec.decode(best.tokens)
    pieces = list(task.stream("To", max_length=7, seed=1))
    assert "".join(piece.text for piece in pieces) == task.generate("To", max_length=7, seed=1)
    assert all(piece.score < 0 for piece in pieces)
    assert len(task.generate("To")) <= 30
    assert task.generate("T", seed=4) != task.generate("T", seed=5)


def test_a_generator_counts_what_it_does_not_know(writer):
    session = writer[2].session()
    list(session.feed("Töm"))
    assert (session.words, session.unknown) == (3, 2)


def test_wrong_generation_is_refused(writer, folder):
    model, codec, task = writer
    for options in ({"temperature": -1}, {"top_p": 0}, {"top_k": -1}, {"max_length": 0}):
        with pytest.raises(InputError, match="expected"):
            task.stream("To", **options)
    files = {"target.json": codec.to_bytes()}
    endless = streaming.pipeline(save(model, folder, {"kind": "generator", "start": False}, files))
    with pytest.raises(InputError, match="the prompt is empty"):
        endless.generate("")
    assert len(endless.generate("T", max_length=40)) == 40
    for change, message in (
        ({"temperature": -3}, "temperature"),
        ({"max_length": 0}, "max_length"),
        ({"top_k": "a"}, "int"),
    ):
        with pytest.raises(ArtifactError, match=message):
            streaming.pipeline(save(model, folder, {"kind": "generator", **change}, files))
    with pytest.raises(ArtifactError, match=r"needs target\.json"):
        streaming.pipeline(save(model, folder, {"kind": "generator"}, {}))
    other = TextCodec.fit(["ab"], "characters").to_bytes()
    with pytest.raises(ArtifactError, match="6 entries, the model"):
        streaming.pipeline(save(model, folder, {"kind": "generator"}, {"target.json": other}))


def numbers(source, text, end=True):
    ids = source.encode(text)
    return np.append(ids, END).astype("int32") if end else ids


@pytest.mark.slow
def test_translations_are_those_of_the_offline_model(translator):
    model, source, target, task = translator
    assert isinstance(task, Translator)
    texts = ["the dog sees a cat", "a cat", "now"]
    expected = []
    for text in texts:
        ids = numbers(source, text)[None]
        decoder = Decoder(offline(lambda tokens, ids=ids: model([np.repeat(ids, len(tokens), 0), tokens])), ())
        best = beam_search(decoder, START, END, 8, width=3, n_best=2, banned=BANNED)
        expected.append([(target.decode(h.tokens), h.score(1.0)) for h in best])
    found = task.translations(texts, n_best=2)
    assert [[t.text for t in best] for best in found] == [[text for text, _ in best] for best in expected]
    np.testing.assert_allclose(
        [t.score for best in found for t in best], [s for best in expected for _, s in best], rtol=1e-4
    )
    assert task.translate(texts[0]) == expected[0][0][0]
    session = task.session()
    assert [event.text for event in session.feed("the zebra")] == [task.translate("the zebra")]
    assert (session.words, session.unknown) == (2, 1)


def test_sentences_that_do_not_fit_are_refused(translator):
    task = translator[3]
    with pytest.raises(InputError, match="at least one word"):
        task.translate("  ")
    with pytest.raises(InputError, match="has 13 positions, expected 1 to 9"):
        task.translate("a " * 12)
    with pytest.raises(InputError, match="n_best"):
        task.translations(["a"], width=2, n_best=3)


@pytest.mark.parametrize("k", [1, 3])
def test_words_are_written_while_one_speaks(translator, k):
    model, source, target, task = translator
    words = "the dog sees a cat now".split()

    def best(ids, written):
        row = np.array(model([np.array([ids], "int32"), np.array([[START, *written]], "int32")]))[0, -1]
        row[[*BANNED]] = -np.inf
        return int(row.argmax())

    units, written, read = [[int(i) for i in source.encode(f" {word}")] for word in words], [], []
    for n in range(k, len(units) + 2):
        ended, ids = n > len(units), [*itertools.chain(*units[:n])]
        for i in itertools.count():
            token = best([*ids, END] if ended else ids, written)
            if len(written) == 8 or token == END or (i and not ended and target.begins_word(token)):
                break
            written.append(token)
            read.append(min(n, len(units)))
    session = task.simultaneous(k)
    found, seen = [], []
    for n, word in enumerate(words, 1):
        for event in session.feed(word):
            found.append(event)
            seen.append(n)
    found += session.finish()
    assert " ".join(event.word for event in found) == " ".join(target.decode(written).split())
    # A word is whole when the next one begins.
    begins = [i for i, token in enumerate(written) if not i or target.begins_word(token)]
    expected = [read[i] for i in begins[1:]] + [len(units)]
    assert [event.read for event in found] == expected
    assert seen == [event.read for event in found[: len(seen)]]
    assert list(session.finish()) == []


def test_a_lag_must_be_given(translator):
    with pytest.raises(InputError, match="wait_k is None"):
        translator[3].simultaneous()
    with pytest.raises(InputError, match="wait_k is 0"):
        translator[3].simultaneous(0)


@pytest.mark.slow
def test_a_model_of_two_inputs_translates_in_step(folder):
    source, target = codecs()
    model = lockstep_model(len(source), len(target))
    files, k, text = {"source.json": source.to_bytes(), "target.json": target.to_bytes()}, 2, "the dog sees a cat"
    task = streaming.pipeline(save(model, folder, {"kind": "translator", "wait_k": k, "max_length": 9}, files))
    assert isinstance(task, SimultaneousTranslator)
    steps, written = [], []
    for n, unit in enumerate([*([int(i) for i in source.encode(word)] for word in text.split()), [END]], 1):
        steps += [(number, PAD) for number in unit]
        for i in itertools.count() if n >= k else ():
            row = np.array(model([np.array([side], "int32") for side in zip(*steps, strict=True)]))[0, -1]
            row[[*BANNED]] = -np.inf
            token = int(row.argmax())
            if len(written) == 9 or token == END or (i and unit != [END] and target.begins_word(token)):
                break
            written.append(token)
            steps.append((PAD, token))
    expected = " ".join(target.decode(written).split())
    assert task.translate(text) == expected
    session = task.session()
    for _ in range(2):  # and a second sentence
        found = [event for word in text.split() for event in session.feed(word)] + list(session.finish())
        assert " ".join(event.word for event in found) == expected
    assert list(task.run(["the"])) == list(task.run(["the"]))
    with pytest.raises(ArtifactError, match="wait_k in its task"):
        streaming.pipeline(save(model, folder, {"kind": "translator"}, files))


def test_captions_are_those_of_the_offline_model(folder):
    _, target = codecs()
    model = picture_model(len(target))
    task = {"kind": "captioner", "scale": 1 / 255, "offset": -0.5, "max_length": 6}
    options = {"encode": ["image"], "max_length": 1}
    captioner = streaming.pipeline(save(model, folder, task, {"target.json": target.to_bytes()}, **options))
    assert isinstance(captioner, Captioner)
    found = []
    for seed in range(4):
        pixels = np.random.default_rng(seed).integers(0, 256, (4, 6, 3)).astype("uint8")
        scaled = (pixels / 255 - 0.5).astype("float32")[None]
        decoder = Decoder(offline(lambda tokens, scaled=scaled: model([scaled, tokens])), ())
        expected = beam_search(decoder, START, END, 6, width=5, banned=BANNED)[0]
        found.append(captioner.caption(pixels))
        assert found[-1] == target.decode(expected.tokens)
        (event,) = captioner.session().feed(pixels)
        assert event.score == pytest.approx(expected.score(1.0), rel=1e-4)
    assert len(set(found)) > 1
    with pytest.raises(InputError, match=r"has shape \(4, 6\)"):
        captioner.caption(np.zeros((4, 6)))
    with pytest.raises(InputError, match="expected numbers"):
        captioner.caption(np.array(["a"]))


def test_a_model_without_a_source_is_no_translator_or_captioner(writer, folder):
    model, codec, _ = writer
    files = {"target.json": codec.to_bytes(), "source.json": codec.to_bytes()}
    with pytest.raises(ArtifactError, match="one whole input first"):
        streaming.pipeline(save(model, folder, {"kind": "captioner"}, files))
