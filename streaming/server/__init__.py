"""Serves one model over WebSocket: a stream for each connection, shared invokes, a page and metrics."""

from __future__ import annotations

from streaming.server.app import create_app, serve
from streaming.server.capacity import workers_for
from streaming.server.settings import Settings
from streaming.server.supervisor import Served, serve_workers

__all__ = ["Served", "Settings", "create_app", "serve", "serve_workers", "workers_for"]
