"""The command behind `rnnzoo download` and `tools/download_zoo.py`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rnnzoo.errors import HubError
from rnnzoo.hub.cache import Cache
from rnnzoo.hub.download import cached_revisions, download_all, read_manifest
from rnnzoo.hub.settings import Settings


def download_models(
    names: Sequence[str], settings: Settings, *, listed: bool = False, verified: bool = False, pruned: bool = False
) -> None:
    """Download models and print their folders, or do what an option says.

    Args:
        names: names, patterns, or `NAME@REVISION`.
        settings: where from and where to.
        listed: print what there is instead.
        verified: check the cache instead.
        pruned: remove what is not current instead.

    Raises:
        HubError: as `download_all`; or nothing, or two things were asked for, or a cached file is damaged.
    """
    if listed + verified + pruned + (bool(names) and (verified or pruned)) > 1:
        raise HubError("expected one of names, --list, --verify and --prune; received several")
    cache = Cache(settings.cache)
    if listed:
        _print_list(settings, names or ["*"])
    elif verified:
        _verify(cache)
    elif pruned:
        freed = cache.prune(cached_revisions(cache))
        print(f"freed {freed / 1e6:.2f} MB in {cache.root}")
    elif names:
        for name in names:
            for folder in download_all(name, settings=settings):
                print(folder)
    else:
        raise HubError("expected names of models, such as 'tagger*', or --list, --verify, --prune")


def _print_list(settings: Settings, names: Sequence[str]) -> None:
    manifest = read_manifest(settings)
    here = {(bundle.name, bundle.revision) for bundle in Cache(settings.cache).entries()}
    rows = [("name", "revision", "MB", "cached", "licence", "data")]
    for bundle in {one.name: one for name in names for one in manifest.match(name)}.values():
        key = (bundle.name, bundle.revision)
        cached = "yes" if key in here else "older" if bundle.name in {name for name, _ in here} else "no"
        size = f"{bundle.size / 1e6:.2f}"
        rows.append((bundle.name, bundle.revision, size, cached, bundle.licence, bundle.data_licence))
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for name, revision, size, cached, licence, data in rows:
        start = f"{name:{widths[0]}}  {revision:{widths[1]}}  {size:>{widths[2]}}  {cached:{widths[3]}}"
        print(f"{start}  {licence:{widths[4]}}  {data}")


def _verify(cache: Cache) -> None:
    damaged = []
    for bundle in cache.entries():
        problem = cache.problem(bundle)
        print(f"{bundle.name}@{bundle.revision}  {f'damaged: {problem}' if problem else 'right'}")
        if problem:
            damaged.append(bundle.name)
    sys.stdout.flush()
    if damaged:
        raise HubError(f"damaged in {cache.root}: {', '.join(damaged)}; run rnnzoo download {' '.join(damaged)}")
