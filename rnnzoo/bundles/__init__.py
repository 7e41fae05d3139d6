"""Bundles: runs that are published, with ready files, figures and a card."""
