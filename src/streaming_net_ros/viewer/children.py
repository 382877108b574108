"""Children of the viewer: how they are given the token, and that they never outlive it.

Knows nothing of what they do. Imports no ROS and no torch: the command line starts children too.
"""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Callable

TOKEN_VARIABLE = "STREAMING_NET_VIEW_TOKEN"
"""Names the environment's variable that the token of a page may be given by."""

_PR_SET_PDEATHSIG = 1
_LIBC = ctypes.CDLL(None)


def ending_with_parent(number: signal.Signals = signal.SIGTERM) -> Callable[[], None]:
    """What a child does before its program (``preexec_fn``), so that it ends with this process.

    Linux tells a child when the *thread* that began it ends: begin it on one that stays. Elsewhere
    nothing is done, and a child must notice by other means.

    Args:
        number: the signal that it is sent.
    """
    parent = os.getpid()

    def arrange() -> None:
        if hasattr(_LIBC, "prctl"):
            _LIBC.prctl(_PR_SET_PDEATHSIG, int(number))
            if os.getppid() != parent:  # it has ended already, and nobody will tell
                os._exit(1)

    return arrange
