"""Maps TensorFlow operations in the configuration of a Keras 2 model to the equivalent `keras.ops`.

Keras 2 records `tf.math.log(x)` in a functional model as a layer `TFOpLambda` with the name of the function; its
arguments are in the node. Only functions of this table are ever called.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from keras import ops

from streaming.errors import NotStreamableError

KINDS = ("TFOpLambda", "SlicingOpLambda")
# Arguments that do not change what is computed.
_SILENT = ("name", "conjugate", "validate_indices", "out_type")

Operation = tuple[Sequence[str], Callable[..., Any]]


def _unary(function: Callable[..., Any], first: str = "x") -> Operation:
    return (first,), function


def _binary(function: Callable[..., Any]) -> Operation:
    def combined(x: Any, y: Any) -> Any:
        # An array was written as a list, which `keras.ops` takes for a shape without axes.
        if isinstance(x, list):
            x = np.asarray(x, y.dtype)
        return function(x, np.asarray(y, x.dtype) if isinstance(y, list) else y)

    return ("x", "y"), combined


def _reduction(function: Callable[..., Any]) -> Operation:
    def reduced(x: Any, axis: Any = None, keepdims: Any = None) -> Any:
        return function(x, axis=axis if axis is None or isinstance(axis, int) else tuple(axis), keepdims=bool(keepdims))

    return ("input_tensor", "axis", "keepdims"), reduced


def _matmul(a: Any, b: Any, transpose_a: bool = False, transpose_b: bool = False) -> Any:
    return ops.matmul(ops.swapaxes(a, -1, -2) if transpose_a else a, ops.swapaxes(b, -1, -2) if transpose_b else b)


def _squeeze(x: Any, axis: Any = None) -> Any:
    axes = [axis] if isinstance(axis, int) else axis
    return ops.squeeze(x, axis=None if not axes else axes[0] if len(axes) == 1 else tuple(axes))


def _l2_normalize(x: Any, axis: Any = None, epsilon: float = 1e-12) -> Any:
    axis = axis if axis is None or isinstance(axis, int) else tuple(axis)
    squares = ops.sum(ops.square(x), axis=axis, keepdims=True)
    return x * ops.rsqrt(ops.maximum(squares, epsilon))


def _pad(x: Any, paddings: Any, mode: str | None = None, constant_values: Any = None) -> Any:
    kind = (mode or "constant").lower()
    return ops.pad(x, paddings, mode=kind, constant_values=(constant_values or 0) if kind == "constant" else None)


def _split(x: Any, sizes: Any, axis: int | None = None) -> Any:
    places = sizes if isinstance(sizes, int) else [int(end) for end in np.cumsum(sizes)[:-1]]
    return ops.split(x, places, axis=axis or 0)


def _slice(x: Any, slice_spec: Any) -> Any:
    specs = slice_spec if isinstance(slice_spec, list) else [slice_spec]
    return x[tuple(_index(spec) for spec in specs)]


def _index(spec: Any) -> Any:
    if isinstance(spec, dict) and spec.get("class_name") == "__ellipsis__":
        return Ellipsis
    if isinstance(spec, dict) and set(spec) <= {"start", "stop", "step"}:
        spec = [spec.get(key) for key in ("start", "stop", "step")]
        if all(part is None or type(part) is int for part in spec):
            return slice(*spec)
    elif spec is None or type(spec) is int:
        return spec
    raise NotStreamableError("an index that is computed is not supported; write it as a layer of yours")


_OPERATIONS: dict[str, Operation] = {
    **{
        f"math.{name}": _unary(getattr(ops, name))
        for name in "abs log log1p exp expm1 sqrt rsqrt square tanh sigmoid sin cos floor ceil sign reciprocal".split()
    },
    "abs": _unary(ops.abs),
    "exp": _unary(ops.exp),
    "sqrt": _unary(ops.sqrt),
    "square": _unary(ops.square),
    "tanh": _unary(ops.tanh),
    "nn.tanh": _unary(ops.tanh),
    "sigmoid": _unary(ops.sigmoid),
    "nn.sigmoid": _unary(ops.sigmoid),
    "round": _unary(ops.round),
    "math.round": _unary(ops.round),
    "math.negative": _unary(ops.negative),
    "math.logical_not": _unary(ops.logical_not),
    "math.erf": _unary(ops.erf),
    "math.softplus": _unary(ops.softplus, "features"),
    "nn.relu": _unary(ops.relu, "features"),
    "nn.relu6": _unary(ops.relu6, "features"),
    "nn.elu": _unary(ops.elu, "features"),
    "nn.selu": _unary(ops.selu, "features"),
    "nn.softplus": _unary(ops.softplus, "features"),
    "nn.softsign": _unary(ops.softsign, "features"),
    "nn.silu": _unary(ops.silu, "features"),
    "nn.swish": _unary(ops.silu, "features"),
    "nn.gelu": (("features", "approximate"), lambda x, approximate=False: ops.gelu(x, approximate=bool(approximate))),
    "nn.leaky_relu": (("features", "alpha"), lambda x, alpha=0.2: ops.leaky_relu(x, negative_slope=alpha)),
    "nn.softmax": (("logits", "axis"), lambda x, axis=-1: ops.softmax(x, axis=-1 if axis is None else axis)),
    "nn.log_softmax": (("logits", "axis"), lambda x, axis=-1: ops.log_softmax(x, axis=-1 if axis is None else axis)),
    "math.l2_normalize": (("x", "axis", "epsilon"), _l2_normalize),
    "identity": _unary(lambda x: x, "input"),
    "stop_gradient": _unary(ops.stop_gradient, "input"),
    "zeros_like": _unary(ops.zeros_like, "input"),
    "ones_like": _unary(ops.ones_like, "input"),
    "__operators__.add": _binary(ops.add),
    "__operators__.eq": (("self", "other"), _binary(ops.equal)[1]),
    "__operators__.ne": (("self", "other"), _binary(ops.not_equal)[1]),
    **{
        f"math.{name}": _binary(getattr(ops, name))
        for name in (
            "add subtract multiply divide maximum minimum greater greater_equal less less_equal equal not_equal "
            "logical_and logical_or"
        ).split()
    },
    "add": _binary(ops.add),
    "subtract": _binary(ops.subtract),
    "multiply": _binary(ops.multiply),
    "maximum": _binary(ops.maximum),
    "minimum": _binary(ops.minimum),
    "math.truediv": _binary(ops.true_divide),
    "math.pow": _binary(ops.power),
    "pow": _binary(ops.power),
    "math.floordiv": _binary(ops.floor_divide),
    "math.floormod": _binary(ops.mod),
    "math.squared_difference": _binary(lambda x, y: ops.square(ops.subtract(x, y))),
    "math.reduce_mean": _reduction(ops.mean),
    "math.reduce_sum": _reduction(ops.sum),
    "math.reduce_max": _reduction(ops.max),
    "math.reduce_min": _reduction(ops.min),
    "math.reduce_prod": _reduction(ops.prod),
    "math.reduce_std": _reduction(ops.std),
    "math.reduce_variance": _reduction(ops.var),
    "math.reduce_any": _reduction(ops.any),
    "math.reduce_all": _reduction(ops.all),
    "math.reduce_logsumexp": _reduction(ops.logsumexp),
    "math.argmax": (("input", "axis"), lambda x, axis=0: ops.argmax(x, axis=axis or 0)),
    "math.argmin": (("input", "axis"), lambda x, axis=0: ops.argmin(x, axis=axis or 0)),
    "math.cumsum": (("x", "axis"), lambda x, axis=0: ops.cumsum(x, axis=axis)),
    "linalg.matmul": (("a", "b", "transpose_a", "transpose_b"), _matmul),
    "concat": (("values", "axis"), lambda values, axis: ops.concatenate(values, axis=axis)),
    "stack": (("values", "axis"), lambda values, axis=0: ops.stack(values, axis=axis)),
    "split": (("value", "num_or_size_splits", "axis"), _split),
    "unstack": (("value", "num", "axis"), lambda x, num=None, axis=0: ops.unstack(x, num, axis=axis or 0)),
    "expand_dims": (("input", "axis"), lambda x, axis: ops.expand_dims(x, axis)),
    "squeeze": (("input", "axis"), _squeeze),
    "compat.v1.squeeze": (("input", "axis"), _squeeze),
    "reshape": (("tensor", "shape"), ops.reshape),
    "transpose": (("a", "perm"), lambda x, perm=None: ops.transpose(x, perm)),
    "compat.v1.transpose": (("a", "perm"), lambda x, perm=None: ops.transpose(x, perm)),
    "tile": (("input", "multiples"), ops.tile),
    "repeat": (("input", "repeats", "axis"), lambda x, repeats, axis=None: ops.repeat(x, repeats, axis=axis)),
    "reverse": (("tensor", "axis"), lambda x, axis: ops.flip(x, axis=axis[0] if isinstance(axis, list) else axis)),
    "roll": (("input", "shift", "axis"), lambda x, shift, axis: ops.roll(x, shift, axis=axis)),
    "pad": (("tensor", "paddings", "mode", "constant_values"), _pad),
    "compat.v1.pad": (("tensor", "paddings", "mode", "constant_values"), _pad),
    "cast": (("x", "dtype"), ops.cast),
    "clip_by_value": (("t", "clip_value_min", "clip_value_max"), ops.clip),
    "where": (("condition", "x", "y"), ops.where),
    "one_hot": (("indices", "depth"), ops.one_hot),
    "gather": (
        ("params", "indices", "axis"),
        lambda x, indices, axis=0: ops.take(x, ops.convert_to_tensor(indices), axis=axis or 0),
    ),
    "__operators__.getitem": (("tensor", "slice_spec"), _slice),
}


def operation(function: str, name: str, path: str) -> Operation:
    """The argument names in order, and the function; raises NotStreamableError for an unknown operation."""
    try:
        return _OPERATIONS[function]
    except KeyError:
        raise NotStreamableError(
            f"layer {name!r} of {path} is the TensorFlow function tf.{function}, which has no counterpart here; "
            "write it with keras.ops and load the weights into that model"
        ) from None


def apply(function: str, name: str, path: str, first: Any, rest: Mapping[str, Any]) -> Any:
    """Apply a recorded operation to its first argument, with the others by name."""
    parameters, run = operation(function, name, path)
    given = {key: value for key, value in rest.items() if key not in _SILENT and value is not None}
    values: dict[str, Any] = {parameters[0]: first, **given}
    unknown = sorted(set(values) - set(parameters) - {key for key, value in given.items() if value is False})
    if unknown:
        raise NotStreamableError(
            f"layer {name!r} of {path} calls tf.{function} with {unknown[0]}={given[unknown[0]]!r}, which is not known "
            "here; write it with keras.ops and load the weights into that model"
        )
    arguments = [values.get(parameter) for parameter in parameters]
    while arguments[-1] is None and len(arguments) > 1:
        arguments.pop()
    return run(*arguments)
