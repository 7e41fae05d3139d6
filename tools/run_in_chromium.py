"""Runs the JavaScript client in headless Chromium against test vectors. Needs Chromium, and `make clients` before."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

import publish_zoo

ROOT = Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "clients" / "js"
CHECK = """
async ({ model, vectors }) => {
  const library = await import("/try/streaming/index.js"), { check } = await import("/vectors.mjs");
  const options = { litert: "/try/litert/index.js", wasm: "/try/litert/wasm/" };
  const opened = await library.open(model, options);
  const found = await check(opened, await (await fetch(vectors)).json(), library);
  opened.close();
  return found;
}
"""


def browser() -> str | None:
    """Where Chromium is; None: nowhere."""
    names = ("chromium", "chromium-browser", "google-chrome")
    return next(filter(None, map(shutil.which, names)), None)


class Files(SimpleHTTPRequestHandler):
    """The files of a folder, without a word about it."""

    extensions_map = {
        **SimpleHTTPRequestHandler.extensions_map,
        ".wasm": "application/wasm",
        ".mjs": "text/javascript",
    }

    def log_message(self, *_: Any) -> None:
        pass


class Page:
    """A page of the browser in which the client runs."""

    def __init__(self, page: Any, folder: Path) -> None:
        self._page, self._folder, self._count = page, folder, 0

    def differences(self, path: Path, vectors: Path) -> list[str]:
        """What is wrong with a model, as lines."""
        shutil.copy(path, self._folder / "model.tflite")
        shutil.copy(vectors, self._folder / "vectors.json")
        # Files of one name in one second are the same to a browser's cache.
        self._count += 1
        given = {"model": f"/model.tflite?{self._count}", "vectors": f"/vectors.json?{self._count}"}
        found: list[str] = self._page.evaluate(CHECK, given)
        return found


@contextmanager
def opened(folder: Path) -> Iterator[Page]:
    """A page that is shown from a folder, into which the client is put."""
    from playwright.sync_api import sync_playwright

    publish_zoo.add_page(folder, PACKAGE)
    shutil.copy(PACKAGE / "tests" / "vectors.mjs", folder)
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Files, directory=str(folder)))
    Thread(target=server.serve_forever, daemon=True).start()
    # Chromium's sandbox refuses to run as root.
    flags = ["--no-sandbox"] if hasattr(os, "geteuid") and os.geteuid() == 0 else []
    try:
        with sync_playwright() as started:
            running = started.chromium.launch(executable_path=browser(), args=flags)
            page = running.new_context(base_url=f"http://127.0.0.1:{server.server_port}").new_page()
            page.set_default_timeout(600_000)
            page.goto("/try/style.css")
            yield Page(page, folder)
            running.close()
    finally:
        server.shutdown()
        server.server_close()
