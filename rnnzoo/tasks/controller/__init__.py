"""Torques at each step for what is to follow a reference, learned from a controller that knows more."""
