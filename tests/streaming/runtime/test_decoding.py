"""Decoding against brute force: search and sampling over a random NumPy network, CTC, Viterbi."""

import itertools
from collections import Counter

import numpy as np
import pytest

from streaming.errors import InputError
from streaming.runtime.decoding import (
    Chain,
    CTCBeam,
    CTCGreedy,
    Decoder,
    Sampling,
    ViterbiStream,
    beam_search,
    beam_searches,
    ctc_beam,
    ctc_greedy,
    generate,
    greedy,
    log_softmax,
    sample,
    sigmoid,
    softmax,
    viterbi,
)

TOKENS, UNITS, START, END = 4, 5, 1, 0


class Network:
    """h_t = tanh(A h_(t-1) + E[token]), logits B h_t; counts its calls."""

    def __init__(self, seed):
        draw = np.random.default_rng(seed).standard_normal
        self.a, self.e, self.b = draw((UNITS, UNITS)), 2 * draw((TOKENS, UNITS)), 1.5 * draw((UNITS, TOKENS))
        self.calls = 0
        self.step = self._step  # one object: decoders of one network share it

    def _step(self, states, tokens):
        self.calls += 1
        hidden = np.tanh(np.stack(states) @ self.a + self.e[tokens])
        return hidden @ self.b, list(hidden)

    def decoder(self, seed=0):
        return Decoder(self.step, np.random.default_rng(seed).standard_normal(UNITS))

    def log_probability(self, decoder, tokens):
        hidden, total = decoder.state, 0.0
        for before, token in itertools.pairwise([START, *tokens]):
            hidden = np.tanh(hidden @ self.a + self.e[before])
            logits = hidden @ self.b
            total += logits[token] - np.log(np.exp(logits).sum())
        return total


def every_sequence(network, decoder, steps, penalty=0.0):
    """(score, tokens) of all sequences of up to that many steps, best first."""
    found = {}
    for tokens in itertools.product(range(TOKENS), repeat=steps):
        cut = tokens[: tokens.index(END) + 1] if END in tokens else tokens
        total = network.log_probability(decoder, cut)
        found[cut] = total / ((5 + len(cut)) / 6) ** penalty
    return sorted(((score, tuple(t for t in cut if t != END)) for cut, score in found.items()), reverse=True)


def test_the_first_token_may_be_0_and_the_last_the_start_and_one_step_is_enough():
    network = Network(0)
    for seed in range(5):
        decoder = network.decoder(seed)
        logits = np.tanh(decoder.state @ network.a + network.e[0]) @ network.b
        best, found = int(np.argmax(logits)), greedy(decoder, 0, 0, 1)
        assert found.ended == (best == 0)
        assert found.tokens == (() if best == 0 else (best,))


def test_greedy_takes_the_best_token_of_each_step():
    network = Network(0)
    for seed in range(10):
        decoder = network.decoder(seed)
        found = greedy(decoder, START, END, 8)
        tokens = (*found.tokens, END) if found.ended else found.tokens
        assert found.log_probability == pytest.approx(network.log_probability(decoder, tokens))
        for i, token in enumerate(tokens):
            others = [network.log_probability(decoder, (*tokens[:i], other)) for other in range(TOKENS)]
            assert int(np.argmax(others)) == token


@pytest.mark.parametrize("penalty", [0.0, 0.6, 1.0])
def test_a_wide_beam_is_exact_and_sorted(penalty):
    steps = 4
    for seed in range(5):
        network = Network(seed)
        decoder = network.decoder(seed)
        expected = every_sequence(network, decoder, steps, penalty)[:5]
        found = beam_search(decoder, START, END, steps, width=TOKENS**steps, length_penalty=penalty, n_best=5)
        assert [h.tokens for h in found] == [tokens for _, tokens in expected]
        np.testing.assert_allclose([h.score(penalty) for h in found], [score for score, _ in expected])


def test_a_beam_of_one_without_an_end_is_greedy():
    network = Network(3)
    found = beam_search(network.decoder(), START, END, 6, width=1, banned=[END])
    assert found[0].tokens == greedy(network.decoder(), START, END, 6, banned=[END]).tokens
    assert len(found[0].tokens) == 6


def test_wider_beams_find_no_worse_sequences_on_average():
    scores = []
    for width in (1, 2, 8, 64):
        found = [
            beam_search(Network(s).decoder(s), START, END, 6, width=width, length_penalty=0.0)[0] for s in range(20)
        ]
        scores.append(np.mean([h.log_probability for h in found]))
    assert scores == sorted(scores)
    assert scores[-1] > scores[0]


