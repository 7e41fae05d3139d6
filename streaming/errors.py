"""The errors that `streaming` raises, one class for each cause."""


class StreamingError(Exception):
    """Base of every error raised by `streaming`: one line, what was expected, what came, what to do."""


class NotStreamableError(StreamingError):
    """A layer of the model cannot be streamed exactly; the message names it, the reason and the remedy."""


class ParityError(StreamingError):
    """The converted stream differs from the offline model; no file was written."""


class ArtifactError(StreamingError):
    """A file is not a streaming model, is damaged, or was made by another version."""


class StateMismatchError(StreamingError):
    """A saved state belongs to another model or another version, or is damaged."""


class InputError(StreamingError, ValueError):
    """A value given to a stream or converter has the wrong shape, dtype or content."""


class BacklogError(StreamingError):
    """More calls wait than are allowed; nothing was taken, try again later."""


class OutOfMemoryError(StreamingError, MemoryError):
    """There is too little memory for a model or a stream; what there was before is as it was."""
