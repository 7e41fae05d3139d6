"""Entry point: parse, call, and turn what users can cause into one line and exit code 2."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Sequence

from rnnzoo.cli.parser import parse
from rnnzoo.errors import RnnzooError
from rnnzoo.quiet import quiet_tensorflow
from streaming.errors import StreamingError

USER_ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141
# What the extra `train` brings, by the name under which it is imported.
_TRAIN = ("keras", "tensorflow", "tensorflow_datasets", "safetensors", "yaml", "rich")


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    argv = list(sys.argv[1:] if argv is None else argv)
    debug = "--debug" in argv
    quiet_tensorflow()
    try:
        arguments = parse(argv)
        arguments.run(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        print("rnnzoo: interrupted", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # The reader has left; the interpreter would complain when it flushes at exit.
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    except (Exception, SystemExit) as error:
        if isinstance(error, SystemExit):
            return int(error.code or 0)
        message = explain(error)
        if debug or message is None:
            raise
        print(f"rnnzoo: error: {message}", file=sys.stderr)
        return USER_ERROR
    return 0


def explain(error: BaseException) -> str | None:
    """One line for an error that a user can mend; None for what is a fault of the program."""
    if isinstance(error, ModuleNotFoundError):
        name = (error.name or "").split(".")[0]
        return f"this needs {name}, which is not installed: pip install 'rnnzoo[train]'" if name in _TRAIN else None
    if isinstance(error, RnnzooError | StreamingError):
        return " ".join(str(error).split())
    if isinstance(error, OSError) and error.filename is not None:
        return f"{error.filename}: {error.strerror}; give a path that exists and may be used"
    return None
