"""From a name to a folder in the cache."""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from rnnzoo.errors import HubError
from rnnzoo.hub import signing
from rnnzoo.hub.cache import Cache
from rnnzoo.hub.manifest import MAX_MANIFEST_BYTES, BundleInfo, FileInfo, Manifest, parse_manifest, read_plain
from rnnzoo.hub.settings import HOW_TO_SET, Settings, is_local, read_settings
from rnnzoo.hub.sources import LAYOUTS, Missing, Unavailable, join
from rnnzoo.hub.transfer import fetch_file, fetch_small
from rnnzoo.registry import layout
from rnnzoo.registry.layout import BUNDLE_FORMAT
from rnnzoo.util.licences import restriction

_ATTEMPTS = 3
_WORKERS = 8
_PINNED = re.compile(r"(?P<name>[^@]+)@(?P<revision>[0-9a-f]{4,16})")

# (file of a bundle, bytes that are there)
Watcher = Callable[[BundleInfo, FileInfo, int], None]


@dataclass(frozen=True)
class Catalogue:
    """A manifest, and the base addresses of its bundles; none: only the cache may be read."""

    manifest: Manifest
    bases: tuple[str, ...]


def download(
    name: str,
    *,
    url: str | None = None,
    cache_dir: str | Path | None = None,
    revision: str | None = None,
    offline: bool = False,
) -> Path:
    """The folder of a pretrained model, downloaded where it is not cached yet, and verified in any case.

    Args:
        name: such as `tagger-en-ewt-stream`; `NAME@REVISION` takes that revision and no other.
        url, cache_dir, offline: as `rnnzoo.hub.settings.read_settings` takes them.
        revision: the same as `NAME@REVISION`.

    Raises:
        HubError: the name or revision is unknown, no source can be reached, what came is not what the manifest
            says, the cache cannot be written, or two settings disagree.
    """
    if set(name) & set("*?["):
        raise HubError(f"expected the name of one model; received {name!r}: use `rnnzoo download {name!r}`")
    if revision is not None:
        if "@" in name and name.partition("@")[2] != revision:
            raise HubError(f"{name!r} and revision {revision!r} disagree: give one of them")
        name = f"{name.partition('@')[0]}@{revision}"
    settings = read_settings(url=url, cache_dir=cache_dir, offline=offline)
    pinned = _PINNED.fullmatch(name)
    if pinned and (folder := _cached(Cache(settings.cache), pinned["name"], pinned["revision"])):
        return folder
    return download_all(name, progress=False, settings=settings)[0]


def download_all(pattern: str, *, progress: bool = True, settings: Settings | None = None) -> list[Path]:
    """The folders of all models that a name or a pattern means; `progress` draws a bar on a terminal.

    Raises:
        HubError: as `download`.
    """
    settings = read_settings() if settings is None else settings
    cache = Cache(settings.cache)
    catalogue = read_catalogue(settings)
    bundles = [_checked(bundle) for bundle in _chosen(catalogue, cache, pattern)]
    wanted = [bundle for bundle in bundles if cache.problem(bundle)]
    if wanted and not catalogue.bases:
        raise HubError(
            f"{wanted[0].name} is not in the cache {cache.root}, and RNNZOO_OFFLINE allows no download: unset it once, "
            "or set RNNZOO_URL to a folder (file:///...)"
        )
    _check_held(wanted, settings)
    with _bar(wanted if progress else []) as watch:
        for bundle in wanted:
            _bring(bundle, catalogue.bases, cache, watch)
    for bundle in bundles:
        cache.sweep(bundle)
    return [cache.folder(bundle) for bundle in bundles]


def _check_held(wanted: list[BundleInfo], settings: Settings) -> None:
    """Say how to set an address where an installation lists a bundle that it does not hold."""
    if settings.is_default and all(is_local(url) for url in settings.urls):
        held = layout.bundle_paths()
        if missing := next((bundle.name for bundle in wanted if bundle.name not in held), None):
            raise HubError(f"{missing} does not come with this installation: {HOW_TO_SET}")


def read_manifest(settings: Settings | None = None) -> Manifest:
    """Manifest of the configured source; without a network, its last one."""
    return read_catalogue(read_settings() if settings is None else settings).manifest


