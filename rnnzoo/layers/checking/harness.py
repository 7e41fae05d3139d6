"""`rnnzoo.layers.check`: one call checks a cell or a layer."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rnnzoo.layers.checking.errors import LayerCheckError
from rnnzoo.layers.checking.properties import PROPERTIES
from rnnzoo.layers.checking.settings import Settings, Skipped
from rnnzoo.layers.checking.subject import Subject


@dataclass(frozen=True)
class Check:
    """Result of checking a layer: property -> largest error; those that were skipped, with the reason."""

    layer: str
    proven: dict[str, float] = field(default_factory=dict)
    skipped: dict[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        lines = [f"{self.layer}: {len(self.proven)} properties checked"]
        lines += [f"  {name}: largest error {error:.2g}" for name, error in self.proven.items()]
        lines += [f"  {name}: not examined, {reason}" for name, reason in self.skipped.items()]
        return "\n".join(lines)


def check(
    layer: Any,
    *,
    input_shape: tuple[int, ...] = (3, 7, 5),
    inputs: Any = None,
    oracle: Callable[..., Any] | None = None,
    streams: bool = True,
    properties: Iterable[str] | None = None,
    skip: Mapping[str, str] | None = None,
    tolerance: float = 1e-5,
    seed: int = 0,
) -> Check:
    """Check a recurrent cell, or a layer over sequences, against its equations and against its other forms.

    The properties, in this order:

    - `shape`: the symbolic output has the shape and dtype of the real one; without training nothing is random;
    - `oracle`: the outputs equal the paper's equations, written again in NumPy;
    - `gradient`: by finite differences, for all weights and inputs, in float64 (on JAX and PyTorch, where
      Keras has none, by those of the oracle);
    - `loop`: a loop over the cell, by hand, from any state, equals `keras.layers.RNN`, unrolled or not, and the
      layer's own scan;
    - `mask`: steps that are masked at the end, or in the middle of a recurrent layer, have no effect;
    - `chunked`: a sequence in pieces, the state carried over, equals the whole;
    - `config`: the config makes the same layer;
    - `saving`: a model of it, saved as .keras and loaded, gives the same outputs;
    - `mixed_precision`: float16 and bfloat16 give finite values near those of float32, of the right dtype;
    - `streaming`: converted to TFLite and fed in pieces, it equals itself (on the TensorFlow backend only).

    Args:
        layer: a cell (examined inside of `keras.layers.RNN`) or a layer. A layer that is not built gets random
            weights; one that is built keeps its own. It is not changed otherwise.
        input_shape: (B, T, *features) of random inputs.
        inputs: the inputs themselves, NumPy arrays (B, T, ...) in the structure that the layer takes, in place of
            `input_shape`: for ids, or for several inputs.
        oracle: of a cell, its step: `oracle(weights, x, states) -> (y, states)` with x (B, D), states a list; of a
            layer, all of it: `oracle(weights, x) -> y`. `weights` maps names to float64 arrays; a weight whose name
            another one has too is named by its path below the layer.
        streams: False for a layer that cannot be streamed exactly: `streaming` then checks that conversion refuses it.
        properties: which to examine; None for all.
        skip: property -> why it does not apply.
        tolerance: largest difference in float32, relative to the largest value, at least 1.
        seed: of weights and inputs, which makes a check repeatable. For a layer that is not built it is also set for
            the process, by `keras.utils.set_random_seed`.

    Returns:
        Check: the figure of each property, and what was not examined, with the reason.

    Raises:
        LayerCheckError: a property does not hold, or a weight is NaN; the message names it, with the figure.
        ValueError: a property of that name does not exist, or the input shape is no (B, T, ...).
    """
    wanted = list(PROPERTIES) if properties is None else list(properties)
    reasons = dict(skip or {})
    for name in (*wanted, *reasons):
        if name not in PROPERTIES:
            raise ValueError(f"check: expected properties among {', '.join(PROPERTIES)}. Received: {name!r}")
    if inputs is None:
        if len(input_shape) < 2 or min(input_shape) < 1 or input_shape[1] < 4:
            raise ValueError(f"check: expected input_shape (B, T, ...) with T of 4 or more. Received: {input_shape}")
        inputs = np.random.default_rng(seed).standard_normal(input_shape).astype("float32")
    subject = Subject(layer, inputs, seed)
    settings = Settings(oracle, streams, tolerance, seed)
    result = Check(subject.name)
    for name in (name for name in PROPERTIES if name in wanted):
        if name in reasons:
            result.skipped[name] = reasons[name]
            continue
        try:
            result.proven[name] = PROPERTIES[name](subject, settings)
        except Skipped as reason:
            result.skipped[name] = str(reason)
        except LayerCheckError:
            raise
        except Exception as error:
            said = " ".join(str(error).split())[:300]
            raise subject.fails(name, f"raised {type(error).__name__}: {said}") from error
    return result
