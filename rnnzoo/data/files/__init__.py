"""What users bring: one file a kind of data."""
