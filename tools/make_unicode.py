"""Writes `clients/c/src/unicode.h`: what the `str` of the Python that runs this knows of characters, as ranges."""

from __future__ import annotations

import sys
import unicodedata
from collections.abc import Callable, Iterator
from pathlib import Path

OUT = Path(__file__).resolve().parents[1] / "clients" / "c" / "src" / "unicode.h"
_POINTS = [point for point in range(sys.maxunicode + 1) if not 0xD800 <= point < 0xE000]
# A capital sigma at the end of a word, which is what decides its lower case, says which characters are cased.
_SIGMA, _FINAL = "\u03a3", "\u03c2"


def cased(character: str) -> bool:
    return f"{character}{_SIGMA}".lower().endswith(_FINAL)


def ignorable(character: str) -> bool:
    return not cased(character) and f"A{character}{_SIGMA}".lower().endswith(_FINAL)


def ranges(holds: Callable[[str], bool]) -> Iterator[tuple[int, int]]:
    begin = last = None
    for point in _POINTS:
        if not holds(chr(point)):
            continue
        if last != point - 1:
            if begin is not None:
                yield begin, last
            begin = point
        last = point
    if begin is not None:
        yield begin, last


def lower_runs() -> Iterator[tuple[int, int, int, int]]:
    """First, last, stride and difference of characters whose lower case is one other character."""
    run: list[int] = []
    for point in _POINTS:
        low = chr(point).lower()
        if len(low) != 1 or ord(low) == point:
            continue
        step = ord(low) - point
        if run and run[3] == step and (point - run[1] == run[2] or (run[0] == run[1] and point - run[1] in (1, 2))):
            run[1], run[2] = point, point - run[1]
        else:
            if run:
                yield tuple(run)
            run = [point, point, 1, step]
    yield tuple(run)


def main() -> None:
    parts = [
        f"/* Characters of Unicode {unicodedata.unidata_version}; written by tools/make_unicode.py. */",
        "#include <stdint.h>",
    ]
    tests: dict[str, Callable[[str], bool]] = {
        "alpha": str.isalpha,
        "upper": str.isupper,
        "digit": str.isdigit,
        "decimal": str.isdecimal,
        "alnum": str.isalnum,
        "space": str.isspace,
        "cased": cased,
        "ignorable": ignorable,
    }
    for name, holds in tests.items():
        text = ", ".join(f"{{{begin}, {end}}}" for begin, end in ranges(holds))
        parts.append(f"static const uint32_t st_{name}_ranges[][2] = {{{text}}};")
    text = ", ".join(f"{{{begin}, {end}, {stride}, {step}}}" for begin, end, stride, step in lower_runs())
    parts.append(f"static const int32_t st_lower_runs[][4] = {{{text}}};")
    OUT.write_text("\n".join(parts) + "\n")


if __name__ == "__main__":
    main()
