"""Runs the offline model on sequences, as its user would."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence

import keras
import numpy as np

from streaming.conversion.plan import Plan

Inputs = dict[str, np.ndarray]


def run_offline(plan: Plan, inputs: Inputs) -> Inputs:
    """The Keras model on one whole sequence, stateful layers reset; outputs without the batch axis."""
    return run_offline_rows(plan, [inputs])[0]


def run_offline_rows(plan: Plan, rows: Sequence[Inputs]) -> list[Inputs]:
    """The same on sequences of one length, as batches."""
    # Keras 3.15 takes an operand of one sequence with one axis larger than 1 for a bias, whichever axis that is: two.
    size = next((tensor.shape[0] for tensor in plan.model.inputs if tensor.shape[0]), max(2, len(rows)))
    found: list[Inputs] = []
    for begin in range(0, len(rows), size):
        part = [rows[min(index, len(rows) - 1)] for index in range(begin, begin + size)]
        found += _run_batch(plan, {name: np.stack([row[name] for row in part]) for name in plan.names})
    return found[: len(rows)]


@contextlib.contextmanager
def fresh_states(plan: Plan) -> Iterator[None]:
    """Stateful layers begin anew, and get back afterwards what they held."""
    stateful = [layer for layer in plan.model._flatten_layers() if getattr(layer, "stateful", False)]
    kept = [[variable.numpy() for variable in keras.tree.flatten(layer.states)] for layer in stateful]
    for layer in stateful:
        layer.reset_state()
    yield
    for layer, values in zip(stateful, kept, strict=True):
        for variable, value in zip(keras.tree.flatten(layer.states), values, strict=True):
            variable.assign(value)


def _run_batch(plan: Plan, arrays: Inputs) -> list[Inputs]:
    batched = [keras.ops.convert_to_tensor(arrays[name]) for name in plan.names]
    with fresh_states(plan):
        outputs = plan.offline(keras.tree.pack_sequence_as(plan.model._inputs_struct, batched), training=False)
    found = dict(zip(plan.outputs, map(keras.ops.convert_to_numpy, keras.tree.flatten(outputs)), strict=True))
    for name, signal in plan.outputs.items():
        if signal.weights:
            width = int(signal.shape[-1] or 0) - found[name].shape[-1]
            found[name] = np.pad(found[name], [(0, 0), (0, 0), (0, width)])
    return [{name: value[row] for name, value in found.items()} for row in range(len(batched[0]))]
