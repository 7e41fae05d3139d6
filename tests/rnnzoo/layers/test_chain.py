"""CRF and CTC against enumeration of all paths."""

from __future__ import annotations

import itertools
from typing import Any

import keras
import numpy as np
import pytest

import streaming
from rnnzoo.layers import CRF, CRFLoss, CTCLoss, chain, ctc_greedy_decode
from streaming.runtime.decoding import Chain
from streaming.runtime.decoding import viterbi as device_viterbi

LABELS = ("O", "B-X", "I-X")
MASK = np.array([[1, 1, 1, 1], [1, 1, 0, 0], [0, 1, 0, 1]], bool)


def crf(labels: Any = None, seed: int = 0) -> CRF:
    layer, rng = CRF(labels), np.random.default_rng(seed)
    layer.build((None, None, 3))
    for weight in layer.weights:
        weight.assign(rng.normal(size=weight.shape))
    return layer


def paths(layer: CRF, scores: np.ndarray, allowed: Any = lambda path: True) -> dict[tuple[int, ...], float]:
    """Every path with its probability, by enumeration; scores (T, K)."""
    transitions, start, end = (np.asarray(w, "float64") for w in layer.weights)
    found = {}
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        if allowed(path):
            moves = sum(transitions[a, b] for a, b in itertools.pairwise(path))
            total = start[path[0]] + end[path[-1]] + moves + sum(scores[t, k] for t, k in enumerate(path))
            found[path] = np.exp(total)
    total = sum(found.values())
    return {path: value / total for path, value in found.items()}


def legal(path: tuple[int, ...]) -> bool:
    return all(b != 2 or a in (1, 2) for a, b in itertools.pairwise((0, *path)))


@pytest.mark.parametrize("labels", [None, LABELS])
def test_chain_equals_enumeration(labels: Any) -> None:
    layer, rng = crf(labels), np.random.default_rng(1)
    scores = rng.normal(size=(3, 4, 3)).astype("float32")
    likelihoods = np.asarray(layer.log_likelihood(scores, np.zeros((3, 4), int), MASK))
    marginals, best = np.asarray(layer.marginals(scores, MASK)), np.asarray(layer.decode(scores, MASK))
    for row, keep in enumerate(MASK):
        every = paths(layer, scores[row, keep], legal if labels else lambda path: True)
        nothing = (0,) * int(keep.sum())
        assert likelihoods[row] == pytest.approx(np.log(every[nothing]), abs=1e-5)
        assert tuple(best[row, keep]) == max(every, key=lambda path: every[path])
        expected = np.zeros((4, 3))
        for path, probability in every.items():
            expected[np.flatnonzero(keep), path] += probability
        np.testing.assert_allclose(marginals[row], expected, atol=1e-6)


def test_a_chain_of_nothing_costs_nothing() -> None:
    layer, scores = crf(), np.ones((2, 3, 3), "float32")
    mask = np.zeros((2, 3), bool)
    assert not np.any(layer.log_likelihood(scores, np.zeros((2, 3), int), mask))
    assert not np.any(layer.marginals(scores, mask))


def test_training_finds_the_chain_and_the_gradient_is_expected_minus_observed() -> None:
    layer, rng = crf(), np.random.default_rng(2)
    scores, labels = rng.normal(size=(2, 4, 3)).astype("float32"), rng.integers(0, 3, (2, 4))
    step = 1e-2
    gradient = np.zeros_like(scores)
    for index in np.ndindex(*scores.shape):
        sides = []
        for sign in (1, -1):
            moved = scores.copy()
            moved[index] += sign * step
            sides.append(float(np.sum(layer.log_likelihood(moved, labels))))
        gradient[index] = (sides[0] - sides[1]) / (2 * step)
    np.testing.assert_allclose(np.eye(3)[labels] - layer.marginals(scores), gradient, atol=1e-3)


@pytest.mark.slow
def test_fits_with_masks_saves_and_decodes_on_the_device(tmp_path: Any) -> None:
    keras.utils.set_random_seed(0)
    rng = np.random.default_rng(3)
    # A label depends on the one before alone: only the chain can learn that.
    labels = (np.cumsum(np.ones((64, 6), int), axis=1) + rng.integers(0, 3, (64, 1))) % 3
    inputs = keras.Input((None, 2))
    layer = CRF(name="chain")
    model = keras.Model(inputs, layer(keras.layers.Dense(3)(inputs)))
    model.compile(keras.optimizers.Adam(0.1), CRFLoss(layer))
    x, weight = rng.normal(size=(64, 6, 2)).astype("float32"), np.ones((64, 6))
    weight[:32, 4:] = 0
    losses = model.fit(x, labels, sample_weight=weight, epochs=30, verbose=0).history["loss"]
    assert losses[-1] < 1.5 < np.log(3) * 5 < losses[0] * 1.5
    model.save(tmp_path / "m.keras")
    again = keras.models.load_model(tmp_path / "m.keras")
    with pytest.raises(ValueError, match="compile the model with CRFLoss"):
        again.evaluate(x, labels, verbose=0)
    again.compile("adam", CRFLoss(again.get_layer("chain")))
    assert again.evaluate(x, labels, sample_weight=weight, verbose=0) == pytest.approx(
        model.evaluate(x, labels, sample_weight=weight, verbose=0), rel=1e-5
    )
    streaming.convert(model, tmp_path / "m.tflite")
    stream = streaming.load(tmp_path / "m.tflite").create_stream()
    device, _ = device_viterbi(stream.feed(x[0]), Chain(**{k: np.array(v) for k, v in layer.chain_scores().items()}))
    np.testing.assert_array_equal(device, layer.decode(model(x[:1]))[0])


