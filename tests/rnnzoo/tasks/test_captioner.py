"""Captions: their figures by definition, the search by the device's code, and a captioner of real emoji."""

import io
import json
import sys

import keras
import numpy as np
import pytest
from PIL import Image

import streaming
from rnnzoo.data import Source
from rnnzoo.data.config import PicturesConfig
from rnnzoo.data.encoders.pictures import CaptionEncoder, moved
from rnnzoo.data.mirror import find_mirror
from rnnzoo.errors import ConfigError, DataError
from rnnzoo.registry.names import find_config
from rnnzoo.runs.building import build_model, load_task
from rnnzoo.runs.config import load_config
from rnnzoo.runs.store import load_run, save_run
from rnnzoo.tasks.captioner.cider import cider
from rnnzoo.tasks.captioner.config import CaptionerConfig
from rnnzoo.tasks.captioner.model import build_captioner, decoding_models
from rnnzoo.tasks.captioner.task import CaptionerTask
from streaming.cli import main
from streaming.errors import ArtifactError, InputError

SMALL = {"filters": (6, 8), "token_size": 8, "units": 12, "attention_units": 6, "dropout": 0.0}
COLOURS = {"red": (220, 30, 30), "green": (20, 200, 40), "blue": (30, 40, 230)}


def squares(count, seed=0):
    """Pictures of a coloured square to the left or right, with two captions each."""
    rng, found = np.random.default_rng(seed), []
    for _ in range(count):
        name, right = str(rng.choice(list(COLOURS))), bool(rng.integers(2))
        picture = rng.integers(225, 256, (12, 16, 3)).astype(np.uint8)
        picture[3:9, 9 if right else 2 : 15 if right else 8] = COLOURS[name]
        side = "right" if right else "left"
        found.append((picture, [f"a {name} square on the {side}", f"{side}: one {name} square"]))
    return found


def problem_of(**fields):
    splits = {name: squares(count, seed) for seed, (name, count) in enumerate(SIZES.items())}
    return CaptionerTask.from_source(Source("image-captions", splits), PicturesConfig(dataset="own", **fields))


SIZES = {"train": 60, "dev": 12, "test": 12}


def convert(problem, model, path, **options):
    metadata = {"task": problem.spec(problem.config, problem.encoder), "files": problem.encoder.to_files()}
    return streaming.convert(model, path, metadata=metadata, **problem.conversion(problem.config), **options)


def test_cider_is_its_definition():
    written = ["a red cat sits there", "the dog runs", "a red cat sits here now"]
    people = [["a red cat sits there", "there is a cat"], ["one dog runs fast", "the dog"], ["nothing of that"]]

    def grams(text, n):
        words = text.split()
        return [" ".join(words[i : i + n]) for i in range(len(words) - n + 1)]

    total = 0.0
    for text, texts in zip(written, people, strict=True):
        for other in texts:
            shape = np.exp(-((len(text.split()) - len(other.split())) ** 2) / 72)
            for n in (1, 2, 3, 4):
                known = sorted({gram for row in [written, *people] for item in row for gram in grams(item, n)})
                seen = np.array([sum(any(gram in grams(item, n) for item in row) for row in people) for gram in known])
                weight = np.log(3) - np.log(np.maximum(1, seen))
                a, b = (np.array([grams(item, n).count(gram) for gram in known]) * weight for item in (text, other))
                size = np.linalg.norm(a) * np.linalg.norm(b)
                total += 10 / 3 / len(texts) / 4 * shape * (np.minimum(a, b) @ b / size if size else 0)
    assert cider(written, people) == pytest.approx(total)
    assert cider(["A red cat sits.", "the dog runs off"], [["a red cat sits"], ["the dog runs off!"]]) == 10.0
    assert cider(["the dog runs off", "a red cat sits"], [["a red cat sits"], ["the dog runs off"]]) == 0.0


def test_each_caption_is_an_example_and_the_nearest_one_a_baseline():
    problem = problem_of()
    rows = problem.arrays("train")
    assert len(rows) == 2 * len(problem.examples("train"))
    codec = problem.encoder.codec
    for row, text in zip(rows, [text for _, texts in problem.examples("train") for text in texts], strict=True):
        assert codec.decode(row["target"][1:]) == codec.decode(row["targets"][:-1]) == text
    # Squares differ by more than the noise around them: a neighbour is one of the same colour and side.
    figures = problem.score("test", [texts[1] for _, texts in problem.examples("test")])
    assert problem.nearest("test") == [texts[0] for _, texts in problem.examples("test")]
    assert (figures["bleu"], figures["nearest_bleu"], figures["count"]) == pytest.approx((100, 100, 12))
    assert figures["cider"] == pytest.approx(cider([t[1] for _, t in squares(12, 2)], [t for _, t in squares(12, 2)]))


