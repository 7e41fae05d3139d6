"""Measurements of this project against its peers, as ratios within one run: `make bench`."""
