"""Sequences made by NumPy alone, which papers on recurrent networks measure memory with."""
