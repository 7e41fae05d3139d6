"""Runs streaming models with numpy and a TFLite interpreter, nothing else."""
