"""Compares an adopted model with the bare interpreter of the file that it was made from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.conversion.adoption.foreign import ForeignModel, TensorInfo
from streaming.errors import ArtifactError, ParityError
from streaming.runtime import artifact
from streaming.runtime.facts import Proof
from streaming.runtime.interpreter import open_interpreter, resolve
from streaming.runtime.model import StreamingModel
from streaming.runtime.stream import Stream

SEQUENCES, INVOKES = 2, 24

Arrays = dict[str, NDArray[Any]]


class BareModel:
    """The bare interpreter of a foreign file: tensors without any conversion, states carried from call to call.

    Args:
        content: the bytes of the file.
        foreign: the same, as it was read.
        pairs: {input: output} of its states.
        initial: their first values.
    """

    def __init__(self, content: bytes, foreign: ForeignModel, pairs: Mapping[str, str], initial: Arrays) -> None:
        self._foreign, self._pairs, self._states = foreign, pairs, initial
        _, factory = resolve("auto")
        self._interpreter = open_interpreter(factory, content, 1)
        try:
            self._interpreter.allocate_tensors()
            self._runner = self._interpreter.get_signature_runner(foreign.signature) if foreign.signature else None
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(f"the runtime cannot run the file ({str(error).splitlines()[0]})") from error

    def step(self, inputs: Arrays) -> Arrays:
        """One invoke."""
        values = {**inputs, **self._states}
        if self._runner is not None:
            outputs = self._runner(**values)
        else:
            for name, value in values.items():
                self._interpreter.set_tensor(self._foreign.inputs[name].index, value)
            self._interpreter.invoke()
            outputs = {name: self._interpreter.get_tensor(x.index) for name, x in self._foreign.outputs.items()}
        self._states = {name: outputs[output] for name, output in self._pairs.items()}
        return outputs


def prove(
    foreign: ForeignModel, content: bytes, pairs: Mapping[str, str], adopted: bytes, *, trust: bool = False
) -> Proof:
    """Compare streams of the adopted file with the file that it was made from, bit for bit, on random input.

    The second sequence follows a reset; if the state can be saved, a restored stream continues in the middle.

    Returns the verification for the file. Raises ParityError where an output differs.
    """
    model = StreamingModel(artifact.parse(adopted, "the adopted model"), trust=trust)
    rows = zip(pairs, model.initial_state, strict=True)
    initial = {name: row.reshape(foreign.inputs[name].shape).astype(foreign.inputs[name].dtype) for name, row in rows}
    stream, generator = model.create_stream(), np.random.default_rng(0)
    for _ in range(SEQUENCES):
        bare = BareModel(content, foreign, pairs, initial)
        for number in range(INVOKES):
            if number == INVOKES // 2 and model.metadata.state == "external":
                stream = model.restore(stream.save())
            raw = {name: _random(foreign.inputs[name], generator) for name in model.input_spec}
            _compare(bare.step(raw), _step(model, stream, raw), model, number)
        stream.reset()
    steps = SEQUENCES * INVOKES * model.chunk
    return Proof(SEQUENCES, steps, 0.0, 0.0, 0.0, against="the bare interpreter")


def _step(model: StreamingModel, stream: Stream, raw: Arrays) -> Arrays:
    chunks = {}
    for name, info in model.input_spec.items():
        chunks[name] = raw[name].reshape((model.chunk, *info.shape) if info.time else info.shape)
    outputs = stream.step(chunks if len(chunks) > 1 else next(iter(chunks.values())))
    return outputs if len(model.output_spec) > 1 else {next(iter(model.output_spec)): outputs}


def _compare(bare: Arrays, outputs: Arrays, model: StreamingModel, number: int) -> None:
    for name, value in outputs.items():
        if value.dtype != bare[name].dtype or value.tobytes() != bare[name].tobytes():
            raise ParityError(
                f"output {name!r} of chunk {number} differs from what the bare interpreter gives, on {model.runtime}; "
                "report the model"
            )


def _random(info: TensorInfo, generator: np.random.Generator) -> NDArray[Any]:
    """Normal floats; all values that a quantized number has; zeros and ones where a number may be an index."""
    kind = np.dtype(info.dtype)
    if kind.kind == "f":
        return generator.standard_normal(info.shape).astype(kind)
    if kind.kind == "b" or info.scale is None:
        return generator.integers(0, 2, info.shape).astype(kind)
    limits = np.iinfo(kind)
    return generator.integers(limits.min, limits.max + 1, info.shape).astype(kind)
