"""Peers of `benchmarks.heads`: the same equations in plain Keras and in PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

CORES = 2
Call = Callable[[], float]
# A function of tensors, its weights, and what it is given.
Traced = tuple[Any, ...]


@dataclass(frozen=True)
class Decoding:
    """Inputs and weights of a decoder; `gru`: kernel, recurrent kernel and biases as Keras lays them."""

    x: np.ndarray
    memory: np.ndarray
    mask: np.ndarray
    gru: list[np.ndarray]
    keys: np.ndarray
    query: np.ndarray
    score: np.ndarray

    @classmethod
    def draw(cls, batch: int, steps: int, units: int, inside: bool = False) -> Decoding:
        """Sources of half of the steps or more; `inside`: the cell reads the context too."""
        rng = np.random.default_rng(0)

        def draw(*shape: int) -> np.ndarray:
            return rng.normal(size=shape).astype("float32")

        width = 2 * units if inside else units
        gru = [0.1 * draw(width, 3 * units), 0.1 * draw(units, 3 * units), 0.1 * draw(2, 3 * units)]
        mask = np.arange(steps) < rng.integers(steps // 2 + 1, steps + 1, (batch, 1))
        square = [0.1 * draw(units, units) for _ in range(2)]
        return cls(draw(batch, steps, units), draw(batch, steps, units), mask, gru, *square, draw(units))

    @property
    def units(self) -> int:
        """U."""
        return int(self.memory.shape[-1])

    @property
    def inputs(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """What a step is given."""
        return self.x, self.memory, self.mask

    @property
    def title(self) -> str:
        """Sizes."""
        return " x ".join(map(str, self.x.shape))


@dataclass(frozen=True)
class Chain:
    """Scores, labels and weights of a chain."""

    scores: np.ndarray
    labels: np.ndarray
    mask: np.ndarray
    transitions: np.ndarray
    start: np.ndarray
    end: np.ndarray

    @classmethod
    def draw(cls, batch: int, steps: int, labels: int) -> Chain:
        """Sequences of half of the steps or more."""
        rng = np.random.default_rng(0)

        def draw(*shape: int) -> np.ndarray:
            return rng.normal(size=shape).astype("float32")

        mask = np.arange(steps) < rng.integers(steps // 2 + 1, steps + 1, (batch, 1))
        numbers = rng.integers(0, labels, (batch, steps)).astype("int32")
        return cls(draw(batch, steps, labels), numbers, mask, draw(labels, labels), draw(labels), draw(labels))

    @property
    def title(self) -> str:
        """Sizes."""
        return "{} x {}, {} labels".format(*self.scores.shape)


def keras_luong(data: Decoding) -> Traced:
    """Loss and weights of `keras.layers.GRU` and `keras.layers.Attention`."""
    import keras
    from keras import ops

    layer, project = keras.layers.GRU(data.units, return_sequences=True), keras.layers.Dense(data.units, use_bias=False)
    attention = keras.layers.Attention()
    layer.build(data.x.shape)
    layer.set_weights(data.gru)
    project.build(data.memory.shape)
    project.set_weights([data.keys])

    def loss(x: Any, memory: Any, mask: Any) -> Any:
        h = layer(x, training=True)
        context = attention([h, memory, project(memory)], mask=[None, mask])
        return ops.mean(ops.square(ops.concatenate([h, context], -1)))

    return loss, [*layer.trainable_weights, project.kernel]


def keras_bahdanau(data: Decoding) -> Traced:
    """Loss and weights of a loop over `GRUCell` and `AdditiveAttention`."""
    import keras
    from keras import ops

    cell, attention = keras.layers.GRUCell(data.units), keras.layers.AdditiveAttention()
    keys, query = (keras.layers.Dense(data.units, use_bias=False) for _ in range(2))
    cell.build((None, 2 * data.units))
    cell.set_weights(data.gru)
    for layer, value in ((keys, data.keys), (query, data.query)):
        layer.build((None, data.units))
        layer.set_weights([value])
    attention.build([data.x.shape, data.memory.shape, data.memory.shape])
    attention.set_weights([data.score])

    def loss(x: Any, memory: Any, mask: Any) -> Any:
        read, h, outputs = keys(memory), ops.zeros_like(x[:, 0, : data.units]), []
        for t in range(x.shape[1]):
            context = attention([query(h)[:, None], memory, read], mask=[None, mask])[:, 0]
            h, _ = cell(ops.concatenate([x[:, t], context], -1), [h], training=True)
            outputs.append(ops.concatenate([h, context], -1))
        return ops.mean(ops.square(ops.stack(outputs, 1)))

    weights = [*cell.trainable_weights, keys.kernel, query.kernel, *attention.trainable_weights]
    return loss, weights


def keras_crf(data: Chain) -> Traced:
    """Loss, weights and inputs of a loop in `keras.ops`."""
    import keras
    from keras import ops

    weights = [keras.Variable(value) for value in (data.transitions, data.start, data.end)]
    transitions, start, end = weights
    steps, size = data.scores.shape[1:]

    def loss(scores: Any, labels: Any, mask: Any) -> Any:
        chosen = ops.one_hot(labels, size)
        alpha, path = start + scores[:, 0], ops.sum((start + scores[:, 0]) * chosen[:, 0], -1)
        last = chosen[:, 0]
        for t in range(1, steps):
            keep, here = mask[:, t, None], chosen[:, t]
            new = ops.logsumexp(alpha[:, :, None] + transitions, axis=1) + scores[:, t]
            move = ops.sum((ops.matmul(last, transitions) + scores[:, t]) * here, -1)
            alpha, last = ops.where(keep, new, alpha), ops.where(keep, here, last)
            path = path + ops.where(keep[:, 0], move, 0.0)
        return ops.mean(ops.logsumexp(alpha + end, axis=-1) - path - ops.sum(last * end, -1))

    return loss, weights, data.scores, data.labels, data.mask


def torch_call(parameters: Any, loss_of: Callable[[], Any]) -> Call:
    """Loss and gradients in PyTorch."""
    import torch

    torch.set_num_threads(CORES)

    def step() -> float:
        for parameter in parameters:
            parameter.grad = None
        loss = loss_of()
        loss.backward()
        return float(loss.item())

    step()
    return step


def torch_values(*arrays: np.ndarray) -> list[Any]:
    """Arrays as parameters."""
    import torch

    return [torch.nn.Parameter(torch.from_numpy(np.array(value))) for value in arrays]


def torch_gru_of(data: Decoding, kind: Any, suffix: str = "") -> Any:
    """A GRU or its cell with the weights of Keras's."""
    import torch

    def ordered(value: np.ndarray) -> Any:
        update, reset, candidate = np.split(value, 3, axis=-1)
        return torch.from_numpy(np.concatenate([reset, update, candidate], axis=-1))

    kernel, recurrent, bias = data.gru
    layer = kind(len(kernel), data.units, **({"batch_first": True} if suffix else {}))
    values = [ordered(kernel).T, ordered(recurrent).T, *ordered(bias)]
    with torch.no_grad():
        for name, value in zip(("weight_ih", "weight_hh", "bias_ih", "bias_hh"), values, strict=True):
            getattr(layer, name + suffix).copy_(value)
    return layer


