"""Drawings, point by point: a mixture density of the next movement of the pen."""
