"""Turns a trained Keras model into a streaming TFLite model, and proves that it is equal."""
