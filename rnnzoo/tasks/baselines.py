"""Classical baselines that a network has to beat."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray


class Baseline(NamedTuple):
    """A method without a network on a split: its name, its figures, and the count of numbers that it stores."""

    name: str
    figures: Mapping[str, float]
    numbers: int


class FrequentTags:
    """The most frequent tag of a word; of an unknown one, that of the longest ending of words in the training split.

    Args:
        sentences: pairs of words and tags.
    """

    name = "most frequent tag"

    def __init__(self, sentences: Iterable[tuple[Sequence[str], Sequence[str]]]):
        counts_by_key: defaultdict[str, Counter[str]] = defaultdict(Counter)
        for words, tags in sentences:
            for word, tag in zip(words, tags, strict=True):
                for key in self._keys(word):
                    counts_by_key[key][tag] += 1
        self._tags = {key: counts.most_common(1)[0][0] for key, counts in counts_by_key.items()}
        self.numbers = len(self._tags)

    def tag(self, words: Sequence[str]) -> list[str]:
        """A tag for each word."""
        return [next(self._tags[key] for key in self._keys(word) if key in self._tags) for word in words]

    @staticmethod
    def _keys(word: str) -> Iterator[str]:
        """The word, its endings from the longest on with the case of its first letter, and what all words have."""
        yield f"={word}"
        case = "A" if word[:1].isupper() else "a"
        for length in range(min(4, len(word)), -1, -1):
            yield f"{case}-{word[len(word) - length :].lower()}"
        yield "any"


class NaiveBayes:
    """Multinomial naive Bayes over words, of each label against the rest (Maron 1961), with add-one smoothing.

    Args:
        texts: words of each text.
        held: whether it has each label, boolean (N, L).
    """

    name = "bag of words, naive Bayes"

    def __init__(self, texts: Sequence[Sequence[str]], held: NDArray[Any]):
        self._words = {word: i for i, word in enumerate(dict.fromkeys(word for words in texts for word in words))}
        counts = np.ones((2, held.shape[1], len(self._words)))
        for words, row in zip(texts, held, strict=True):
            for word in words:
                counts[row.astype(int), np.arange(held.shape[1]), self._words[word]] += 1
        ratio = counts / counts.sum(axis=-1, keepdims=True)
        self._weights = np.log(ratio[1] / ratio[0]).T
        share = np.clip(held.mean(axis=0), 1e-6, 1 - 1e-6)
        self._bias = np.log(share / (1 - share))
        self.numbers = self._weights.size + self._bias.size

    def logits(self, texts: Sequence[Sequence[str]]) -> NDArray[Any]:
        """The logarithm of the odds of each label, (N, L)."""
        known = [[self._words[word] for word in words if word in self._words] for words in texts]
        return np.stack([self._bias + self._weights[rows].sum(axis=0) for rows in known])


class RidgeWords:
    """Ridge regression of a number on the words that occur (Hoerl and Kennard 1970).

    Args:
        texts: different words of each text.
        values: its number.
        min_count: rarer words are left out.
        penalty: weight of the squares.
    """

    name = "bag of words, ridge regression"

    def __init__(
        self, texts: Sequence[Collection[str]], values: Sequence[float], min_count: int = 10, penalty: float = 30.0
    ):
        counts = Counter(word for words in texts for word in words)
        self._words = {word: i for i, word in enumerate(word for word, n in counts.items() if n >= min_count)}
        table, target = self._table(texts), np.array(values)
        square = table.T @ table + penalty * np.eye(table.shape[1])
        self._bias = float(target.mean())
        self._weights = np.linalg.solve(square, table.T @ (target - self._bias))
        self.numbers = self._weights.size + 1

    def scores(self, texts: Sequence[Collection[str]]) -> NDArray[Any]:
        """The number of each text, (N,)."""
        return np.asarray(self._table(texts) @ self._weights + self._bias)

    def _table(self, texts: Sequence[Collection[str]]) -> NDArray[Any]:
        table = np.zeros((len(texts), len(self._words)))
        for row, words in zip(table, texts, strict=True):
            row[[self._words[word] for word in words if word in self._words]] = 1
        return table


class LabelNGrams:
    """The label whose n-grams of the steps of a sequence are the most probable, all labels being as frequent.

    Args:
        sequences: of tokens.
        labels: of each.
        order: tokens of an n-gram.
    """

    def __init__(self, sequences: Sequence[Sequence[str]], labels: Sequence[str], order: int = 4):
        self.name = f"{order}-grams of each label"
        self._tokens = {token: i for i, token in enumerate(dict.fromkeys(t for row in sequences for t in row), 2)}
        by_label: defaultdict[str, list[NDArray[Any]]] = defaultdict(list)
        for row, label in zip(sequences, labels, strict=True):
            by_label[label].append(self._numbers(row)[:-1])
        end, size = np.zeros(1, int), len(self._tokens) + 2
        self._models = {
            label: NGram(np.concatenate([*rows, end]), size, order) for label, rows in sorted(by_label.items())
        }
        self.numbers = sum(model.numbers for model in self._models.values())

    def label(self, sequence: Sequence[str]) -> str:
        """The label of a sequence."""
        line = self._numbers(sequence)
        scores = {label: float(np.log(model.probabilities(line)).sum()) for label, model in self._models.items()}
        return max(scores, key=lambda label: scores[label])

    def _numbers(self, sequence: Sequence[str]) -> NDArray[Any]:
        """Tokens between two ends (0); 1 is an unknown one."""
        return np.array([0, *(self._tokens.get(token, 1) for token in sequence), 0])


class NearestMean:
    """Gives the label with the nearest mean, of features that are means and deviations along time.

    Args:
        rows: sequences (T, D).
        labels: of each sequence.
    """

    name = "nearest mean"

    def __init__(self, rows: Sequence[NDArray[Any]], labels: Sequence[str]):
        features = self._features(rows)
        self._mean, self._scale = features.mean(axis=0), features.std(axis=0) + 1e-6
        features = (features - self._mean) / self._scale
        self._labels = sorted(set(labels))
        of = np.array(labels)
        self._means = np.stack([features[of == label].mean(axis=0) for label in self._labels])
        self.numbers = self._means.size + 2 * self._mean.size

    def labels(self, rows: Sequence[NDArray[Any]]) -> list[str]:
        """A label for each sequence."""
        features = (self._features(rows) - self._mean) / self._scale
        distance = ((features[:, None] - self._means) ** 2).sum(axis=-1)
        return [self._labels[k] for k in distance.argmin(axis=1)]

    @staticmethod
    def _features(rows: Sequence[NDArray[Any]]) -> NDArray[Any]:
        return np.stack([np.concatenate([row.mean(axis=0), row.std(axis=0)]) for row in rows])


class NearestWindow:
    """Gives each row the label with the nearest mean, of features that are means and deviations of the last rows.

    Args:
        rows: sequences (T, D).
        labels: of each row; an empty one is none.
        window: rows that a decision looks at.
    """

    name = "nearest mean of windows"

    def __init__(self, rows: Sequence[NDArray[Any]], labels: Sequence[Sequence[str]], window: int = 25):
        self._window = window
        features = np.concatenate([self._features(row) for row in rows])
        of = np.array([label for row in labels for label in row])
        self._mean, self._scale = features.mean(axis=0), features.std(axis=0) + 1e-6
        features = (features - self._mean) / self._scale
        self._labels = sorted({label for label in of if label})
        self._means = np.stack([features[of == label].mean(axis=0) for label in self._labels])
        self.numbers = self._means.size + 2 * self._mean.size

    def labels(self, rows: NDArray[Any]) -> list[str]:
        """A label for each row of a sequence."""
        features = (self._features(rows) - self._mean) / self._scale
        distance = ((features[:, None] - self._means) ** 2).sum(axis=-1)
        return [self._labels[k] for k in distance.argmin(axis=1)]

    def _features(self, rows: NDArray[Any]) -> NDArray[Any]:
        """(T, 2 D) of the rows up to each, the first of them repeated before it."""
        padded = np.concatenate([np.repeat(rows[:1], self._window - 1, axis=0), rows])
        windows = np.lib.stride_tricks.sliding_window_view(padded, self._window, axis=0)
        return np.concatenate([windows.mean(axis=-1), windows.std(axis=-1)], axis=-1)


class NGram:
    """The next token by the last `order - 1` ones (Witten and Bell 1991).

        P(w | h) = (c(h w) + n(h) P(w | h')) / (c(h) + n(h)),   n(h) different tokens after h; h' is h without its first

    Args:
        tokens: of the training split, (N,).
        entries: V tokens, each with a base probability of 1 / V.
        order: tokens of an n-gram.
    """

    def __init__(self, tokens: NDArray[Any], entries: int, order: int = 6):
        self.name = f"{order}-gram"
        self.order, self._entries = order, entries
        self._after: defaultdict[tuple[int, ...], Counter[int]] = defaultdict(Counter)
        line = tokens.tolist()
        for i, token in enumerate(line):
            for length in range(min(order - 1, i) + 1):
                self._after[tuple(line[i - length : i])][token] += 1
        self._totals = {past: after.total() for past, after in self._after.items()}
        self.numbers = sum(map(len, self._after.values()))

    def probabilities(self, tokens: NDArray[Any]) -> NDArray[Any]:
        """P of each token but the first, given those before it, (N - 1,)."""
        line = tokens.tolist()
        chances = np.empty(len(line) - 1)
        for i, token in enumerate(line[1:], 1):
            chance = 1 / self._entries
            for length in range(min(self.order - 1, i) + 1):
                past = tuple(line[i - length : i])
                if past not in self._totals:
                    break
                after = self._after[past]
                chance = (after[token] + len(after) * chance) / (self._totals[past] + len(after))
            chances[i - 1] = chance
        return chances

    def distribution(self, past: Sequence[int]) -> NDArray[Any]:
        """P of each token after the last ones, (V,)."""
        chances = np.full(self._entries, 1 / self._entries)
        for length in range(min(self.order - 1, len(past)) + 1):
            known = tuple(past[len(past) - length :])
            if known not in self._totals:
                break
            after = self._after[known]
            chances *= len(after)
            chances[list(after)] += list(after.values())
            chances /= self._totals[known] + len(after)
        return chances


class NearestText:
    """Finds the text of the training split that is most similar to another one.

    The similarity is the cosine of TF-IDF vectors of words (Salton and Buckley 1988).

    Args:
        texts: of the training split.
    """

    def __init__(self, texts: Sequence[str]):
        occurrences: defaultdict[str, dict[int, int]] = defaultdict(dict)
        for i, text in enumerate(texts):
            for word in text.lower().split():
                occurrences[word][i] = occurrences[word].get(i, 0) + 1
        self._places = {word: np.array(list(held)) for word, held in occurrences.items()}
        self._weights = {
            word: np.array(list(held.values())) * np.log(len(texts) / len(held)) for word, held in occurrences.items()
        }
        squares = np.zeros(len(texts))
        for word, places in self._places.items():
            squares[places] += self._weights[word] ** 2
        self._lengths = np.sqrt(squares) + 1e-9
        self.numbers = sum(map(len, self._places.values()))

    def nearest(self, text: str) -> int:
        """The number of the nearest text."""
        scores = np.zeros(len(self._lengths))
        for word, count in Counter(text.lower().split()).items():
            if word in self._places:
                rarity = np.log(len(self._lengths) / len(self._places[word]))
                scores[self._places[word]] += self._weights[word] * count * rarity
        return int(np.argmax(scores / self._lengths))


class NoteChain:
    """A Markov chain for each note: the probability that it sounds, given whether it sounded one step before.

    Args:
        rolls: pieces (T, N) of the training split.
    """

    name = "Markov chain of each note"

    def __init__(self, rolls: Sequence[NDArray[Any]]):
        before = np.concatenate([roll[:-1] for roll in rolls]) > 0
        after = np.concatenate([roll[1:] for roll in rolls]) > 0
        same = np.stack([~before, before])
        self._shares = (same & after).sum(axis=1) / np.maximum(same.sum(axis=1), 1)
        self.numbers = self._shares.size

    def probabilities(self, roll: NDArray[Any]) -> NDArray[Any]:
        """Probabilities of the notes of the step after each, (T, N)."""
        return np.where(roll > 0, self._shares[1], self._shares[0])


def peaks(signal: NDArray[Any], rate: float) -> NDArray[Any]:
    """Samples where the slope of a signal (T,) is steepest, one in 0.2 seconds: the idea of Pan and Tompkins (1985).

    The slope is squared and averaged over 0.15 seconds; a peak is above a third of the highest within 2 seconds.
    """
    steep = np.convolve(np.gradient(signal) ** 2, np.full(width := int(0.15 * rate), 1 / width), "same")
    near, far = (_highest(steep, int(seconds * rate)) for seconds in (0.2, 1.0))
    places = np.flatnonzero((steep == near) & (steep > far / 3))
    # Of a flat top the first.
    return places[np.diff(places, prepend=-len(signal)) > int(0.2 * rate)]


def _highest(signal: NDArray[Any], reach: int) -> NDArray[Any]:
    """The highest value within `reach` samples of each."""
    padded = np.pad(signal, reach, constant_values=-np.inf)
    return np.lib.stride_tricks.sliding_window_view(padded, 2 * reach + 1).max(axis=-1)
