"""Which notes sound next."""
