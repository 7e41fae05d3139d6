#!/usr/bin/env python3
"""Count, for each data set of the zoo, the examples of dev and test whose input or text is in train, too.

Writes zoo_configs/overlaps.csv, which cards state. Needs the data: TensorFlow Datasets downloads it, or
RNNZOO_DATA_MIRROR names a folder that has it.
"""

import argparse
import fnmatch
import sys

from rnnzoo.data.overlap import count_overlaps, read_overlaps, write_overlaps
from rnnzoo.data.source import read_source
from rnnzoo.errors import RnnzooError
from rnnzoo.registry.layout import OVERLAPS, config_paths, root
from rnnzoo.runs.config import load_config
from rnnzoo.util.quiet import quiet_tensorflow

# Its splits are rows of the same series.
SAME_SERIES = "series-windows"


def main(argv: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("pattern", nargs="?", default="*", help="which data sets, such as 'multi30k*' (all)")
    arguments = parser.parse_args(argv)
    quiet_tensorflow()
    configs = {config.data.dataset: config.data for config in map(load_config, config_paths().values())}
    path = root() / OVERLAPS
    known = read_overlaps(path)
    try:
        for name in fnmatch.filter(sorted(configs), arguments.pattern):
            source = read_source(configs[name])
            if source.kind == SAME_SERIES:
                continue
            for row in count_overlaps(name, source):
                known[row.dataset, row.split] = row
                print(
                    f"{row.dataset} {row.split}: {row.inputs} inputs, {row.targets} targets of {row.examples}",
                    flush=True,
                )
    except RnnzooError as error:
        print(f"count_overlaps: error: {error}", file=sys.stderr)
        return 2
    write_overlaps(path, list(known.values()))
    print(f"wrote {path}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
