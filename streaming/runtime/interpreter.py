"""One TFLite interpreter, whichever is installed, and its signatures by name."""

from __future__ import annotations

import importlib
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np

from streaming.errors import ArtifactError, InputError

# name -> (module, what to install), in the order that "auto" tries
RUNTIMES = {
    "litert": ("ai_edge_litert.interpreter", "ai-edge-litert"),
    "tflite_runtime": ("tflite_runtime.interpreter", "tflite-runtime"),
    "tf": ("tensorflow", "tensorflow"),
}


def resolve(runtime: str) -> tuple[str, Any]:
    """The name of a runtime and its Interpreter class; "auto" takes the first that is installed.

    Raises:
        InputError: the name is unknown, or that runtime is not installed.
    """
    if runtime != "auto" and runtime not in RUNTIMES:
        names = ", ".join(["auto", *RUNTIMES])
        raise InputError(f"runtime is {runtime!r}, expected one of {names}")
    for name in RUNTIMES if runtime == "auto" else [runtime]:
        try:
            module = importlib.import_module(RUNTIMES[name][0])
        except ImportError:
            continue
        return name, module.lite.Interpreter if name == "tf" else module.Interpreter
    package = "ai-edge-litert" if runtime == "auto" else RUNTIMES[runtime][1]
    raise InputError(f"runtime {runtime!r} is not installed; pip install {package}")


def open_interpreter(factory: Any, flatbuffer: bytes, num_threads: int) -> Any:
    """An interpreter over a flatbuffer; raises ArtifactError where the runtime refuses it."""
    try:
        with warnings.catch_warnings():
            # tf.lite.Interpreter announces its end at each construction; it is here by request.
            warnings.filterwarnings("ignore", message=".*tf.lite.Interpreter is deprecated.*")
            return factory(model_content=flatbuffer, num_threads=num_threads)
    except (ValueError, RuntimeError) as error:
        if "vector::reserve" in str(error):
            # tflite-runtime 2.14 shares C++ symbols with TensorFlow and breaks where that was imported first.
            raise ArtifactError(
                "tflite-runtime cannot start in a process that imported TensorFlow before it; "
                "import tflite_runtime.interpreter first, or use a process without TensorFlow"
            ) from error
        raise ArtifactError(f"the runtime refused the model: {_first_line(error)}; update the runtime") from error


class Signature:
    """A signature of one interpreter, its tensors addressed by name once and by index from then on.

    `SignatureRunner.__call__` allocates tensors anew on every call; this sets, invokes and gets.
    """

    def __init__(self, interpreter: Any, name: str, inputs: Sequence[str], outputs: Sequence[str]) -> None:
        runner = interpreter.get_signature_runner(name)
        self._wrapper = runner._interpreter_wrapper
        self._graph = runner._subgraph_index
        found_in, found_out = runner.get_input_details(), runner.get_output_details()
        for kind, wanted, found in (("inputs", inputs, found_in), ("outputs", outputs, found_out)):
            if set(wanted) != set(found):
                raise ArtifactError(
                    f"signature {name!r} has {kind} {sorted(found)}, its metadata says {sorted(wanted)}; "
                    "convert the model again"
                )
        self.details = {"inputs": found_in, "outputs": found_out}
        self._inputs = [found_in[key]["index"] for key in inputs]
        self._outputs = [found_out[key]["index"] for key in outputs]
        try:
            self._wrapper.AllocateTensors(self._graph)
        except (ValueError, RuntimeError) as error:
            raise ArtifactError(
                f"the runtime cannot prepare signature {name!r}: {_first_line(error)}; use a newer runtime"
            ) from error

    def run(self, values: Sequence[np.ndarray]) -> list[np.ndarray]:
        """Outputs for input arrays, both in the order of the names given at construction."""
        wrapper, graph = self._wrapper, self._graph
        for index, value in zip(self._inputs, values):  # noqa: B905 - strict costs time on the hot path
            wrapper.SetTensor(index, value, graph)
        wrapper.Invoke(graph)
        return [wrapper.GetTensor(index, graph) for index in self._outputs]


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:200]
