"""Serves one model over WebSocket: a stream for each connection, shared invokes, a page and metrics."""

from __future__ import annotations

from streaming.server.app import create_app, serve
from streaming.server.settings import Settings

__all__ = ["Settings", "create_app", "serve"]
