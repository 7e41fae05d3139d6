"""A memory of sentences that a question asks: position encodings, a GRU over sentences, attention in hops."""

from __future__ import annotations

import math
from typing import Any

import keras
import numpy as np
from keras import ops

from rnnzoo.layers.recurrent import GRU
from rnnzoo.layers.refusals import OverSequences, positive, probability, refused

# Far below any score, and within float16.
_HIDDEN = -3e4


@keras.saving.register_keras_serializable(package="rnnzoo")
class StoryMemory(OverSequences, keras.layers.Layer):
    """Reads a story word by word, and answers with what it reads last as the question.

    End-to-end memory networks (Sukhbaatar et al. 2015) over the states of a GRU that reads sentences (Xiong et al.
    2016). Of a sentence with words w_1 ... w_J so far:

        q = sum_j A[w_j] * p[j]                                         position encoding, learned
        h_n = GRU(s_n, h_{n-1}),   m_n = [s_n; h_n]                     at the end of statement n, with s_n = q
        u = Q q;   in each hop: a = softmax over n of (u K m_n + u k[age of n]) / sqrt(U),   o = sum_n a_n V m_n
        u = u + relu(M [u; o; u * o])                                   the answer is the last u

    The statements are those that ended before the word, at most the last `memories`; without any o = 0.
    A sentence that ends with `question` is asked and forgotten, so that a story can go on after a question.

    Args:
        input_dim: number of ids; 0 is padding, which leaves the answer to a question as it is.
        units: U, the width of all vectors.
        statement, question: the ids that end a statement and a question.
        words: places of a sentence with a vector p of their own; later words have the last.
        memories: statements that are remembered.
        hops: passes over them.
        dropout: rate on vectors, in training.
        seed: of the dropout.

    Input: ids (B, T). Output: (B, T, U), the answer after each word; with `whole=True` the last one, (B, U).

    Raises:
        ValueError: a size is not positive, the rate is no probability below 1, or the two ids are one.
    """

    sequence_shape = "(B, T)"

    def __init__(
        self,
        input_dim: int,
        units: int,
        statement: int,
        question: int,
        words: int = 16,
        memories: int = 64,
        hops: int = 3,
        dropout: float = 0.0,
        seed: int | None = None,
        **kwargs: Any,
    ):
        positive(self, input_dim=input_dim, units=units, statement=statement, question=question, words=words, hops=hops)
        positive(self, memories=memories)
        probability(self, dropout=dropout)
        if statement == question:
            raise refused(f"StoryMemory: expected two ids that end sentences. Received: {statement} for both")
        super().__init__(**kwargs)
        self.input_dim, self.units, self.statement, self.question = input_dim, units, statement, question
        self.words, self.memories, self.hops, self.dropout, self.seed = words, memories, hops, dropout, seed
        self.gru = GRU(units, return_sequences=True, name="gru", dtype=self.dtype_policy)
        self.noise = keras.layers.Dropout(dropout, seed=seed, name="noise", dtype=self.dtype_policy)

    def build(self, input_shape: tuple[int | None, ...]) -> None:
        size, small = self.units, keras.initializers.RandomNormal(stddev=0.1)
        self.embeddings = self.add_weight((self.input_dim, size), small, name="embeddings")
        self.places = self.add_weight((self.words, size), name="places", initializer=_first_places)
        self.question_kernel = self.add_weight((size, size), "glorot_uniform", name="question_kernel")
        self.key_kernel = self.add_weight((2 * size, self.hops * size), "glorot_uniform", name="key_kernel")
        self.value_kernel = self.add_weight((2 * size, self.hops * size), "glorot_uniform", name="value_kernel")
        self.ages = self.add_weight((self.hops, self.memories, size), small, name="ages")
        self.mix_kernels = [
            self.add_weight((3 * size, size), "glorot_uniform", name=f"mix_kernel_{k}") for k in range(self.hops)
        ]
        self.mix_biases = self.add_weight((self.hops, size), "zeros", name="mix_biases")
        self.gru.build((None, None, size))
        self.built = True

    def compute_output_shape(self, input_shape: tuple[int | None, ...], whole: bool = False) -> tuple[int | None, ...]:
        return (input_shape[0], self.units) if whole else (*input_shape[:2], self.units)

    def compute_output_spec(self, ids: Any, whole: bool = False, training: bool = False) -> keras.KerasTensor:
        return keras.KerasTensor(self.compute_output_shape(ids.shape, whole), dtype=self.compute_dtype)

    def call(self, ids: Any, whole: bool = False, training: bool = False) -> Any:
        exist, ends = ids > 0, self._ends(ids)
        before = ops.cumsum(ops.cast(ends, "int32"), axis=1) - ops.cast(ends, "int32")
        # Words of the sentence of each step: padding belongs to the sentence of the word before it.
        same = self._same(before, before, exist)
        fresh = ops.logical_not(ops.any(same, axis=2))
        sentence = before - ops.cast(fresh, "int32")
        same = ops.cast(self._same(sentence, before, exist), self.compute_dtype)
        place = ops.clip(ops.cast(ops.sum(same, axis=2), "int32") - 1, 0, self.words - 1)
        vectors = ops.take(self.embeddings, ids, axis=0) * ops.take(self.places, place, axis=0)
        asked = ops.matmul(same, vectors)
        stops, count = self._found(ids)
        statements = self.noise(ops.take_along_axis(asked, stops[..., None], axis=1), training=training)
        memory = ops.concatenate([statements, self.noise(self.gru(statements), training=training)], axis=-1)
        real, steps = ops.arange(ops.shape(stops)[1]) < count[:, None], ops.arange(ops.shape(ids)[1])
        if whole:
            asked, steps = asked[:, -1:], steps[-1:]
        seen = ops.logical_and(stops[:, None, :] < steps[None, :, None], real[:, None, :])
        age = ops.sum(ops.cast(seen, "int32"), axis=2, keepdims=True) - 1 - ops.arange(ops.shape(stops)[1])
        seen = ops.logical_and(seen, age < self.memories)
        keys, values = ops.matmul(memory, self.key_kernel), ops.matmul(memory, self.value_kernel)
        keys, values = ops.split(keys, self.hops, axis=-1), ops.split(values, self.hops, axis=-1)
        answer = self._asked(asked, keys, values, seen, ops.clip(age, 0, self.memories - 1), training)
        return answer[:, 0] if whole else answer

    def _ends(self, ids: Any) -> Any:
        return ops.logical_or(ops.equal(ids, self.statement), ops.equal(ids, self.question))

    @staticmethod
    def _same(sentence: Any, before: Any, exist: Any) -> Any:
        """Whether the words j <= t that exist (B, T, T) are of the sentence of step t."""
        steps = ops.arange(ops.shape(before)[1])
        past = ops.logical_and(steps[None, :] <= steps[:, None], exist[:, None, :])
        return ops.logical_and(past, ops.equal(sentence[:, :, None], before[:, None, :]))

    def _found(self, ids: Any) -> tuple[Any, Any]:
        """Steps that end statements (B, N), in order, and how many of them are real, (B,)."""
        ends, steps = ops.equal(ids, self.statement), ops.shape(ids)[1]
        stops = ops.sort(ops.where(ends, ops.arange(steps), steps), axis=1)
        count = ops.sum(ops.cast(ends, "int32"), axis=1)
        if keras.backend.backend() == "tensorflow":
            stops = stops[:, : ops.maximum(ops.max(count), 1)]
        return ops.minimum(stops, steps - 1), count

    def _asked(self, asked: Any, keys: Any, values: Any, seen: Any, age: Any, training: bool) -> Any:
        """Answers (B, T, U) to questions (B, T, U); keys and values (B, N, U) of each hop; seen, age (B, T, N)."""
        some = ops.cast(ops.any(seen, axis=2, keepdims=True), asked.dtype)
        hidden = ops.where(seen, ops.cast(0, asked.dtype), ops.cast(_HIDDEN, asked.dtype))
        u = ops.matmul(self.noise(asked, training=training), self.question_kernel)
        for k in range(self.hops):
            scores = ops.matmul(u, ops.transpose(keys[k], (0, 2, 1)))
            scores = scores + ops.take_along_axis(ops.matmul(u, ops.transpose(self.ages[k])), age, axis=2)
            weights = _softmax(scores / math.sqrt(self.units) + hidden) * some
            u = self._mixed(u, ops.matmul(weights, values[k]), k)
        return u

    def _mixed(self, u: Any, o: Any, hop: int) -> Any:
        both = ops.concatenate([u, o, u * o], axis=-1)
        return u + ops.relu(ops.matmul(both, self.mix_kernels[hop]) + self.mix_biases[hop])

    def stream_spec(self, input_shape: tuple[int | None, ...]) -> dict[str, Any]:
        """State: the sentence so far, the state of the GRU, keys and values of the statements, the newest last."""
        past = {"shape": (self.hops, self.memories, self.units)}
        states = {
            "sentence": {"shape": (self.units,)},
            "words": {"shape": (1,)},
            "ended": {"shape": (1,)},
            "reader": {"shape": (self.units,)},
            "keys": past,
            "values": past,
            "exist": {"shape": (self.memories,)},
        }
        return {"states": states, "delay": 0}

    def stream_step(self, ids: Any, valid: Any, states: dict[str, Any]) -> tuple[Any, Any, dict[str, Any]]:
        """A chunk of ids (B, T), step by step; a step that does not exist is padding."""
        if valid is not None:
            ids = ops.where(ops.cast(valid, "bool"), ids, ops.zeros_like(ids))
        answers = []
        for step in range(ids.shape[1]):
            answer, states = self._step(ids[:, step : step + 1], states)
            answers.append(answer)
        return ops.concatenate(answers, axis=1), valid, states

    def _step(self, ids: Any, states: dict[str, Any]) -> tuple[Any, dict[str, Any]]:
        """One word (B, 1)."""

        def flag(condition: Any) -> Any:
            return ops.cast(condition, "float32")

        exists = flag(ids > 0)
        kept = 1 - exists * states["ended"]
        place = states["words"] * kept
        number = ops.cast(ops.minimum(place, self.words - 1), "int32")
        vector = ops.take(self.embeddings, ids[:, 0], axis=0) * ops.take(self.places, number[:, 0], axis=0)
        sentence = states["sentence"] * kept + vector * exists
        answer = self._asked_of(sentence, states)
        stop = flag(ops.equal(ids, self.statement))
        end = flag(self._ends(ids))
        state, _ = self.gru.cell(sentence, [states["reader"]])
        memory = ops.concatenate([sentence, state], axis=-1)
        new = {
            "sentence": sentence,
            "words": place + exists,
            "ended": exists * end + (1 - exists) * states["ended"],
            "reader": stop * state + (1 - stop) * states["reader"],
            "exist": stop * ops.concatenate([states["exist"][:, 1:], ops.ones_like(stop)], axis=1)
            + (1 - stop) * states["exist"],
        }
        for name, kernel in (("keys", self.key_kernel), ("values", self.value_kernel)):
            made = ops.reshape(ops.matmul(memory, kernel), (-1, self.hops, 1, self.units))
            moved = ops.concatenate([states[name][:, :, 1:], made], axis=2)
            new[name] = ops.where(stop[:, :, None, None] > 0, moved, states[name])
        return answer, {name: new[name] for name in states}

    def _asked_of(self, sentence: Any, states: dict[str, Any]) -> Any:
        """The answer (B, 1, U) to the sentence so far."""
        keys, values = ([states[name][:, k] for k in range(self.hops)] for name in ("keys", "values"))
        age = np.arange(self.memories - 1, -1, -1, dtype="int32")
        hidden = (1 - states["exist"]) * _HIDDEN
        some = ops.max(states["exist"], axis=1, keepdims=True)
        u = ops.matmul(sentence, self.question_kernel)
        for k in range(self.hops):
            near = ops.take(self.ages[k], age, axis=0)
            scores = ops.matmul(keys[k] + near, ops.expand_dims(u, -1))[..., 0] / math.sqrt(self.units)
            weights = _softmax(scores + hidden) * some
            u = self._mixed(u, ops.matmul(ops.expand_dims(weights, 1), values[k])[:, 0], k)
        return ops.expand_dims(u, 1)

    def get_config(self) -> dict[str, Any]:
        names = ("input_dim", "units", "statement", "question", "words", "memories", "hops", "dropout", "seed")
        return {**super().get_config(), **{name: getattr(self, name) for name in names}}


def _softmax(scores: Any) -> Any:
    """Over the last axis; Keras warns of one that has a single place, as a memory with one statement has."""
    weights = ops.exp(scores - ops.max(scores, axis=-1, keepdims=True))
    return weights / ops.sum(weights, axis=-1, keepdims=True)


def _first_places(shape: tuple[int, int], dtype: Any = None) -> Any:
    """Position encodings to begin with, as Sukhbaatar et al. 2015 have them, around 1."""
    words, units = shape
    j, k = (np.arange(1, size + 1) / size - 0.5 for size in (words, units))
    return ops.convert_to_tensor(1 + 4 * np.outer(j, k), dtype)
