#!/usr/bin/env python3
"""Write the zoo to a folder that any static web server or bucket can serve as RNNZOO_URL; `--sign KEYFILE` signs it.

The folder is a repository of a model hub, too: its cards have the front matter that hubs read.
"""

import argparse
import sys
from pathlib import Path

from rnnzoo.bundles.publish import publish_zoo
from rnnzoo.errors import RnnzooError


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, metavar="DIR")
    parser.add_argument("--sign", type=Path, metavar="KEYFILE", help="an Ed25519 private key, 32 bytes in base64")
    arguments = parser.parse_args(argv)
    try:
        key = arguments.sign.read_text(encoding="ascii") if arguments.sign else None
        folder = publish_zoo(arguments.folder, private_key=key)
    except (RnnzooError, OSError) as error:
        print(f"publish_zoo: error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {folder}: serve it, and set RNNZOO_URL to its address ({folder.resolve().as_uri()} for this machine)")
    return 0


if __name__ == "__main__":
    sys.exit(main())
