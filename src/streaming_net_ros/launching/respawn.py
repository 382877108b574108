"""When a process that has ended is started again: the back-off of a realtime run, as pure numbers.

Knows no clock and no process: it is told how a process ended and how long it had lived. `Children`
and the launch actions both ask it, so that a crash loop ends the same way under either.
"""

from __future__ import annotations

import signal
from dataclasses import dataclass

from streaming_net_ros.errors import ParameterError, RunError, StreamingNetError


@dataclass(frozen=True)
class RespawnPolicy:
    """How patiently processes are started again.

    Attributes:
        first_delay_s: wait before the first restart; it doubles with every early end in a row.
        longest_delay_s: beyond this it does not grow.
        settled_s: a process that lived so long did not end early; loading torch is part of it.
        most_early_ends: so many early ends in a row end the run.

    Raises:
        ParameterError: a negative time, or no end allowed at all.
    """

    first_delay_s: float = 0.5
    longest_delay_s: float = 8.0
    settled_s: float = 30.0
    most_early_ends: int = 6

    def __post_init__(self) -> None:
        if min(self.first_delay_s, self.longest_delay_s, self.settled_s) < 0:
            raise ParameterError("negative time", where="respawn policy", expected=">= 0 s")
        if self.most_early_ends < 1:
            raise ParameterError(
                "no end allowed",
                where="respawn policy",
                expected="most_early_ends >= 1",
                got=self.most_early_ends,
            )


class BackOff:
    """The back-off of one process.

    Args:
        name: of the process, for the error.
        policy: how patiently it is started again.
    """

    def __init__(self, name: str, policy: RespawnPolicy) -> None:
        self._name = name
        self._policy = policy
        self._early_ends = 0

    def delay_s(self, code: int, lived_s: float) -> float:
        """How long to wait before the process is started again.

        Args:
            code: its exit code; a signal that killed it is negative.
            lived_s: from its start to its end.

        Raises:
            RunError: it must not be started again: it has refused its input, or it crashes
                whenever it is started.
        """
        if code in (StreamingNetError.exit_code, RunError.exit_code):
            raise RunError(
                f"the process of '{self._name}' refuses to run ({told_end(code)})",
                remedy="its own message stands above",
            )
        is_early = lived_s < self._policy.settled_s
        self._early_ends = self._early_ends + 1 if is_early else 1
        if is_early and self._early_ends >= self._policy.most_early_ends:
            raise RunError(
                f"the process of '{self._name}' has ended {self._early_ends} times in a row "
                f"within {self._policy.settled_s:g} s of its start (last: {told_end(code)})",
                remedy="its own messages stand above",
            )
        doubled_s = self._policy.first_delay_s * 2.0 ** (self._early_ends - 1)
        return min(doubled_s, self._policy.longest_delay_s)


def told_end(code: int) -> str:
    """How a process ended, in words; a signal that killed it is negative."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"
