"""A server of files on loopback that misbehaves as told, and a small zoo for it to serve."""

import contextlib
import http.server
import threading
import time
from pathlib import Path

from rnnzoo.hub.manifest import BundleInfo, FileInfo, Manifest, dump_manifest
from rnnzoo.hub.manifest import describe_bundle as describe

SMALL, LARGE = b"name: x\n", bytes(range(256)) * 4000


class Handler(http.server.BaseHTTPRequestHandler):
    """Serves `server.root`; `server.fault` may answer instead, once for each number in `server.left`."""

    protocol_version = "HTTP/1.1"

    def log_message(self, *arguments):
        pass

    def do_GET(self):
        self.server.requests.append((self.path, self.headers.get("Range"), self.headers.get("If-Range")))
        path = Path(self.server.root) / self.path.lstrip("/")
        if not path.is_file():
            self.answer(404, b"no")
            return
        data = path.read_bytes()
        if self.server.fault and self.path.endswith(self.server.target) and self.server.left != 0:
            self.server.left -= 1
            self.server.fault(self, data)
            return
        self.send(data)

    def send(self, data, tag='"right"'):
        """The right answer, ranges included."""
        asked = self.headers.get("Range")
        start = int(asked.removeprefix("bytes=").rstrip("-")) if asked else 0
        if start and self.headers.get("If-Range", tag) != tag:
            start = 0
        headers = {"ETag": tag}
        if start:
            if start >= len(data):
                self.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
                return
            headers["Content-Range"] = f"bytes {start}-{len(data) - 1}/{len(data)}"
        self.answer(206 if start else 200, data[start:], headers)

    def answer(self, status, body, headers=(), length=None):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        self.end_headers()
        with contextlib.suppress(OSError):
            self.wfile.write(body)


class Server(http.server.ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 64

    def handle_error(self, request, client_address):
        """A client that was killed is what these tests are about."""


@contextlib.contextmanager
def serve(root):
    """A running server; set `fault`, `target` (end of the path) and `left` (how often; -1: always) on it."""
    server = Server(("127.0.0.1", 0), Handler)
    server.root, server.fault, server.target, server.left, server.requests = root, None, "large.bin", -1, []
    server.url = f"http://127.0.0.1:{server.server_port}/"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def make_zoo(root, *, serial=1, large=LARGE, names=("first", "second")):
    """Two bundles of two files each, and their manifest."""
    bundles = {}
    for name in names:
        folder = root / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "config.yaml").write_bytes(SMALL + name.encode())
        (folder / "large.bin").write_bytes(large)
        bundles[name] = describe(folder, licence="Apache-2.0", data_licence="CC0")
    manifest = Manifest(serial, bundles)
    (root / "manifest.yaml").write_text(dump_manifest(manifest))
    return manifest


def forge(root, manifest, which, **changes):
    """Write the manifest with a bundle changed, its revision made to fit again."""
    old = manifest.bundles[which]
    new = BundleInfo(**{**old.__dict__, **changes})
    (root / "manifest.yaml").write_text(dump_manifest(Manifest(manifest.serial, {**manifest.bundles, which: new})))
    return new


def truncate(handler, data):
    handler.answer(200, data[: len(data) // 2], {"ETag": '"right"'}, length=len(data))
    handler.close_connection = True


def stall(handler, data):
    handler.answer(200, data[:1000], length=len(data))
    time.sleep(2.5)
    handler.close_connection = True


def drip(handler, data):
    handler.answer(200, data[:1], length=len(data))
    with contextlib.suppress(OSError):
        for i in range(25):
            time.sleep(0.1)
            handler.wfile.write(data[i + 1 : i + 2])
            handler.wfile.flush()
    handler.close_connection = True


def wrong_size(handler, data):
    handler.answer(200, data + b"!")


def wrong_bytes(handler, data):
    handler.answer(200, bytes([data[0] ^ 1]) + data[1:])


def endless(handler, data):
    handler.send_response(200)
    handler.end_headers()
    with contextlib.suppress(OSError):
        while True:
            handler.wfile.write(data)


def error_500(handler, data):
    handler.answer(500, b"broken")


def forbidden(handler, data):
    handler.answer(403, b"no")


def redirect_to_file(handler, data):
    handler.answer(302, b"", {"Location": "file:///etc/passwd"})


def redirect_loop(handler, data):
    handler.answer(302, b"", {"Location": handler.path})


def gzip_coding(handler, data):
    handler.answer(200, data, {"Content-Encoding": "gzip"})


def nonsense(handler, data):
    handler.wfile.write(b"\x00\xff not http at all\r\n\r\n")
    handler.close_connection = True


def partial_unasked(handler, data):
    handler.answer(206, data[10:], {"Content-Range": f"bytes 10-{len(data) - 1}/{len(data)}"})


def other_range(handler, data):
    if handler.headers.get("Range"):
        handler.answer(206, data[5:], {"Content-Range": f"bytes 5-{len(data) - 1}/{len(data)}"})
    else:
        handler.send(data)


def range_without_header(handler, data):
    if handler.headers.get("Range"):
        handler.answer(206, data[5:])
    else:
        handler.send(data)


def ignored_range(handler, data):
    handler.answer(200, data)


def always_416(handler, data):
    if handler.headers.get("Range"):
        handler.answer(416, b"", {"Content-Range": f"bytes */{len(data)}"})
    else:
        handler.send(data)


def lying_range(handler, data):
    """Says that it continues, and begins anew."""
    asked = handler.headers.get("Range")
    if not asked:
        handler.send(data)
        return
    start = int(asked.removeprefix("bytes=").rstrip("-"))
    rest = data[: len(data) - start]
    handler.answer(206, rest, {"Content-Range": f"bytes {start}-{len(data) - 1}/{len(data)}"})


PASSING = (truncate, stall, drip, error_500, nonsense)
LASTING = (
    *PASSING,
    wrong_size,
    wrong_bytes,
    endless,
    forbidden,
    redirect_to_file,
    redirect_loop,
    gzip_coding,
    partial_unasked,
)
RANGES = (other_range, range_without_header, ignored_range, always_416, lying_range)
__all__ = ["FileInfo", "forge", "make_zoo", "serve"]
