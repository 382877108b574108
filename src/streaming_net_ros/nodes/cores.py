"""How a process shares the cores with others.

In lockstep nobody waits for a single answer: whoever computes should go on. Usually a process
that is woken by a state takes the core of the one that has just sent it, in the midst of its
frame; with more processes than cores, caches are then filled anew several times a frame.

In realtime somebody waits for each answer. A page, a recorder or a build beside the network has
its share of the cores by the usual rules, and an answer that comes at the wrong moment waits for
the end of that share. A real-time priority takes the core at once.
"""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

_THREADS = Path("/proc/self/task")
# The middleware has threads already, and states pass through them. One that was started meanwhile
# may have missed the priority; those of threads that have it, have it too.
_ROUNDS = 10


def leave_others_their_cores() -> None:
    """This thread, and those that it starts, wait for a free core when they are woken.

    Linux's ``SCHED_BATCH``, which needs no rights. Where there is none, or where the process was
    started with another policy (``chrt``), nothing changes.
    """
    with suppress(AttributeError, OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))


def take_priority(priority: int) -> str:
    """All threads of this process, and those that they start, go before all usual ones.

    Linux's ``SCHED_RR``: threads of one priority take turns. It needs a right, ``rtprio`` of
    limits.conf(5) or CAP_SYS_NICE.

    Args:
        priority: 1 to 99, of the threads.

    Returns:
        Why not, and what to do; empty if it is so.
    """
    try:
        for _ in range(_ROUNDS):
            others = _threads_without(priority)
            if not others:
                return ""
            for thread in others:
                with suppress(ProcessLookupError):  # it has ended meanwhile
                    os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(priority))
        why, remedy = "some threads never have it", ""
    except PermissionError as error:
        why = str(error)
        remedy = "allow it (rtprio in /etc/security/limits.d, from the next login on), or "
    except (AttributeError, OSError) as error:
        why, remedy = str(error), ""
    return f"no real-time priority {priority}: {why}; {remedy}set realtime_priority to 0"


def _threads_without(priority: int) -> list[int]:
    found = []
    for thread in sorted(int(entry.name) for entry in _THREADS.iterdir()):
        with suppress(ProcessLookupError):
            has_policy = os.sched_getscheduler(thread) == os.SCHED_RR
            if not (has_policy and os.sched_getparam(thread).sched_priority == priority):
                found.append(thread)
    return found
