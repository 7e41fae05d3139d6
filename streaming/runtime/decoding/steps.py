"""The step function of all searches: a batch of tokens and states to logits and new states."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streaming.errors import InputError
from streaming.runtime.stream import Stream

# step(states, tokens (N,)) -> (logits (N, tokens), states). A state that comes twice goes on twice; what is given is
# spent, so that a step may write into it.
StepFunction = Callable[[Sequence[Any], NDArray[Any]], tuple[NDArray[Any], Sequence[Any]]]


@dataclass(frozen=True)
class Decoder:
    """A step function of any model and its initial state, so that a Keras model is decoded by the device's code.

    Args:
        step: takes N states and N tokens (N,); gives logits (N, tokens) and the N states that follow. A state may occur
            several times; the states passed in are not used again.
        state: of a sequence that has seen no token yet.
    """

    step: StepFunction
    state: Any


def decoders(sources: Sequence[Stream | Decoder], fork: bool) -> tuple[StepFunction, Sequence[Any]]:
    """The common step function of streams of one model, or of decoders with one step function, and the states.

    Raises:
        InputError: they do not belong together, or the model's steps are of another kind.
    """
    first = sources[0]
    if isinstance(first, Stream):
        model = first.model
        if any(not isinstance(source, Stream) or source.model is not model for source in sources):
            raise InputError("sequences that are searched together need streams of one model")
        _check(first)
        streams = [source for source in sources if isinstance(source, Stream)]
        return _stream_step(first), [stream.fork() for stream in streams] if fork else streams
    if any(not isinstance(source, Decoder) or source.step is not first.step for source in sources):
        raise InputError("sequences that are searched together need decoders with one step function")
    return first.step, [source.state for source in sources if isinstance(source, Decoder)]


def check_tokens(source: Stream | Decoder, start: int, end: int, max_steps: int) -> None:
    """Raises InputError where a token or the number of steps is out of range."""
    size = source.model.metadata.outputs[0].shape[0] if isinstance(source, Stream) else max(start, end) + 1
    if not 0 <= end < size or start < 0 or max_steps < 1:
        raise InputError(
            f"start is {start}, end {end} and max_steps {max_steps}, expected tokens below {size} and a step or more"
        )


def _stream_step(stream: Stream) -> StepFunction:
    dtype = np.dtype(stream.model.metadata.inputs[0].dtype)
    real = stream.model.metadata.outputs[0].dequantize

    def step(states: Sequence[Any], tokens: NDArray[Any]) -> tuple[NDArray[Any], Sequence[Any]]:
        inputs = list(tokens.astype(dtype)[:, None])
        if len(states) == 1:
            return real(states[0].step(inputs[0])), states
        seen: set[int] = set()
        own = []
        for state in states:
            own.append(state.fork() if id(state) in seen else state)
            seen.add(id(state))
        return real(np.concatenate(stream.step_all(own, inputs))), own

    return step


def _check(stream: Stream) -> None:
    meta = stream.model.metadata
    one = len(meta.inputs) == len(meta.outputs) == meta.chunk == 1 and not meta.delay
    if not one or meta.inputs[0].shape or not meta.inputs[0].dtype.startswith("int") or len(meta.outputs[0].shape) != 1:
        raise InputError(
            "the model does not take one integer token a step and give one row of logits; convert it with chunk=None"
        )
