"""Private parts of TensorFlow, and of Keras for TensorFlow, that this project uses."""

from __future__ import annotations

# Keras's own computations, replaced by forms of builtin TFLite operations while a model is traced. Files would hold
# operations that no runtime has: test_keras_ops.py.
from keras.src.backend.tensorflow import core as core_backend
from keras.src.backend.tensorflow import math as math_backend
from keras.src.backend.tensorflow import nn as nn_backend
from keras.src.backend.tensorflow import numpy as numpy_backend

# Reads and writes flatbuffers, takes calibration values, and quantizes by them; the public converter calibrates no
# model of several signatures: test_quantization.py.
from tensorflow.lite.python import schema_py_generated as schema
from tensorflow.lite.python.convert import mlir_quantize
from tensorflow.lite.python.optimize.calibrator import Calibrator

# Whether a function is compiled by XLA, or traced for a saved model: both take another loop. Training with
# `jit_compile=True` would fail: test_recurrent.py.
from tensorflow.python.ops.control_flow_util import GraphOrParentsInXlaContext
from tensorflow.python.saved_model import save_context

__all__ = [
    "Calibrator",
    "GraphOrParentsInXlaContext",
    "core_backend",
    "math_backend",
    "mlir_quantize",
    "nn_backend",
    "numpy_backend",
    "save_context",
    "schema",
]
