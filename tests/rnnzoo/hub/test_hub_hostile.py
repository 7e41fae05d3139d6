"""Manifests and bundles made by an enemy: one error, nothing executed, nothing written outside the cache."""

import contextlib
import http.server
import json
import os
import re
import struct
import threading
import time
import zipfile

import numpy as np
import pytest
from fault_server import forge, make_zoo
from safetensors.numpy import save
from zoo_runs import colours

import streaming
from rnnzoo.bundles.reference import REFERENCE_FILE, prove
from rnnzoo.errors import ConfigError, DataError, HubError, RnnzooError
from rnnzoo.hub import Cache, FileInfo, download, download_all, parse_manifest
from rnnzoo.hub.sources import Unavailable
from rnnzoo.hub.transfer import fetch_small
from rnnzoo.runs.building import build_model
from rnnzoo.runs.store import load_run, save_run
from streaming.errors import ArtifactError


@pytest.fixture
def zoo(tmp_path, monkeypatch):
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("RNNZOO_URL", (tmp_path / "zoo").as_uri())
    for name in ("RNNZOO_OFFLINE", "RNNZOO_PUBLIC_KEY"):
        monkeypatch.delenv(name, raising=False)
    return make_zoo(tmp_path / "zoo")


@pytest.fixture(autouse=True)
def _nothing_is_written_elsewhere(tmp_path):
    yield
    assert {path.name for path in tmp_path.iterdir()} <= {"zoo", "cache", "run", "colours", "elsewhere"}
    assert not [path for path in (tmp_path / "elsewhere").glob("*") if path.name != "secret"]


NAMES = [
    "../evil",
    "..",
    ".",
    "/etc/cron.d/evil",
    "a/b",
    "a\\b",
    "C:evil",
    ".hidden",
    "evil\n",
    "evil\0",
    "nul.txt",
    "COM1",
    "evil.",
    "",
    "x" * 300,
    "caf\u00e9",
    "..%2fevil",
]


@pytest.mark.parametrize("name", NAMES, ids=repr)
def test_names_that_lead_elsewhere(name, zoo, tmp_path):
    file = FileInfo(name, 3, "0" * 64)
    forge(tmp_path / "zoo", zoo, "first", files=(file,))
    with pytest.raises(HubError, match="plain file name"):
        download("first")
    forge(tmp_path / "zoo", zoo, "first", name=name)
    with pytest.raises(HubError, match="plain name of a bundle"):
        download("second")
    assert not (tmp_path / "cache").exists()


def test_names_that_one_system_takes_for_one(zoo, tmp_path):
    files = zoo.bundles["first"].files
    forge(tmp_path / "zoo", zoo, "first", files=(*files, FileInfo("LARGE.bin", 1, "0" * 64)))
    with pytest.raises(HubError, match="comes twice"):
        download("first")


MANIFESTS = {
    "a tag": b"serial: !!python/object/apply:os.system ['touch evil']\nbundles: []\n",
    "a tag of an object": b"!!python/object/new:os.system [touch evil]",
    "laughs": b"a: &a [x,x,x]\nb: &b [*a,*a,*a]\nserial: 1\nbundles: [*b]\n",
    "a page": b"<!DOCTYPE html><html><body>Sign in</body></html>",
    "binary": bytes(range(256)),
    "nothing": b"",
    "depth": b"[" * 50_000,
    "a list": b"[1, 2]",
    "a word as serial": b"serial: one\nbundles: []\n",
    "true as serial": b"serial: true\nbundles: []\n",
    "bundles of text": b"serial: 1\nbundles: [a, b]\n",
    "too much": b"# " + b"x" * (1 << 20),
    "a huge size": b"serial: 1\nbundles: [{name: a, revision: b, format: 1, licence: c, data_licence: d, files: "
    b"[{name: f, size: 99999999999999, sha256: " + b"0" * 64 + b"}]}]\n",
}


@pytest.mark.parametrize("name", MANIFESTS)
def test_manifests_that_are_none(name, zoo, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "zoo" / "manifest.yaml").write_bytes(MANIFESTS[name])
    with pytest.raises(HubError) as raised:
        download("first")
    said = str(raised.value)
    assert "\n" not in said
    assert len(said) < 600
    # The manifest itself is refused, not what it lists.
    assert "no pretrained model is called" not in said
    assert re.search(r"manifest\.yaml( is no manifest|: )", said)
    assert not (tmp_path / "evil").exists()