def test_forbidden_moves_are_null_in_what_is_exported() -> None:
    exported = crf(LABELS).chain_scores()
    assert exported["transitions"][0][2] is None
    assert exported["start"][2] is None
    assert None not in exported["transitions"][1] + exported["transitions"][2] + exported["end"]


def ctc_by_hand(logits: np.ndarray, labels: tuple[int, ...], blank: int) -> float:
    logs = logits - np.log(np.exp(logits).sum(-1, keepdims=True))
    total = 0.0
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        if tuple(k for k, _ in itertools.groupby(path) if k != blank) == labels:
            total += np.exp(sum(logs[t, k] for t, k in enumerate(path)))
    return -np.log(total)


def test_ctc_equals_enumeration_with_lengths() -> None:
    logits = np.random.default_rng(4).normal(size=(2, 5, 4)).astype("float32")
    labels, weight = np.array([[1, 1, 0], [2, 3, 0]]), np.array([[1] * 5, [1, 1, 1, 0, 0]])
    expected = [ctc_by_hand(logits[0], (1, 1), 0), ctc_by_hand(logits[1, :3], (2, 3), 0)]
    assert float(CTCLoss()(labels, logits, weight)) == pytest.approx(np.mean(expected), rel=1e-5)
    model = keras.Sequential([keras.Input((None, 4)), keras.layers.Dense(4)])
    model.compile("adam", CTCLoss())
    assert np.isfinite(model.fit(logits, labels, sample_weight=weight, verbose=0).history["loss"][0])


def slopes(function: Any, array: np.ndarray, step: float = 1e-5) -> np.ndarray:
    """Central differences of a function of a float64 array."""
    found = np.zeros(array.shape)
    for index in np.ndindex(*array.shape):
        sides = []
        for sign in (1, -1):
            moved = array.copy()
            moved[index] += sign * step
            sides.append(function(moved))
        found[index] = (sides[0] - sides[1]) / (2 * step)
    return found


def on_tensorflow(function: Any, *arrays: np.ndarray, compiled: bool = False) -> Any:
    """A value and its gradients in a graph."""
    tf = pytest.importorskip("tensorflow")

    @tf.function(jit_compile=compiled, autograph=False)
    def both(*given: Any) -> Any:
        with tf.GradientTape() as tape:
            tape.watch(given)
            value = function(*given)
        return value, tape.gradient(value, given)

    value, gradients = both(*(tf.constant(array, tf.float32) for array in arrays))
    return value.numpy(), [gradient.numpy() for gradient in gradients]


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("blank", "texts"), [(0, [(1, 1), (2, 3), (3,), ()]), (3, [(0, 2), (1, 1), (), (2,)])])
def test_the_gradient_of_ctc_is_that_of_the_enumeration(blank: int, texts: Any, compiled: bool) -> None:
    logits = 2 * np.random.default_rng(5).normal(size=(4, 5, 4))
    steps, scale = (5, 4, 1, 3), np.array([1.0, 2.0, -1.0, 0.5])
    labels = np.array([[*text, *[blank] * (3 - len(text))] for text in texts])
    mask = np.arange(5) < np.array(steps)[:, None]

    def by_hand(x: np.ndarray) -> float:
        rows = zip(x, steps, texts, scale, strict=True)
        return sum(weight * ctc_by_hand(row[:count], text, blank) for row, count, text, weight in rows)

    value, (gradient,) = on_tensorflow(
        lambda x: keras.ops.sum(CTCLoss(blank).call(labels, x, mask) * scale.astype("float32")),
        logits,
        compiled=compiled,
    )
    assert value == pytest.approx(by_hand(logits), rel=1e-5)
    np.testing.assert_allclose(gradient, slopes(by_hand, logits), atol=1e-5)


def ctc_by_states(logits: np.ndarray, labels: np.ndarray) -> float:
    """The same for many steps, of float64 logarithms, state by state (Graves et al. 2006, section 4.1); blank 0."""
    logs = logits - np.logaddexp.reduce(logits, axis=-1, keepdims=True)
    states = [0, *(part for label in labels for part in (int(label), 0))]
    alpha = {0: logs[0, 0], 1: logs[0, states[1]]}
    for row in logs[1:]:
        after = {}
        for s, label in enumerate(states):
            skip = s > 1 and label not in (0, states[s - 2])
            ways = [alpha[before] for before in (s, s - 1, s - 2)[: 3 if skip else 2] if before in alpha]
            if ways:
                after[s] = np.logaddexp.reduce(ways) + row[label]
        alpha = after
    return -float(np.logaddexp(alpha[len(states) - 1], alpha[len(states) - 2]))


