#!/usr/bin/env python3
"""Download pretrained models to the cache: `python tools/download_zoo.py 'tagger*'`, the same as `rnnzoo download`."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from rnnzoo.cli import main

if __name__ == "__main__":
    sys.exit(main(["download", *(sys.argv[1:] or ["*"])]))
