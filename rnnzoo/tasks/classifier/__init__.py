"""A label, or several, for a whole sequence."""
