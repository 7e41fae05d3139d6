"""Asks the system to let a thread run soon after it wakes up."""

from __future__ import annotations

import ctypes
import os
import platform
import struct
import sys

# The number of the system call sched_setattr, by machine.
_NUMBERS = {"x86_64": 314, "aarch64": 274, "armv7l": 380, "riscv64": 274}
# Of `struct sched_attr`: its size, policy, flags, nice, priority, runtime, deadline, period.
_ATTRIBUTES = "=IIQiIQQQ"
_RESET_ON_FORK = 1
_NANOSECONDS = 100_000


def run_sooner() -> bool:
    """Give the calling thread short slices of processor time, so that it interrupts those that compute for long.

    It gets no more time than before, and needs no right. Linux from version 6.12 on does so, with its usual policy;
    other systems leave everything as it is. Threads that this one starts are not included.

    Returns:
        Whether the system has taken it; an older Linux takes it and does nothing.
    """
    number = _NUMBERS.get(platform.machine())
    if sys.platform != "linux" or number is None or os.sched_getscheduler(0) != os.SCHED_OTHER:
        return False
    nice = os.getpriority(os.PRIO_PROCESS, 0)
    size = struct.calcsize(_ATTRIBUTES)
    given = struct.pack(_ATTRIBUTES, size, os.SCHED_OTHER, _RESET_ON_FORK, nice, 0, _NANOSECONDS, 0, 0)
    try:
        return bool(ctypes.CDLL(None).syscall(number, 0, ctypes.create_string_buffer(given, size), 0) == 0)
    except (AttributeError, OSError):
        return False
