"""Settings and limits of a server, checked before it starts."""

from __future__ import annotations

import ipaddress
import os
from dataclasses import dataclass, field, fields
from pathlib import Path
from urllib.parse import urlsplit

from streaming.errors import InputError

_HIGHEST_PORT = 65535


def default_key_file() -> Path:
    """Path of the file with the key of the tokens: below XDG_STATE_HOME, or ~/.local/state."""
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "rnnzoo" / "serve.key"


@dataclass(frozen=True)
class Settings:
    """Options of a server.

    Args:
        host: address to listen on. Everybody who can connect can use the model; there is no authentication.
        port: 0 takes any free one.
        max_connections: streams at a time; more get HTTP 503.
        max_message: bytes of one message of a client; a larger one closes its connection. A token always fits.
        max_waiting: connections at a time that are not streams yet; a further one replaces the oldest.
        max_per_peer: connections of one address at a time, streams included; None: any number, as behind a proxy.
        connect_timeout: seconds that a connection has to send its request and become a stream, or to have its answer.
        idle_timeout: seconds without a message after which a connection is closed.
        send_timeout: seconds for which a client may leave its outputs unread.
        late: seconds from the arrival of a message to its answer above which the answer says that it is late; a server
            that comes near this takes no further streams.
        grace: seconds to close open connections when the server stops.
        origins: further origins (scheme://host[:port]) whose pages may connect; the server's own page always may.
        key_file: secret that signs the tokens of saved streams, made where it is missing. Servers that share it can
            resume each other's streams.
        token_lifetime: seconds for which a token can be resumed.
        max_batch: streams in one invoke at most; None: the largest batch signature.
        max_wait: seconds for which a step may wait for others to share its invoke.
        workers: processes that share the streams.

    Raises:
        InputError: an option is out of range.
    """

    host: str = "127.0.0.1"
    port: int = 8000
    max_connections: int = 256
    max_message: int = 1 << 18
    max_waiting: int = 256
    max_per_peer: int | None = None
    connect_timeout: float = 10.0
    idle_timeout: float = 300.0
    send_timeout: float = 20.0
    late: float = 0.1
    grace: float = 5.0
    origins: tuple[str, ...] = ()
    key_file: Path = field(default_factory=default_key_file)
    token_lifetime: float = 86400.0
    max_batch: int | None = None
    max_wait: float = 0.002
    workers: int = 1

    def __post_init__(self) -> None:
        if not 0 <= self.port <= _HIGHEST_PORT:
            raise InputError(f"the port is {self.port}, expected 0 to {_HIGHEST_PORT}")
        whole = {"max_connections": 1, "max_message": 1024, "max_waiting": 1, "max_per_peer": 1, "workers": 1}
        for name, low in whole.items():
            if getattr(self, name) is not None and getattr(self, name) < low:
                raise InputError(f"{name} is {getattr(self, name)}, expected a whole number, {low} or more")
        for item in fields(self):
            value = getattr(self, item.name)
            if item.type == "float" and not 0 <= value < float("inf"):
                raise InputError(f"{item.name} is {value}, expected seconds, 0 or more")
        for origin in self.origins:
            parts = urlsplit(origin)
            if (
                parts.scheme not in ("http", "https")
                or not parts.hostname
                or origin != f"{parts.scheme}://{parts.netloc}"
            ):
                raise InputError(f"origin {origin!r} is none, expected scheme://host or scheme://host:port")

    @property
    def is_local(self) -> bool:
        """Whether only this machine can connect."""
        return is_loopback(self.host)


def is_loopback(host: str) -> bool:
    """Whether a host name or address is a loopback address."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
