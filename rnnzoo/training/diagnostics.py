"""Diagnosis of a model: gradients by layer and by time step, spectral radii, saturated gates."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from numpy.typing import NDArray

from rnnzoo.errors import ConfigError
from rnnzoo.training.probing import Probe, Probed, probe
from streaming._compat import layers_of

# Where a gate counts as shut or open, and tanh as flat (Karpathy, Johnson & Fei-Fei 2015).
SHUT, OPEN, FLAT = 0.1, 0.9, 0.9
# A gradient that reaches less (or more) than this share of the last step's has vanished (or exploded).
VANISHED, EXPLODED = 1e-3, 1e3


@dataclass
class Diagnosis:
    """Measurements on one batch.

    Args:
        by_layer: layer -> norm of the gradient of the batch's loss over its weights.
        by_time: recurrent layer -> |dL/dh[T - k]| for k = 0, 1, ..., h all states of the layer together and L the loss
            of the last decision alone, mean over sequences.
        radii: recurrent layer -> part of its recurrent matrix -> spectral radius.
        saturation: recurrent layer -> gate -> (share shut, share open); for a plain tanh layer `state` -> (0, share
            flat).
        unseen: recurrent layers that could not be measured.
    """

    by_layer: dict[str, float] = field(default_factory=dict)
    by_time: dict[str, NDArray[Any]] = field(default_factory=dict)
    radii: dict[str, dict[str, float]] = field(default_factory=dict)
    saturation: dict[str, dict[str, tuple[float, float]]] = field(default_factory=dict)
    unseen: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return "\n".join(findings(self))


def diagnose_model(model: keras.Model, x: Any, y: Any, *, loss: Any = None, sample_weight: Any = None) -> Diagnosis:
    """Implements `rnnzoo.diagnose`."""
    if not model.built:
        raise ConfigError("the model is not built: call it on a batch, or give it an Input, before it is diagnosed")
    if loss is None and not model.compiled:
        raise ConfigError("the model is not compiled: give loss=, such as loss='mse', or compile it")
    graph = getattr(model, "_functional", None) if isinstance(model, keras.Sequential) else model
    graph = graph if hasattr(graph, "_run_through_graph") else None
    outputs = model(x)
    weights = _weights_like(outputs, y) if sample_weight is None else np.asarray(sample_weight, np.float32)
    measured = _compiled_loss(model, x) if loss is None else _plain_loss(keras.losses.get(loss))
    if graph is None or isinstance(outputs, dict | list | tuple):
        return _without_graph(model, (x, y, weights), measured)
    given = x if isinstance(x, dict) else dict(zip((tensor.name for tensor in graph.inputs), _listed(x), strict=True))
    try:
        return diagnose(graph, (given, np.asarray(y), weights), measured, x)
    except (tf.errors.InvalidArgumentError, ValueError):
        # Its steps are not those of its input: there is no row of states for each of them.
        return _without_graph(model, (x, y, weights), measured)


def _without_graph(model: keras.Model, batch: Any, loss: Any) -> Diagnosis:
    """Measurements that need no look into the model while it runs."""
    inputs, targets, weights = tf.nest.map_structure(tf.convert_to_tensor, batch)
    diagnosis = Diagnosis(by_layer=_by_layer(model, inputs, targets, weights, loss))
    for layer in layers_of(model, include_self=False):
        if isinstance(layer, keras.layers.RNN):
            diagnosis.unseen.append(layer.name)
            if radii := spectral_radii(layer.cell):
                diagnosis.radii[layer.name] = radii
    return diagnosis


def _weights_like(outputs: Any, y: Any) -> NDArray[Any]:
    """Ones for each decision: (B, T) where each step has one, else (B,)."""
    first = keras.tree.flatten(outputs)[0]
    each_step = len(first.shape) > 2 and np.ndim(keras.tree.flatten(y)[0]) > 1
    return np.ones(first.shape[: 2 if each_step else 1], np.float32)


def _compiled_loss(model: keras.Model, x: Any) -> Any:
    return lambda targets, outputs, weights: model.compute_loss(x, targets, outputs, weights)


def _plain_loss(loss: Any) -> Any:
    if isinstance(loss, keras.losses.Loss):
        return loss
    return lambda targets, outputs, weights: tf.reduce_mean(loss(targets, outputs) * weights)


def _listed(x: Any) -> list[Any]:
    return list(x) if isinstance(x, list | tuple) else [x]


def diagnose(model: keras.Model, batch: Any, loss: Any, given: Any = None) -> Diagnosis:
    """Measure a model on one batch.

    Args:
        model: functional.
        batch: inputs by name (B, T, ...), targets (B, T) or (B,), weights of the same shape.
        loss: of targets, outputs and weights.
        given: the inputs as the model itself takes them; None: by name, too.
    """
    inputs, targets, weights = tf.nest.map_structure(tf.convert_to_tensor, batch)
    probed = probe(model)
    diagnosis = Diagnosis(
        by_layer=_by_layer(model, inputs if given is None else given, targets, weights, loss), unseen=probed.unseen
    )
    last = _last(np.asarray(batch[2]))
    back, seen = _through_time(probed, inputs, targets, last, loss)
    for one in probed.probes:
        diagnosis.by_time[one.name] = backwards(np.asarray(back[one.input_name]), last, one.reverse)
        if radii := spectral_radii(one.cell):
            diagnosis.radii[one.name] = radii
        if gates := _saturation(one, seen[one.name], np.asarray(batch[2])):
            diagnosis.saturation[one.name] = gates
    return diagnosis


def _by_layer(model: Any, inputs: Any, targets: Any, weights: Any, loss: Any) -> dict[str, float]:
    with tf.GradientTape() as tape:
        value = loss(targets, model(inputs), weights)
    variables = model.trainable_variables
    names = {layer.name for layer in model.layers}
    squares: dict[str, float] = {}
    for variable, gradient in zip(variables, tape.gradient(value, variables), strict=True):
        # A path may begin with the name of the model.
        parts = variable.path.split("/")
        name = next((part for part in parts[:2] if part in names), parts[0])
        size = 0.0 if gradient is None else float(tf.norm(tf.convert_to_tensor(gradient)))
        squares[name] = squares.get(name, 0.0) + size**2
    return {name: square**0.5 for name, square in squares.items()}


def _last(weights: NDArray[Any]) -> NDArray[Any]:
    """The same weights, (B, T) or (B,), with all but the last decision of each sequence at zero."""
    if weights.ndim < 2:
        return weights
    steps = np.arange(weights.shape[1])
    ends = np.where(weights > 0, steps, -1).max(axis=1)
    return weights * (steps == ends[:, None])


def _through_time(probed: Probed, inputs: Any, targets: Any, weights: NDArray[Any], loss: Any) -> tuple[Any, Any]:
    steps = next(iter(inputs.values())).shape
    pushes = probed.zeros(steps[0], steps[1])
    with tf.GradientTape() as tape:
        tape.watch(pushes)
        seen = probed.model({**inputs, **pushes})
        value = loss(targets, seen["output"], tf.convert_to_tensor(weights))
    return tape.gradient(value, pushes, unconnected_gradients="zero"), seen


def backwards(back: NDArray[Any], weights: NDArray[Any], reverse: bool = False) -> NDArray[Any]:
    """|dL/dh| (K,) of K steps back from the decision, mean over the sequences that are so long.

    Args:
        back: dL/dh (B, T, U), in the order in which the layer reads.
        weights: (B, T) with one decision a sequence, or (B,): the decision is at the last step.
        reverse: the layer reads from the end; the distance is then from its own last step.
    """
    norms = np.linalg.norm(back, axis=-1)
    ends = np.full(len(norms), norms.shape[1] - 1)
    if weights.ndim == 2 and not reverse:
        ends = np.argmax(weights > 0, axis=1)
    rows = [row[: end + 1][::-1] for row, end in zip(norms, ends, strict=True)]
    longest = max(map(len, rows))
    table = np.array([np.pad(row, (0, longest - len(row)), constant_values=np.nan) for row in rows])
    return np.nanmean(table, axis=0)


def spectral_radii(cell: Any) -> dict[str, float]:
    """Part of a cell's recurrent matrix -> the largest size of its eigenvalues; nothing where there is none."""
    kernel = getattr(cell, "recurrent_kernel", None)
    if kernel is None or len(kernel.shape) != 2:
        return {}
    matrix = np.asarray(kernel.numpy(), np.float64)
    units, width = matrix.shape
    if width % units:
        return {}
    names = _PARTS.get(width // units, tuple(f"part {i}" for i in range(width // units)))
    blocks = np.split(matrix, width // units, axis=1)
    return {name: float(np.abs(np.linalg.eigvals(block)).max()) for name, block in zip(names, blocks, strict=True)}


# Keras's order of the parts of a recurrent kernel, by their number.
_PARTS = {1: ("state",), 3: ("update", "reset", "candidate"), 4: ("input", "forget", "candidate", "output")}


def _saturation(one: Probe, seen: Any, weights: NDArray[Any]) -> dict[str, tuple[float, float]]:
    cell = one.cell
    x, states = (np.asarray(seen[name], np.float32) for name in ("x", "states"))
    h = states[..., : cell.units] if hasattr(cell, "units") else states
    real = weights > 0 if weights.ndim == 2 and not one.reverse else np.ones(h.shape[:2], bool)
    if isinstance(cell, keras.layers.SimpleRNNCell):
        return {"state": (0.0, float((np.abs(h[real]) > FLAT).mean()))}
    if not isinstance(cell, keras.layers.LSTMCell | keras.layers.GRUCell):
        return {}
    before = np.concatenate([np.zeros_like(h[:, :1]), h[:, :-1]], axis=1)
    bias = 0.0 if cell.bias is None else np.asarray(cell.bias.numpy()).reshape(-1, cell.kernel.shape[1]).sum(axis=0)
    z = x @ np.asarray(cell.kernel.numpy()) + before @ np.asarray(cell.recurrent_kernel.numpy()) + bias
    names = _PARTS[cell.kernel.shape[1] // cell.units]
    gates = {}
    for name, part in zip(names, np.split(z, len(names), axis=-1), strict=True):
        if name != "candidate":
            value = np.asarray(cell.recurrent_activation(tf.constant(part[real])))
            gates[name] = (float((value < SHUT).mean()), float((value > OPEN).mean()))
    return gates


def findings(diagnosis: Diagnosis) -> list[str]:
    """Sentences that explain the measurements, with their figures."""
    lines = []
    for name, curve in diagnosis.by_time.items():
        lines.append(f"{name}: {_reach(curve)}")
    for name, parts in diagnosis.radii.items():
        text = ", ".join(f"{part} {radius:.2f}" for part, radius in parts.items())
        verdict = ""
        if list(parts) == ["state"]:
            radius = parts["state"]
            verdict = ": below 1, gradients must vanish" if radius < 1 else ": above 1, gradients can explode"
        lines.append(f"{name}: spectral radius of the recurrent matrix: {text}{verdict}")
    for name, gates in diagnosis.saturation.items():
        text = ", ".join(
            f"state {flat:.0%} flat" if gate == "state" else f"{gate} {shut:.0%} shut {flat:.0%} open"
            for gate, (shut, flat) in gates.items()
        )
        lines.append(f"{name}: saturation: {text}")
    if diagnosis.by_layer:
        sizes = sorted(diagnosis.by_layer.items(), key=lambda item: -item[1])
        (big, most), (small, least) = sizes[0], sizes[-1]
        lines.append(f"gradient by layer: largest in {big} ({most:.2g}), smallest in {small} ({least:.2g})")
    lines += [f"{name}: not looked into: it carries or is given its state" for name in diagnosis.unseen]
    return lines


def _reach(curve: NDArray[Any]) -> str:
    """Steps that the gradient of a decision goes back, counted from where it is largest within the first steps."""
    steps = len(curve) - 1
    if not np.isfinite(curve).all():
        return "the gradient through time is no number"
    start = curve[: max(1, min(8, steps // 4))].max()
    if not start:
        return "no gradient reaches it from the last decision"
    relative = curve / start
    if (gone := np.flatnonzero(relative < VANISHED)).size and relative[-1] < VANISHED:
        return f"gradients vanish: below a thousandth {gone[0]} steps back (of {steps}; {relative[-1]:.0e} at the end)"
    if relative.max() > EXPLODED:
        return f"gradients explode: {relative.max():.0e} times larger {int(relative.argmax())} steps back"
    return f"gradients reach {steps} steps back at {relative[-1]:.2g} of their size"
