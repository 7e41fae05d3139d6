"""The next token of a text, and so a text."""
