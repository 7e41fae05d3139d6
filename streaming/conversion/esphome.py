"""`target="esphome"`: a wake word in the form of microWakeWord, for ESPHome's `micro_wake_word`.

ESPHome (github.com/esphome/esphome, components/micro_wake_word) runs files with int8 features (1, stride, 40) in, one
uint8 probability (1, 1) out, the state in resource variables that CALL_ONCE sets up, and a short list of operations,
none of which is in float32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from streaming.conversion.boundary import Boundary, Scale
from streaming.conversion.micro import MOVES, operator_code
from streaming.errors import InputError, NotStreamableError

if TYPE_CHECKING:
    from streaming.conversion.plan import Plan
    from streaming.conversion.signals import Timeline

# Mel bands of its features, and the largest value of one.
BANDS, LARGEST = 40, 26.0
PROBABILITY = Scale("uint8", 1 / 256, 0)
MAX_VARIABLES = 20
_SIGNATURE = b"step"


def with_plain_output(model: Any) -> Any:
    """The model with rows of one number as numbers, (B, T) for (B, T, 1), which ESPHome takes as (1, 1)."""
    outputs = getattr(model, "outputs", None) or []
    if not isinstance(model, keras.Model) or len(outputs) != 1 or outputs[0].shape[-1] != 1:
        return model
    return keras.Model(model.inputs, keras.ops.squeeze(outputs[0], axis=-1), name=model.name)


def fit_plan(plan: Plan) -> None:
    """Fit a plan to a device that has no masks; raises InputError where it takes or gives something else."""
    inputs, outputs = list(plan.inputs.values()), list(plan.outputs.values())
    if len(inputs) != 1 or inputs[0].shape != (BANDS,) or inputs[0].dtype != "float32" or not inputs[0].timeline:
        came = ", ".join(f"{signal.dtype} (T, {', '.join(map(str, signal.shape))})" for signal in inputs)
        raise InputError(f"target='esphome' takes one input of features, float32 (T, {BANDS}); the model takes {came}")
    if len(outputs) != 1 or outputs[0].shape != ():
        shapes = ", ".join(str(signal.shape) for signal in outputs)
        raise InputError(
            f"target='esphome' gives one probability a step; the model gives {shapes}: end it with "
            "Dense(1, activation='sigmoid')"
        )
    line = outputs[0].timeline
    if line is None or line.rate * plan.unit != 1 or plan.encoded or _looks_ahead(line):
        raise InputError(
            "target='esphome' takes models that look at nothing ahead and give a row an invoke: causal or valid "
            "convolutions"
        )
    if any(step.rule.valid_of for step in plan.steps):
        raise InputError("target='esphome' takes no masks and no causal padding behind valid; pad causally throughout")
    # Nothing ends on such a device, so that there are no rows of less than an invoke.
    plan.marks.clear()
    plan.clocks.clear()
    plan.steps[-1].rule.exact_if.append(lambda steps: steps % plan.unit == 0)


def _looks_ahead(line: Timeline) -> bool:
    return line.end > 0 or (line.clock.parent is not None and _looks_ahead(line.clock.parent))


class WakeWordBoundary(Boundary):
    """int8 features in the scale of ESPHome's front end, a uint8 probability, and the states inside of the model."""

    def measure(self, model: Any, schema: Any) -> None:
        """Give the features, and all that holds the same numbers, the range of the front end."""
        graph, names = _step(model)
        numbers = {value: name for name, value in vars(schema.BuiltinOperator).items() if name in MOVES}
        moves = [
            [int(i) for i in (*op.inputs, *op.outputs) if graph.tensors[i].type == schema.TensorType.FLOAT32]
            for op in graph.operators
            if _number(model, op) in numbers
        ]
        states = {pack.input for pack in self.layout.packs}
        same = {int(item.tensorIndex) for item in names.inputs if item.name.decode() not in states}
        while grown := {index for tensors in moves if same & set(tensors) for index in tensors} - same:
            same |= grown
        for index in same:
            tensor = graph.tensors[index]
            if model.buffers[tensor.buffer].data is None or not len(model.buffers[tensor.buffer].data):
                tensor.quantization = schema.QuantizationParametersT(min=[0.0], max=[LARGEST])
        super().measure(model, schema)

    def apply(self, model: Any, schema: Any) -> None:
        """Rewrite the quantized step."""
        super().apply(model, schema)
        graph, names = _step(model)
        (scale,) = self.outputs.values()
        if (scale.scale, scale.zero_point) != (PROBABILITY.scale, -128):
            raise InputError("the model does not give a probability: end it with Dense(1, activation='sigmoid')")
        self.outputs = dict.fromkeys(self.outputs, PROBABILITY)
        _give_probability(model, schema, graph, next(item for item in names.outputs if self._is_output(item)))
        if len(self.layout.packs) > MAX_VARIABLES:
            raise NotStreamableError(
                f"the model has {len(self.layout.packs)} states, ESPHome holds {MAX_VARIABLES}; take fewer layers"
            )
        _keep_inside(self, model, schema)

    def _is_output(self, item: Any) -> bool:
        return item.name.decode() in self.outputs


