#!/usr/bin/env python3
"""Note for its card what the command of a bundle gives when it is run again: figures on the development split.

Train by the command of the card, then name the folder of the run; the line goes to zoo_configs/reproductions.csv, and
`tools/make_cards.py` writes the cards.
"""

import argparse
import sys
from pathlib import Path

from rnnzoo.bundles.reproduction import note_reproduction
from rnnzoo.errors import RnnzooError
from rnnzoo.runs.store import load_run
from rnnzoo.util.quiet import quiet_tensorflow


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN")
    arguments = parser.parse_args(argv)
    quiet_tensorflow()
    try:
        for path in arguments.runs:
            row = note_reproduction(load_run(path))
            print(f"{row.name}: {row.figure}={row.found:.6g} at commit {row.commit}")
    except RnnzooError as error:
        print(f"note_reproduction: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
