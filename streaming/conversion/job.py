"""One conversion: a plan and its options, and the flatbuffers and metadata made from them."""

from __future__ import annotations

import dataclasses
import functools
import importlib.util
import math
from collections.abc import Mapping
from typing import Any

import keras
import tensorflow as tf

from streaming.conversion import tflite
from streaming.conversion.boundary import Boundary
from streaming.conversion.encode import encode_info, trace_encode
from streaming.conversion.esphome import WakeWordBoundary
from streaming.conversion.lower import Layout, layout, trace, trace_reset
from streaming.conversion.micro import DEVICES
from streaming.conversion.plan import Plan, free_name
from streaming.conversion.rollout import Samples, StateRange
from streaming.errors import ArtifactError, NotStreamableError
from streaming.runtime import artifact
from streaming.runtime.facts import Origin, Proof
from streaming.runtime.lookup import Table, TextTable
from streaming.runtime.metadata import FLAGS, InputInfo, Metadata, OutputInfo, SignatureInfo, TensorInfo
from streaming.runtime.model import StreamingModel
from streaming.runtime.typed_json import to_plain

# Runtimes pack the weights of every product of a chunk anew, ten times for ten steps, and the copies fall out of the
# cache; a loop has one, and costs some microseconds a step. Calibration does not look inside of loops.
LOOP_BYTES = {None: 8e6, "float16": 8e6, "dynamic": 8e6, "int8": math.inf}