def read_catalogue(settings: Settings) -> Catalogue:
    """The manifest of the first source that has an acceptable one, and where its bundles are.

    Raises:
        HubError: no source has one; the error lists what each did.
    """
    cache = Cache(settings.cache)
    if not settings.urls:
        raise HubError(f"no address of models is known: {HOW_TO_SET}")
    usable = [url for url in settings.urls if is_local(url) or not settings.offline]
    if not usable:
        return Catalogue(_last_manifest(cache), ())
    tried, folders = [], []
    manifest = None
    for base in usable:
        try:
            data, where, folder = _fetch_manifest(base)
            read = _accept(cache, base, data, where)
        except (Unavailable, HubError) as error:
            tried.append(f"{base} ({error})" if isinstance(error, Unavailable) else str(error))
            continue
        manifest = read if manifest is None else manifest
        folders.append(folder)
    if manifest is None:
        has = f"has {len(cache.entries())} bundles" if cache.manifest_path.is_file() else "holds no manifest yet"
        raise HubError(
            f"no list of models: tried {'; '.join(tried)}. Check RNNZOO_URL and the network; RNNZOO_OFFLINE=1 works "
            f"from the cache {cache.root}, which {has}"
        )
    return Catalogue(manifest, tuple(folders))


def cached_revisions(cache: Cache) -> list[BundleInfo]:
    """The current cached bundle of each name: that of the last manifest, otherwise the newest one."""
    try:
        current = _last_manifest(cache).bundles
    except HubError:
        current = {}
    bundles: dict[str, BundleInfo] = {}
    for bundle in cache.entries():
        listed = current.get(bundle.name)
        if listed is not None and listed.revision == bundle.revision:
            bundles[bundle.name] = bundle
        bundles.setdefault(bundle.name, bundle)
    return list(bundles.values())


def _fetch_manifest(base: str) -> tuple[bytes, str, str]:
    """The manifest, its address and that of the bundles; raises Unavailable."""
    for path, bundles in LAYOUTS:
        url = join(base, path)
        with contextlib.suppress(Missing):
            return fetch_small(url, MAX_MANIFEST_BYTES), url, join(base, bundles)
    raise Unavailable("has no manifest")


def _accept(cache: Cache, base: str, data: bytes, where: str) -> Manifest:
    """Check a manifest's signature and age, and keep it; raises HubError or Unavailable."""
    key, signature = signing.public_key(), b""
    if key:
        try:
            signature = fetch_small(where + signing.SUFFIX, 200)
        except Missing:
            raise HubError(f"{where} is not signed, and a public key is configured; take another mirror") from None
        signing.verify(data, signature, key, where)
    manifest = parse_manifest(data, where)
    seen_path = cache.root / "seen.json"
    seen, origin = _read_seen(seen_path), f"key {key}" if key else base
    # A folder is under its user's hand: who goes back there means to.
    if (key or not is_local(base)) and manifest.serial < seen.get(origin, 0):
        raise HubError(
            f"{where} went back from serial {seen[origin]} to {manifest.serial}: the server is behind or was tampered "
            f"with. Take another mirror; to accept it, remove {seen_path}"
        )
    # A full or read-only disk matters where something has to be downloaded, and is an error there.
    with contextlib.suppress(OSError):
        if _kept(cache.manifest_path) != data:
            cache.write(cache.manifest_path, data)
        if key:
            cache.write(cache.manifest_path.with_name("manifest.yaml.sig"), signature)
        if seen.get(origin) != manifest.serial:
            cache.write(seen_path, json.dumps(seen | {origin: manifest.serial}, indent=1).encode())
    return manifest


def _kept(path: Path) -> bytes | None:
    try:
        return read_plain(path)
    except OSError:
        return None


def _read_seen(path: Path) -> dict[str, int]:
    try:
        seen = json.loads(read_plain(path))
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: value for key, value in seen.items() if type(value) is int} if isinstance(seen, dict) else {}