def test_sequences_searched_together_are_those_searched_alone_in_fewer_calls():
    network = Network(1)
    sources = [network.decoder(seed) for seed in range(7)]
    alone = [beam_search(source, START, END, 7, width=3, n_best=2) for source in sources]
    calls, network.calls = network.calls, 0
    together = beam_searches(sources, START, END, 7, width=3, n_best=2)
    for one, other in zip(alone, together, strict=True):
        assert [h.tokens for h in one] == [h.tokens for h in other]
        np.testing.assert_allclose([h.log_probability for h in one], [h.log_probability for h in other])
    assert network.calls <= 7 < calls
    assert beam_searches([], START, END, 3) == []


def test_banned_tokens_never_come():
    network = Network(2)
    for seed in range(5):
        for hypothesis in beam_search(network.decoder(seed), START, END, 6, width=4, n_best=4, banned=[2, START]):
            assert not {2, START} & set(hypothesis.tokens)
        assert 2 not in sample(network.decoder(seed), START, END, 50, seed=seed, banned=[2]).tokens


@pytest.mark.parametrize(("tokens", "width"), [(3000, 4), (70, 1), (500, 8)])
def test_the_best_of_a_large_vocabulary_are_kept(tokens, width):
    table = np.random.default_rng(0).integers(0, 40, (tokens, tokens)).astype(float)  # with many ties
    table[:, END] = -1e9
    decoder = Decoder(lambda states, chosen: (table[chosen], states), None)
    scores = log_softmax(table)
    beam = [((), 0.0)]
    for _ in range(3):
        longer = [(h, t) for h in beam for t in range(tokens) if t != END]
        totals = [h[1] + scores[h[0][-1] if h[0] else START, t] for h, t in longer]
        order = sorted(range(len(longer)), key=lambda i: -totals[i])[:width]
        beam = [((*longer[i][0][0], longer[i][1]), totals[i]) for i in order]
    found = beam_search(decoder, START, END, 3, width=width, n_best=width, length_penalty=0.0)
    assert [h.tokens for h in found] == [tokens for tokens, _ in beam]


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda d: greedy(d, START, -1, 5), "end -1"),
        (lambda d: greedy(d, -1, END, 5), "start is -1"),
        (lambda d: greedy(d, START, END, 0), "max_steps 0"),
        (lambda d: beam_search(d, START, END, 5, width=0), "width is 0"),
        (lambda d: beam_search(d, START, END, 5, width=2, n_best=3), "n_best 3"),
        (lambda d: beam_searches([d, Network(9).decoder()], START, END, 5), "one step function"),
        (lambda d: sample(d, START, END, 5, temperature=-1), "temperature is -1"),
        (lambda d: sample(d, START, END, 5, temperature=float("nan")), "temperature is nan"),
        (lambda d: sample(d, START, END, 5, top_k=-1), "top_k -1"),
        (lambda d: sample(d, START, END, 5, top_p=0), "top_p 0"),
        (lambda d: sample(d, START, END, 0), "max_steps 0"),
    ],
)
def test_wrong_arguments_are_refused(call, message):
    with pytest.raises(InputError, match=message):
        call(Network(0).decoder())


def test_sampling_is_reproducible_and_differs_by_seed():
    network = Network(4)

    def draw(seed):
        return sample(network.decoder(), START, END, 40, seed=seed, banned=[END])

    assert draw(1) == draw(1)
    assert len({draw(seed).tokens for seed in range(5)}) == 5
    found = draw(1)
    assert found.log_probability == pytest.approx(network.log_probability(network.decoder(), found.tokens))


@pytest.mark.parametrize("sampling", [Sampling(), Sampling(0.7, 3), Sampling(1.5, 0, 0.8)])
def test_tokens_come_as_often_as_they_are_probable(sampling):
    network = Network(5)
    count, generator = 4000, np.random.default_rng(0)
    drawn = Counter(next(generate(network.decoder(), START, sampling, generator))[0] for _ in range(count))
    expected = sampling.probabilities(network.step([network.decoder().state], np.array([START]))[0][0])
    for token, probability in enumerate(expected):
        spread = 4 * np.sqrt(probability * (1 - probability) / count)
        assert abs(drawn[token] / count - probability) <= spread, token
        assert probability or not drawn[token]


