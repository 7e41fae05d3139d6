"""Peers of `benchmarks.whole` and `benchmarks.heads` in plain Keras and in PyTorch."""
