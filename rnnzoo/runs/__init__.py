"""Saved runs: trained, stored, measured, exported and compared."""