def test_filters_of_sampling():
    logits = np.log([0.1, 0.4, 0.2, 0.3])
    np.testing.assert_allclose(Sampling().probabilities(logits), [0.1, 0.4, 0.2, 0.3])
    np.testing.assert_allclose(Sampling(0).probabilities(logits), [0, 1, 0, 0])
    np.testing.assert_allclose(Sampling(0.5).probabilities(logits), np.array([1, 16, 4, 9]) / 30)
    np.testing.assert_allclose(Sampling(top_k=2).probabilities(logits), [0, 4 / 7, 0, 3 / 7])
    np.testing.assert_allclose(Sampling(top_k=99).probabilities(logits), [0.1, 0.4, 0.2, 0.3])
    # 0.4 does not reach 0.41; 0.7 does.
    np.testing.assert_allclose(Sampling(top_p=0.41).probabilities(logits), [0, 4 / 7, 0, 3 / 7])
    np.testing.assert_allclose(Sampling(top_p=0.39).probabilities(logits), [0, 1, 0, 0])
    np.testing.assert_allclose(Sampling(banned=(1,)).probabilities(logits), np.array([1, 0, 2, 3]) / 6)
    # The filter of probabilities sees what the filter of ranks left.
    np.testing.assert_allclose(Sampling(top_k=2, top_p=0.5).probabilities(logits), [0, 1, 0, 0])
    np.testing.assert_allclose(Sampling(top_k=2).probabilities(np.zeros(3)), [0.5, 0.5, 0])
    assert Sampling(1e-3).probabilities(np.array([1e4, -1e4])).tolist() == [1, 0]


def test_probabilities_are_stable():
    rows = np.array([[1000.0, 1000.0], [0.0, np.log(3)], [-1000.0, 0.0]])
    np.testing.assert_allclose(softmax(rows), [[0.5, 0.5], [0.25, 0.75], [0, 1]])
    np.testing.assert_allclose(np.exp(log_softmax(rows)), softmax(rows))
    np.testing.assert_allclose(sigmoid(np.array([-1e4, 0.0, np.log(3), 1e4])), [0, 0.5, 0.75, 1])
    assert softmax(np.zeros((0, 3))).shape == (0, 3)


# CTC


def collapse(path, blank):
    return tuple(k for k, _ in itertools.groupby(path) if k != blank)


def texts(logits, blank):
    """The log probability of every text: the sum over all its alignments."""
    probabilities, found = softmax(logits), Counter()
    for path in itertools.product(range(logits.shape[1]), repeat=len(logits)):
        found[collapse(path, blank)] += np.prod(probabilities[np.arange(len(path)), list(path)])
    return found


@pytest.mark.parametrize("blank", [0, 2])
@pytest.mark.parametrize("rows", [1, 2, 4, 6])
def test_a_wide_ctc_beam_sums_over_all_alignments(rows, blank):
    for seed in range(3):
        logits = 2 * np.random.default_rng(seed).standard_normal((rows, 3))
        expected = texts(logits, blank)
        found = ctc_beam(logits, blank, width=1000, n_best=1000)
        assert len(found) == len(expected)
        assert [h.tokens for h in found[:1]] == [max(expected, key=expected.get)]
        for hypothesis in found:
            assert np.exp(hypothesis.log_probability) == pytest.approx(expected[hypothesis.tokens])


def test_the_sum_can_beat_the_best_alignment():
    # Graves (2008): each row is most likely blank, but the alignments of one token weigh more together.
    logits = np.log([[0.6, 0.4], [0.6, 0.4]])
    assert ctc_greedy(logits, 0) == ()
    assert ctc_beam(logits, 0)[0].tokens == (1,)
    assert np.exp(ctc_beam(logits, 0)[0].log_probability) == pytest.approx(0.64)


def test_ctc_greedy_collapses_the_best_alignment_in_pieces_too():
    logits = np.random.default_rng(0).standard_normal((60, 4))
    path = logits.argmax(axis=1)
    assert ctc_greedy(logits, 1) == collapse(path, 1)
    stream = CTCGreedy(1)
    spikes = [spike for piece in np.array_split(logits, 13) for spike in stream.feed(piece)]
    assert tuple(spike.token for spike in spikes) == collapse(path, 1)
    for spike in spikes:
        assert path[spike.row] == spike.token
        assert spike.row == 0 or path[spike.row - 1] != spike.token
    stream.reset()
    assert stream.feed(logits[:1])[:1] == spikes[:1] or path[0] == 1


def test_a_ctc_beam_goes_on_from_where_it_was():
    logits = 3 * np.random.default_rng(1).standard_normal((40, 6))
    beam = CTCBeam(0, 8)
    for piece in np.array_split(logits, 7):
        beam.feed(piece)
    whole = ctc_beam(logits, 0, width=8, n_best=8)
    assert [h.tokens for h in beam.best(8)] == [h.tokens for h in whole]
    narrow = ctc_beam(logits, 0, width=1)[0]
    assert narrow.log_probability <= whole[0].log_probability
    beam.reset()
    assert beam.best(3)[0].tokens == ()


