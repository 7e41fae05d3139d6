"""Opens TFLite interpreters of any installed runtime, and runs their signatures by name."""

from __future__ import annotations

import importlib
import os
import sys
import threading
import warnings
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from numpy.typing import NDArray

from streaming.errors import ArtifactError, InputError, StreamingError
from streaming.runtime.failures import first_line, interpreter_failed
from streaming.runtime.sweep import Sweep

# name -> (module, what to install)
RUNTIMES = {
    "litert": ("ai_edge_litert.interpreter", "ai-edge-litert"),
    "tflite_runtime": ("tflite_runtime.interpreter", "tflite-runtime"),
    "tf": ("tensorflow", "tensorflow"),
    "tflite_micro": ("tflite_micro", "tflite-micro"),
}

# Microcontrollers' own runs what was made for it alone.
_AUTO = ("litert", "tflite_runtime", "tf")

Run = Callable[[Sequence[NDArray[Any]]], list[NDArray[Any]]]


def resolve(runtime: str) -> tuple[str, Any]:
    """The name of a runtime and its Interpreter class; "auto" takes the first that can be imported.

    Raises:
        InputError: the name is unknown, or that runtime is not installed or broken.
    """
    if runtime != "auto" and runtime not in RUNTIMES:
        names = ", ".join(map(repr, ["auto", *RUNTIMES]))
        raise InputError(f"runtime is {runtime!r}, expected one of {names}")
    reason = ""
    for name in _AUTO if runtime == "auto" else [runtime]:
        try:
            if name == "tflite_runtime" and "tensorflow" in sys.modules and RUNTIMES[name][0] not in sys.modules:
                # Its symbols are then taken from TensorFlow's libraries, and it fails with "vector::reserve".
                raise ImportError("TensorFlow was imported before it; import it first or use another process")
            module = importlib.import_module(RUNTIMES[name][0])
            if name == "tflite_micro":
                module = importlib.import_module("streaming.runtime.micro")
            return name, module.lite.Interpreter if name == "tf" else module.Interpreter
        except (ImportError, AttributeError) as error:
            reason = reason or first_line(error)
    package = "ai-edge-litert" if runtime == "auto" else RUNTIMES[runtime][1]
    raise InputError(f"runtime {runtime!r} cannot be imported ({reason}); pip install {package}")


_opening = threading.Lock()


def open_interpreter(factory: Any, flatbuffer: bytes, num_threads: int) -> Any:
    """An interpreter over a flatbuffer, which it keeps alive; ArtifactError where the runtime refuses it."""
    try:
        # Filters of warnings belong to the process, not to a thread: one thread at a time changes them.
        with _opening, warnings.catch_warnings():
            # tf.lite.Interpreter announces its end whenever one is made; it is here by request.
            warnings.filterwarnings("ignore", message=r"\s*Warning: tf\.lite\.Interpreter is deprecated")
            interpreter = factory(model_content=flatbuffer, num_threads=num_threads)
            if factory.__module__.startswith("tflite_runtime"):
                # It hands work to XNNPACK in this call alone; without it float steps take up to twice as long.
                interpreter.allocate_tensors()
            return interpreter
    except (ValueError, RuntimeError) as error:
        remedy = "use a newer runtime or convert it again"
        if factory.__module__ == "streaming.runtime.micro":
            remedy = "convert the model with target='micro', or take another runtime"
        raise ArtifactError(f"the runtime refused the model: {first_line(error)}; {remedy}") from error


