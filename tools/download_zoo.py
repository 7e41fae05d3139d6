#!/usr/bin/env python3
"""Download pretrained models of this repository to the cache: `python tools/download_zoo.py 'tagger*'`.

The same as `rnnzoo download`, by the same code; it needs nothing but Python's standard library, no installation.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rnnzoo.errors import RnnzooError
from rnnzoo.hub.commands import download_models
from rnnzoo.hub.settings import read_settings


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("names", nargs="*", metavar="NAME", help="a name, a pattern such as 'tagger*', or NAME@REVISION (all models)")
    add("--list", action="store_true", help="show what there is and what is cached")
    add("--offline", action="store_true", help="open no socket (RNNZOO_OFFLINE=1)")
    add("--url", metavar="URL", help="where from: https, http or file; several by spaces (RNNZOO_URL)")
    add("--cache", metavar="FOLDER", help="where to (RNNZOO_CACHE, else rnnzoo in the user's cache)")
    arguments = parser.parse_args(argv)
    try:
        settings = read_settings(url=arguments.url, cache_dir=arguments.cache, offline=arguments.offline)
        download_models(arguments.names or ["*"], settings, listed=arguments.list)
    except RnnzooError as error:
        print(f"download_zoo: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
