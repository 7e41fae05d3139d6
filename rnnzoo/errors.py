"""Errors that a user of the zoo can cause and fix: one line with what was expected, what came, and what to do."""


class RnnzooError(Exception):
    """Base of every error raised by `rnnzoo`."""


class ConfigError(RnnzooError, ValueError):
    """A configuration has an unknown key or a value of the wrong type, or contradicts itself."""


class DataError(RnnzooError, ValueError):
    """A data set is missing, damaged, or not what the model needs."""


class Diverged(RnnzooError, ValueError):
    """Training stopped because the loss is no longer a number."""


class UsageError(RnnzooError, ValueError):
    """The arguments are not valid for any command."""


class HubError(RnnzooError, ValueError):
    """A pretrained model cannot be downloaded, or differs from the manifest."""
