"""Functions with a gradient of their own, in the form that each backend of Keras has for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras

Tensors = tuple[Any, ...]
Forward = Callable[..., Tensors]
Backward = Callable[[Tensors, Tensors, Tensors], Tensors]


def with_gradient(forward: Forward, backward: Backward, operands: Tensors) -> Tensors:
    """forward(*operands), a tuple of tensors, whose gradient is backward(operands, results, upstream).

    `backward` may be differentiated in its turn, as far as what it calls has a gradient.
    """
    return {"tensorflow": _tensorflow, "torch": _torch, "jax": _jax}[keras.backend.backend()](
        forward, backward, operands
    )


def _tensorflow(forward: Forward, backward: Backward, operands: Tensors) -> Tensors:
    import tensorflow as tf

    @tf.custom_gradient
    def function(*operands: Any) -> Any:
        results = forward(*operands)
        return results, lambda *upstream: backward(operands, results, upstream)

    return tuple(function(*operands))


def _jax(forward: Forward, backward: Backward, operands: Tensors) -> Tensors:
    import jax

    def keep(*operands: Any) -> Any:
        results = forward(*operands)
        return results, (operands, results)

    function = jax.custom_vjp(forward)
    function.defvjp(keep, lambda kept, upstream: tuple(backward(*kept, upstream)))  # type: ignore[call-arg]
    return tuple(function(*operands))


def _torch(forward: Forward, backward: Backward, operands: Tensors) -> Tensors:
    import torch

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(context: Any, *operands: Any) -> Any:
            results = tuple(forward(*operands))
            context.save_for_backward(*operands, *results)
            return results

        @staticmethod
        def backward(context: Any, *upstream: Any) -> Any:
            saved, count = context.saved_tensors, len(operands)
            return tuple(backward(saved[:count], saved[count:], upstream))

    return tuple(Function.apply(*operands))
