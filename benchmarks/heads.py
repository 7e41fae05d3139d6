"""Training steps of decoders with attention and of the losses of CTC and CRF, beside Keras and PyTorch.

A step is forward and backward. The decoders are a GRU with attention by Luong (above it) and by Bahdanau (inside its
loop): their peers are `keras.layers.Attention` and `AdditiveAttention`, and the same equations in PyTorch, which has
neither. CTC is beside `keras.losses.CTC` and `torch.nn.CTCLoss`. Neither Keras nor PyTorch has a CRF: its peers are
loops of the same equations, unrolled in a graph of `keras.ops`, and in PyTorch. All of a group compute the same loss
from the same weights (`tests/project/test_benchmarks.py`). The peers do not use XLA; PyTorch runs eagerly, and its
threads wait passively (`OMP_WAIT_POLICY`): beside other work, threads that spin took over 50 times as long.

A time is the least of its rounds. PyTorch has no row where it is not installed (extra `bench`). Options: `--quick`:
small shapes; `--only=NAME`: one group, such as `ctc`.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.peers import loops
from benchmarks.timing import microseconds, table

CORES, ROUNDS, SECONDS = 2, 7, 0.1
Call = Callable[[], float]


@dataclass(frozen=True)
class Sizes:
    """B sequences of T steps, U units, S steps of a source, K labels, L of them in a transcript."""

    batch: int
    steps: int
    units: int
    source: int
    labels: int
    transcript: int


FULL, QUICK = Sizes(32, 256, 64, 20, 17, 20), Sizes(3, 9, 8, 5, 4, 2)


def main(*options: str) -> None:
    """Print a table for each group."""
    import tensorflow as tf

    quick = "--quick" in options
    only = [option.partition("=")[2] for option in options if option.startswith("--only=")]
    names = [make.__name__ for make in GROUPS]
    if unknown := set(only) - set(names):
        raise SystemExit(f"heads: expected one of {', '.join(names)}; got {unknown.pop()!r}")
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    tf.config.threading.set_intra_op_parallelism_threads(CORES)
    tf.config.threading.set_inter_op_parallelism_threads(CORES)
    print(f"milliseconds a training step, {CORES} threads; least of {ROUNDS} rounds")
    for make in [make for make in GROUPS if not only or make.__name__ in only]:
        title, calls = make(QUICK if quick else FULL)
        times = microseconds(calls, 2 if quick else ROUNDS, 0.0 if quick else SECONDS, min)
        for name in times:
            times[name] /= 1e3
        print(table(title, times, "ms"), flush=True)


def present(makers: Mapping[str, Callable[[], Call]]) -> dict[str, Call]:
    """The calls of those whose library is installed."""
    calls = {}
    for name, make in makers.items():
        try:
            calls[name] = make()
        except ModuleNotFoundError as error:
            if error.name != "torch":
                raise
    return calls


def stepped(function: Callable[..., Any], weights: list[Any], *inputs: Any) -> Call:
    """Loss and gradients of a function of tensors, in a graph."""
    import tensorflow as tf

    variables = [getattr(weight, "value", weight) for weight in weights]

    @tf.function(autograph=False)
    def step(*inputs: tf.Tensor) -> Any:
        with tf.GradientTape() as tape:
            tape.watch([value for value in variables if not isinstance(value, tf.Variable)])
            loss = function(*inputs)
        return loss, tape.gradient(loss, variables)

    given = [tf.constant(value) for value in inputs]
    step(*given)
    return lambda: float(step(*given)[0].numpy())


def luong(sizes: Sizes) -> tuple[str, dict[str, Call]]:
    """A GRU, and attention by Luong above it."""
    import tensorflow as tf

    import rnnzoo.layers

    data = loops.Decoding.draw(sizes.batch, sizes.source, 4 * sizes.units)

    def ours() -> Call:
        layer = rnnzoo.layers.GRU(data.units, return_sequences=True)
        attention = rnnzoo.layers.LuongAttention("general")
        layer.build(data.x.shape)
        layer.set_weights(data.gru)
        attention.build(data.x.shape, data.memory.shape)
        attention.key_projection.kernel.assign(data.keys)

        def loss(x: Any, memory: Any, mask: Any) -> Any:
            h = layer(x, training=True)
            return tf.reduce_mean(tf.square(tf.concat([h, attention(h, memory, memory_mask=mask)], -1)))

        return stepped(loss, [*layer.trainable_weights, attention.key_projection.kernel], *data.inputs)

    makers = {
        "rnnzoo": ours,
        "Keras": lambda: stepped(*loops.keras_luong(data), *data.inputs),
        "PyTorch": lambda: loops.torch_luong(data),
    }
    return f"GRU-{data.units} and Luong attention, {data.title}", present(makers)


def bahdanau(sizes: Sizes) -> tuple[str, dict[str, Call]]:
    """A GRU with attention by Bahdanau inside its loop."""
    import keras
    import tensorflow as tf

    from rnnzoo.layers import AttentionCell, AttentionDecoder, BahdanauAttention

    data = loops.Decoding.draw(sizes.batch, sizes.source, 4 * sizes.units, inside=True)

    def ours() -> Call:
        attention = BahdanauAttention(data.units)
        decoder = AttentionDecoder(AttentionCell(keras.layers.GRUCell(data.units), attention))
        decoder(data.x, data.memory, memory_mask=data.mask)
        decoder.cell.cell.set_weights(data.gru)
        attention.key_projection.kernel.assign(data.keys)
        attention.attend.query_kernel.assign(data.query)
        attention.attend.score_kernel.assign(data.score[:, None])

        def loss(x: Any, memory: Any, mask: Any) -> Any:
            return tf.reduce_mean(tf.square(decoder(x, memory, memory_mask=mask, training=True)))

        return stepped(loss, decoder.trainable_weights, *data.inputs)

    makers = {
        "rnnzoo": ours,
        "Keras": lambda: stepped(*loops.keras_bahdanau(data), *data.inputs),
        "PyTorch": lambda: loops.torch_bahdanau(data),
    }
    return f"GRU-{data.units} with Bahdanau attention, {data.title}", present(makers)


def ctc(sizes: Sizes) -> tuple[str, dict[str, Call]]:
    """The loss of CTC, by logits."""
    import keras
    import tensorflow as tf

    from rnnzoo.layers import CTCLoss

    rng = np.random.default_rng(0)
    logits = rng.normal(size=(sizes.batch, sizes.steps, 2 * sizes.labels)).astype("float32")
    counts = rng.integers(1, sizes.transcript + 1, sizes.batch)
    labels = rng.integers(1, 2 * sizes.labels, (sizes.batch, sizes.transcript)).astype("int32")
    labels[np.arange(sizes.transcript) >= counts[:, None]] = 0
    variable, losses = tf.constant(logits), {"rnnzoo": CTCLoss(), "Keras": keras.losses.CTC()}
    makers = {
        name: lambda loss=loss: stepped(lambda true: loss(true, variable), [variable], labels)
        for name, loss in losses.items()
    }
    makers["PyTorch"] = lambda: loops.torch_ctc(logits, labels, counts)
    title = f"CTC, {sizes.batch} x {sizes.steps}, {2 * sizes.labels} labels, up to {sizes.transcript} in a transcript"
    return title, present(makers)


def crf(sizes: Sizes) -> tuple[str, dict[str, Call]]:
    """The loss of a CRF."""
    from rnnzoo.layers import CRF, CRFLoss

    data = loops.Chain.draw(sizes.batch, sizes.steps // 5 + 1, sizes.labels)

    def ours() -> Call:
        layer = CRF()
        layer.build(data.scores.shape)
        layer.set_weights([data.transitions, data.start, data.end])
        loss = CRFLoss(layer)
        return stepped(
            lambda scores, labels, mask: loss(labels, scores, mask), layer.trainable_weights,
            data.scores, data.labels, data.mask.astype("float32"),
        )  # fmt: skip

    makers = {
        "rnnzoo": ours,
        "Keras, a loop": lambda: stepped(*loops.keras_crf(data)),
        "PyTorch, a loop": lambda: loops.torch_crf(data),
    }
    return f"CRF loss, {data.title}", present(makers)


GROUPS = (luong, bahdanau, ctc, crf)