def _last_manifest(cache: Cache) -> Manifest:
    path = cache.manifest_path
    try:
        data = read_plain(path)
        if key := signing.public_key():
            signing.verify(data, read_plain(path.with_name("manifest.yaml.sig")), key, str(path))
    except OSError as error:
        raise HubError(
            f"RNNZOO_OFFLINE is set, and the cache {cache.root} holds no manifest yet ({error.strerror}): run "
            "`rnnzoo download` once with a network, or set RNNZOO_URL to a folder (file:///...)"
        ) from None
    return parse_manifest(data, str(path))


def _chosen(catalogue: Catalogue, cache: Cache, pattern: str) -> list[BundleInfo]:
    pinned = _PINNED.fullmatch(pattern)
    if not pinned:
        return catalogue.manifest.match(pattern)
    (bundle,) = catalogue.manifest.match(pinned["name"])
    if bundle.revision.startswith(pinned["revision"]):
        return [bundle]
    kept = [one.revision for one in cache.entries() if one.name == bundle.name]
    raise HubError(
        f"revision {pinned['revision']} of {bundle.name} is gone: the source has {bundle.revision}, the cache "
        f"{', '.join(kept) or 'none'}. Use `rnnzoo download {bundle.name}`, or RNNZOO_URL with a mirror that kept it"
    )


def _cached(cache: Cache, name: str, revision: str) -> Path | None:
    matches = [one for one in cache.entries() if one.name == name and one.revision.startswith(revision)]
    return cache.folder(_checked(matches[0])) if matches and cache.problem(matches[0]) is None else None


def _checked(bundle: BundleInfo) -> BundleInfo:
    if bundle.format > BUNDLE_FORMAT:
        raise HubError(
            f"{bundle.name} is a bundle of format {bundle.format}, made by a newer version; this one reads up to "
            f"{BUNDLE_FORMAT}: pip install --upgrade rnnzoo"
        )
    return bundle


def _bring(bundle: BundleInfo, bases: tuple[str, ...], cache: Cache, watch: Watcher) -> None:
    if held := restriction(bundle.licence):
        print(f"{bundle.name}: {held}", file=sys.stderr)
    for attempt in range(_ATTEMPTS):
        try:
            _bring_once(bundle, bases, cache, watch)
            return
        except (OSError, HubError) as error:
            # Who finishes first removes what others have of the same; then there is nothing left to do.
            if cache.problem(bundle) is None:
                return
            if isinstance(error, HubError):
                raise
            # Two that repair the same damage where locks do nothing can both lose it.
            if not isinstance(error, FileNotFoundError) or attempt + 1 == _ATTEMPTS:
                raise HubError(
                    f"cannot write the cache {cache.root} ({error.strerror}); free or allow {bundle.size / 1e6:.1f} MB "
                    "there, or set RNNZOO_CACHE to another folder"
                ) from error


def _bring_once(bundle: BundleInfo, bases: tuple[str, ...], cache: Cache, watch: Watcher) -> None:
    with cache.staging(bundle) as part:
        if cache.problem(bundle) is None:  # another process has been here while this one waited
            return

        def fetch(file: FileInfo) -> None:
            urls = [join(base, f"{bundle.name}/{file.name}") for base in bases]
            target = part / "files" / file.name
            fetch_file(urls, file, target, part / "tags" / file.name, lambda done: watch(bundle, file, done))

        with ThreadPoolExecutor(_WORKERS) as pool:
            list(pool.map(fetch, bundle.files))
        cache.publish(bundle, part)


@contextlib.contextmanager
def _bar(bundles: list[BundleInfo]) -> Iterator[Watcher]:
    if not bundles or not sys.stderr.isatty() or not importlib.util.find_spec("rich"):
        yield lambda bundle, file, done: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, DownloadColumn, Progress, TextColumn, TransferSpeedColumn

    columns = TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn()
    with Progress(*columns, console=Console(stderr=True)) as shown:
        tasks = {bundle.name: shown.add_task(bundle.name, total=bundle.size) for bundle in bundles}
        there: dict[tuple[str, str], int] = {}

        def watch(bundle: BundleInfo, file: FileInfo, done: int) -> None:
            there[bundle.name, file.name] = done
            total = sum(count for (name, _), count in list(there.items()) if name == bundle.name)
            shown.update(tasks[bundle.name], completed=total)

        yield watch
