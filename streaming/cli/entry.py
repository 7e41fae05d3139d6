"""Entry point of the command lines: exit codes, and errors of one line that a user can fix."""

from __future__ import annotations

import argparse
import contextlib
import os
import sys
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass

USER_ERROR, INTERRUPTED, BROKEN_PIPE = 2, 130, 141


@dataclass(frozen=True)
class Program:
    """A command line.

    Args:
        name: what its messages begin with.
        parse: arguments to a namespace whose `run` takes it.
        errors: exceptions that are shown by their message alone.
        train: modules that the extra `train` brings, by the name under which they are imported.
    """

    name: str
    parse: Callable[[Sequence[str]], argparse.Namespace]
    errors: tuple[type[Exception], ...]
    train: Collection[str]

    def main(self, argv: Sequence[str] | None = None) -> int:
        """Run it; returns the exit code. With `--debug` exceptions are not caught."""
        argv = list(sys.argv[1:] if argv is None else argv)
        try:
            arguments = self.parse(argv)
            arguments.run(arguments)
            sys.stdout.flush()
        except KeyboardInterrupt:
            print(f"{self.name}: interrupted", file=sys.stderr)
            return INTERRUPTED
        except BrokenPipeError:
            # The reader has left; the interpreter would complain when it flushes at exit.
            with contextlib.suppress(OSError):
                os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            return BROKEN_PIPE
        except SystemExit as error:
            return int(error.code or 0)
        except Exception as error:
            message = self.explain(error)
            if "--debug" in argv or message is None:
                raise
            print(f"{self.name}: error: {message}", file=sys.stderr)
            return USER_ERROR
        return 0

    def explain(self, error: BaseException) -> str | None:
        """One line for an error that a user can fix; None for a bug of the program."""
        if isinstance(error, ModuleNotFoundError):
            name = (error.name or "").split(".")[0]
            missing = f"this needs {name}, which is not installed: pip install 'rnnzoo[train]'"
            return missing if name in self.train else None
        if isinstance(error, self.errors):
            return " ".join(str(error).split())
        if isinstance(error, OSError) and error.filename is not None:
            return f"{error.filename}: {error.strerror}; give a path that exists and may be used"
        if isinstance(error, MemoryError):
            return (
                f"there is no memory ({' '.join(str(error).split()) or 'for a small object'}); free some, or give less"
            )
        return None
