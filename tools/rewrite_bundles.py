#!/usr/bin/env python3
"""Write the streaming files of bundles anew, by the converter of today, from the weights that are in them.

Nothing is trained and no data is read: figures that were measured stay. Streaming files, reference, test vectors, what
they need on a microcontroller (where tflite-micro is installed) and cards are new, and so is the manifest.
"""

import argparse
import sys
from pathlib import Path

from rnnzoo.bundles.build import rewrite_bundle, write_manifest
from rnnzoo.errors import RnnzooError
from rnnzoo.registry.layout import bundle_paths, bundles_folder
from rnnzoo.util.quiet import quiet_tensorflow
from streaming.errors import StreamingError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help="bundles (all of them)")
    parser.add_argument("--to", type=Path, metavar="FOLDER", help="the folder of all bundles (pretrained)")
    arguments = parser.parse_args(argv)
    known, to = bundle_paths(), arguments.to or bundles_folder()
    if unknown := [name for name in arguments.names if name not in known]:
        parser.error(f"no bundle is called {unknown[0]!r}; known: {', '.join(known)}")
    quiet_tensorflow()
    try:
        for name in arguments.names or known:
            print(f"writing {name} ...", flush=True)
            rewrite_bundle(known[name], to)
        if to.resolve() == bundles_folder():
            print(f"wrote {write_manifest()}")
    except (RnnzooError, StreamingError) as error:
        print(f"rewrite_bundles: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
