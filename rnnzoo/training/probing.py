"""Probes of recurrent states, by which gradients through time become plain gradients of inputs.

Zeros are added to every state of every step. The gradient of the loss with respect to them is dL/dh[t].
"""

from __future__ import annotations

import functools
from typing import Any, NamedTuple

import keras
from keras import ops


class Probe(NamedTuple):
    """Probe of one recurrent layer of a model.

    Args:
        name: of the layer, with `/forward` or `/backward` in a bidirectional one.
        cell: the step.
        input_name: of the extra input (B, T, S), zeros: S numbers of all states together.
        reverse: the layer reads from the end, and its arrays are in the order in which it reads.
    """

    name: str
    cell: Any
    input_name: str
    reverse: bool


class Probed(NamedTuple):
    """A model with the weights of another, more inputs and more outputs.

    Args:
        model: inputs of the model and one for each probe; outputs `{"output": ..., NAME: {"x", "states"}}`, x (B, T, D)
            what the layer reads, states (B, T, S) after each step.
        probes: in the order of the layers.
        unseen: recurrent layers that cannot be probed, by name.
    """

    model: keras.Model
    probes: list[Probe]
    unseen: list[str]

    def zeros(self, batch: int, steps: int) -> dict[str, Any]:
        """Values of the extra inputs."""
        return {p.input_name: ops.zeros((batch, steps, state_width(p.cell))) for p in self.probes}


class ProbedCell(keras.layers.Layer):
    """A cell that reads [x, e] and adds e to its states; its output is followed by the states.

    If the cell's output is one of its states, e is added to the output too.
    """

    def __init__(self, cell: Any, width: int):
        super().__init__(dtype=cell.dtype_policy)
        self.cell, self.width = cell, width
        self.state_size = keras.tree.flatten(cell.state_size)
        self.output_size = getattr(cell, "output_size", self.state_size[0]) + sum(self.state_size)

    def call(self, inputs: Any, states: Any, training: bool = False) -> tuple[Any, list[Any]]:
        cuts = [self.width + sum(self.state_size[:i]) for i in range(len(self.state_size))]
        x, *pushes = ops.split(inputs, cuts, axis=-1)
        given = list(states) if isinstance(self.cell.state_size, list | tuple) else states[0]
        more = {"training": training} if self.cell._call_has_training_arg else {}
        output, new = self.cell(x, given, **more)
        flat = keras.tree.flatten(new)
        pushed = [state + push for state, push in zip(flat, pushes, strict=True)]
        same = next((after for before, after in zip(flat, pushed, strict=True) if before is output), output)
        return ops.concatenate([same, *pushed], axis=-1), pushed


def state_width(cell: Any) -> int:
    """S, the numbers in all states of a cell."""
    return sum(keras.tree.flatten(cell.state_size))


def probe(model: keras.Model) -> Probed:
    """A functional model's probed form; it shares the layers and their weights."""
    probes: list[Probe] = []
    seen: dict[str, dict[str, Any]] = {}
    unseen: list[str] = []
    extra: dict[str, Any] = {}

    def one(layer: Any, name: str, x: Any, reverse: bool, mask: Any, state: Any) -> Any:
        width = state_width(layer.cell)
        key = f"{name.replace('/', '_')}_push"
        extra[key] = keras.Input((None, width), name=key)
        read = keras.ops.flip(x, axis=1) if reverse else x
        # Named after nothing: a layer of the same name is in the model already.
        runner = keras.layers.RNN(ProbedCell(layer.cell, x.shape[-1]), return_sequences=True)
        both = runner(ops.concatenate([read, extra[key]], axis=-1), initial_state=state, mask=mask)
        probes.append(Probe(name, layer.cell, key, reverse))
        seen[name] = {"x": read, "states": both[..., -width:]}
        y = both[..., :-width]
        if not layer.return_sequences:
            return y[:, -1]
        return keras.ops.flip(y, axis=1) if reverse else y

    def call(layer: Any, *args: Any, **kwargs: Any) -> Any:
        x, mask, state = args[0] if args else None, kwargs.get("mask"), kwargs.get("initial_state")
        if _plain(layer):
            return one(layer, layer.name, x, layer.go_backwards, mask, state)
        if (
            isinstance(layer, keras.layers.Bidirectional)
            and _plain(layer.forward_layer)
            and _joined(layer, mask, state)
        ):
            ahead = one(layer.forward_layer, f"{layer.name}/forward", x, False, None, None)
            back = one(layer.backward_layer, f"{layer.name}/backward", x, True, None, None)
            return ops.concatenate([ahead, back], axis=-1)
        if isinstance(layer, keras.layers.RNN | keras.layers.Bidirectional):
            unseen.append(layer.name)
        return layer(*args, **kwargs)

    inputs = {t.name: keras.Input(batch_shape=t.shape, dtype=t.dtype, name=t.name) for t in model.inputs}
    # What `clone_model` does, but for inputs that the model does not have.
    output = model._run_through_graph(list(inputs.values()), lambda layer: functools.partial(call, layer))
    return Probed(keras.Model({**inputs, **extra}, {"output": output, **seen}), probes, unseen)


def _plain(layer: Any) -> bool:
    """Whether a layer runs one cell over time, from zeros, and gives its output alone."""
    if not isinstance(layer, keras.layers.RNN) or layer.stateful or layer.return_state:
        return False
    return not isinstance(layer.cell, keras.layers.StackedRNNCells)


def _joined(layer: Any, mask: Any, state: Any) -> bool:
    return layer.merge_mode == "concat" and layer.return_sequences and mask is None and state is None