def test_links_in_the_cache_are_not_followed(zoo, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (tmp_path / "cache" / "bundles").mkdir(parents=True)
    (tmp_path / "cache" / "bundles" / "first").symlink_to(elsewhere)
    with pytest.raises(HubError, match="leads out of the cache"):
        download("first")
    assert os.listdir(elsewhere) == []
    folder = download("second")
    secret = elsewhere / "secret"
    secret.write_bytes((folder / "large.bin").read_bytes())
    (folder / "large.bin").unlink()
    (folder / "large.bin").symlink_to(secret)
    assert not (download("second") / "large.bin").is_symlink()
    assert secret.exists()


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    config, problem = colours(tmp_path_factory.mktemp("data"))
    return build_model(config, problem.encoder), config, problem.encoder


@pytest.fixture
def run(trained, tmp_path):
    model, config, encoder = trained
    return save_run(tmp_path / "run", model, config, encoder.to_files(), {})


def header(text):
    data = text if isinstance(text, bytes) else json.dumps(text).encode()
    return struct.pack("<Q", len(data)) + data


WEIGHTS = {
    "a header of 2**60 bytes": struct.pack("<Q", 1 << 60) + b"{}",
    "a header past the end": struct.pack("<Q", 1000) + b"{}",
    "no JSON": header(b"\xff" * 20),
    "depth": header(b"[" * 5000),
    "a shape of 2**60": header({"w": {"dtype": "F32", "shape": [1 << 60], "data_offsets": [0, 4]}}) + bytes(4),
    "a shape that overflows": header(
        {"w": {"dtype": "F32", "shape": [1 << 33, 1 << 33], "data_offsets": [0, 0]}},
    ),
    "a negative shape": header({"w": {"dtype": "F32", "shape": [-1], "data_offsets": [0, 4]}}) + bytes(4),
    "offsets that overlap": header(
        {
            "v": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
            "w": {"dtype": "F32", "shape": [1], "data_offsets": [0, 4]},
        }
    )
    + bytes(4),
    "an unknown type": header({"w": {"dtype": "O", "shape": [1], "data_offsets": [0, 8]}}) + bytes(8),
    "a pickle": b"\x80\x04\x8c\x02os\x8c\x06system\x93\x8c\x0atouch evil\x85R.",
    "nothing": b"",
}


@pytest.mark.parametrize("name", WEIGHTS)
def test_weights_that_are_none(name, run, monkeypatch):
    monkeypatch.chdir(run.parent)
    (run / "weights.safetensors").write_bytes(WEIGHTS[name])
    with pytest.raises(DataError) as raised:
        load_run(run)
    assert "\n" not in str(raised.value)


CONFIGS = {
    "a tag": ("name: colours", "name: !!python/object/apply:os.system ['touch evil']"),
    "a module as topology": ("topology: tagger", "topology: os:system"),
    "code as cell": ("cell: lstm", "cell: __import__('os').system('touch evil')"),
    "a class as cell": ("cell: lstm", "cell: {class_name: Lambda, config: {function: evil}}"),
    "a class as key": ("topology: tagger", "topology: tagger\nclass_name: Lambda"),
    "many units": ("\n  units: 8", "\n  units: 1000000000"),
    "many layers": ("layers: 1", "layers: 1000000000"),
    "many widths": ("char_widths:\n  - 2", "char_widths:\n  - 2000000000"),
    "a date that is none": ("max_word_length: 20", "max_word_length: 2001-99-99"),
    "a tag that does not fit": ("max_word_length: 20", "max_word_length: !!timestamp x"),
    "a number without digits": ("max_word_length: 20", "max_word_length: !!int ''"),
    "a truth that is none": ("max_word_length: 20", "max_word_length: !!bool x"),
    "too many digits": ("max_word_length: 20", "max_word_length: " + "9" * 5000),
    "anchors": (
        "max_word_length: 20",
        "max_word_length: 20\na0: &a0 [x, x]\n"
        + "\n".join(f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)),
    ),
    "a long word": ("max_word_length: 20", "max_word_length: nope"),
}


@pytest.mark.parametrize("name", CONFIGS)
def test_configurations_that_name_code_or_eat_memory(name, run, monkeypatch):
    monkeypatch.chdir(run.parent)
    path, (old, new) = run / "config.yaml", CONFIGS[name]
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(RnnzooError) as raised:
        load_run(run)
    assert "\n" not in str(raised.value)


def test_a_newer_bundle_is_named_as_such(run):
    (run / "metrics.json").write_text('{"format": 2}')
    with pytest.raises(ConfigError, match="a bundle of format 2, made by a newer version"):
        load_run(run)