def torch_luong(data: Decoding) -> Call:
    """`nn.GRU` and products."""
    import torch

    layer = torch_gru_of(data, torch.nn.GRU, "_l0")
    (keys,) = torch_values(data.keys)
    x, memory, mask = map(torch.from_numpy, data.inputs)
    hidden = ~mask[:, None]

    def loss() -> Any:
        h = layer(x)[0]
        scores = h @ (memory @ keys).transpose(1, 2)
        return torch.cat([h, scores.masked_fill(hidden, -1e9).softmax(-1) @ memory], -1).square().mean()

    return torch_call([*layer.parameters(), keys], loss)


def torch_bahdanau(data: Decoding) -> Call:
    """A loop over `nn.GRUCell`."""
    import torch

    cell = torch_gru_of(data, torch.nn.GRUCell)
    keys, query, score = torch_values(data.keys, data.query, data.score)
    x, memory, mask = map(torch.from_numpy, data.inputs)

    def loss() -> Any:
        read, h, outputs = memory @ keys, x.new_zeros(len(x), data.units), []
        for now in x.unbind(1):
            scores = torch.tanh((h @ query)[:, None] + read) @ score
            context = (scores.masked_fill(~mask, -1e9).softmax(-1)[:, None] @ memory)[:, 0]
            h = cell(torch.cat([now, context], -1), h)
            outputs.append(torch.cat([h, context], -1))
        return torch.stack(outputs, 1).square().mean()

    return torch_call([*cell.parameters(), keys, query, score], loss)


def torch_ctc(logits: np.ndarray, labels: np.ndarray, counts: np.ndarray) -> Call:
    """`nn.CTCLoss`, mean over the batch."""
    import torch

    (values,) = torch_values(logits)
    loss, steps = torch.nn.CTCLoss(reduction="none"), torch.full((len(logits),), logits.shape[1])
    true, lengths = torch.from_numpy(labels).long(), torch.from_numpy(counts)
    return torch_call([values], lambda: loss(values.log_softmax(-1).transpose(0, 1), true, steps, lengths).mean())


def torch_crf(data: Chain) -> Call:
    """A loop in PyTorch."""
    import torch

    transitions, start, end = parameters = torch_values(data.transitions, data.start, data.end)
    scores, labels, mask = map(torch.from_numpy, (data.scores, data.labels.astype("int64"), data.mask))
    rows = torch.arange(len(scores))

    def loss() -> Any:
        alpha = start + scores[:, 0]
        path, last = alpha[rows, labels[:, 0]], labels[:, 0]
        for t in range(1, scores.shape[1]):
            keep, here = mask[:, t], labels[:, t]
            new = torch.logsumexp(alpha[:, :, None] + transitions, 1) + scores[:, t]
            path = path + torch.where(keep, transitions[last, here] + scores[rows, t, here], 0.0)
            alpha, last = torch.where(keep[:, None], new, alpha), torch.where(keep, here, last)
        return (torch.logsumexp(alpha + end, -1) - path - end[last]).mean()

    return torch_call(parameters, loss)
