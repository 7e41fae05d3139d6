"""Audio models with their front end in the graph, against features that NumPy makes outside of it."""

import dataclasses

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.layers import LogMelFrontEnd
from rnnzoo.tasks.front_end import with_front_end
from streaming.runtime.audio import LogMel
from streaming.runtime.tasks.schema import EndpointSpec, KeywordSpotterSpec, TranscriberSpec

RATE = 8000
MEL = LogMel(RATE, 200, 80, 256, 12, 60.0, 3800.0)
# Frames of no whole number of hops, of a factor that is no power of two, with gaps between, and of one hop.
FORMS = [
    MEL,
    LogMel(16_000, 400, 160, 512, 40),
    LogMel(RATE, 100, 300, 120, 8, 100.0, 3000.0, "slaney", "slaney"),
    LogMel(RATE, 64, 64, 67, 5, 0.0, 4000.0),
]


def sounds(rate: int) -> dict[str, np.ndarray]:
    """Real sound has all of this: silence, full scale, clipping, clicks, what is next to nothing, a few samples."""
    rng, time = np.random.default_rng(0), np.arange(rate) / rate
    voice = np.sin(2 * np.pi * 140 * time + 3 * np.sin(2 * np.pi * 3 * time)) * np.sin(2 * np.pi * 2 * time) ** 2
    return {
        "voice": 0.3 * voice + 0.01 * rng.standard_normal(rate),
        "silence": np.zeros(rate),
        "full scale": rng.choice([-1.0, 1.0], rate),
        "clipped": np.clip(20 * voice + rng.standard_normal(rate) * 0.05, -1, 1),
        "click": np.eye(1, rate, rate // 2)[0],
        "faint": 1e-5 * rng.standard_normal(rate),
        "after silence": np.concatenate([np.zeros(rate // 2), rng.standard_normal(rate // 2) * 0.2]),
    }


@pytest.mark.parametrize("definition", FORMS, ids=lambda d: f"{d.frame_length}-{d.frame_step}-{d.fft_length}")
def test_features_of_the_graph_are_those_of_numpy(definition):
    layer, hop = LogMelFrontEnd(definition), definition.frame_step
    before = definition.frame_length - hop
    for name, samples in sounds(definition.sample_rate).items():
        rows = samples[: len(samples) // hop * hop].reshape(1, -1, hop).astype("float32")
        heard = rows.astype("float64").ravel()
        expected = definition(np.concatenate([np.zeros(before), heard]) if before >= 0 else heard[-before:])
        found = np.asarray(layer(rows))[0]
        assert found.shape == expected.shape
        scale = np.abs(expected).max()
        assert np.abs(found - expected).max() <= 1e-4 * scale, name


def spotter(bands: int) -> keras.Model:
    keras.utils.set_random_seed(1)
    features = keras.Input((None, bands), name="features")
    x = keras.layers.Rescaling(0.2, offset=1.0)(features)
    x = keras.layers.Conv1D(8, 3, padding="causal", activation="relu")(x)
    x = keras.layers.GRU(16, return_sequences=True)(x)
    return keras.Model({"features": features}, keras.layers.Dense(3, name="logits")(x), name="spotter")


def files(tmp_path, spec, options):
    """The task of a file that takes samples, and that of one that takes features."""
    model = spotter(MEL.num_mels)
    made = {"samples": with_front_end(model, spec), "features": (model, spec)}
    tasks = []
    for name, (heard, task) in made.items():
        path = tmp_path / f"{name}.tflite"
        streaming.convert(heard, path, metadata={"task": task, "files": {"labels.txt": b"a\nb\nc\n"}}, **options)
        tasks.append(streaming.pipeline(path))
    return tasks


def logits_of(task, samples):
    """Output rows of a signal in blocks of odd sizes, and its events."""
    session, rows = task.session(), []
    decide = session._decide
    session._decide = lambda found: rows.append(found) or decide(found)
    events = [event for block in np.array_split(samples, 7) for event in session.feed(block)] + session.finish()
    return np.concatenate([*rows, np.zeros((0, 3))]), events


@pytest.mark.parametrize(
    ("lead", "options"), [(0.0, {"chunk": 4}), pytest.param(0.1, {"quantize": "dynamic"}, marks=pytest.mark.slow)]
)
def test_a_file_that_takes_samples_says_what_one_says_that_takes_features(lead, options, tmp_path):
    end = EndpointSpec(0.1, -30.0)
    spec = KeywordSpotterSpec(RATE, MEL, end, lead=lead, background=("a",), threshold=0.34, refractory=0.02)
    graph, outside = files(tmp_path, spec, options)
    assert graph.spec.features is None
    assert graph.model.metadata.inputs[0].shape == (MEL.frame_step,)
    assert [info.name for info in graph.model.metadata.outputs] == ["logits"]
    signals = sounds(RATE)
    signals |= {
        f"{count} samples": signals["voice"][1000 : 1000 + count] for count in (0, 1, 79, 80, 199, 200, 201, 280)
    }
    heard = 0
    for name, samples in signals.items():
        (found, events), (expected, known) = logits_of(graph, samples), logits_of(outside, samples)
        assert found.shape == expected.shape, name
        assert np.abs(found - expected).max(initial=0) <= (1e-3 if options.get("quantize") else 1e-4), name
        assert [(type(e), e.label) for e in events] == [(type(e), e.label) for e in known], name
        times = [
            [getattr(e, key) for e in all_ for key in ("time", "begin", "end") if hasattr(e, key)]
            for all_ in (events, known)
        ]
        assert times[0] == times[1], name
        heard += len(known)
    assert heard > 10


def test_what_has_no_such_form_keeps_its_features():
    model, spec = spotter(MEL.num_mels), TranscriberSpec(RATE, dataclasses.replace(MEL, center=True))
    assert with_front_end(model, spec) == (model, spec)
    with pytest.raises(ValueError, match=r"expected energies .* center=True"):
        LogMelFrontEnd(dataclasses.replace(MEL, center=True))
    with pytest.raises(ValueError, match="expected rows of 80 samples"):
        LogMelFrontEnd(MEL)(np.zeros((1, 3, 40)))
