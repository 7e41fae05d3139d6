"""Which pages may open a stream from a browser.

A browser lets any page connect to any WebSocket, also to one on this machine, and says only from which origin. Without
a check every page that a user visits could read the streams of a server that listens on loopback alone.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

from streaming.server.settings import Settings


def refusal(headers: Mapping[str, str], settings: Settings) -> str | None:
    """The reason to refuse a handshake, one line; None if it is accepted."""
    origin, host = headers.get("Origin"), headers.get("Host", "")
    if origin is None:
        return None  # no browser
    if origin in settings.origins:
        return None
    if urlsplit(origin).netloc.lower() != host.lower():
        return f"a page of {origin!r} may not connect; start the server with --origin {origin} if it should"
    if not _is_named(host, settings):
        return f"the server is not known as {host!r}; start it with --origin {origin} if it should be"
    return None


def _is_named(host: str, settings: Settings) -> bool:
    """Whether the server answers to this name.

    An evil name can be made to point here (DNS rebinding), and then its page has the same origin as the server. An
    address cannot.
    """
    name = urlsplit(f"//{host}").hostname or ""
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return name == "localhost" or name == settings.host.lower()
    return True
