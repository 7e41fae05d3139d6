"""Readers of users' own files: one module for each kind of data."""
