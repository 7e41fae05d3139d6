"""On a machine with a GPU the swap-in layers run on cuDNN, with their weights in its order."""

import numpy as np
import pytest
import tensorflow as tf

import rnnzoo.layers

BATCH, STEPS, INPUTS, UNITS = 4, 5, 2, 3
# Where cuDNN wants the gates of Keras: an LSTM's i, f, c, o alike; a GRU's z, r, h as r, z, h.
ORDER = {"LSTM": (0, 1, 2, 3), "GRU": (1, 0, 2)}


@pytest.fixture
def kernels(monkeypatch):
    """The arguments of the calls of cuDNN's kernel, on a machine whose TensorFlow says that it has a GPU."""
    devices, kernel, calls = tf.config.list_logical_devices, tf.raw_ops.CudnnRNNV3, []
    gpu = tf.config.LogicalDevice("/device:GPU:0", "GPU")
    monkeypatch.setattr(tf.config, "list_logical_devices", lambda kind=None: [gpu] if kind == "GPU" else devices(kind))
    monkeypatch.setattr(tf.raw_ops, "CudnnRNNV3", lambda **given: calls.append(given) or kernel(**given))
    return calls


def run(layer):
    """Call the layer; without the device the kernel's call fails, and Keras goes on with its own loop."""
    return layer(np.ones((BATCH, STEPS, INPUTS), np.float32), training=True)


@pytest.mark.parametrize("kind", sorted(ORDER))
def test_a_gpu_runs_cudnn_with_the_weights_in_its_order(kind, kernels):
    layer = getattr(rnnzoo.layers, kind)(UNITS, return_sequences=True, bias_initializer="random_normal")
    run(layer)
    (call,) = kernels
    assert call["rnn_mode"] == kind.lower()
    matrices, recurrent, bias = (weight.numpy() for weight in layer.weights)
    biases = bias if kind == "GRU" else np.stack([np.zeros_like(bias), bias])
    parts = [
        np.split(matrix, len(ORDER[kind]), axis=1)[gate].T for matrix in (matrices, recurrent) for gate in ORDER[kind]
    ]
    parts += [np.split(row, len(ORDER[kind]))[gate] for row in biases for gate in ORDER[kind]]
    np.testing.assert_array_equal(call["params"], np.concatenate([part.ravel() for part in parts]))


def test_a_training_step_on_a_gpu_is_one_kernel_a_layer(kernels):
    layer = rnnzoo.layers.LSTM(UNITS, return_sequences=True)
    traced = tf.function(lambda x: layer(x, training=True), input_signature=[tf.TensorSpec((None, None, INPUTS))])
    operations = [operation.type for operation in traced.get_concrete_function().graph.get_operations()]
    assert operations.count("CudnnRNNV3") == 1
    assert not {"While", "StatelessWhile"} & set(operations)


@pytest.mark.parametrize(
    "options", [{"activation": "relu"}, {"use_cudnn": False}, {"recurrent_dropout": 0.5}, {"unroll": True}]
)
def test_what_cudnn_does_not_support_is_not_given_to_it(options, kernels):
    run(rnnzoo.layers.LSTM(UNITS, **options))
    assert not kernels
