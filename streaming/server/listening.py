"""Sockets that listen, and the line that says where."""

from __future__ import annotations

import errno
import os
import socket
import sys

from streaming.errors import StreamingError
from streaming.server.settings import Settings

# Errors of a system that has no files or memory left for another connection.
NO_MORE_FILES = (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM)
_BACKLOG = 1024


def listen(settings: Settings) -> list[socket.socket]:
    """A socket that listens for each address of the host.

    Raises:
        StreamingError: the address is taken or not this machine's.
    """
    made: list[socket.socket] = []
    try:
        flags = socket.AI_PASSIVE
        addresses = socket.getaddrinfo(settings.host or None, settings.port, type=socket.SOCK_STREAM, flags=flags)
        for family, kind, protocol, _, address in dict.fromkeys(addresses):
            one = socket.socket(family, kind, protocol)
            made.append(one)
            if os.name == "posix":
                one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            if family == socket.AF_INET6:
                one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
            one.bind(address)
            one.listen(_BACKLOG)
            one.setblocking(False)
    except OSError as error:
        for one in made:
            one.close()
        raise cannot_listen(settings, error) from error
    return made


def cannot_listen(settings: Settings, error: OSError) -> StreamingError:
    """The error of an address that cannot be listened on."""
    return StreamingError(
        f"cannot listen on {settings.host} port {settings.port} ({error.strerror}); give another host or port"
    )


def announce(port: int, settings: Settings) -> None:
    """Say on standard error where the server listens, and who can reach it."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    print(f"streaming: listening on http://{host}:{port}", file=sys.stderr, flush=True)
    if not settings.is_local:
        print(
            "streaming: warning: everyone who reaches this address can use the model; "
            "put a proxy with TLS and authentication in front",
            file=sys.stderr,
            flush=True,
        )
