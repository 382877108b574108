"""How a process shares the cores with others.

In lockstep nobody waits for a single answer: whoever computes should go on. Usually a process
that is woken by a state takes the core of the one that has just sent it, in the midst of its
frame; with more processes than cores, caches are then filled anew several times a frame.
"""

from __future__ import annotations

import os
from contextlib import suppress


def leave_others_their_cores() -> None:
    """This thread, and those that it starts, wait for a free core when they are woken.

    Linux's ``SCHED_BATCH``, which needs no rights. Where there is none, or where the process was
    started with another policy (``chrt``), nothing changes.
    """
    with suppress(AttributeError, OSError):
        if os.sched_getscheduler(0) == os.SCHED_OTHER:
            os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
