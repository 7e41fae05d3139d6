"""Refuses a model whose metadata contradict themselves or its graph."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from streaming.errors import ArtifactError
from streaming.runtime.interpreter import Recipe
from streaming.runtime.metadata import FLAGS, OLD_FLAGS, Metadata, SignatureInfo

# Signatures that are no step: what they take and give is not a chunk of the sequence.
OTHER = frozenset({"reset", "encode", "fill"})

_Kind = tuple[tuple[int, ...], str]


def step_signatures(meta: Metadata) -> dict[tuple[int, int], str]:
    """(batch, chunk) -> the name of the signature that takes `batch` streams `chunk` steps on."""
    return {(info.batch, info.chunk): name for name, info in meta.signatures.items() if name not in OTHER}


def input_names(meta: Metadata) -> list[str]:
    """Inputs of a step in the order in which the runtime passes them."""
    return [
        *(info.name for info in meta.inputs),
        *([meta.valid] if meta.valid else []),
        *(pack.input for pack in meta.packs),
    ]


def output_names(meta: Metadata) -> list[str]:
    """Outputs of a step in the order in which the runtime reads them."""
    return [
        *(info.name for info in meta.outputs),
        *(info.valid for info in meta.outputs if info.valid),
        *(pack.output for pack in meta.packs if pack.output),
    ]


def output_shapes(meta: Metadata) -> dict[str, dict[str, tuple[int, ...]]]:
    """Shapes of the outputs by signature, in the order in which the runtime reads them."""
    shapes = {}
    for (batch, chunk), name in step_signatures(meta).items():
        kinds = _outputs(meta, batch, chunk)
        shapes[name] = {key: kinds[key][0] for key in output_names(meta)}
    if "fill" in meta.signatures:
        shapes["fill"] = _filled(meta)
    if meta.encode is not None:
        shapes["encode"] = {meta.packs[-1].input: (1, meta.packs[-1].size)}
    return shapes


def fill_inputs(meta: Metadata) -> list[str]:
    """Inputs of signature `fill`, which takes one unit of steps and gives only the states."""
    return [*(info.name for info in meta.inputs), *(pack.input for pack in meta.packs)]


def _filled(meta: Metadata) -> dict[str, tuple[int, ...]]:
    if meta.state == "internal":
        return {"done": ()}
    return {pack.output: (1, pack.size) for pack in meta.packs}


def step_kinds(meta: Metadata, batch: int, chunk: int) -> tuple[dict[str, _Kind], dict[str, _Kind]]:
    """Shapes and types of the inputs and outputs of a signature, by name."""
    return _inputs(meta, batch, chunk), _outputs(meta, batch, chunk)


def recipe(meta: Metadata, factory: Any, flatbuffer: bytes, num_threads: int, make: Any = None) -> Recipe:
    """Tensors of a model in the order in which the runtime sets and reads them."""
    return Recipe(
        factory=factory,
        flatbuffer=flatbuffer,
        num_threads=num_threads,
        signatures=step_signatures(meta),
        inputs=input_names(meta),
        outputs=output_shapes(meta),
        chunk=meta.chunk,
        encode=list(encode_inputs(meta)) if meta.encode else None,
        fill=fill_inputs(meta) if "fill" in meta.signatures else None,
        rows=[np.zeros((1, 0, *out.shape), out.dtype) for out in meta.outputs],
        resets="reset" in meta.signatures,
        make=make,
        timed=[info.time for info in meta.inputs],
        states=sum(bool(pack.output) for pack in meta.packs),
    )


def check_metadata(meta: Metadata) -> None:
    """Raises ArtifactError where the metadata cannot describe a stream."""
    for problem in _problems(meta):
        raise ArtifactError(f"streaming.json: {problem}; convert the model again")


def _problems(meta: Metadata) -> Iterator[str]:
    if meta.state not in ("external", "internal"):
        yield f"state is {meta.state!r}, expected 'external' or 'internal'"
    if meta.flags not in (OLD_FLAGS, FLAGS):
        yield f"flags are {meta.flags!r}, expected {OLD_FLAGS} or {FLAGS}"
    if meta.state == "internal" and meta.packs:
        yield "internal state goes with no packs"
    if meta.unit < 1 or meta.chunk < 1 or meta.chunk % meta.unit or meta.delay < 0 or meta.flush < 0:
        yield (f"chunk {meta.chunk}, unit {meta.unit}, delay {meta.delay} and flush {meta.flush} do not go together")
    yield from _window_problems(meta)
    sizes = step_signatures(meta)
    if sizes.get((1, meta.unit)) != "step" or (1, meta.chunk) not in sizes:
        yield f"no signature for one stream and {meta.unit} or {meta.chunk} steps"
    if any(batch < 1 or chunk < 1 for batch, chunk in sizes):
        yield "a signature has no streams or no steps"
    if not any(info.time for info in meta.inputs) or not meta.outputs:
        yield "no input with a time axis, or no output"
    for names in (input_names(meta), output_names(meta)):
        if len(set(names)) < len(names):
            yield f"two tensors have one name in {names}"
    contexts = [pack for pack in meta.packs if not pack.output]
    if (meta.encode is not None) != ("encode" in meta.signatures) or (meta.encode is None and contexts):
        yield "signature 'encode' and its description do not go together"
    if len(contexts) > 1 or meta.packs[len(meta.packs) - len(contexts) :] != tuple(contexts):
        yield "more than one context, or one before the states"
    if meta.encode and set(meta.encode.valid) != {info.name for info in meta.encode.inputs if info.time}:
        yield "an input of 'encode' has no mask"
    for out in meta.outputs:
        if len(out.rate) != 2 or min(out.rate) < 1 or meta.unit * out.rate[0] % out.rate[1]:
            yield f"output {out.name!r} has rate {out.rate}, which gives no whole number of rows a step"
        elif out.rate != (1, meta.hop) and out.valid is None and (out.start or out.end):
            yield f"output {out.name!r} has rate {out.rate} and a delay, and names no 'valid' output"
        if out.start < 0 or not 0 <= out.end <= meta.flush:
            yield f"output {out.name!r} exists from {out.start} to {out.end} after the end, flush is {meta.flush}"


def _window_problems(meta: Metadata) -> Iterator[str]:
    if meta.window is None:
        if (meta.hop, meta.pad, meta.lead) != (1, None, 0):
            yield "hop, pad and lead belong to windows, and there is none"
        return
    if not 1 <= meta.window <= 2**16 or not 1 <= meta.hop <= 2**16 or meta.pad not in (None, "pre", "post"):
        yield f"window {meta.window}, hop {meta.hop} and pad {meta.pad!r} describe no windows"
    elif meta.unit != meta.hop or meta.lead != -meta.window % meta.hop or meta.flush or meta.encode:
        yield f"unit {meta.unit}, lead {meta.lead} and flush {meta.flush} do not fit windows of {meta.window} steps"
    elif any(out.rate != (1, meta.hop) for out in meta.outputs):
        yield f"an output does not come once every {meta.hop} steps"
    elif "fill" in meta.signatures and (meta.pad or meta.signatures["fill"] != SignatureInfo(1, meta.unit)):
        yield "signature 'fill' takes no single unit of steps, or windows are padded"
    elif meta.pad and meta.hop > 1 and meta.valid is None:
        yield "padded windows need the input that says which steps exist"


def check_graph(meta: Metadata, interpreter: Any) -> None:
    """Raises ArtifactError unless each signature has exactly the tensors that the metadata name."""
    signatures = set(interpreter.get_signature_list())
    if signatures != set(meta.signatures):
        raise ArtifactError(
            f"the graph has the signatures {sorted(signatures)}, its metadata say {sorted(meta.signatures)}; "
            "convert the model again"
        )
    for (batch, chunk), name in step_signatures(meta).items():
        _compare(interpreter, name, _inputs(meta, batch, chunk), _outputs(meta, batch, chunk))
    if "fill" in meta.signatures:
        inputs = {name: kind for name, kind in _inputs(meta, 1, meta.unit).items() if name != meta.valid}
        if meta.state == "internal":
            outputs: dict[str, _Kind] = {"done": ((), meta.flags)}
        else:
            outputs = {pack.output: ((1, pack.size), pack.dtype) for pack in meta.packs}
        _compare(interpreter, "fill", inputs, outputs)
    if meta.encode is not None:
        context = meta.packs[-1]
        _compare(interpreter, "encode", encode_inputs(meta), {context.input: ((1, context.size), context.dtype)})


def _compare(interpreter: Any, name: str, inputs: dict[str, _Kind], outputs: dict[str, _Kind]) -> None:
    runner = interpreter.get_signature_runner(name)
    for kind, expected, details in (
        ("inputs", inputs, runner.get_input_details()),
        ("outputs", outputs, runner.get_output_details()),
    ):
        in_graph = {key: (_shape(item["shape"]), _dtype(item["dtype"])) for key, item in details.items()}
        if in_graph != expected:
            wrong = sorted(key for key in in_graph.keys() | expected.keys() if in_graph.get(key) != expected.get(key))
            raise ArtifactError(
                f"{kind} of signature {name!r} disagree: {wrong[0]!r} is {_text(in_graph.get(wrong[0]))} in the "
                f"graph, {_text(expected.get(wrong[0]))} in the metadata; convert the model again"
            )


def _inputs(meta: Metadata, batch: int, chunk: int) -> dict[str, _Kind]:
    expected: dict[str, _Kind] = {}
    for info in meta.inputs:
        tensor = info.graph
        shape = (batch, chunk, *tensor.shape) if info.time else (batch, *tensor.shape)
        expected[info.name] = (shape, meta.in_graph(tensor.dtype))
    if meta.valid:
        expected[meta.valid] = ((batch, chunk), meta.flags)
    return {**expected, **{pack.input: ((batch, pack.size), pack.dtype) for pack in meta.packs}}


def _outputs(meta: Metadata, batch: int, chunk: int) -> dict[str, _Kind]:
    expected: dict[str, _Kind] = {}
    for info in meta.outputs:
        steps = chunk * info.rate[0] // info.rate[1]
        expected[info.name] = ((batch, steps, *info.shape), meta.in_graph(info.dtype))
        if info.valid:
            expected[info.valid] = ((batch, steps), meta.flags)
    return {**expected, **{pack.output: ((batch, pack.size), pack.dtype) for pack in meta.packs if pack.output}}


def encode_inputs(meta: Metadata) -> dict[str, _Kind]:
    """Inputs of signature `encode`: those of the model, then their masks."""
    encode = meta.encode
    assert encode is not None
    inputs: dict[str, _Kind] = {}
    for info in encode.inputs:
        shape = (1, encode.max_length, *info.shape) if info.time else (1, *info.shape)
        inputs[info.name] = shape, meta.in_graph(info.dtype)
    return {**inputs, **dict.fromkeys(encode.valid.values(), ((1, encode.max_length), meta.flags))}


def _shape(sizes: Any) -> tuple[int, ...]:
    return tuple(int(size) for size in sizes)


def _dtype(kind: Any) -> str:
    return str(np.dtype(kind).name)


def _text(kind: _Kind | None) -> str:
    return "absent" if kind is None else f"{kind[1]} {kind[0]}"
