"""Sequences with a beginning and an end, such as molecules, token by token."""
