#!/usr/bin/env python3
"""Write zoo_configs/manifest.yaml from pretrained/; `--sign KEYFILE` signs it, `--check` only compares."""

import argparse
import sys
from pathlib import Path

from rnnzoo.bundles.build import build_manifest, write_manifest
from rnnzoo.hub import dump_manifest, signing
from rnnzoo.registry.layout import MANIFEST, root


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true")
    parser.add_argument("--sign", type=Path, metavar="KEYFILE", help="an Ed25519 private key, 32 bytes in base64")
    arguments = parser.parse_args(argv)
    path = root() / MANIFEST
    if arguments.check:
        right = path.is_file() and path.read_text(encoding="utf-8") == dump_manifest(build_manifest())
        print(f"{path}: {'right' if right else 'does not fit pretrained/; run tools/make_manifest.py'}")
        return 0 if right else 1
    print(f"wrote {write_manifest()}")
    if arguments.sign:
        private = arguments.sign.read_text(encoding="ascii")
        signature = path.with_name(path.name + signing.SUFFIX)
        signature.write_bytes(signing.sign(path.read_bytes(), private))
        print(f"wrote {signature}, by the public key {signing.public_of(private)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
