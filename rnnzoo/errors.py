"""Errors that a user of the zoo can cause, and mend."""


class ConfigError(ValueError):
    """A configuration says something that is unknown, of the wrong type, or contradicts itself."""


class DataError(ValueError):
    """A data set is missing, damaged, or not what the model needs."""
