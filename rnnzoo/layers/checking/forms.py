"""Properties that hold between the forms of a layer: loop, step, scan, pieces, masks and the stream."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import ops
from numpy.typing import NDArray

from rnnzoo.layers.checking.settings import Settings, Skipped
from rnnzoo.layers.checking.subject import Subject, difference, initial_states
from rnnzoo.layers.checking.values import within

Arrays = list[NDArray[Any]]


def loop(subject: Subject, settings: Settings) -> float:
    """A loop over the cell, from zeros and from another state, equals the layer."""
    if subject.cell is None:
        raise Skipped("has no cell")
    layer = subject.whole()
    backwards = getattr(layer, "go_backwards", False)
    x = subject.inputs[:, ::-1] if backwards else subject.inputs
    start: Any = None
    errors: list[float] = []
    for _ in range(2):
        expected, last = by_hand(layer.cell, x, start)
        given = {} if start is None else {"initial_state": start}
        forms = [layer] if backwards or not hasattr(layer, "unroll") else [layer, subject.copy(**_UNROLLED)]
        for form in forms:
            outputs = subject.run(form, **given)
            wanted = [expected, *(ops.convert_to_numpy(s) for s in keras.tree.flatten(last))]
            if not getattr(layer, "return_sequences", True):
                wanted[0] = expected[:, -1]
            errors += [difference(e, g) for e, g in zip(wanted, outputs, strict=False)]
        if not subject.takes("initial_state"):
            break
        start = last
    return within(subject, settings, "loop", errors, "the layer differs from its cell, taken step by step,")


_UNROLLED: dict[str, Any] = {"return_sequences": True, "return_state": True, "unroll": True}


def by_hand(cell: Any, x: NDArray[Any], states: Any = None) -> tuple[NDArray[Any], Any]:
    """Outputs (B, T, U) and last states of a cell called on one step after another."""
    states = initial_states(cell, len(x)) if states is None else states
    rows = []
    for t in range(x.shape[1]):
        row, states = cell(ops.convert_to_tensor(x[:, t]), states, training=False)
        states = states if isinstance(states, list | tuple) else [states]
        rows.append(ops.convert_to_numpy(row))
    return np.stack(rows, axis=1), states


def mask(subject: Subject, settings: Settings) -> float:
    """Masked steps have no effect: at the end, and for a cell or a pooling layer also in the middle."""
    if not subject.takes("mask"):
        raise Skipped("takes no mask")
    if not subject.single:
        raise Skipped("has several inputs")
    layer, x, steps = subject.whole(), subject.inputs, subject.steps
    generator = np.random.default_rng(settings.seed)
    right = np.arange(steps) < np.array([steps, steps - 2, 2] * len(x))[: len(x), None]
    holes = generator.random(right.shape) < 0.6
    holes[:, 0] = True
    sequences = _sequences(subject, layer)
    kinds = {"right padding": right}
    if subject.cell is not None or not any(sequences):
        kinds["masked steps in the middle"] = holes
    worst = 0.0
    for kind, keep in kinds.items():
        # What is masked must not matter, whatever it is.
        noise = generator.normal(scale=10, size=x.shape) if np.issubdtype(x.dtype, np.floating) else np.zeros_like(x)
        hidden = np.where(keep.reshape(*keep.shape, *[1] * (x.ndim - 2)), x, noise).astype(x.dtype)
        outputs = subject.run(layer, hidden, mask=ops.convert_to_tensor(keep))
        for row, here in enumerate(keep):
            alone = subject.run(layer, x[row : row + 1, here])
            shown = here[::-1] if getattr(layer, "go_backwards", False) else here
            got = [y[row : row + 1, shown] if s else y[row : row + 1] for y, s in zip(outputs, sequences, strict=True)]
            errors = [difference(e, g) for e, g in zip(alone, got, strict=True)]
            worst = max(worst, within(subject, settings, "mask", errors, f"{kind} changes the outputs"))
    return worst


def _sequences(subject: Subject, layer: Any) -> list[bool]:
    """Which outputs have the time axis: those that become shorter with the input."""
    short = keras.tree.map_structure(lambda x: x[:, :-1], subject.inputs)
    pairs = zip(subject.run(layer), subject.run(layer, short), strict=True)
    return [whole.ndim > 1 and whole.shape[1] == part.shape[1] + 1 for whole, part in pairs]


def chunked(subject: Subject, settings: Settings) -> float:
    """Pieces of a sequence, with the state carried between them, give the same result as the whole."""
    if subject.cell is not None and subject.takes("initial_state"):
        if getattr(subject.layer, "go_backwards", False):
            raise Skipped("reads backwards")
        errors = _chunked_state(subject)
    elif hasattr(subject.layer, "stream_step") and subject.single:
        errors = _chunked_stream(subject)
    else:
        raise Skipped("carries no state")
    return within(subject, settings, "chunked", errors, "a sequence in pieces differs from the whole")


def _chunked_state(subject: Subject) -> list[float]:
    layer, x = subject.whole(), subject.inputs
    expected, *last = subject.run(layer)
    if not last:
        raise Skipped("does not return its state")
    pieces: list[NDArray[Any]] = []
    states: dict[str, Any] = {}
    for begin, end in ((0, 1), (1, 3), (3, subject.steps)):
        output = subject.call(layer, ops.convert_to_tensor(x[:, begin:end]), **states)
        # As many states as the cell has, in the structure that it takes.
        piece, *flat = keras.tree.flatten(output)
        states = {"initial_state": keras.tree.pack_sequence_as(layer.cell.state_size, flat)}
        pieces.append(ops.convert_to_numpy(piece))
    got = [np.concatenate(pieces, axis=1), *(ops.convert_to_numpy(s) for s in flat)]
    return [difference(e, g) for e, g in zip([expected, *last], got, strict=True)]


def _chunked_stream(subject: Subject) -> list[float]:
    """`stream_step` by hand, without the converter, over chunks of one and of three steps."""
    layer, x, errors = subject.layer, subject.inputs, []
    expected = subject.run(layer)
    spec = layer.stream_spec((None, None, *x.shape[2:]))
    delay = spec.get("delay", 0)
    for chunk in (1, 3):
        states = {
            name: np.broadcast_to(s.get("initial", 0.0), (len(x), *s["shape"])).astype(s.get("dtype", "float32"))
            for name, s in spec.get("states", {}).items()
        }
        padding = delay + -(subject.steps + delay) % chunk
        padded = np.pad(x, [(0, 0), (0, padding)] + [(0, 0)] * (x.ndim - 2))
        pieces: list[Any] = []
        for start in range(0, padded.shape[1], chunk):
            valid = np.broadcast_to(np.arange(start, start + chunk) < subject.steps, (len(x), chunk))
            piece = ops.convert_to_tensor(padded[:, start : start + chunk])
            output, _, states = layer.stream_step(piece, ops.convert_to_tensor(valid), states)
            pieces.append(output)
        joined = [
            np.concatenate([ops.convert_to_numpy(part) for part in parts], axis=1)[:, delay : delay + subject.steps]
            for parts in zip(*(keras.tree.flatten(piece) for piece in pieces), strict=True)
        ]
        errors += [difference(e, g) for e, g in zip(expected, joined, strict=True)]
    return errors


def streaming(subject: Subject, settings: Settings) -> float:
    """The stream of the converted layer, step by step and whole, equals the layer."""
    if keras.backend.backend() != "tensorflow":
        raise Skipped("conversion needs the TensorFlow backend")
    import streaming as stream_package

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "layer.tflite"
        try:
            report = stream_package.convert(subject.model(), path, verify=False)
        except stream_package.NotStreamableError:
            if settings.streams:
                raise
            return 0.0
        if not settings.streams:
            raise subject.fails("streaming", "was converted, though no stream can be equal to it")
        stream = stream_package.load(path).create_stream()
    flags = _sequences(subject, subject.layer)
    flat = keras.tree.flatten(subject.inputs)
    # What the converter found to be given whole, such as the memory of attention.
    sources = [source.name for source in encode.inputs] if (encode := stream.model.metadata.encode) else []
    expected = subject.run(subject.layer)
    errors = []
    for row in range(len(flat[0])):
        given = {f"x{i}": x[row] for i, x in enumerate(flat)}
        source = {name: given.pop(name) for name in sources}
        for size in (1, subject.steps):
            stream.reset()
            if source:
                stream.encode(source)
            pieces = []
            for begin in range(0, subject.steps, size):
                pieces.append(
                    keras.tree.flatten(stream.feed({name: x[begin : begin + size] for name, x in given.items()}))
                )
            pieces.append(keras.tree.flatten(stream.finish()))
            got = [np.concatenate(parts) for parts in zip(*pieces, strict=True)]
            got = [g if whole else g[-1] for g, whole in zip(got, flags, strict=True)]
            errors += [difference(e[row], g) for e, g in zip(expected, got, strict=True)]
    finding = f"the stream (delay {report.delay}) differs from the layer"
    return within(subject, settings, "streaming", errors, finding)
