"""Downloads against servers that misbehave: a bundle's folder is absent or right, and the next run succeeds."""

import errno
import shutil
import socket

import pytest
from fault_server import LARGE, LASTING, PASSING, RANGES, drip, error_500, make_zoo, serve, stall, wrong_bytes

import rnnzoo
from rnnzoo.cli import main
from rnnzoo.errors import HubError
from rnnzoo.hub import Cache, download, download_all, dump_manifest, parse_manifest, read_manifest, signing, transfer
from rnnzoo.hub import cache as cache_module
from rnnzoo.hub.manifest import Manifest
from rnnzoo.registry import layout


@pytest.fixture(autouse=True)
def _environment(monkeypatch, tmp_path):
    for name in ("RNNZOO_OFFLINE", "RNNZOO_PUBLIC_KEY", "http_proxy", "HTTP_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("RNNZOO_CACHE", str(tmp_path / "cache"))


def lose_patience(fault, monkeypatch):
    """A short time without progress counts as stalled, for the faults that stall: a busy machine stalls as well."""
    if fault in (stall, drip):
        monkeypatch.setenv("RNNZOO_TIMEOUT", "1")


@pytest.fixture
def zoo(tmp_path):
    make_zoo(tmp_path / "zoo")
    return tmp_path / "zoo"


@pytest.fixture
def server(zoo, monkeypatch):
    with serve(zoo) as running:
        monkeypatch.setenv("RNNZOO_URL", running.url)
        yield running


def is_right(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()} == {
        "config.yaml": b"name: x\n" + folder.parent.name.encode(),
        "large.bin": LARGE,
    }


def absent(tmp_path, name="first"):
    found = list((tmp_path / "cache" / "bundles").glob(f"{name}/[0-9a-f]*/"))
    return not [path for path in found if path.is_dir()]


def leave_part(server, count=300_000):
    """A download that broke off after some bytes, when the server did."""

    def fail(handler, data):
        if handler.headers.get("Range"):
            error_500(handler, data)
            return
        handler.answer(200, data[:count], {"ETag": '"right"'}, length=len(data))
        handler.close_connection = True

    server.fault = fail
    with pytest.raises(HubError, match="answered 500"):
        download("first")
    server.fault = None
    server.requests.clear()


def test_a_name_becomes_a_folder(server):
    folder = rnnzoo.download("first")
    assert is_right(folder)
    server.requests.clear()
    assert download("first") == folder
    assert [path for path, *_ in server.requests if "first" in path] == []
    assert [path.parent.name for path in download_all("*")] == ["first", "second"]


@pytest.mark.parametrize("fault", PASSING, ids=lambda fault: fault.__name__)
def test_a_fault_that_passes_is_survived(fault, server, monkeypatch):
    lose_patience(fault, monkeypatch)
    server.fault, server.left = fault, 1
    assert is_right(download("first"))


@pytest.mark.parametrize("fault", LASTING, ids=lambda fault: fault.__name__)
def test_a_fault_that_stays_is_one_error_and_the_next_run_succeeds(fault, server, tmp_path, monkeypatch):
    lose_patience(fault, monkeypatch)
    server.fault = fault
    with pytest.raises(HubError) as raised:
        download("first")
    message = str(raised.value)
    assert "\n" not in message
    assert f"{server.url}first/large.bin (" in message
    assert "RNNZOO_OFFLINE" in message
    assert absent(tmp_path)
    assert "root:" not in "".join(p.read_text("latin-1") for p in tmp_path.rglob("*") if p.is_file())
    server.fault = None
    monkeypatch.delenv("RNNZOO_TIMEOUT", raising=False)
    assert is_right(download("first"))
    assert not list((tmp_path / "cache").rglob("*.part"))


@pytest.mark.parametrize("fault", LASTING[3:], ids=lambda fault: fault.__name__)
def test_a_mirror_takes_over(fault, server, zoo, monkeypatch):
    with serve(zoo) as mirror:
        server.fault = fault
        monkeypatch.setenv("RNNZOO_URL", f"http://127.0.0.1:9/ {server.url} {mirror.url}")
        assert is_right(download("first"))


def test_an_interrupted_download_goes_on_where_it_was(server):
    leave_part(server)
    assert is_right(download("first"))
    (asked,) = [(range_, tag) for path, range_, tag in server.requests if path.endswith("large.bin")]
    assert asked == ("bytes=300000-", '"right"')


@pytest.mark.parametrize("fault", RANGES, ids=lambda fault: fault.__name__)
def test_odd_answers_to_ranges_end_right(fault, server):
    leave_part(server)
    server.fault = fault
    assert is_right(download("first"))
    assert ("bytes=300000-", '"right"') in [request[1:] for request in server.requests]


def test_a_part_that_is_wrong_is_thrown_away(server, tmp_path):
    leave_part(server)
    for part in tmp_path.glob("cache/bundles/first/.*.part/files/large.bin"):
        part.write_bytes(b"x" * 300_000)
    assert is_right(download("first"))


def test_content_that_changed_on_the_server_is_not_mixed(server, tmp_path):
    leave_part(server)
    for tag in tmp_path.glob("cache/bundles/first/.*.part/tags/large.bin"):
        tag.write_text('"of another time"')
    assert is_right(download("first"))


def test_a_damaged_cache_is_mended(server):
    folder = download("first")
    (folder / "large.bin").write_bytes(bytes(len(LARGE)))
    assert Cache().problem(parse_manifest((server.root / "manifest.yaml").read_bytes(), "").bundles["first"])
    assert is_right(download("first"))
    (folder / "stray.py").write_text("print()")
    assert is_right(download("first"))


def test_a_manifest_that_goes_back_is_refused(server, zoo):
    make_zoo(zoo, serial=5)
    download("first")
    make_zoo(zoo, serial=4)
    with pytest.raises(HubError, match="went back from serial 5 to 4"):
        download("first")
    (Cache().root / "seen.json").unlink()
    assert is_right(download("first"))


def test_mixed_revisions_are_refused(server, zoo, tmp_path):
    text = (zoo / "manifest.yaml").read_text()
    make_zoo(zoo, large=b"new" + LARGE)
    new = (zoo / "manifest.yaml").read_text()
    old_revision, new_revision = (t.split("revision: ")[1].split("\n")[0] for t in (text, new))
    (zoo / "manifest.yaml").write_text(new.replace(new_revision, old_revision))
    with pytest.raises(HubError, match="mixes releases"):
        download("first")
    # A new manifest before its files have arrived.
    make_zoo(zoo)
    (zoo / "manifest.yaml").write_text(new)
    with pytest.raises(HubError, match=r"has 1024000 bytes where the manifest says 1024003"):
        download("first")
    assert absent(tmp_path)


def test_revisions_live_side_by_side(server, zoo):
    old = download("first")
    make_zoo(zoo, large=LARGE[::-1], serial=2)
    new = download("first")
    assert is_right(old)
    assert (new / "large.bin").read_bytes() == LARGE[::-1]
    assert download(f"first@{old.name}") == old
    assert download(f"first@{new.name[:6]}") == new
    with pytest.raises(HubError, match=f"revision 0123456789 of first is gone: the source has {new.name}"):
        download("first@0123456789")
    assert main(["download", "--prune"]) == 0
    assert not old.exists()
    assert new.exists()


@pytest.mark.parametrize("kind", ["http", "file"])
def test_offline_opens_no_socket(kind, server, zoo, monkeypatch):
    download("first")
    monkeypatch.setenv("RNNZOO_OFFLINE", "1")

    def refuse(*arguments, **more):
        raise AssertionError("a socket was opened")

    monkeypatch.setattr(socket, "socket", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    if kind == "file":
        monkeypatch.setenv("RNNZOO_URL", zoo.as_uri())
        assert is_right(download("second"))
    assert is_right(download("first"))
    if kind == "http":
        with pytest.raises(HubError, match=r"second is not in the cache .* unset it once"):
            download("second")


def test_the_repository_itself_is_a_source(zoo, monkeypatch):
    clone = zoo.parent / "clone"
    (clone / "zoo_configs").mkdir(parents=True)
    (zoo / "manifest.yaml").rename(clone / "zoo_configs" / "manifest.yaml")
    zoo.rename(clone / "pretrained")
    for base in (clone, clone / "pretrained"):
        monkeypatch.setenv("RNNZOO_URL", base.as_uri())
        assert is_right(download("first"))
        Cache().prune([])
    monkeypatch.delenv("RNNZOO_URL")
    monkeypatch.setattr(layout, "root", lambda: clone)
    assert is_right(download("second"))


def test_a_full_disk_leaves_nothing_behind(server, tmp_path, monkeypatch):
    real = cache_module.sync_folder

    def full(*arguments):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(cache_module, "sync_folder", full)
    with pytest.raises(HubError, match=r"cannot write the cache .*No space left on device.*1\.0 MB"):
        download("first")
    assert absent(tmp_path)
    assert not list((tmp_path / "cache").rglob("*.part"))
    monkeypatch.setattr(cache_module, "sync_folder", real)
    assert is_right(download("first"))


@pytest.mark.parametrize("wins", [True, False])
def test_another_process_removes_what_is_about_to_be_put(wins, server, tmp_path, monkeypatch):
    """Where locks do nothing: it has put the same before, or it has lost its own as well."""
    real, happened = cache_module.sync_folder, []

    def sync_folder(files):
        real(files)
        if not happened:
            happened.append(files)
            if wins:
                shutil.copytree(files, Cache().folder(read_manifest().bundles["first"]))
            shutil.rmtree(files.parent)

    monkeypatch.setattr(cache_module, "sync_folder", sync_folder)
    assert is_right(download("first"))
    assert happened
    assert not list((tmp_path / "cache").rglob("*.part"))


def test_a_full_disk_while_writing(server, tmp_path, monkeypatch):
    real = transfer._copy

    def fill(reply, write, size, progress):
        def full(block):
            if size > 1000:
                raise OSError(errno.ENOSPC, "No space left on device")
            write(block)

        real(reply, full, size, progress)

    monkeypatch.setattr(transfer, "_copy", fill)
    with pytest.raises(HubError, match=r"cannot write the cache .*No space left on device"):
        download("first")
    assert absent(tmp_path)
    assert not list((tmp_path / "cache").rglob("*.part"))
    monkeypatch.setattr(transfer, "_copy", real)
    assert is_right(download("first"))


def test_a_read_only_cache_serves_what_it_has(server, monkeypatch):
    download("first")

    def refuse(*arguments, **more):
        raise OSError(errno.EROFS, "Read-only file system")

    monkeypatch.setattr(cache_module.tempfile, "mkstemp", refuse)
    monkeypatch.setattr(cache_module.tempfile, "mkdtemp", refuse)
    assert is_right(download("first"))
    with pytest.raises(HubError, match=r"Read-only file system.*set RNNZOO_CACHE"):
        download("second")


@pytest.fixture
def key(monkeypatch):
    import base64

    private = base64.b64encode(bytes(range(32))).decode()
    monkeypatch.setenv("RNNZOO_PUBLIC_KEY", signing.public_of(private))
    return private


def test_a_signed_manifest_is_verified_where_a_key_is_configured(server, zoo, key, monkeypatch):
    with pytest.raises(HubError, match="is not signed, and a public key is configured"):
        download("first")
    data = (zoo / "manifest.yaml").read_bytes()
    (zoo / "manifest.yaml.sig").write_bytes(signing.sign(data, key))
    assert is_right(download("first"))
    (zoo / "manifest.yaml").write_bytes(data.replace(b"CC0", b"CC1"))
    with pytest.raises(HubError, match="signature is not by the configured key"):
        download("first")
    monkeypatch.setenv("RNNZOO_OFFLINE", "1")
    assert is_right(download("first"))
    Cache().manifest_path.write_bytes(data + b"\n")
    with pytest.raises(HubError, match="signature is not by the configured key"):
        download("first")
    monkeypatch.setenv("RNNZOO_PUBLIC_KEY", "not a key")
    with pytest.raises(HubError, match="expected 32 bytes in base64"):
        download("first")


def test_a_signer_cannot_be_rolled_back_by_another_address(server, zoo, key, monkeypatch):
    make_zoo(zoo, serial=7)
    (zoo / "manifest.yaml.sig").write_bytes(signing.sign((zoo / "manifest.yaml").read_bytes(), key))
    download("first")
    make_zoo(zoo, serial=6)
    (zoo / "manifest.yaml.sig").write_bytes(signing.sign((zoo / "manifest.yaml").read_bytes(), key))
    monkeypatch.setenv("RNNZOO_URL", zoo.as_uri())
    with pytest.raises(HubError, match="went back from serial 7 to 6"):
        download("first")


def test_the_manifest_is_written_the_same_every_time(zoo):
    data = (zoo / "manifest.yaml").read_bytes()
    manifest = parse_manifest(data, "it")
    assert dump_manifest(manifest).encode() == data
    turned = Manifest(manifest.serial, dict(reversed(manifest.bundles.items())))
    assert dump_manifest(turned).encode() == data


@pytest.mark.parametrize(
    ("arguments", "environment", "said"),
    [
        (["frist"], {}, "did you mean 'first'?"),
        (["fir"], {}, "did you mean 'first'?"),
        (["zzz*"], {}, "known: first, second"),
        (["first@0000"], {}, "revision 0000 of first is gone"),
        ([], {}, "expected names of models"),
        (["--list", "--prune"], {}, "expected one of names"),
        (["first"], {"RNNZOO_URL": "http://127.0.0.1:9/"}, "tried http://127.0.0.1:9/ (connection refused)"),
        (["first"], {"RNNZOO_URL": "gopher://x"}, "expected an https, http or file address; received 'gopher://x'"),
        (["first"], {"RNNZOO_URL": "file:///nowhere"}, "tried file:///nowhere/ (has no manifest)"),
        (["first"], {"RNNZOO_CACHE": "/dev/null/x"}, "cannot write the cache /dev/null/x (Not a directory)"),
        (["first"], {"RNNZOO_TIMEOUT": "soon"}, "expected seconds above 0; received 'soon'"),
        (["first"], {"RNNZOO_OFFLINE": "1"}, "holds no manifest yet"),
    ],
)
def test_mistakes_are_one_line(arguments, environment, said, server, monkeypatch, capsys):
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert main(["download", *arguments]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_bundle_of_a_newer_version_is_refused(server, zoo, capsys):
    from fault_server import forge

    manifest = parse_manifest((zoo / "manifest.yaml").read_bytes(), "")
    forge(zoo, manifest, "first", format=2)
    assert main(["download", "first"]) == 2
    assert "first is a bundle of format 2, made by a newer version" in capsys.readouterr().err
    assert main(["download", "second"]) == 0


def test_list_and_verify(server, capsys):
    folder = download("first")
    assert main(["download", "--list"]) == 0
    assert main(["download", "--verify"]) == 0
    shown = capsys.readouterr().out
    assert folder.name in shown
    assert f"first@{folder.name}  right" in shown
    (folder / "large.bin").write_bytes(LARGE[:-1])
    assert main(["download", "--verify"]) == 2
    shown = capsys.readouterr()
    assert "damaged: large.bin is no file of 1024000 bytes" in shown.out
    assert shown.err.count("\n") == 1


def test_bytes_are_never_trusted_for_their_size(server):
    server.fault, server.left = wrong_bytes, 1
    with pytest.raises(HubError, match="SHA-256 differs"):
        download("first")
