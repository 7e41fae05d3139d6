"""Properties of a layer's values: its equations, its gradient, its dtypes, and copies of it."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from rnnzoo.layers.checking.gradients import gradients
from rnnzoo.layers.checking.settings import Settings, Skipped
from rnnzoo.layers.checking.subject import Subject, difference, initial_states, widen

# Of the central differences, in float64, and tolerances of a gradient in float64 and in float32, relative to the
# largest of slope, loss and 1.
STEP, FLOAT64, FLOAT32 = 1e-6, 1e-6, 1e-3
# float16 rounds to 5e-4 and bfloat16 to 4e-3; a recurrence of a few steps adds some of them up.
MIXED_TOLERANCE = {"mixed_float16": 0.02, "mixed_bfloat16": 0.15}


def shape(subject: Subject, settings: Settings) -> float:
    """The computed output spec equals the real shape and dtype; inference is deterministic."""
    values = subject.run(subject.layer)
    symbols = keras.tree.flatten(subject.model().outputs)
    for symbol, value in zip(symbols, values, strict=True):
        promised = tuple(symbol.shape)
        fits = len(promised) == value.ndim and all(p in (None, n) for p, n in zip(promised, value.shape, strict=True))
        if not fits:
            raise subject.fails("shape", f"promises {promised} and gives {value.shape}")
        if keras.backend.standardize_dtype(symbol.dtype) != value.dtype.name:
            raise subject.fails("shape", f"promises {symbol.dtype} and gives {value.dtype.name}")
    again = subject.run(subject.layer)
    if not all(np.array_equal(a, b, equal_nan=True) for a, b in zip(values, again, strict=True)):
        raise subject.fails("shape", "two calls with training=False give different outputs")
    return 0.0


def oracle(subject: Subject, settings: Settings) -> float:
    """The outputs equal the equations of the paper."""
    if settings.oracle is None:
        raise Skipped("no oracle was given")
    inputs = keras.tree.map_structure(widen, subject.inputs)
    expected = by_equations(subject, settings.oracle, [w.astype("float64") for w in subject.weights], inputs)
    errors = [difference(e, g) for e, g in zip(expected, subject.run(subject.layer), strict=True)]
    return within(subject, settings, "oracle", errors, "the outputs differ from the equations")


def by_equations(subject: Subject, oracle: Any, weights: list[NDArray[Any]], inputs: Any) -> list[NDArray[Any]]:
    """Outputs of the oracle; that of a cell is run over all steps."""
    named = subject.named(weights)
    if subject.given is subject.layer:
        expected = oracle(named, inputs)
        return list(expected) if isinstance(expected, list | tuple) else [expected]
    initial = keras.tree.flatten(initial_states(subject.given, len(inputs)))
    states = [ops.convert_to_numpy(s).astype("float64") for s in initial]
    rows = []
    for t in range(subject.steps):
        row, states = oracle(named, inputs[:, t], states)
        rows.append(row)
    return [np.stack(rows, axis=1)]


def within(subject: Subject, settings: Settings, prop: str, errors: list[float], finding: str) -> float:
    """The largest error, or the failure of the property."""
    worst = max(errors, default=0.0)
    if not worst <= settings.tolerance:
        raise subject.fails(prop, f"{finding} by {worst:.3g}, more than {settings.tolerance:g}")
    return worst


def gradient(subject: Subject, settings: Settings) -> float:
    """Automatic (or hand-written) derivatives against central differences, along two random directions each."""
    # Keras computes in float64 on TensorFlow alone; elsewhere the oracle is what can be differenced.
    precise = keras.backend.backend() == "tensorflow"
    if not precise and settings.oracle is None:
        raise Skipped("Keras has no float64 on this backend; give an oracle")
    layer = subject.copy("float64" if precise else None)
    inputs = keras.tree.map_structure(widen, subject.inputs)
    flat = keras.tree.flatten(inputs)
    generator = np.random.default_rng(settings.seed)
    outputs = subject.run(layer, inputs if precise else None)
    places = [i for i, y in enumerate(outputs) if np.issubdtype(y.dtype, np.floating)]
    if not places:
        raise Skipped("no output is differentiable")
    directions = [generator.standard_normal(outputs[i].shape).astype(outputs[i].dtype) for i in places]

    def scalar(result: Any) -> Any:
        values = keras.tree.flatten(result)
        return sum(ops.sum(values[i] * ops.convert_to_tensor(d)) for i, d in zip(places, directions, strict=True))

    def loss(weights: list[NDArray[Any]], point: list[NDArray[Any]]) -> float:
        packed = keras.tree.pack_sequence_as(inputs, point)
        if precise:
            layer.set_weights(weights)
            return float(ops.convert_to_numpy(scalar(layer(subject.tensors(packed), training=False))))
        values = by_equations(subject, settings.oracle, weights, packed)
        return float(sum(np.sum(values[i] * d) for i, d in zip(places, directions, strict=True)))

    values = [w.astype("float64") for w in subject.weights]
    by_weight, by_input = gradients(layer, inputs if precise else subject.inputs, scalar)
    at = [next(i for i, w in enumerate(layer.weights) if w is v) for v in layer.trainable_variables]
    slopes = [(v.path, values, i, slope) for v, i, slope in zip(layer.trainable_variables, at, by_weight, strict=True)]
    floating = [i for i, x in enumerate(flat) if np.issubdtype(x.dtype, np.floating)]
    slopes += [("the input", flat, i, slope) for i, slope in zip(floating, by_input, strict=True)]
    worst = 0.0
    for name, group, place, slope in slopes:
        for _ in range(2):
            move = generator.standard_normal(slope.shape)
            sides = []
            for sign in (1, -1):
                moved = list(group)
                moved[place] = group[place] + sign * STEP * move
                sides.append(loss(moved, flat) if group is values else loss(values, moved))
            worst = max(worst, _compare(subject, name, sides, float(np.sum(slope * move)), precise))
    return worst


def _compare(subject: Subject, name: str, sides: list[float], analytic: float, precise: bool) -> float:
    numeric, tolerance = (sides[0] - sides[1]) / (2 * STEP), FLOAT64 if precise else FLOAT32
    error = abs(analytic - numeric) / max(1.0, abs(numeric), abs(sides[0]))
    if not error <= tolerance:
        raise subject.fails(
            "gradient",
            f"by {name}, finite differences give {numeric:.6g} along a random direction and the gradient gives "
            f"{analytic:.6g}, a relative error of {error:.3g}, more than {tolerance:g}",
        )
    return error


def config(subject: Subject, settings: Settings) -> float:
    """get_config -> JSON -> from_config is the same layer."""
    with subject.scope():
        first = json.loads(json.dumps(keras.saving.serialize_keras_object(subject.given)))
        again = keras.saving.deserialize_keras_object(first, safe_mode=True)
        second = json.loads(json.dumps(keras.saving.serialize_keras_object(again)))
    lost = [key for key in first["config"] if first["config"][key] != second["config"].get(key)]
    if lost:
        key = lost[0]
        raise subject.fails(
            "config", f"{key!r} was {first['config'][key]!r} and comes back as {second['config'].get(key)!r}"
        )
    errors = _differences(subject.run(subject.layer), subject.run(subject.copy()))
    return within(subject, settings, "config", errors, "a layer made from the config differs")


def saving(subject: Subject, settings: Settings) -> float:
    """A .keras file keeps architecture and weights."""
    model = subject.model()
    inputs = [ops.convert_to_tensor(x) for x in keras.tree.flatten(subject.inputs)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.keras"
        model.save(path)
        with subject.scope():
            again = keras.models.load_model(path, compile=False)
    outputs = [[ops.convert_to_numpy(y) for y in keras.tree.flatten(m(inputs, training=False))] for m in (model, again)]
    return within(subject, settings, "saving", _differences(*outputs), "the loaded model differs")


def mixed_precision(subject: Subject, settings: Settings) -> float:
    """Half precision gives results near float32, with the dtype of its policy."""
    expected, worst = subject.run(subject.layer), 0.0
    for policy, tolerance in MIXED_TOLERANCE.items():
        layer = subject.copy(policy)
        outputs = keras.tree.flatten(subject.call(layer, subject.tensors(subject.inputs)))
        for value, output in zip(expected, outputs, strict=True):
            dtype = keras.backend.standardize_dtype(output.dtype)
            if not np.issubdtype(value.dtype, np.floating):
                continue
            if dtype not in (layer.compute_dtype, "float32") or (subject.cell and dtype == "float32"):
                raise subject.fails("mixed_precision", f"{policy} gives {dtype}, not {layer.compute_dtype}")
            got = ops.convert_to_numpy(ops.cast(output, "float32"))
            if not np.all(np.isfinite(got)):
                raise subject.fails("mixed_precision", f"{policy} gives values that are not finite")
            error = difference(value, got)
            if not error <= tolerance:
                raise subject.fails("mixed_precision", f"{policy} differs from float32 by {error:.3g}")
            worst = max(worst, error)
        narrow = [w for w in layer.trainable_variables if w.dtype != "float32"]
        if narrow:
            raise subject.fails("mixed_precision", f"{policy} keeps {narrow[0].name} in {narrow[0].dtype}, not float32")
    return worst


def _differences(expected: list[NDArray[Any]], got: list[NDArray[Any]]) -> list[float]:
    return [difference(e, g) for e, g in zip(expected, got, strict=True)]
