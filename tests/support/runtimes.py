"""The runtimes that the tests walk through, and whether each is installed."""

from __future__ import annotations

RUNTIMES = ("litert", "tflite_runtime", "tf")


def installed(runtime: str) -> bool:
    """Whether a TFLite runtime can be imported here."""
    from streaming.errors import InputError
    from streaming.runtime.interpreter import resolve

    try:
        resolve(runtime)
    except InputError:
        return False
    return True
