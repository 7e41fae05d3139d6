"""Hides the messages of native libraries about their build and devices."""

from __future__ import annotations

import contextlib
import importlib.abc
import importlib.machinery
import os
import sys
import tempfile
from collections.abc import Iterator, Sequence
from types import ModuleType
from typing import Any

from rnnzoo.errors import RnnzooError
from streaming.errors import StreamingError


def quiet_tensorflow() -> None:
    """Hide what TensorFlow prints on its import, also a later one, and its messages at run time.

    Failures are raised as exceptions; some messages of the level "error" are only notes on the processor.
    """
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    os.environ.setdefault("KERAS_BACKEND", "tensorflow")
    if "tensorflow" not in sys.modules and not any(isinstance(item, _Finder) for item in sys.meta_path):
        sys.meta_path.insert(0, _Finder())


class _Finder(importlib.abc.MetaPathFinder):
    """Finds tensorflow where it is, and wraps how it is loaded."""

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> importlib.machinery.ModuleSpec | None:
        if name != "tensorflow":
            return None
        # Some only ask whether it is there: the finder stays until it is loaded.
        spec = importlib.machinery.PathFinder.find_spec(name, path, target)
        if spec is not None and spec.loader is not None:
            spec.loader = _Loader(spec.loader, self)
        return spec


class _Loader(importlib.abc.Loader):
    def __init__(self, inner: Any, finder: _Finder):
        self._inner, self._finder = inner, finder

    def create_module(self, spec: importlib.machinery.ModuleSpec) -> ModuleType | None:
        return self._inner.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        sys.meta_path.remove(self._finder)
        with held_stderr():
            self._inner.exec_module(module)
            # The search for devices is what says most, and would come with the first operation.
            module.config.list_physical_devices()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


@contextlib.contextmanager
def held_stderr() -> Iterator[None]:
    """Context in which standard error, C++ included, goes to a file that is shown only after a bug of the program.

    The one line of an error that a user can fix is enough.
    """
    sys.stderr.flush()
    saved = os.dup(2)
    try:
        with tempfile.TemporaryFile() as held:
            os.dup2(held.fileno(), 2)
            try:
                yield
            except (RnnzooError, StreamingError, KeyboardInterrupt):
                raise
            except BaseException:
                held.seek(0)
                os.write(saved, held.read())
                raise
            finally:
                os.dup2(saved, 2)
    finally:
        os.close(saved)