def test_a_training_picture_is_moved_and_mirrored():
    picture = np.arange(60, dtype=np.uint8).reshape(4, 5, 3)
    found = moved(picture, 1, -2, False)
    for y in range(4):
        for x in range(5):
            np.testing.assert_array_equal(found[y, x], picture[max(y - 1, 0), min(x + 2, 4)])
    np.testing.assert_array_equal(moved(picture, 0, 0, True), picture[:, ::-1])
    problem, rng = problem_of(shift=2, mirror=True), np.random.default_rng(0)
    row = problem.arrays("train")[0]
    seen = {problem.augment(row, rng)["picture"].tobytes() for _ in range(40)}
    assert len(seen) > 15


@pytest.mark.parametrize("cell", ["lstm", "gru", "transformer"])
def test_the_halves_step_as_the_model_was_trained(cell):
    problem = problem_of()
    model = build_captioner(CaptionerConfig(**SMALL, cell=cell), problem.encoder)
    batch, _, _ = problem.collate(problem.arrays("dev")[:5])
    expected = model.predict_on_batch(batch)
    encoder, decoder = decoding_models(model)
    regions, *states = encoder.predict_on_batch(batch["picture"])
    for t in range(batch["target"].shape[1]):
        logits, *states = map(np.asarray, decoder([regions, batch["target"][:, t : t + 1], *states]))
        np.testing.assert_allclose(logits[:, 0], expected[:, t], rtol=1e-4, atol=1e-5)


def test_a_saved_captioner_is_read_again(tmp_path):
    problem = problem_of()
    config = load_config(find_config("caption-emoji"), ["model.filters=[6,8]", "model.units=12"])
    model, other = (build_model(config, problem.encoder) for _ in range(2))
    save_run(tmp_path / "run", other, config, problem.encoder.to_files(), {})
    run = load_run(tmp_path / "run")
    for found, stored in zip(run.model.get_weights(), other.get_weights(), strict=True):
        np.testing.assert_array_equal(found, stored)
    assert [weight.path for weight in model.weights] == [weight.path for weight in run.model.weights]


@pytest.fixture(scope="module")
def loud(tmp_path_factory):
    """(problem, model, path of the file) of a captioner whose random weights are large: it says much, and no sense."""
    return made_loud(tmp_path_factory.mktemp("captioner"), "lstm")


def made_loud(folder, cell):
    keras.utils.set_random_seed(1)
    problem = problem_of(width=3, max_length=8)
    model = build_captioner(CaptionerConfig(**SMALL, cell=cell), problem.encoder)
    model.set_weights([weight * 4 if weight.ndim == 2 else weight for weight in model.get_weights()])
    convert(problem, model, folder / "squares.tflite", verify=False)
    return problem, model, folder / "squares.tflite"


@pytest.mark.parametrize("cell", ["lstm", "transformer"])
def test_keras_and_the_device_write_the_same(cell, loud, tmp_path):
    problem, model, path = loud if cell == "lstm" else made_loud(tmp_path, cell)
    figures = problem.evaluate(model, "test", batch_size=5)
    assert problem.evaluate_stream(streaming.load(path), "test") == figures
    assert [picture.name for picture in problem.draw(model, "test", path.parent)] == ["captions.png"]
    written = streaming.pipeline(path).captions([picture for picture, _ in problem.examples("test")])
    assert len({best[0].text for best in written}) > 1


def test_a_picture_is_captioned_from_its_file(loud, tmp_path, capsys):
    problem, _, path = loud
    captioner, picture = streaming.pipeline(path), problem.examples("test")[0][0]
    expected = captioner.captions([picture], n_best=2)[0]
    clear = np.concatenate([picture, np.full((12, 16, 1), 255, np.uint8)], axis=2)
    for name, pixels in (("a.png", picture), ("clear.png", clear)):
        Image.fromarray(pixels).save(tmp_path / name)
        assert captioner.captions([tmp_path / name], n_best=2)[0] == expected
    assert captioner.caption(clear) == captioner.caption((tmp_path / "a.png").read_bytes()) == expected[0].text
    assert [event.text for event in captioner.session().feed(str(tmp_path / "a.png"))] == [expected[0].text]
    assert main(["run", str(path), str(tmp_path / "a.png")]) == 0
    assert json.loads(capsys.readouterr().out)["text"] == expected[0].text


def test_files_that_do_not_fit_get_one_line(loud, tmp_path, capsys, monkeypatch):
    _, _, path = loud
    out = io.BytesIO()
    Image.fromarray(np.full((24, 32, 3), 240, np.uint8)).save(out, "PNG")
    (tmp_path / "large.png").write_bytes(out.getvalue())
    (tmp_path / "cut.png").write_bytes(out.getvalue()[:60])
    for name, said in (
        ("large.png", "large.png: the picture has 32 x 24 pixels, the model takes 16 x 12; crop it, or allow"),
        ("cut.png", "cut.png: the picture is damaged"),
        ("sound.wav", "sound.wav is audio, the model takes array; give it a PNG, JPEG or .npy file"),
    ):
        assert main(["run", str(path), str(tmp_path / name)]) == 2
        error = capsys.readouterr().err
        assert (error.count("\n"), said in error) == (1, True), error
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(out.getvalue())))
    assert main(["run", str(path), "--resize"]) == 0
    assert json.loads(capsys.readouterr().out)["text"]
    with pytest.raises(InputError, match="neither PNG nor JPEG"):
        streaming.pipeline(path).caption(b"no picture")


