"""`tools/publish_zoo.py`: a folder that a static web server serves as the address of downloads."""

import base64
import re
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
import yaml
from scripts import load_script

import rnnzoo
from rnnzoo.bundles import publish
from rnnzoo.errors import HubError
from rnnzoo.hub.cache import wrong_with
from rnnzoo.hub.manifest import parse_manifest
from rnnzoo.hub.signing import public_of
from rnnzoo.registry import layout
from streaming.runtime import artifact

NAMES = ("speaker-vowels", "ecg-beats-stream")


@pytest.fixture(autouse=True)
def _alone(monkeypatch, tmp_path):
    for name in ("RNNZOO_URL", "RNNZOO_OFFLINE", "RNNZOO_PUBLIC_KEY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))


@pytest.fixture
def tool(monkeypatch):
    """The tool on a zoo of two bundles."""
    both = {name: path for name, path in layout.bundle_paths().items() if name in NAMES}
    monkeypatch.setattr("rnnzoo.bundles.build.bundle_paths", lambda: both)
    monkeypatch.setattr(publish, "bundle_paths", lambda: both)
    return load_script("publish_zoo")


@pytest.fixture
def serve():
    servers = []

    def begin(folder):
        handler = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *_: None})
        servers.append(ThreadingHTTPServer(("127.0.0.1", 0), partial(handler, directory=str(folder))))
        Thread(target=servers[-1].serve_forever, daemon=True).start()
        return f"http://127.0.0.1:{servers[-1].server_port}/"

    yield begin
    for server in servers:
        server.shutdown()
        server.server_close()


def test_what_is_published_can_be_downloaded(tool, serve, tmp_path, capsys):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "kept.txt").write_text("of a repository that is already there")
    assert tool.main([str(tmp_path / "out")]) == 0
    assert "set RNNZOO_URL" in capsys.readouterr().out
    manifest = parse_manifest((tmp_path / "out" / "manifest.yaml").read_bytes(), "")
    assert set(manifest.bundles) == set(NAMES)
    address = serve(tmp_path / "out")
    for name in NAMES:
        folder = rnnzoo.download(name, url=address, cache_dir=tmp_path / "cache")
        assert folder.is_relative_to(tmp_path / "cache")
        assert wrong_with(folder, manifest.bundles[name]) is None
    assert (tmp_path / "out" / "kept.txt").is_file()


def test_cards_have_the_front_matter_that_hubs_read(tool, tmp_path):
    tool.main([str(tmp_path)])
    for name in NAMES:
        _, front, card = (tmp_path / name / "README.md").read_text().split("---\n", 2)
        fields = yaml.safe_load(front)
        licence = parse_manifest((tmp_path / "manifest.yaml").read_bytes(), "it").bundles[name].licence
        assert fields["license"] == ("other" if "LicenseRef" in licence else licence.lower())
        assert fields["library_name"] == "keras"
        assert "tflite" in fields["tags"]
        assert card.strip() == (tmp_path / name / "card.md").read_text().strip()
        assert f'href="{name}/card.md"' in (tmp_path / "index.html").read_text()
        assert f"({name}/README.md)" in (tmp_path / "README.md").read_text()


def test_a_signed_zoo_is_taken_with_its_key_only(tool, serve, tmp_path, monkeypatch):
    pytest.importorskip("cryptography")
    key = base64.b64encode(bytes(range(32))).decode()
    (tmp_path / "key").write_text(key)
    assert tool.main([str(tmp_path / "out"), "--sign", str(tmp_path / "key")]) == 0
    address = serve(tmp_path / "out")
    monkeypatch.setenv("RNNZOO_PUBLIC_KEY", public_of(key))
    assert rnnzoo.download(NAMES[0], url=address).is_dir()
    monkeypatch.setenv("RNNZOO_PUBLIC_KEY", public_of(base64.b64encode(bytes(32)).decode()))
    with pytest.raises(HubError, match="sign"):
        rnnzoo.download(NAMES[1], url=address)


def test_a_folder_that_cannot_be_written_is_one_line(tool, tmp_path, capsys):
    (tmp_path / "file").write_text("")
    assert tool.main([str(tmp_path / "file" / "zoo")]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_the_page_offers_what_its_client_has_a_session_for(tmp_path, capsys):
    for path in (layout.root() / "pretrained").glob("*/float32.tflite"):
        (tmp_path / path.parent.name).mkdir()
        for name in (path.name, "card.md"):
            (tmp_path / path.parent.name / name).symlink_to(path.with_name(name))
    offered = {entry["name"] for entry in load_script("publish_zoo").models(tmp_path)}
    client = (layout.root() / "clients" / "js" / "src" / "tasks.ts").read_text(encoding="utf-8")
    known = set(re.findall(r"^    (\w+): ", client, re.MULTILINE))
    kinds = {path.parent.name: artifact.read(path).metadata.task["kind"] for path in tmp_path.glob("*/float32.tflite")}
    assert {"tagger", "sketcher"} <= known
    assert offered == {name for name, kind in kinds.items() if kind in known}
    left_out = capsys.readouterr().err
    assert all(f"leaves out {name}:" in left_out for name in set(kinds) - offered)
