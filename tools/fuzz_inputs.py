#!/usr/bin/env python3
"""Attack one reader of foreign input with damaged examples, and count what comes of it.

Bytes, texts and JSON of sound examples are changed at random, checksums made right. Each case has to end within five
seconds, in a result or in one of the errors that the reader promises, of one line. What does not is printed with the
number of its case, and the exit status is 1: `--first CASE --count 1` runs it again.
"""

from __future__ import annotations

import argparse
import contextlib
import copy
import json
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np

Generator = np.random.Generator
# A reader of one damaged example, and the errors that it may raise.
Case = Callable[[Generator], None]
Target = Callable[[], AbstractContextManager[tuple[Case, tuple[type[Exception], ...]]]]

HANG_SECONDS, LONGEST_LINE, MOST_FAILURES = 5.0, 10_000, 20
# Address space of a run: interpreters and TensorFlow take most of it.
MEMORY_BYTES = 12 * 2**30
_NUMBERS = (0, 1, -1, 2, 255, 65536, 2**31, 2**63, -(2**31), 10**30, 0.5, -0.0, 1e308, float("inf"), float("nan"))
_OTHERS: tuple[Any, ...] = (
    *_NUMBERS,
    *(None, True, False, "", "x", "\0", "\ud800", "../x", "a" * 3000, [], {}, [[]], {"": None}, [1, "a"], "1e999"),
)
_TOKENS = [
    *(b"{", b"}", b"[", b"]", b'"', b":", b",", b"- ", b"\n", b"\r\n", b"\0", b"\xff\xfe", b"&a", b"*a", b"!!", b"nan"),
    *(b"-1", b"99999999999999999999", b"1e999", b"true", b"null", b"  ", b"\t", b"'", b"<", b"../", b"\xed\xa0\x80"),
]


def damaged(data: bytes, generator: Generator) -> bytes:
    """Bytes with one place changed, cut, repeated, or set to what parsers take for something; sometimes a few more."""
    content = bytearray(data)
    for _ in range(int(generator.choice((1, 1, 1, 2, 4)))):
        place, kind = int(generator.integers(len(content) + 1)), generator.random()
        end = place + int(generator.integers(1, 17))
        if kind < 0.25 and place < len(content):
            content[place] ^= 1 << int(generator.integers(8))
        elif kind < 0.5:
            content[place : place + int(generator.integers(3))] = _TOKENS[int(generator.integers(len(_TOKENS)))]
        elif kind < 0.6:
            content[place:end] = int(generator.choice((0, 1, 255, 2**15, 2**31 - 1, 2**32 - 1))).to_bytes(8, "little")
        elif kind < 0.75:
            content[place:place] = content[place:end] * int(generator.integers(1, 200))
        elif kind < 0.97:
            del content[place:end]
        else:
            del content[place:]
    return bytes(content)


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values of a JSON tree."""
    yield path
    items = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, item in items:
        yield from places(item, (*path, key))


def changed(tree: Any, generator: Generator) -> Any:
    """A JSON tree with one to three of its values exchanged, taken out or doubled."""
    tree = copy.deepcopy(tree)
    for _ in range(int(generator.integers(1, 4))):
        paths = [path for path in places(tree) if path]
        if not paths:
            return _OTHERS[int(generator.integers(len(_OTHERS)))]
        path, owner = paths[int(generator.integers(len(paths)))], tree
        for key in path[:-1]:
            owner = owner[key]
        kind, old = generator.random(), owner[path[-1]]
        if kind < 0.15:
            del owner[path[-1]]
        elif kind < 0.3 and type(old) in (int, float):
            owner[path[-1]] = old + int(generator.integers(-3, 4))
        elif kind < 0.4:
            other = paths[int(generator.integers(len(paths)))]
            value = tree
            for key in other:
                value = value[key] if isinstance(value, dict | list) and key in _keys(value) else None
            owner[path[-1]] = copy.deepcopy(value)
        elif kind < 0.5 and isinstance(old, list):
            owner[path[-1]] = old * int(generator.integers(2, 50))
        else:
            # A copy: a later change may put a value into it.
            owner[path[-1]] = copy.deepcopy(_OTHERS[int(generator.integers(len(_OTHERS)))])
    return tree


def _keys(value: Any) -> Sequence[Any]:
    return list(value) if isinstance(value, dict) else range(len(value))


class Hang(BaseException):
    """A case takes too long."""


@contextlib.contextmanager
def _limit() -> Iterator[None]:
    """Raises Hang where what is inside takes more than its share of processor time."""

    def stop(*_: object) -> None:
        raise Hang(f"it took more than {HANG_SECONDS:g} s")

    before = signal.signal(signal.SIGVTALRM, stop)
    signal.setitimer(signal.ITIMER_VIRTUAL, HANG_SECONDS)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_VIRTUAL, 0)
        signal.signal(signal.SIGVTALRM, before)


def attack(target: Target, seed: int, first: int, count: int | None, seconds: float) -> dict[str, Any]:
    """Run cases until there were `count` of them, or for so many seconds; the counts."""
    refused, failures = 0, []
    with target() as (case, promised):
        began, number = time.monotonic(), first
        while (count is None or number < first + count) and time.monotonic() - began < seconds:
            at = time.process_time()
            line, problem = "", ""
            try:
                with _limit():
                    case(np.random.default_rng((seed, number)))
            except promised as error:
                line = str(error)
                if "\n" in line or len(line) > LONGEST_LINE:
                    problem = f"an error of several lines, or a long one: {line!r}"
            except (Exception, Hang) as error:
                last = traceback.extract_tb(error.__traceback__)[-1]
                problem = f"{type(error).__name__}: {error} ({last.filename}:{last.lineno})"
            if not problem and (used := time.process_time() - at) > HANG_SECONDS:
                problem = f"it took {used:.1f} s"
            number += 1
            refused += bool(line and not problem)
            if problem:
                failures.append({"case": number - 1, "problem": problem[:500]})
                if len(failures) >= MOST_FAILURES:
                    break
    cases = number - first
    return {"cases": cases, "read": cases - refused - len(failures), "refused": refused, "failures": failures}


def main(argv: list[str] | None = None) -> int:
    from fuzz_targets import TARGETS

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"{', '.join(TARGETS)} (all)")
    parser.add_argument("--minutes", type=float, default=1.0, help="of each target (1)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="number of the first case (0)")
    parser.add_argument("--count", type=int, help="cases of each target (as many as the time takes)")
    arguments = parser.parse_args(argv)
    if unknown := [name for name in arguments.targets if name not in TARGETS]:
        parser.error(f"unknown target {unknown[0]!r}, expected some of {', '.join(TARGETS)}")
    most = MEMORY_BYTES + resource.getpagesize() * int(Path("/proc/self/statm").read_text().split()[0])
    resource.setrlimit(resource.RLIMIT_AS, (most, most))
    status = 0
    for name in arguments.targets or TARGETS:
        counts = attack(TARGETS[name], arguments.seed, arguments.first, arguments.count, 60 * arguments.minutes)
        print(json.dumps({"target": name, **counts}), flush=True)
        status = status or int(bool(counts["failures"]))
    return status


if __name__ == "__main__":
    sys.exit(main())
