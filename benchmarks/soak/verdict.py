"""What a part of the soak counts, and the faults that it finds."""

from __future__ import annotations

import statistics
import sys
from collections import Counter
from collections.abc import Sequence

# Faults that are printed; the rest is counted. Memory may grow by this share, and by so many bytes.
_PRINTED, _SHARE, _BYTES = 20, 0.1, 16 << 20
# Measurements at the beginning that are not counted: caches fill.
_WARM = 0.3


class Verdict:
    """The counts and faults of one part."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self._faults: list[str] = []

    def fault(self, line: str) -> None:
        """Note a fault."""
        self._faults.append(line)

    def check(self, is_so: bool, line: str) -> None:
        """Note a fault unless it is so."""
        if not is_so:
            self.fault(line)

    def check_flat(self, name: str, sizes: Sequence[int]) -> None:
        """Memory in bytes, measured evenly over the time: the end is no larger than the beginning, once warm."""
        warm = sizes[int(_WARM * len(sizes)) :]
        if len(warm) < 6:
            print(f"  {name}: too few measurements ({len(warm)}) to say whether it grows")
            return
        third = len(warm) // 3
        before, after = statistics.median(warm[:third]), statistics.median(warm[-third:])
        print(f"  {name}: {before / 1e6:.1f} MB, at the end {after / 1e6:.1f} MB")
        grown = f"{name} grows from {before / 1e6:.1f} to {after / 1e6:.1f} MB"
        self.check(after <= before * (1 + _SHARE) and after - before <= _BYTES, grown)

    def end(self) -> None:
        """Print all, and end the process."""
        print("  " + ", ".join(f"{count:,} {name}" for name, count in sorted(self.counts.items())))
        for fault in self._faults[:_PRINTED]:
            print(f"  FAULT: {fault}")
        if len(self._faults) > _PRINTED:
            print(f"  ... {len(self._faults) - _PRINTED} faults more")
        sys.exit(bool(self._faults))


def line(failed: Sequence[str], seconds: float) -> str:
    """The last line of all parts."""
    return f"soak of {seconds / 60:.1f} minutes: " + (f"faults in {', '.join(failed)}" if failed else "no fault")
