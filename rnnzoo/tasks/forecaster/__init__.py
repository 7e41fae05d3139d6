"""Many rows ahead of a series, after every row."""
