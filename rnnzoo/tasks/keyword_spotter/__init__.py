"""Keyword spotting in an endless signal."""
