"""How a process shares the cores with others.

In lockstep nobody waits for a single answer: whoever computes should go on. Usually a process
that is woken by a state takes the core of the one that has just sent it, in the midst of its
frame; with more processes than cores, caches are then filled anew several times a frame. And who
is woken by a response takes it while the sender still holds its interpreter: all of its process
waits.

In realtime somebody waits for each answer. A page, a recorder or a build beside the network has
its share of the cores by the usual rules, and an answer that comes at the wrong moment waits for
the end of that share. A real-time priority takes the core at once.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

_THREADS = Path("/proc/self/task")
# The middleware has threads already, and states pass through them. One that was started meanwhile
# may have missed the priority; those of threads that have it, have it too.
_ROUNDS = 10


def leave_others_their_cores() -> bool:
    """This thread, and those that it starts, wait for a free core when they are woken.

    Linux's ``SCHED_BATCH``, which needs no rights. Where there is none, or where the process was
    started with another policy (``chrt``), nothing changes.

    Returns:
        True if that was changed.
    """
    with suppress(AttributeError, OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
            return True
    return False


@contextmanager
def others_keep_their_cores() -> Iterator[None]:
    """The same for a while; threads that are started in it keep to it."""
    is_changed = leave_others_their_cores()
    try:
        yield
    finally:
        if is_changed:
            with suppress(OSError):
                os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def pin_process(cores: Collection[int]) -> str:
    """Let every thread of this process run on these cores only, those to come too.

    Returns:
        Why it could not be done; empty if it was. A run goes on without.
    """
    try:
        for thread in _threads():
            with suppress(ProcessLookupError):  # it has ended meanwhile
                os.sched_setaffinity(thread, cores)
    except (AttributeError, OSError, ValueError) as error:
        return f"cannot pin to cores {sorted(cores)}: {error}"
    return ""


def take_priority(priority: int) -> str:
    """All threads of this process go before all usual ones, and the calling one before the others.

    Linux's ``SCHED_RR``: threads of one priority take turns, of 100 ms as a rule. Whoever watches
    over the others and stops them calls, so that it waits for no turn of theirs. Threads and
    processes to come have the priority of the thread that starts them. It needs a right,
    ``rtprio`` of limits.conf(5) or CAP_SYS_NICE.

    Args:
        priority: 1 to 98; the calling thread has one more.

    Returns:
        Why not, and what to do; empty if it is so.
    """
    caller = threading.get_native_id()
    try:
        for _ in range(_ROUNDS):
            wanted = {t: priority + (t == caller) for t in _threads()}
            missing = {t: own for t, own in wanted.items() if not _has_priority(t, own)}
            if not missing:
                return ""
            for thread, own in missing.items():
                with suppress(ProcessLookupError):
                    give_priority(thread, own)
        why, remedy = "some threads never have it", ""
    except PermissionError as error:
        why = str(error)
        remedy = "allow it (rtprio in /etc/security/limits.d, from the next login on), or "
    except (AttributeError, OSError) as error:
        why, remedy = str(error), ""
    return f"no real-time priority {priority}: {why}; {remedy}set realtime_priority to 0"


def give_priority(thread: int, priority: int) -> None:
    """One thread goes before all usual ones, and takes turns with those of its priority.

    Args:
        thread: its native id; 0 is the calling one.
        priority: 1 to 99.

    Raises:
        OSError: the system does not allow it.
    """
    os.sched_setscheduler(thread, os.SCHED_RR, os.sched_param(priority))


def _threads() -> Iterator[int]:
    """Of this process; each may end at any time."""
    return (int(entry.name) for entry in _THREADS.iterdir())


def _has_priority(thread: int, priority: int) -> bool:
    try:
        has_policy = os.sched_getscheduler(thread) == os.SCHED_RR
        return has_policy and os.sched_getparam(thread).sched_priority == priority
    except ProcessLookupError:
        return True  # nobody is left to be given one