def test_given_features_take_the_place_of_a_picture(tmp_path):
    rng = np.random.default_rng(0)
    rows = [(rng.normal(size=(5, 4)).astype(np.float32), [f"thing {i % 3}"]) for i in range(9)]
    splits = {"train": rows, "dev": rows, "test": rows}
    problem = CaptionerTask.from_source(Source("image-captions", splits), PicturesConfig(dataset="own", width=1))
    model = build_captioner(CaptionerConfig(**{**SMALL, "filters": (), "cell": "gru"}), problem.encoder)
    convert(problem, model, tmp_path / "features.tflite", verify=False)
    stream = problem.evaluate_stream(streaming.load(tmp_path / "features.tflite"), "test")
    assert stream == problem.evaluate(model, "test")
    assert problem.signature("test").startswith("nrefs:1|case:lc|eff:no|tok:13a")
    assert stream["nearest_bleu"] == pytest.approx(0.0)  # too short for four words
    with pytest.raises(InputError, match="no pictures in colour"):
        streaming.pipeline(tmp_path / "features.tflite").caption(b"\x89PNG\r\n\x1a\n")
    with pytest.raises(ConfigError, match=r"model\.filters=\[6, 8\] are for pictures"):
        build_captioner(CaptionerConfig(**SMALL), problem.encoder)


def test_what_cannot_be_is_named():
    problem = problem_of()
    with pytest.raises(ConfigError, match="lstm, gru or transformer in a captioner; received 'min_gru'"):
        CaptionerConfig(cell="min_gru")
    for filters, said in (((), "is empty"), ((4,) * 6, "6 layers, more than a picture")):
        with pytest.raises(ConfigError, match=said):
            build_captioner(CaptionerConfig(**{**SMALL, "filters": filters}), problem.encoder)
    for fields, said in (
        ({"size": (3,)}, r"data\.size"),
        ({"shift": -1}, r"data\.shift"),
        ({"level": "subwords"}, r"data\.vocabulary"),
    ):
        with pytest.raises(ConfigError, match=said):
            PicturesConfig(dataset="own", **fields)
    with pytest.raises(DataError, match=r"has shape \(3, 3, 3\), the first one .* \(12, 16, 3\)"):
        problem.encoder.encode((np.zeros((3, 3, 3), np.uint8), ["a"]))


def test_the_encoder_comes_back_or_says_what_is_missing():
    problem = problem_of()
    files = problem.encoder.to_files()
    assert CaptionEncoder.from_files(files, problem.config) == problem.encoder
    for name, data in (("target.json", b"{}"), ("picture.json", b"[]"), ("picture.json", b'{"shape": [1]}')):
        with pytest.raises(ArtifactError, match=name if name == "picture.json" else "codec"):
            CaptionEncoder.from_files({**files, name: data}, problem.config)
    with pytest.raises(ArtifactError, match=r"picture\.json is missing"):
        CaptionEncoder.from_files({"target.json": files["target.json"]}, problem.config)


@pytest.mark.slow
@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
def test_a_captioner_of_real_emoji_trains_converts_and_decodes_the_same(tmp_path):
    small = ["data.limit=32", "data.max_length=4", "data.width=1", "model.filters=[8,8,16]", "model.units=32"]
    config = load_config(find_config("caption-emoji"), small)
    problem = load_task(config)
    keras.utils.set_random_seed(config.seed)
    model = build_model(config, problem.encoder)
    model.compile(keras.optimizers.Adam(0.01), loss=problem.loss(config.training), jit_compile=False)
    losses = model.fit(problem.dataset("train", 16, training=True), epochs=5, shuffle=False, verbose=0).history["loss"]
    assert losses[-1] < 0.8 * losses[0]
    convert(problem, model, tmp_path / "emoji.tflite", verify=False)
    assert problem.evaluate_stream(streaming.load(tmp_path / "emoji.tflite"), "dev") == problem.evaluate(model, "dev")


@pytest.mark.slow
@pytest.mark.skipif(find_mirror() is None, reason="no mirror: RNNZOO_DATA_MIRROR names none")
def test_photographs_of_any_size_are_brought_to_one(tmp_path):
    small = ["data.dataset=coco_cc_photos", "data.limit=8", "data.size=[24,32]", "data.width=1", "data.max_length=4"]
    config = load_config(find_config("caption-emoji"), [*small, "model.filters=[4,8]", "model.units=8"])
    problem = load_task(config)
    assert problem.encoder.shape == (24, 32, 3)
    model = build_model(config, problem.encoder)
    convert(problem, model, tmp_path / "photos.tflite", verify=False)
    stream = problem.evaluate_stream(streaming.load(tmp_path / "photos.tflite"), "dev")
    assert stream == problem.evaluate(model, "dev")
    assert stream["count"] == 8
