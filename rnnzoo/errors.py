"""Errors that a user of the zoo can cause, and mend: one line, what was expected, what came, what to do."""


class RnnzooError(Exception):
    """Base of every error raised by `rnnzoo`."""


class ConfigError(RnnzooError, ValueError):
    """A configuration says something that is unknown, of the wrong type, or contradicts itself."""


class DataError(RnnzooError, ValueError):
    """A data set is missing, damaged, or not what the model needs."""


class Diverged(RnnzooError, ValueError):
    """Training stopped because the loss is no longer a number."""


class UsageError(RnnzooError, ValueError):
    """A command line says something that no command takes."""


class HubError(RnnzooError, ValueError):
    """A pretrained model cannot be had, or what came is not what was announced."""