def _step(model: Any) -> tuple[Any, Any]:
    signature = next(item for item in model.signatureDefs if item.signatureKey == _SIGNATURE)
    return model.subgraphs[signature.subgraphIndex], signature


def _number(model: Any, op: Any) -> int:
    code = model.operatorCodes[op.opcodeIndex]
    return int(max(code.builtinCode, code.deprecatedBuiltinCode))


def _operator(model: Any, schema: Any, kind: str, inputs: list[int], outputs: list[int], options: Any = None) -> Any:
    name = "".join(part.capitalize() for part in kind.split("_"))
    return schema.OperatorT(
        operator_code(model, schema, getattr(schema.BuiltinOperator, kind)),
        inputs,
        outputs,
        getattr(schema.BuiltinOptions, f"{name}Options"),
        getattr(schema, f"{name}OptionsT")() if options is None else options,
    )


def _give_probability(model: Any, schema: Any, graph: Any, item: Any) -> None:
    """Let the output be uint8 (1, 1)."""
    given = int(item.tensorIndex)
    quantization = schema.QuantizationParametersT(
        scale=np.array([PROBABILITY.scale], np.float32), zeroPoint=np.array([PROBABILITY.zero_point], np.int64)
    )
    graph.tensors.append(
        schema.TensorT(shape=[1, 1], type=schema.TensorType.UINT8, buffer=0, name=item.name, quantization=quantization)
    )
    place = len(graph.tensors) - 1
    graph.operators.append(_operator(model, schema, "QUANTIZE", [given], [place]))
    graph.outputs = [place if int(index) == int(item.tensorIndex) else int(index) for index in graph.outputs]
    item.tensorIndex = place


def _keep_inside(boundary: Boundary, model: Any, schema: Any) -> None:
    """Let the states be resource variables, which the first invoke sets to their initial values."""
    graph, names = _step(model)
    setup = schema.SubGraphT(tensors=[], inputs=[], outputs=[], operators=[], name=b"setup")
    handles: list[Any] = []
    reads: list[Any] = []
    writes: list[Any] = []
    for pack, row in zip(boundary.layout.packs, boundary.layout.initial, strict=True):
        taken, given = (
            next(item for item in items if item.name.decode() == name)
            for items, name in ((names.inputs, pack.input), (names.outputs, pack.output))
        )
        handle = schema.VarHandleOptionsT(container="", sharedName=pack.input)
        for owner, operators in ((graph, handles), (setup, setup.operators)):
            owner.tensors.append(schema.TensorT(shape=[], type=schema.TensorType.RESOURCE, buffer=0, name=b"variable"))
            place = len(owner.tensors) - 1
            operators.append(_operator(model, schema, "VAR_HANDLE", [], [place], handle))
        reads.append(_operator(model, schema, "READ_VARIABLE", [len(graph.tensors) - 1], [int(taken.tensorIndex)]))
        writes.append(_operator(model, schema, "ASSIGN_VARIABLE", [len(graph.tensors) - 1, int(given.tensorIndex)], []))
        model.buffers.append(schema.BufferT(data=np.frombuffer(row.tobytes(), np.uint8)))
        source = graph.tensors[int(taken.tensorIndex)]
        setup.tensors.append(
            schema.TensorT(
                shape=source.shape,
                type=source.type,
                buffer=len(model.buffers) - 1,
                name=b"initial",
                quantization=source.quantization,
            )
        )
        place = len(setup.tensors) - 1
        setup.operators.append(_operator(model, schema, "ASSIGN_VARIABLE", [place - 1, place], []))
        for items, side, item in ((names.inputs, "inputs", taken), (names.outputs, "outputs", given)):
            items.remove(item)
            setattr(graph, side, [int(index) for index in getattr(graph, side) if int(index) != int(item.tensorIndex)])
    if not handles:
        return
    model.subgraphs.append(setup)
    once = schema.CallOnceOptionsT(initSubgraphIndex=len(model.subgraphs) - 1)
    begin = [_operator(model, schema, "CALL_ONCE", [], [], once), *handles, *reads]
    graph.operators = [*begin, *graph.operators, *writes]