def test_ctc_of_long_and_of_impossible_sequences() -> None:
    """Where steps say "blank" by far, alignments differ by more than float32 has powers; the last is impossible."""
    rng = np.random.default_rng(6)
    logits = rng.normal(size=(4, 400, 6))
    logits[:2, :, 0] += 30
    labels, steps = np.concatenate([rng.integers(1, 6, (4, 60)), np.zeros((4, 3), int)], axis=1), (400, 150, 399, 59)
    mask = np.arange(400) < np.array(steps)[:, None]
    values, (gradient,) = on_tensorflow(lambda x: CTCLoss().call(labels, x, mask), logits)
    for row in range(3):

        def by_hand(x: float, row: int = row) -> float:
            moved = logits[row, : steps[row]].copy()
            moved[70, labels[row, 10]] += x
            return ctc_by_states(moved, labels[row, :60])

        assert values[row] == pytest.approx(by_hand(0.0), rel=1e-5)
        slope = (by_hand(1e-4) - by_hand(-1e-4)) / 2e-4
        assert gradient[row, 70, labels[row, 10]] == pytest.approx(slope, abs=1e-3)
        assert not gradient[row, steps[row] :].any()
    assert np.isfinite(values[3])
    assert values[3] > values[:3].max()
    assert not gradient[3].any()


@pytest.mark.parametrize("compiled", [False, True])
@pytest.mark.parametrize(("labels", "mask"), [(None, MASK), (LABELS, MASK), (None, None), (None, ~MASK)])
def test_the_gradient_of_a_chain_is_that_of_the_enumeration(labels: Any, mask: Any, compiled: bool) -> None:
    layer, rng = crf(labels), np.random.default_rng(7)
    scores, scale = 2 * rng.normal(size=(3, 4, 3)), np.array([1.0, -2.0, 0.5])
    path = np.array([[0, 1, 2, 0], [1, 0, 0, 2], [2, 1, 0, 2]])
    here = np.ones((3, 4), bool) if mask is None else mask
    names = [np.asarray(w, "float64") for w in layer.scores()]

    def by_hand(scores: np.ndarray, transitions: np.ndarray, start: np.ndarray, end: np.ndarray) -> float:
        found = 0.0
        for row, keep in enumerate(here):
            shown, weights = scores[row, keep], {}
            for way in itertools.product(range(3), repeat=len(shown)):
                if way:
                    moves = sum(transitions[a, b] for a, b in itertools.pairwise(way))
                    weights[way] = start[way[0]] + moves + end[way[-1]] + sum(shown[t, k] for t, k in enumerate(way))
            if weights:
                most = max(weights.values())
                total = most + np.log(sum(np.exp(weight - most) for weight in weights.values()))
                found += scale[row] * (weights[tuple(path[row, keep])] - total)
        return found

    def ours(*given: Any) -> Any:
        return keras.ops.sum(chain.log_likelihood(given[0], path, *given[1:], mask=mask) * scale.astype("float32"))

    arrays = [scores, *names]
    value, gradients = on_tensorflow(ours, *arrays, compiled=compiled)
    assert value == pytest.approx(by_hand(*arrays), rel=1e-5)
    for place, gradient in enumerate(gradients):

        def moved(x: np.ndarray, place: int = place) -> float:
            return by_hand(*arrays[:place], x, *arrays[place + 1 :])

        np.testing.assert_allclose(gradient, slopes(moved, arrays[place]), atol=2e-5)


def test_greedy_merges_repeats_and_leaves_blanks_out() -> None:
    path = np.array([[1, 1, 0, 1, 2, 2], [0, 3, 3, 0, 0, 3]])
    logits = np.eye(4, dtype="float32")[path] * 9
    labels, _ = ctc_greedy_decode(logits, np.arange(6) < np.array([[6], [5]]))
    assert [[k for k in row if k >= 0] for row in np.asarray(labels).tolist()] == [[1, 1, 2], [3]]


def test_mistakes_are_named() -> None:
    for make, match in (
        (lambda: CRF(LABELS)(np.ones((1, 2, 4))), "scores of 3 labels"),
        (
            lambda: crf().decode(np.ones((2, 4, 3)), np.ones((2, 4))),
            r"boolean mask .* Received: float64 of shape \(2, 4\)",
        ),
        (lambda: crf().marginals(np.ones((2, 4, 3)), np.ones((2, 5), bool)), r"Received: bool of shape \(2, 5\)"),
        (lambda: CRFLoss(keras.layers.Dense(2)), "expected a CRF layer"),
        (lambda: CTCLoss(-1), "blank >= 0"),
    ):
        with pytest.raises(ValueError, match=match):
            make()
