"""TFDS builders for data sets that TFDS does not know; their checksums are in `checksums.tsv`."""