class Conversion:
    """Makes the content of a file.

    Args:
        plan: the planned model.
        chunk: steps of `Stream.step`.
        batches: streams per invoke, 1 among them.
        extra: the user's metadata: task, files, source.
        state: "external" or "internal".
        quantize: None, "float16", "dynamic" or "int8".
        samples: calibration data of "int8".
        ranges: of the states in a long stream, by name, for "int8" with a target.
        tables: of the ids of strings, by input.
        target: None, or the microcontroller, one of `micro.DEVICES`: one signature, and each state a tensor of its own.
    """

    def __init__(
        self,
        plan: Plan,
        chunk: int,
        batches: list[int],
        extra: Mapping[str, Any],
        *,
        state: str = "external",
        quantize: str | None = None,
        samples: Samples | None = None,
        compact: bool = False,
        tables: Mapping[str, Table] | None = None,
        target: str | None = None,
    ) -> None:
        self.target = target
        self.tables = dict(tables or {})
        self._tables = {name: f"text/{place}.json" for place, name in enumerate(self.tables)}
        self.compact = compact
        self.plan, self.chunk, self.batches, self.extra = plan, chunk, batches, extra
        self.state, self.quantize, self.samples = state, quantize, samples
        self.ranges: Mapping[str, StateRange] = {}
        self._boundary: Boundary | None = None
        taken = {*plan.inputs, *plan.outputs, *plan.marks.values()}
        # One scale for the whole of a packed state would spoil int8: there every state is a tensor of its own.
        self.layout: Layout = layout(plan, taken, separate=target is not None or quantize == "int8")
        self.valid = free_name("valid", taken) if plan.clocks else None
        self.signatures: dict[str, SignatureInfo] = {}
        for steps in sorted({plan.unit, chunk}):
            for batch in batches:
                name = "step" if steps == plan.unit else f"chunk_{steps}"
                self.signatures[name if batch == 1 else f"{name}_b{batch}"] = SignatureInfo(batch, steps)
        self._steps = dict(self.signatures)
        self._fills = plan.window is not None and not plan.pad and plan.delay >= plan.hop and quantize != "int8"
        self._fills = self._fills and bool(plan.states) and target is None
        if self._fills:
            self.signatures["fill"] = SignatureInfo(1, plan.unit)
        if plan.encoded:
            self.signatures["encode"] = SignatureInfo(1, plan.max_length)
        if state == "internal":
            self.signatures["reset"] = SignatureInfo(1, 0)
        self._flatbuffer: bytes | None = None

    def exact(self) -> Conversion:
        """The same conversion in float32 with external state, with which the others are compared."""
        return Conversion(self.plan, self.chunk, self.batches, self.extra)

    @property
    def flatbuffer(self) -> bytes:
        """The TFLite model, made when first asked for."""
        if self._flatbuffer is None:
            module, variables = tf.Module(), None
            if self.state == "internal":
                rows = zip(self.layout.packs, self.layout.initial, strict=True)
                variables = {pack.input: tf.Variable(row[None], name=pack.input) for pack, row in rows}
                module.kept = list(variables.values())
            named = self.extra.get("source", {}).get("name") or self.plan.offline.name
            if self.target is not None and self.quantize == "int8":
                kind = WakeWordBoundary if self.target == "esphome" else Boundary
                self._boundary = kind(self.layout, self.ranges, fine=bool(self.plan.unquantized))
            self._flatbuffer = tflite.convert(
                functools.partial(self._traced, variables),
                self.quantize,
                module,
                self.samples,
                self.compact,
                str(named),
                sorted(self._files()),
                DEVICES.get(self.target or ""),
                {name: variable.numpy() for name, variable in self.plan.unquantized.items()},
                self._boundary,
            )
        return self._flatbuffer

    def _traced(self, variables: dict[str, Any] | None) -> dict[str, Any]:
        """Concrete functions by the names of the signatures; the variables are those of internal state."""
        how = self.chunk == 1, LOOP_BYTES[self.quantize], variables
        traced = {
            name: trace(self.plan, self.layout, self.valid, info.batch, info.chunk, *how)
            for name, info in self._steps.items()
        }
        if self._fills:
            traced["fill"] = trace(self.plan, self.layout, None, 1, self.plan.unit, *how, rows=False)
        if self.plan.encoded:
            traced["encode"] = trace_encode(self.plan, self.layout, LOOP_BYTES[self.quantize])
        if variables is not None:
            traced["reset"] = trace_reset(self.layout, variables)
        return traced

    @property
    def stored(self) -> Layout:
        """The states as the file holds them; before the flatbuffer is made, as they are traced."""
        layout = self.layout if self._boundary is None else self._boundary.layout
        return Layout(
            tuple(dataclasses.replace(pack, dtype=self._held(pack.dtype)) for pack in layout.packs),
            tuple(dataclasses.replace(slot, dtype=self._held(slot.dtype)) for slot in layout.slots),
            tuple(row.astype(self._held(str(row.dtype))) for row in layout.initial),
        )

    def _held(self, dtype: str) -> str:
        """The dtype of the file for one of the plan: microcontrollers have no int64, see `micro_integers.narrow`."""
        return "int32" if self.target is not None and dtype == "int64" else dtype

    @property
    def is_inside(self) -> bool:
        """Whether the file's interpreter holds the state: as asked for, or as the target takes it."""
        return self.state == "internal" or (self.target == "esphome" and self._boundary is not None)

    @property
    def kept(self) -> list[str]:
        """Names of the states that no scale holds, so that they stay in float32 in an int8 step."""
        return [] if self._boundary is None else self._boundary.kept

    @property
    def state_bytes(self) -> int:
        """Bytes of state that one stream carries."""
        return sum(row.nbytes for row in self.stored.initial)

    def model(self) -> StreamingModel:
        """The conversion, loaded by the runtime from memory."""
        try:
            runtime = "tflite_micro" if self.target and importlib.util.find_spec("tflite_micro") else "auto"
            return StreamingModel(artifact.parse(self.pack(Proof()), "the converted model"), runtime)
        except ArtifactError as error:
            raise NotStreamableError(
                f"the step model holds what no runtime is let run: {str(error).partition(';')[0]}; "
                "replace the operation by another, or compute it before the stream"
            ) from error

    def pack(self, verification: Proof) -> bytes:
        """The bytes of the file."""
        flatbuffer = self.flatbuffer
        metadata = dataclasses.replace(self.metadata(), verification=verification)
        return artifact.pack(flatbuffer, metadata, self._files())

    def _files(self) -> dict[str, bytes]:
        files = dict(self.extra.get("files", {}))
        files |= {self._tables[name]: table.to_bytes() for name, table in self.tables.items()}
        for pack, row in zip(self.stored.packs, self.stored.initial, strict=True):
            if pack.initial and not self.is_inside:
                files[pack.initial] = row.astype(row.dtype.newbyteorder("<")).tobytes()
        return files

    def metadata(self) -> Metadata:
        """Metadata of the file, without the fingerprint."""
        source = {"keras": keras.__version__, "model": self.plan.offline.name, "quantize": self.quantize or "none"}
        source |= self.extra.get("source", {})
        return Metadata(
            fingerprint="",
            flatbuffer_bytes=0,
            signatures=self.signatures,
            inputs=tuple(self._inputs()),
            outputs=tuple(self._outputs()),
            packs=() if self.is_inside else self.stored.packs,
            slots=self.stored.slots,
            chunk=self.chunk,
            unit=self.plan.unit,
            delay=self.plan.delay,
            flush=self.plan.flush,
            valid=self.valid,
            flags=FLAGS,
            state="internal" if self.is_inside else "external",
            encode=encode_info(self.plan),
            window=self.plan.window,
            hop=self.plan.hop,
            pad=self.plan.pad,
            lead=self.plan.lead,
            task=to_plain(self.extra.get("task")),
            source=Origin.from_json(source),
            plan=self.plan.table(),
        )

    def _inputs(self) -> list[InputInfo]:
        infos = []
        for name, signal in self.plan.inputs.items():
            high = self.plan.id_limits.get(name)
            low = None if high is None else 0
            moving = signal.timeline is not None
            dtype = self._held(signal.dtype)
            info = InputInfo(name, signal.shape, dtype, moving, low, high)  # type: ignore[arg-type]
            if table := self.tables.get(name):
                shape = () if isinstance(table, TextTable) else info.shape
                tensor = TensorInfo(info.shape, info.dtype)
                info = dataclasses.replace(info, shape=shape, dtype="string", table=self._tables[name], tensor=tensor)
            elif self._boundary and (scale := self._boundary.inputs.get(name)):
                info = dataclasses.replace(info, **dataclasses.asdict(scale))
            infos.append(info)
        return infos

    def _outputs(self) -> list[OutputInfo]:
        infos = []
        for name, signal in self.plan.outputs.items():
            line, mark = signal.timeline, self.plan.marks.get(name)
            assert line is not None
            scale = self._boundary and self._boundary.outputs.get(name)
            kind = dataclasses.asdict(scale) if scale else {"dtype": self._held(signal.dtype)}
            infos.append(
                OutputInfo(
                    name,
                    signal.shape,  # type: ignore[arg-type]
                    **kind,
                    rate=(line.rate.numerator, line.rate.denominator),
                    start=line.first,
                    end=self.plan.flush if mark else line.span(0)[1],
                    running=signal.running,
                    valid=mark,
                )
            )
        return infos
