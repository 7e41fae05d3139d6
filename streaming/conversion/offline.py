"""Runs the offline model on sequences."""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from streaming._compat import inputs_of, layers_of
from streaming.conversion.plan import Plan
from streaming.conversion.reasons import described
from streaming.errors import InputError

Inputs = dict[str, NDArray[Any]]

# Windows of a batch, two at least: Keras 3.15 takes some operands of one sequence for a bias.
WINDOWS = 16
# From so many steps on, the model runs on windows as a compiled graph: with recurrent layers, and without.
COMPILED_STEPS = 16, 64


def run_offline(plan: Plan, inputs: Inputs) -> Inputs:
    """The Keras model on one whole sequence, stateful layers reset; outputs without the batch axis.

    For a stream of windows: its outputs on each window, one after the other.
    """
    return run_offline_rows(plan, [inputs])[0]


def run_offline_rows(plan: Plan, rows: Sequence[Inputs]) -> list[Inputs]:
    """The same on sequences of one length, as batches."""
    if plan.window is not None:
        return _run_windows(plan, rows)
    # Keras 3.15 takes an operand of one sequence with one axis larger than 1 for a bias, whichever axis that is: two.
    size = next((tensor.shape[0] for tensor in plan.model.inputs if tensor.shape[0]), max(2, len(rows)))
    outputs: list[Inputs] = []
    for begin in range(0, len(rows), size):
        part = [rows[min(index, len(rows) - 1)] for index in range(begin, begin + size)]
        outputs += _run_batch(plan, {name: np.stack([row[name] for row in part]) for name in plan.names})
    return outputs[: len(rows)]


@contextlib.contextmanager
def fresh_states(model: Any) -> Iterator[None]:
    """Context in which stateful layers begin with fresh states; their own states are restored at the end."""
    stateful = [layer for layer in layers_of(model) if getattr(layer, "stateful", False)]
    kept = [[variable.numpy() for variable in keras.tree.flatten(layer.states)] for layer in stateful]
    for layer in stateful:
        layer.reset_state()
    with warnings.catch_warnings():
        # Keras warns of a softmax over one position, which short sequences and sources have.
        warnings.filterwarnings("ignore", ".*You are using a softmax")
        yield
    for layer, values in zip(stateful, kept, strict=True):
        for variable, value in zip(keras.tree.flatten(layer.states), values, strict=True):
            variable.assign(value)


@contextlib.contextmanager
def running(plan: Plan) -> Iterator[None]:
    """Context in which an error of the model itself becomes an InputError of one line."""
    try:
        yield
    except Exception as error:
        first = next((layer for layer in layers_of(plan.model) if _is_channels_first(layer)), None)
        if first is not None and "NHWC" in str(error):
            raise InputError(
                f"layer {first.name!r} ({type(first).__name__}) has channels first, which TensorFlow computes on a GPU "
                "only, so the stream cannot be proven here; convert on a machine with a GPU, build the layer with "
                "data_format='channels_last' between two Permute((2, 1)) and the same weights, or give verify=False"
            ) from error
        raise InputError(
            f"the model {plan.offline.name!r} itself fails on a sequence ({described(error)}); "
            "make it run on this machine first"
        ) from error


def _is_channels_first(layer: Any) -> bool:
    return getattr(layer, "data_format", None) == "channels_first"


def _run_batch(plan: Plan, arrays: Inputs) -> list[Inputs]:
    batched = [keras.ops.convert_to_tensor(arrays[name]) for name in plan.names]
    with fresh_states(plan.model), running(plan):
        outputs = plan.offline(keras.tree.pack_sequence_as(inputs_of(plan.model), batched), training=False)
    results = dict(zip(plan.outputs, map(keras.ops.convert_to_numpy, keras.tree.flatten(outputs)), strict=True))
    for name, signal in plan.outputs.items():
        if signal.weights:
            width = int(signal.shape[-1] or 0) - results[name].shape[-1]
            results[name] = np.pad(results[name], [(0, 0), (0, 0), (0, width)])
    return [{name: value[row] for name, value in results.items()} for row in range(len(batched[0]))]


