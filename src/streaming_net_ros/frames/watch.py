"""The watchdog: who has been silent for too long, by name. Pure, with the clock handed in."""

from __future__ import annotations

from collections.abc import Iterable


class Watch:
    """Cameras or groups that should be heard all the time.

    Args:
        names: who.
        limit_ns: how long a silence may last.
        start_ns: how long those who were never heard may take to come up.
    """

    def __init__(self, names: Iterable[str], limit_ns: int, start_ns: int = 0) -> None:
        self._limit_ns = limit_ns
        self._more_ns = max(0, start_ns - limit_ns)
        self._heard_ns: dict[str, int | None] = dict.fromkeys(names)

    def heard(self, name: str, now_ns: int) -> None:
        """Somebody is heard; strangers are ignored."""
        if name in self._heard_ns:
            self._heard_ns[name] = now_ns

    def begin(self, now_ns: int) -> None:
        """Silence counts also of those who were never heard, after the time that they may take."""
        for name, heard_ns in self._heard_ns.items():
            if heard_ns is None:
                self._heard_ns[name] = now_ns + self._more_ns

    def silent(self, now_ns: int) -> dict[str, int]:
        """For how long those have been silent who are beyond the limit, in ns."""
        return {
            name: now_ns - heard_ns
            for name, heard_ns in self._heard_ns.items()
            if heard_ns is not None and now_ns - heard_ns > self._limit_ns
        }
