"""An answer to a question about a story."""
