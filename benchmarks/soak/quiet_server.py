"""A server of one process under the same clients, which nobody kills: what it leaks would show."""

from __future__ import annotations

import sys

from benchmarks.soak.server import main

if __name__ == "__main__":
    main(float(sys.argv[1]), workers=1, kills=False)