def test_wrong_rows_are_refused():
    for call in (CTCGreedy(0).feed, CTCBeam(3).feed):
        with pytest.raises(InputError, match="expected"):
            call(np.zeros((3, 4, 5)))
    with pytest.raises(InputError, match="blank 7"):
        ctc_greedy(np.zeros((2, 3)), 7)
    with pytest.raises(InputError, match="width is 0"):
        CTCBeam(0, 0)


# Viterbi


def random_chain(seed, forbidden=0.0, size=3):
    generator = np.random.default_rng(seed)
    transitions = generator.standard_normal((size, size))
    transitions[generator.random((size, size)) < forbidden] = -np.inf
    return Chain(transitions, generator.standard_normal(size), generator.standard_normal(size))


def path_score(path, rows, chain):
    inner = sum(chain.transitions[i, j] for i, j in itertools.pairwise(path))
    return rows[np.arange(len(path)), list(path)].sum() + chain.start[path[0]] + chain.end[path[-1]] + inner


@pytest.mark.parametrize("forbidden", [0.0, 0.3])
def test_viterbi_is_the_best_of_all_paths(forbidden):
    for seed in range(20):
        rows, chain = np.random.default_rng(seed).standard_normal((6, 3)), random_chain(seed, forbidden)
        scores = {path: path_score(path, rows, chain) for path in itertools.product(range(3), repeat=6)}
        path, score = viterbi(rows, chain)
        assert score == pytest.approx(max(scores.values()))
        assert scores[tuple(path)] == pytest.approx(score)


def test_streamed_labels_are_the_best_path_where_the_delay_is_unbounded():
    for seed in range(10):
        rows, chain = 2 * np.random.default_rng(seed).standard_normal((200, 4)), random_chain(seed, 0.2, 4)
        stream, found, late = ViterbiStream(chain), [], []
        for t, row in enumerate(rows):
            found += stream.feed(row[None])
            late.append(t + 1 - len(found))
        assert max(late) < 100  # paths do agree long before the end
        assert found + stream.finish() == viterbi(rows, chain)[0].tolist()


@pytest.mark.parametrize("delay", [0, 1, 3])
def test_a_bounded_delay_holds_and_breaks_no_rule(delay):
    for seed in range(20):
        rows = np.random.default_rng(seed).standard_normal((50, 4))
        transitions = np.random.default_rng(seed + 99).standard_normal((4, 4))
        transitions[0, 1] = transitions[2, 3] = -np.inf
        chain, found = Chain(transitions), []
        stream = ViterbiStream(chain, delay)
        for t, row in enumerate(rows):
            found += stream.feed(row[None])
            assert t + 1 - delay <= len(found) <= t + 1
        found += stream.finish()
        assert len(found) == 50
        assert path_score(found, rows, chain) > -np.inf
        assert path_score(found, rows, chain) <= viterbi(rows, chain)[1] + 1e-9
        # Cutting the rows otherwise changes nothing.
        assert [k for piece in np.array_split(rows, 7) for k in stream.feed(piece)] + stream.finish() == found


def test_a_delay_of_no_rows_is_the_filtered_best():
    chain = Chain(np.zeros((3, 3)))
    rows = np.random.default_rng(0).standard_normal((30, 3))
    assert ViterbiStream(chain, 0).feed(rows) == rows.argmax(axis=1).tolist()


def test_an_endless_stream_keeps_its_digits():
    chain, stream = random_chain(1), ViterbiStream(random_chain(1))
    rows = np.random.default_rng(2).standard_normal((50, 3))
    for _ in range(200):
        stream.feed(rows + 1e4)
    assert np.abs(stream._scores).max() < 100
    assert stream._paths.shape[1] < 100
    assert viterbi(np.zeros((0, 3)), chain)[0].shape == (0,)


def test_wrong_chains_and_rows_are_refused():
    for wrong in (np.zeros((2, 3)), np.zeros(3), np.full((2, 2), np.nan), np.full((2, 2), np.inf), np.zeros((0, 0))):
        with pytest.raises(InputError, match="of a chain"):
            Chain(wrong)
    with pytest.raises(InputError, match="start of a chain"):
        Chain(np.zeros((2, 2)), np.zeros(3))
    with pytest.raises(InputError, match="delay is -1"):
        ViterbiStream(random_chain(0), -1)
    stream = ViterbiStream(Chain(np.array([[-np.inf, 0.0], [-np.inf, 0.0]])))
    for rows in (np.zeros((3, 4)), np.zeros(2), np.full((1, 2), np.nan)):
        with pytest.raises(InputError, match=r"expected \(rows, 2\)"):
            stream.feed(rows)
    stream.feed(np.zeros((1, 2)))
    with pytest.raises(InputError, match="no sequence of labels is possible"):
        stream.feed(np.array([[0.0, -np.inf]]))
    assert stream.feed(np.array([[0.0, 2.0]])) + stream.finish() == [0, 1]
