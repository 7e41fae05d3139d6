#!/usr/bin/env python3
"""Write the cards of bundles anew from their notes, metrics and the tables of the zoo; nothing is measured.

What a card states of its bundle lies elsewhere: zoo_configs/*/NAME.md, looks.csv, overlaps.csv, reproductions.csv, and
the bundle's metrics.json. The manifest follows the cards.
"""

import argparse
import sys

from rnnzoo.bundles.build import CARD_FILE, write_manifest
from rnnzoo.bundles.cards import read_notes, write_card
from rnnzoo.errors import RnnzooError
from rnnzoo.registry.layout import CONFIG_FILE, bundle_paths
from rnnzoo.registry.names import list_models
from rnnzoo.runs.config import load_config
from rnnzoo.runs.store import read_metrics


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="*", help="which bundles, such as 'tagger*' (all)")
    arguments = parser.parse_args(argv)
    try:
        for name in list_models(arguments.pattern, pretrained=True):
            folder = bundle_paths()[name]
            text = write_card(load_config(folder / CONFIG_FILE), read_metrics(folder), read_notes(name))
            if (folder / CARD_FILE).read_text(encoding="utf-8") != text:
                (folder / CARD_FILE).write_text(text, encoding="utf-8", newline="\n")
                print(f"wrote {folder / CARD_FILE}")
        print(f"wrote {write_manifest()}")
    except RnnzooError as error:
        print(f"make_cards: error: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
