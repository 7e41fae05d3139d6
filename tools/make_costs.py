#!/usr/bin/env python3
"""Write zoo_configs/costs.csv: what the models cost, which `rnnzoo list` shows.

It builds each that has no streaming file with the vocabularies of its data: TensorFlow Datasets downloads them, or
RNNZOO_DATA_MIRROR names a folder that has them.
"""

import argparse
import sys

from rnnzoo.errors import RnnzooError
from rnnzoo.registry.names import find_config
from rnnzoo.runs.building import load_task
from rnnzoo.runs.config import load_config
from rnnzoo.runs.costs import measure_costs, recorded_models, write_record
from rnnzoo.util.quiet import quiet_tensorflow


def main(argv: list[str] | None = None) -> int:
    argparse.ArgumentParser(description=__doc__).parse_args(argv)
    quiet_tensorflow()
    costs = {}
    try:
        for name in recorded_models():
            print(f"measuring {name} ...", flush=True)
            config = load_config(find_config(name))
            costs[name] = measure_costs(config, load_task(config).encoder)
    except RnnzooError as error:
        print(f"make_costs: error: {error}", file=sys.stderr)
        return 2
    print(f"wrote {write_record(costs)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
