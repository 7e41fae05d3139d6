"""Addresses of models and the cache: arguments, environment variables and defaults, read in one place."""

from __future__ import annotations

import os
import urllib.parse
from dataclasses import dataclass
from pathlib import Path

from rnnzoo.errors import HubError
from rnnzoo.registry import layout
from rnnzoo.util.cache import cache_root

# The raw address of a branch of the project's repository, set where the project is published. As long as it is None,
# an installation without a clone has to be told by RNNZOO_URL: an address that is nobody's yet must not be a default.
PROJECT_URL: str | None = None
HOW_TO_SET = (
    "set RNNZOO_URL (or url=, --url) to an address that has it: a clone of the repository, or what "
    "tools/publish_zoo.py has written"
)
_NO = ("", "0", "false", "no")


@dataclass(frozen=True)
class Settings:
    """Source and destination of a download.

    Args:
        urls: addresses to try, in order, each with a slash at its end.
        cache: the folder of the cache.
        offline: open no socket.
        is_default: whether nobody has given an address.
    """

    urls: tuple[str, ...]
    cache: Path
    offline: bool
    is_default: bool = False


def read_settings(*, url: str | None = None, cache_dir: str | Path | None = None, offline: bool = False) -> Settings:
    """The settings of one call.

    Args:
        url: https, http or file addresses, several by spaces; None: RNNZOO_URL, else this installation's own files.
        cache_dir: None: RNNZOO_CACHE, else `rnnzoo` in XDG_CACHE_HOME or `~/.cache`.
        offline: True opens no socket, and so does RNNZOO_OFFLINE=1.

    Raises:
        HubError: an argument and its variable disagree, or an address is of another scheme.
    """
    named = os.environ.get("RNNZOO_URL", "").split()
    if url is not None and named and url.split() != named:
        raise HubError(f"url {url!r} and RNNZOO_URL={' '.join(named)!r} disagree: give one of them")
    cache, variable = cache_root(), os.environ.get("RNNZOO_CACHE")
    if cache_dir is not None:
        given = Path(cache_dir).expanduser().absolute()
        if variable and given != cache:
            raise HubError(f"cache {str(cache_dir)!r} and RNNZOO_CACHE={variable!r} disagree: give one of them")
        cache = given
    chosen = named if url is None else url.split()
    forbidden = os.environ.get("RNNZOO_OFFLINE", "").lower() not in _NO
    return Settings(tuple(_checked(one) for one in chosen or _own()), cache, offline or forbidden, not chosen)


def is_local(url: str) -> bool:
    """Whether no socket is needed to read it."""
    return url.startswith("file:")


def _own() -> list[str]:
    own = [layout.root().as_uri()] if (layout.root() / layout.MANIFEST).is_file() else []
    return own + ([PROJECT_URL] if PROJECT_URL else [])


def _checked(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    if parts.scheme not in ("https", "http", "file") or (parts.scheme != "file" and not parts.hostname):
        raise HubError(f"RNNZOO_URL: expected an https, http or file address; received {url!r}")
    return url.rstrip("/") + "/"
