"""What a firmware needs of a model for microcontrollers: data, operations, arena, and the loop of a step in C++.

For TensorFlow Lite for Microcontrollers (github.com/tensorflow/tflite-micro). The files are C++11 and allocate nothing.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

import numpy as np

from streaming import firmware_templates as templates
from streaming.errors import ArtifactError, InputError
from streaming.identifiers import identifiers, one_line
from streaming.runtime import artifact
from streaming.runtime.flatbuffer import read_flatbuffer
from streaming.runtime.metadata import InputInfo, Metadata, OutputInfo
from streaming.runtime.micro import least_arena
from streaming.runtime.model import StreamingModel

# Names in TFLM's resolver that do not follow from the operation's.
_NAMES = {
    "AVERAGE_POOL_2D": "AveragePool2D",
    "BATCH_MATMUL": "BatchMatMul",
    "CONV_2D": "Conv2D",
    "CUMSUM": "CumSum",
    "DEPTHWISE_CONV_2D": "DepthwiseConv2D",
    "MAX_POOL_2D": "MaxPool2D",
    "PADV2": "PadV2",
}
_TYPES = {
    "float32": "float",
    "int32": "int32_t",
    "int16": "int16_t",
    "int8": "int8_t",
    "uint8": "uint8_t",
    "int64": "int64_t",
}
_FLAG = "int32_t"


@dataclass(frozen=True)
class Firmware:
    """What was written.

    files: their paths; arena_bytes: the fewest with which TFLM runs it; operations: of the resolver; state_bytes of a
    stream.
    """

    files: tuple[Path, ...]
    arena_bytes: int
    operations: tuple[str, ...]
    state_bytes: int


@dataclass(frozen=True)
class _Tensor:
    """A tensor of the step: its name in C++, its place among the inputs or outputs, its C type and elements."""

    name: str
    place: int
    kind: str
    count: int


def write(path: str | os.PathLike[str], folder: str | os.PathLike[str]) -> Firmware:
    """Write what a firmware needs of a model that was converted with `target="micro"`.

    Raises:
        InputError: the model was not made for microcontrollers, or `tflite-micro` is not installed.
        ArtifactError: the file is damaged, TFLM does not run it, or the folder cannot be written.
    """
    content = artifact.read(path)
    meta = content.metadata
    if list(meta.signatures) != ["step"] or meta.state != "external":
        raise InputError(
            f"{Path(path).name} has {meta.state} state and the signatures {', '.join(meta.signatures)}, a firmware "
            "takes external state and one step; convert it with target='micro'"
        )
    model = StreamingModel(content, "tflite_micro")
    interpreter: Any = model.engines.get().interpreter
    graph = read_flatbuffer(content.flatbuffer).graphs[0]
    arena = least_arena(content.flatbuffer)
    operations = tuple(sorted({operation.name for operation in graph.operations}))
    parts = _parts(model, interpreter, meta, arena, operations, len(content.flatbuffer))
    files = {
        "model_data.h": _data_header(len(content.flatbuffer)),
        "model_data.cc": _data(content.flatbuffer),
        "stream.h": templates.HEADER.format(**parts),
        "stream.cc": templates.SOURCE.format(**parts),
        "README.md": templates.README.format(**{**parts, "operations": ", ".join(operations)}),
    }
    folder = Path(folder)
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ArtifactError(f"cannot make {folder} ({error.strerror}); give another folder") from error
    for name, text in files.items():
        artifact.write(folder / name, text.encode())
    return Firmware(tuple(folder / name for name in files), arena, operations, meta.state_bytes)


def _parts(
    model: StreamingModel, interpreter: Any, meta: Metadata, arena: int, operations: tuple[str, ...], size: int
) -> dict[str, Any]:
    runner, (into_places, out_places) = interpreter.get_signature_runner("step"), interpreter.places()
    names = identifiers([*into_places, *out_places])
    inputs = _tensors(runner.get_input_details(), into_places, names)
    outputs = _tensors(runner.get_output_details(), out_places, names[len(into_places) :])
    taken = [inputs[info.name] for info in meta.inputs]
    marks = [outputs[info.valid] for info in meta.outputs if info.valid]
    given = [*(outputs[info.name] for info in meta.outputs), *dict.fromkeys(marks)]
    arguments = [f"const {tensor.kind}* {tensor.name}" for tensor in taken]
    flag = inputs[meta.valid].name if meta.valid else ""
    arguments += [f"{_FLAG} {flag}"] if flag else []
    arguments += [f"{tensor.kind}* {tensor.name}" for tensor in given]
    states = list(_states(model, meta, inputs, outputs))
    checks = [_in_range(tensor, info) for tensor, info in zip(taken, meta.inputs, strict=True) if info.high is not None]
    into = [_copy(f"interpreter->input({tensor.place})->data.raw", tensor.name, tensor) for tensor in taken]
    if meta.valid:
        tensor = inputs[meta.valid]
        flags = f"interpreter->input({tensor.place})->data.i32[i] = {flag};"
        into.append(f"  for (int i = 0; i < {tensor.count}; ++i) {flags}")
    return {
        "name": one_line(meta.source.more.get("name") or meta.source.model or "") or "a model",
        "arena": arena,
        "size": size,
        "count": len(operations),
        "steps": meta.unit,
        "plural": "" if meta.unit == 1 else "s",
        "delay": meta.delay,
        "window": "none: state is carried on" if meta.window is None else f"{meta.window} steps, hop {meta.hop}",
        "flush": _flush(meta),
        "scales": "\n".join(_scales(meta, {**inputs, **outputs})),
        "parameters": ", ".join(arguments),
        "arguments": ", ".join(argument.split()[-1].lstrip("*") for argument in arguments),
        "operations": "\n".join(
            f"    if (resolver.Add{_method(name)}() != kTfLiteOk) return false;" for name in operations
        ),
        "states": "\n".join(line for state in states for line in state[0]),
        "resets": "\n".join(state[1] for state in states),
        "into": "\n".join([*checks, *into, *(state[2] for state in states)]),
        "ids": "an id is out of range, or " if checks else "",
        **_real(meta, taken, given, flag),
        "out_of": "\n".join(
            [_copy(t.name, f"interpreter->output({t.place})->data.raw", t) for t in given] + [s[3] for s in states]
        ),
        "state": meta.state_bytes,
        "inputs": ", ".join(_described(t, info) for t, info in zip(taken, meta.inputs, strict=True)),
        "outputs": ", ".join(_described(t, info) for t, info in zip_longest(given, meta.outputs)),
        "valid": f"| `{flag}` | 1 for rows of the sequence, 0 for those of zeros after its end |\n" if flag else "",
    }


def _in_range(tensor: _Tensor, info: InputInfo) -> str:
    """The check of ids, with which the graph would read behind the end of a table."""
    low, high = info.low or 0, info.high
    name = f"{tensor.name}[i]"
    return f"  for (int i = 0; i < {tensor.count}; ++i)\n    if ({name} < {low} || {name} >= {high}) return false;"


def _real(meta: Metadata, taken: Sequence[_Tensor], given: Sequence[_Tensor], flag: str) -> dict[str, str]:
    """The step in real numbers, where some inputs or outputs are integers that stand for such."""
    inputs, outputs = list(zip(taken, meta.inputs, strict=True)), list(zip_longest(given, meta.outputs))
    if not any(info is not None and info.scale for _, info in [*inputs, *outputs]):
        return dict.fromkeys(("real_step", "math", "helpers", "real_body"), "")
    parameters, arguments, buffers, into, out_of = [], [], [], [], []
    for tensor, info in inputs:
        parameters.append(f"const {'float' if info.scale else tensor.kind}* {tensor.name}")
        arguments.append(tensor.name)
        if info.scale:
            name, constant, limits = f"integers_{tensor.place}", _constant(tensor), np.iinfo(info.dtype)
            buffers.append(f"{tensor.kind} {name}[{tensor.count}];")
            arguments[-1] = name
            rest = f"{constant}Scale, {constant}ZeroPoint, {limits.min}, {limits.max}"
            into.append(f"  Quantize({tensor.name}, {name}, {tensor.count}, {rest});")
    if flag:
        parameters.append(f"{_FLAG} {flag}")
        arguments.append(flag)
    for tensor, output in outputs:
        scaled = output is not None and output.scale
        parameters.append(f"{'float' if scaled else tensor.kind}* {tensor.name}")
        arguments.append(tensor.name)
        if scaled:
            name, constant = f"results_{tensor.place}", _constant(tensor)
            buffers.append(f"{tensor.kind} {name}[{tensor.count}];")
            arguments[-1] = name
            rest = f"{constant}Scale, {constant}ZeroPoint"
            out_of.append(f"  Dequantize({name}, {tensor.name}, {tensor.count}, {rest});")
    helpers = ["\n// Of the step in real numbers.", *buffers]
    helpers += [templates.QUANTIZE.rstrip("\n")] * bool(into) + [templates.DEQUANTIZE.rstrip("\n")] * bool(out_of)
    texts = {"parameters": ", ".join(parameters), "arguments": ", ".join(arguments)}
    return {
        "real_step": templates.REAL_STEP.format(**texts),
        "math": "#include <math.h>\n" if into else "",
        "helpers": "\n".join(helpers) + "\n",
        "real_body": templates.REAL_BODY.format(into="\n".join(into), out_of="\n".join(out_of), **texts),
    }


def _constant(tensor: _Tensor) -> str:
    """What the names of the constants of a tensor begin with."""
    return "kStream" + "".join(part.capitalize() for part in tensor.name.split("_"))


def _described(tensor: _Tensor, info: InputInfo | OutputInfo | None) -> str:
    text = f"`{tensor.name}` {tensor.kind} x {tensor.count}"
    return f"{text}, {info.scale!r} * (value - {info.zero_point or 0})" if info and info.scale else text


def _scales(meta: Metadata, tensors: dict[str, _Tensor]) -> Iterator[str]:
    """Constants of the inputs and outputs that are integers, of which each stands for a real number."""
    infos: list[InputInfo | OutputInfo] = [*meta.inputs, *meta.outputs]
    scaled = [info for info in infos if info.scale]
    if scaled:
        yield "\n// Integers of inputs and outputs stand for scale * (value - zero point)."
    for info in scaled:
        name = _constant(tensors[info.name])
        yield f"constexpr float {name}Scale = {np.float32(info.scale)!s}f;"
        yield f"constexpr int {name}ZeroPoint = {info.zero_point or 0};"
    if scaled:
        yield ""


def _flush(meta: Metadata) -> str:
    if not meta.flush:
        return ""
    return f"\n// At the end of a sequence {meta.flush} steps of zeros bring out what is still inside."


def _tensors(details: dict[str, Any], places: dict[str, int], names: Sequence[str]) -> dict[str, _Tensor]:
    tensors = {}
    for (name, place), plain in zip(places.items(), names, strict=False):
        item = details[name]
        kind = _TYPES.get(np.dtype(item["dtype"]).name)
        if kind is None:
            raise InputError(
                f"tensor {name!r} is {np.dtype(item['dtype']).name}, a firmware takes {', '.join(_TYPES)}; convert the "
                "model with target='micro'"
            )
        tensors[name] = _Tensor(plain, place, kind, math.prod(item["shape"]))
    return tensors


def _states(
    model: StreamingModel, meta: Metadata, inputs: dict[str, _Tensor], outputs: dict[str, _Tensor]
) -> Iterator[tuple[list[str], str, str, str]]:
    """Of each state its declarations, its reset, and how it goes into a step and comes out."""
    for pack, row in zip(meta.packs, model.initial_state, strict=True):
        tensor, name = inputs[pack.input], f"state_{inputs[pack.input].place}"
        lines = [f"{tensor.kind} {name}[{tensor.count}];"]
        reset = f"  memset({name}, 0, sizeof({name}));"
        values = np.asarray(row).ravel()
        if np.any(row) and np.dtype(pack.dtype).itemsize == 1 and (values == values[0]).all():
            reset = f"  memset({name}, {values[0]}, sizeof({name}));"
        elif np.any(row):
            numbers = ", ".join(f"{value!r}" for value in values.tolist())
            lines.append(f"const {tensor.kind} {name}_initial[{tensor.count}] = {{{numbers}}};")
            reset = f"  memcpy({name}, {name}_initial, sizeof({name}));"
        into = f"  memcpy(interpreter->input({tensor.place})->data.raw, {name}, sizeof({name}));"
        out = f"  memcpy({name}, interpreter->output({outputs[pack.output].place})->data.raw, sizeof({name}));"
        yield lines, reset, into, out


def _copy(to: str, source: str, tensor: _Tensor) -> str:
    return f"  memcpy({to}, {source}, {tensor.count} * sizeof({tensor.kind}));"


def _method(operation: str) -> str:
    return _NAMES.get(operation) or "".join(part.capitalize() for part in operation.split("_"))


def _data_header(size: int) -> str:
    return (
        "#ifndef MODEL_DATA_H_\n#define MODEL_DATA_H_\n\n"
        f"constexpr unsigned int g_stream_model_size = {size};\nextern const unsigned char g_stream_model[];\n\n"
        "#endif  // MODEL_DATA_H_\n"
    )


def _data(content: bytes) -> str:
    rows = [", ".join(map(str, content[at : at + 24])) for at in range(0, len(content), 24)]
    lines = ",\n  ".join(rows)
    return f'#include "model_data.h"\n\nalignas(16) const unsigned char g_stream_model[] = {{\n  {lines}}};\n'