def prepare(interpreter: Any, name: str, inputs: Sequence[str], outputs: Mapping[str, tuple[int, ...]]) -> Run:
    """A function that runs a signature: arrays in the order of `inputs` to arrays in the order of `outputs`.

    `SignatureRunner.__call__` resizes and allocates all tensors on every call. This allocates once, then sets, invokes
    and gets by index, if the runtime's Python wrapper has the calls for it. The results are checked against the shapes
    in `outputs`: an interpreter computes shapes itself, and a forged graph may lead it to others.

    Raises:
        ArtifactError: the runtime cannot prepare the signature, or its outputs have other shapes.
    """
    shapes = list(outputs.values())
    runner = interpreter.get_signature_runner(name)
    into = [runner.get_input_details()[key]["index"] for key in inputs]
    out_of = [runner.get_output_details()[key]["index"] for key in outputs]
    try:
        wrapper, graph = runner._interpreter_wrapper, runner._subgraph_index
        set_tensor, invoke, get_tensor = wrapper.SetTensor, wrapper.Invoke, wrapper.GetTensor
        wrapper.AllocateTensors(graph)
    except AttributeError:
        return _checked(_public(runner, inputs, list(outputs)), shapes)
    except (ValueError, RuntimeError) as error:
        raise ArtifactError(
            f"the runtime cannot prepare signature {name!r}: {first_line(error)}; use a newer runtime"
        ) from error

    def run(values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            for index, value in zip(into, values):  # noqa: B905 - strict costs time on every step
                set_tensor(index, value, graph)
            invoke(graph)
            return [get_tensor(index, graph) for index in out_of]
        except (ValueError, RuntimeError, MemoryError) as error:
            raise interpreter_failed(error) from error

    try:
        actual = [get_tensor(index, graph).shape for index in out_of]
    except ValueError:  # it has no shape before it is computed
        return _checked(run, shapes)
    if actual != shapes:
        raise ArtifactError(f"signature {name!r} gives {actual}, its metadata say {shapes}; convert the model again")
    return run


def _checked(run: Run, shapes: Sequence[tuple[int, ...]]) -> Run:
    def checked(values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        results = run(values)
        actual = [result.shape for result in results]
        if actual != shapes:
            raise StreamingError(f"the interpreter gave {actual}, expected {shapes}; convert the model again")
        return results

    return checked


def _carrying(run: Run) -> Run:
    """The context, the last input of a step, goes on among the states as it came."""
    return lambda values: [*run(values), values[-1]]


def _public(runner: Any, inputs: Sequence[str], outputs: Sequence[str]) -> Run:
    def run(values: Sequence[NDArray[Any]]) -> list[NDArray[Any]]:
        try:
            results = runner(**dict(zip(inputs, values, strict=True)))
        except (ValueError, RuntimeError, MemoryError) as error:
            raise interpreter_failed(error) from error
        return [results[key] for key in outputs]

    return run


# In place of a number of steps: one unit of steps that gives no row, by signature `fill`.
FILL = 0


@dataclass(frozen=True)
class Recipe:
    """The data needed to open an interpreter of one model and to prepare its signatures.

    signatures: (batch, chunk) -> name; inputs: tensor names in the order in which they are given; outputs: by the name
    of the signature, tensors in the order in which they are taken, with their shapes; chunk: the steps of
    `Engine.step`; encode, fill: inputs of the signatures of these names, where there are such; rows: empty outputs, for
    `fill`, which gives no rows; resets: whether `reset` sets the internal state, otherwise a new interpreter is opened;
    make: makes an engine from a recipe; timed: which of the model's inputs have a time axis; states: how many states go
    in and come out.
    """

    factory: Any
    flatbuffer: bytes
    num_threads: int
    signatures: Mapping[tuple[int, int], str]
    inputs: Sequence[str]
    outputs: Mapping[str, Mapping[str, tuple[int, ...]]]
    chunk: int
    encode: Sequence[str] | None = None
    fill: Sequence[str] | None = None
    rows: Sequence[NDArray[Any]] = ()
    resets: bool = True
    make: Callable[[Recipe], Engine] | None = None
    timed: Sequence[bool] = ()
    states: int = 0

    def engine(self) -> Engine:
        """A new engine."""
        return Engine(self) if self.make is None else self.make(self)

    def open(self) -> Any:
        """A new interpreter."""
        return open_interpreter(self.factory, self.flatbuffer, self.num_threads)


def view_signature(interpreter: Any, name: str, recipe: Recipe) -> Sweep | None:
    """A signature that `prepare` has allocated, by views of its tensors; None where there are none."""
    runner = interpreter.get_signature_runner(name)
    into, out_of = runner.get_input_details(), runner.get_output_details()
    try:
        wrapper, graph = runner._interpreter_wrapper, runner._subgraph_index
        views = [wrapper.tensor(interpreter, into[key]["index"], graph) for key in recipe.inputs]
        results = [wrapper.tensor(interpreter, out_of[key]["index"], graph) for key in recipe.outputs[name]]
        invoke = partial(wrapper.Invoke, graph)
    except (
        AttributeError,
        TypeError,
        ValueError,
        RuntimeError,
    ):  # a tensor whose memory moves from run to run has none
        return None
    if [view.shape for view in results] != list(recipe.outputs[name].values()):
        return None
    if not all(view.flags.writeable for view in views):
        return None
    return Sweep(invoke, views, results, recipe.states, recipe.timed, context=recipe.encode is not None)


class Engine:
    """One interpreter and the functions that run its signatures, each prepared when first used.

    Not for two threads at once. `step` runs one chunk of one stream; so does `step_one` where the model has one input,
    output and state, and is None elsewhere.
    """

    step_one: Callable[[NDArray[Any], NDArray[Any]], tuple[NDArray[Any], NDArray[Any]]] | None = None

    def __init__(self, recipe: Recipe, interpreter: Any = None) -> None:
        self._recipe = recipe
        self._used = False
        self._open(recipe.open() if interpreter is None else interpreter)

    def _open(self, interpreter: Any) -> None:
        self.interpreter = interpreter
        self._runs: dict[tuple[int, int], Run] = {}
        self._reset: Any = None
        self._encode: Run | None = None
        self._sweeps: dict[int, Sweep | None] = {}
        self.step = self.run(1, self._recipe.chunk)
        sweep = self.sweep(self._recipe.chunk)
        if sweep is not None and self._recipe.encode is None:
            self.step = sweep.step
        self.step_one = sweep.step_one if sweep is not None and sweep.is_plain else None

    def run(self, batch: int, chunk: int) -> Run:
        """The function of the signature for `batch` streams by `chunk` steps."""
        try:
            return self._runs[batch, chunk]
        except KeyError:
            recipe = self._recipe
            if chunk == FILL:
                run = self._runs[batch, chunk] = self._fill()
                return run
            name = recipe.signatures[batch, chunk]
            run = prepare(self.interpreter, name, recipe.inputs, recipe.outputs[name])
            if recipe.encode is not None:
                run = _carrying(run)
            self._runs[batch, chunk] = run
            return run

    def sweep(self, chunk: int) -> Sweep | None:
        """Runs `chunk` steps of one stream again and again; None where the runtime has no views of its tensors."""
        try:
            return self._sweeps[chunk]
        except KeyError:
            self.run(1, chunk)  # allocates the signature, and checks it
            recipe = self._recipe
            name = recipe.signatures[1, chunk]
            sweep = self._sweeps[chunk] = view_signature(self.interpreter, name, recipe)
            return sweep

    def _fill(self) -> Run:
        recipe = self._recipe
        assert recipe.fill is not None
        run = prepare(self.interpreter, "fill", recipe.fill, recipe.outputs["fill"])
        states = 1 if "done" in recipe.outputs["fill"] else 0
        return lambda values: [*recipe.rows, *run(values)[states:]]

    def encode(self, values: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Runs `encode`: the context (1, size) that every step of a stream reads."""
        recipe = self._recipe
        assert recipe.encode is not None
        if self._encode is None:
            self._encode = prepare(self.interpreter, "encode", recipe.encode, recipe.outputs["encode"])
        return self._encode(values)[0]

    def reset(self) -> None:
        """Set internal state to its initial values; must also be called before the first step."""
        if not self._recipe.resets:
            if self._used:
                self._open(self._recipe.open())
            self._used = True
            return
        try:
            if self._reset is None:
                self._reset = self.interpreter.get_signature_runner("reset")
            self._reset()
        except (ValueError, RuntimeError, MemoryError) as error:
            raise interpreter_failed(error) from error


class EnginePool:
    """Engines of one model, one for each thread, made on first use; `first` is that of the calling thread."""

    def __init__(self, recipe: Recipe, first: Engine) -> None:
        self.local = threading.local()
        self.local.engine = first
        self._recipe = recipe
        _pools.add(self)

    def get(self) -> Engine:
        """The engine of the calling thread."""
        try:
            return self.local.engine
        except AttributeError:
            self.local.engine = self._recipe.engine()
            return self.local.engine

    def abandon(self) -> None:
        """Forget the calling thread's engine without closing it."""
        engine = self.local.__dict__.pop("engine", None)
        if engine is not None:
            _abandoned.append(engine)


_pools: weakref.WeakSet[EnginePool] = weakref.WeakSet()
_abandoned: list[Engine] = []


def _after_fork() -> None:
    # The worker threads of an interpreter do not survive a fork; closing it would wait for them for ever.
    for pool in list(_pools):
        pool.abandon()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
