"""`streaming serve`: its options, and the check of its dependencies."""

from __future__ import annotations

import argparse
from pathlib import Path

from streaming.errors import StreamingError
from streaming.runtime.quiet import quiet

_NEEDS = ("aiohttp", "prometheus_client")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options besides the model, the runtime and its threads."""
    add = parser.add_argument
    add("--host", default="127.0.0.1", metavar="ADDRESS", help="address to listen on; by default this machine alone")
    add("--port", type=int, default=8000, metavar="N", help="port, 0 for any free one (8000)")
    add("--max-connections", type=int, default=256, metavar="N", help="streams at a time (256)")
    add("--max-message", type=int, default=1 << 18, metavar="BYTES", help="largest message of a client (262144)")
    add("--max-waiting", type=int, default=256, metavar="N", help="connections that are no streams yet (256)")
    add("--max-per-peer", type=int, metavar="N", help="connections of one address (any number)")
    add("--connect-timeout", type=float, default=10.0, metavar="S", help="time to send a request and be answered (10)")
    add("--idle-timeout", type=float, default=300.0, metavar="S", help="close a connection that says nothing (300)")
    add("--send-timeout", type=float, default=20.0, metavar="S", help="drop a client that reads nothing (20)")
    add("--grace", type=float, default=5.0, metavar="S", help="time for open connections when the server stops (5)")
    add("--origin", action="append", default=[], metavar="URL", help="page that may connect besides the server's own")
    add("--key", type=Path, metavar="FILE", help="secret that signs tokens (~/.local/state/rnnzoo/serve.key)")
    add("--token-lifetime", type=float, default=86400.0, metavar="S", help="how long a token can be resumed (86400)")
    add("--max-batch", type=int, metavar="N", help="streams in one invoke at most (the largest batch signature)")
    add("--late", type=float, default=0.1, metavar="S", help="an answer that takes longer says that it is late (0.1)")
    add("--workers", type=int, metavar="N", help="processes that share the streams (one a processor)")
    add("--max-wait", type=float, default=0.002, metavar="S", help="how long a step may wait for others (0.002)")


def run(arguments: argparse.Namespace) -> None:
    """`streaming serve`."""
    try:
        from streaming.server import Served, Settings, create_app, serve, serve_workers, workers_for
    except ModuleNotFoundError as error:
        if error.name not in _NEEDS:
            raise
        raise StreamingError(
            f"this needs {error.name}, which is not installed: pip install 'rnnzoo[server]'"
        ) from error

    from streaming.runtime.model import load

    settings = Settings(
        host=arguments.host,
        port=arguments.port,
        max_connections=arguments.max_connections,
        max_message=arguments.max_message,
        max_waiting=arguments.max_waiting,
        max_per_peer=arguments.max_per_peer,
        connect_timeout=arguments.connect_timeout,
        idle_timeout=arguments.idle_timeout,
        send_timeout=arguments.send_timeout,
        grace=arguments.grace,
        origins=tuple(arguments.origin),
        **({"key_file": arguments.key} if arguments.key else {}),
        token_lifetime=arguments.token_lifetime,
        max_batch=arguments.max_batch,
        max_wait=arguments.max_wait,
        late=arguments.late,
        workers=workers_for(arguments.model) if arguments.workers is None else arguments.workers,
    )
    if settings.workers > 1:
        served = Served(
            arguments.model,
            arguments.runtime,
            arguments.threads,
            arguments.trust,
            arguments.isolated,
            bool(getattr(arguments, "debug", False)),
        )
        serve_workers(served, settings)
        return
    with quiet(not getattr(arguments, "debug", False)):
        model = load(
            arguments.model, arguments.runtime, arguments.threads, trust=arguments.trust, isolated=arguments.isolated
        )
        app = create_app(model, settings, arguments.model.stem)
    serve(app)
