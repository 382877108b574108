"""Memory that a process has had, it keeps.

A state of some 100 KiB lives for a frame. glibc gives such memory back to the system and asks for
it again, page by page: with states of 2 MiB, tens of thousands of page faults a second.
"""

from __future__ import annotations

import ctypes

_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3  # of mallopt(3)
_MIB = 1 << 20


def keep_memory() -> bool:
    """Tell the allocator of this process to keep what is freed; False where there is no glibc."""
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    wishes = ((_MMAP_THRESHOLD, 32 * _MIB), (_TRIM_THRESHOLD, 1024 * _MIB), (_TOP_PAD, 16 * _MIB))
    taken = [mallopt(which, value) == 1 for which, value in wishes]
    return all(taken)
