"""One model over WebSocket: a connection is a stream, streams share invokes, a page and metrics come with it."""

from __future__ import annotations

from streaming.server.app import create_app, serve
from streaming.server.settings import Settings

__all__ = ["Settings", "create_app", "serve"]
