"""Stateful TFLite models that other tools made become streaming files; needs LiteRT and no TensorFlow."""
