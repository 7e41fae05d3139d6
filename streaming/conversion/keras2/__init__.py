"""Whole models of Keras 2 (`tf_keras`, `tf.keras` before TensorFlow 2.16) rebuilt in Keras 3 without running code."""
