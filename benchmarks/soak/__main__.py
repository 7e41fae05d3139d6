"""`make soak`, or `python -m benchmarks.soak --minutes 5`: all parts at once; status 1 where one finds a fault."""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time

from benchmarks.soak import verdict

PARTS = ("server", "quiet_server", "conversions", "pipeline")
# Seconds that a part may take beyond its time.
_BEYOND = 180


def main() -> None:
    """Run the parts as processes, and print what each says."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=60.0, help="how long (60)")
    parser.add_argument("--part", choices=PARTS, action="append", help="this part alone; may be repeated")
    given = parser.parse_args()
    began = time.monotonic()
    environment = {**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"}
    parts = {
        name: subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.soak.{name}", str(60 * given.minutes)],
            stdout=subprocess.PIPE,
            text=True,
            env=environment,
        )
        for name in given.part or PARTS
    }
    failed = []
    for name, part in parts.items():
        try:
            text, _ = part.communicate(timeout=max(1.0, began + 60 * given.minutes + _BEYOND - time.monotonic()))
        except subprocess.TimeoutExpired:
            part.kill()
            text = "  FAULT: it did not end in time\n" + part.communicate()[0]
        print(f"{name}\n{text}", end="", flush=True)
        if part.returncode:
            failed.append(name)
    print(verdict.line(failed, time.monotonic() - began))
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