def windows(plan: Plan, steps: int) -> list[tuple[int, int]]:
    """Begin and end of each window of a sequence, in steps; shorter ones where windows are padded."""
    assert plan.window is not None
    ends = range(plan.window, steps + 1, plan.hop)
    if not plan.pad:
        return [(end - plan.window, end) for end in ends]
    first = plan.window % plan.hop or plan.hop
    padded = [*range(first, steps + 1, plan.hop)]
    if steps and (not padded or padded[-1] != steps):
        padded.append(steps)
    return [(max(0, end - plan.window), end) for end in padded]


def _run_windows(plan: Plan, rows: Sequence[Inputs]) -> list[Inputs]:
    """The windows of all sequences, in batches of one size."""
    assert plan.window is not None
    spans = [(row, span) for row in rows for span in windows(plan, _length(plan, row))]
    fixed = next((tensor.shape[0] for tensor in plan.model.inputs if tensor.shape[0]), None)
    size, copies = (1, fixed or 2) if fixed or _mixes_batch(plan.model) else (WINDOWS, WINDOWS)
    collected: list[list[NDArray[Any]]] = [[] for _ in plan.outputs]
    call = _called(plan)
    for begin in range(0, len(spans), size):
        part = spans[begin : begin + size]
        batch = [part[min(index, len(part) - 1)] for index in range(copies)]
        with fresh_states(plan.model), running(plan):
            outputs = call(keras.tree.pack_sequence_as(inputs_of(plan.model), _batched(plan, batch)))
        for column, output in zip(collected, keras.tree.flatten(outputs), strict=True):
            column.append(keras.ops.convert_to_numpy(output)[: len(part)])
    empty = [np.zeros((0, *signal.shape), signal.dtype) for signal in plan.outputs.values()]  # type: ignore[arg-type]
    columns = {n: np.concatenate([e, *c]) for n, e, c in zip(plan.outputs, empty, collected, strict=True)}
    ends = np.cumsum([len(windows(plan, _length(plan, row))) for row in rows])
    return [{name: column[a:b] for name, column in columns.items()} for a, b in zip([0, *ends], ends, strict=False)]


def _mixes_batch(model: Any) -> bool:
    """Whether results depend on the other sequences of a batch: decibels are relative to the loudest of all."""
    return any(isinstance(layer, keras.layers.MelSpectrogram) and layer.power_to_db for layer in layers_of(model))


def _length(plan: Plan, inputs: Inputs) -> int:
    return max(len(inputs[name]) for name, signal in plan.inputs.items() if signal.timeline)


def _batched(plan: Plan, batch: Sequence[tuple[Inputs, tuple[int, int]]]) -> list[Any]:
    """A tensor for each input: windows of those that are sequences, the others whole."""
    assert plan.window is not None
    tensors = []
    for name in plan.names:
        if plan.inputs[name].timeline:
            values = [_padded(inputs[name][a:b], plan.window, plan.pad) for inputs, (a, b) in batch]
        else:
            values = [inputs[name] for inputs, _ in batch]
        tensors.append(keras.ops.convert_to_tensor(np.stack(values)))
    return tensors


def _called(plan: Plan) -> Any:
    """The model at inference; for long windows as one graph, as `predict` runs it: Keras's loops are slow outside."""

    def call(inputs: Any) -> Any:
        return plan.offline(inputs, training=False)

    recurrent = any(isinstance(layer, keras.layers.RNN) for layer in layers_of(plan.model))
    if plan.window is None or plan.window < COMPILED_STEPS[0 if recurrent else 1]:
        return call
    if plan.compiled is None:
        plan.compiled = tf.function(call, autograph=False)
    return plan.compiled


def _padded(rows: NDArray[Any], window: int, pad: str | None) -> NDArray[Any]:
    missing = window - len(rows)
    before, after = (missing, 0) if pad == "pre" else (0, missing)
    return np.pad(rows, [(before, after), *[(0, 0)] * (rows.ndim - 1)])