def test_a_zip_bomb_in_a_ready_file(tmp_path, run):
    from rnnzoo.runs.export import export_run

    path = run / "float32.tflite"
    export_run(load_run(run), path)
    assert streaming.pipeline(run).tag(["red"])
    flatbuffer = path.read_bytes()
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
        size = min(info.header_offset for info in archive.infolist())
    path.write_bytes(flatbuffer[:size])
    with zipfile.ZipFile(path, "a", zipfile.ZIP_DEFLATED) as archive:
        for name, data in members.items():
            archive.writestr(name, bytes(1 << 28) if name.endswith("words.txt") else data)
    assert path.stat().st_size < 2e6
    with pytest.raises(ArtifactError):
        streaming.pipeline(run)


def test_a_folder_without_a_ready_file_is_one_line(run):
    with pytest.raises(ArtifactError, match=r"float32\.tflite"):
        streaming.pipeline(run)


@pytest.mark.parametrize(
    "data", [b"junk", WEIGHTS["a shape of 2**60"], save({"x": np.zeros(3)}), save({"0/in/x": np.zeros(3)})]
)
def test_references_that_are_none(data, run):
    from rnnzoo.runs.export import export_run

    export_run(load_run(run), run / "float32.tflite")
    (run / REFERENCE_FILE).write_bytes(data)
    with pytest.raises(DataError, match="is no reference of this model"):
        prove(streaming.load(run / "float32.tflite"), run / REFERENCE_FILE)


def test_a_manifest_is_read_by_its_bytes_only():
    with pytest.raises(HubError, match="at most"):
        parse_manifest(b" " * ((1 << 20) + 1), "it")


@pytest.mark.parametrize(
    "text",
    [
        "serial: !!timestamp x\nbundles: []",
        "serial: 2001-99-99\nbundles: []",
        "serial: !!int ''\nbundles: []",
        "serial: !!bool x\nbundles: []",
        "serial: 1:30:00\nbundles: []",
        "serial: 1_000\nbundles: []",
        "serial: 0x10\nbundles: []",
        "serial: " + "9" * 5000 + "\nbundles: []",
        "serial: 1\nbundles: !!python/object/apply:os.system ['true']",
        "? {a: 1}\n: b",
    ],
)
def test_numbers_dates_and_tags_are_read_by_schema(text):
    with pytest.raises(HubError) as caught:
        parse_manifest(text.encode(), "somewhere")
    assert "\n" not in str(caught.value)


@contextlib.contextmanager
def serving(handler):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.shutdown()
        server.socket.close()


def test_a_redirect_without_an_end_costs_nothing():
    sent = []

    class Endless(http.server.BaseHTTPRequestHandler):
        def log_message(self, *arguments):
            pass

        def do_GET(self):
            with contextlib.suppress(OSError):
                self.send_response(302)
                self.send_header("Location", f"/{len(sent)}")
                self.end_headers()
                for _ in range(2000):
                    self.wfile.write(b"x" * 65536)
                    sent.append(1)

    with serving(Endless) as url:
        with pytest.raises(Unavailable):
            fetch_small(url, 100)
        assert len(sent) < 1500


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"


@pytest.mark.parametrize(("first", "more"), [(b"", b"HTTP/1.1 100 Continue\r\n\r\n"), (CHUNKED, b"X: y\r\n")])
def test_headers_and_trailers_without_an_end_are_cut(monkeypatch, first, more):
    monkeypatch.setenv("RNNZOO_TIMEOUT", "0.3")

    class Drip(http.server.BaseHTTPRequestHandler):
        def handle(self):
            self.rfile.readline()
            with contextlib.suppress(OSError):
                self.wfile.write(first)
                while True:
                    self.wfile.write(more)
                    time.sleep(0.05)

    began = time.monotonic()
    with serving(Drip) as url, contextlib.suppress(Unavailable):
        assert fetch_small(url, 100) == b""
    assert time.monotonic() - began < 30


def test_what_is_no_file_in_the_cache_is_neither_followed_nor_waited_for(zoo, tmp_path):
    downloaded = download_all("first", progress=False)[0]
    bundle = Cache().entries()[0]
    (tmp_path / "elsewhere").mkdir()
    victim = tmp_path / "elsewhere" / "secret"
    victim.write_bytes(b"precious")
    lock = downloaded.parent / f".{bundle.revision}.lock"
    lock.unlink(missing_ok=True)
    lock.symlink_to(victim)
    os.mkfifo(downloaded.parent / ("f" * 16 + ".yaml"))
    (downloaded / bundle.files[0].name).unlink()
    os.mkfifo(downloaded / bundle.files[0].name)
    assert Cache().problem(bundle)
    assert download_all("first", progress=False)[0] == downloaded
    assert Cache().problem(bundle) is None
    assert victim.read_bytes() == b"precious"
