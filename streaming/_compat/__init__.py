"""Private parts of Keras that this project uses, in one place; `streaming._compat.tensorflow` has those of TensorFlow.

Keras may move any of them in a minor version. The docstring of each says what it is for, what breaks without it and
which test shows that; `test_compat.py` first checks that all of them exist. Needs Keras, not TensorFlow.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import keras

# Masks that travel with tensors, without which masked sequences stream unmasked: test_masks.py. Shapes of what a call
# gives, by which those of further arguments of a subclassed model are found: test_user_code.py.
from keras.src.backend import compute_output_spec, get_keras_mask, set_keras_mask

# The loop over time of any backend. Chains and attention decoders could not be trained: test_chain.py.
from keras.src.backend import rnn as loop_over_time

# Arguments of a call by name, as Keras reads them. Masks given by position are lost: test_masks.py.
from keras.src.layers.layer import CallSpec

# Base of Add, Concatenate and their kin, by which their rule is found: test_joining.py.
from keras.src.layers.merging.base_merge import Merge

# Dropout masks that stay the same over a sequence: `keras.layers.RNN` draws those of these cells before its loop, and
# forgets them after it. Cells would drop anew in each step: test_cells.py.
from keras.src.layers.rnn.dropout_rnn_cell import DropoutRNNCell

# Graphs of layers, and how one of their calls is computed. No model could be planned: test_conversion.py.
from keras.src.models.functional import Functional, operation_fn

# Operations behind `keras.ops` as classes, by which rules are found: test_keras_ops.py.
from keras.src.ops import core as core_operations
from keras.src.ops import linalg as linalg_operations
from keras.src.ops import math as math_operations
from keras.src.ops import nn as nn_operations
from keras.src.ops import numpy as numpy_operations

# A call in a graph: test_conversion.py.
from keras.src.ops.node import Node

# Base of those classes. Whole-model .h5 files of Keras 3 that hold a mask could not be loaded: test_keras2.py.
from keras.src.ops.operation import Operation

__all__ = [
    "CallSpec",
    "DropoutRNNCell",
    "Functional",
    "Merge",
    "Node",
    "compute_output_spec",
    "get_keras_mask",
    "inputs_of",
    "layers_of",
    "loop_over_time",
    "math_operations",
    "nn_operations",
    "nodes_of",
    "numpy_operations",
    "operation_fn",
    "operations_by_name",
    "outputs_of",
    "set_keras_mask",
]


def layers_of(layer: Any, *, include_self: bool = True) -> list[Any]:
    """A layer or model and all layers inside of it, at any depth.

    `model.layers` has only one level, without the policies and states of inner layers: test_precision.py.
    """
    return list(layer._flatten_layers(include_self=include_self))


def operations_by_name() -> dict[str, type[Operation]]:
    """The classes behind `keras.ops` by their names, which a .h5 file gives without their module."""
    modules = [core_operations, linalg_operations, math_operations, nn_operations, numpy_operations]
    classes = [item for module in modules for item in vars(module).values() if isinstance(item, type)]
    return {item.__name__: item for item in classes if issubclass(item, Operation) and item is not Operation}


def nodes_of(graph: Functional) -> Iterator[Node]:
    """The calls of a graph in topological order, those of its inputs first.

    `graph.operations` lists a layer that is called twice only once: test_conversion.py.
    """
    for depth in sorted(graph._nodes_by_depth, reverse=True):
        yield from graph._nodes_by_depth[depth]


def inputs_of(graph: keras.Model) -> Any:
    """The inputs of a graph as the structure that its call takes: a tensor, a list or a dict.

    `graph.inputs` is flat, and does not say whether inputs are given by name or by position: test_user_code.py.
    """
    return graph._inputs_struct


def outputs_of(graph: keras.Model) -> Any:
    """The outputs of a graph as the structure that its call gives; `graph.outputs` is flat: test_user_code.py."""
    return graph._outputs_struct
