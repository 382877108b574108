"""The one family of errors.

Owns the exceptions that the package raises for bad input. Knows nothing else of the package;
everybody imports it. An error says where, what, expected, got and the remedy, in that order, in
one line that a person can act on. Late, held or lost frames are outcomes, not errors: they are
counted and published.
"""

from __future__ import annotations


class StreamingNetError(Exception):
    """Bad input of any kind, told in one line.

    Args:
        what: what is wrong, as a short phrase.
        where: the place: a file and path inside it, an edge, a topic, a parameter.
        expected: what would have been right.
        got: the offending value; its ``repr`` is shown, shortened.
        remedy: what to do now.
    """

    exit_code = 2

    def __init__(
        self,
        what: str,
        *,
        where: str = "",
        expected: str = "",
        got: object = None,
        remedy: str = "",
    ) -> None:
        self.what = what
        self.where = where
        self.expected = expected
        self.got = got
        self.remedy = remedy
        super().__init__(self._line())

    def _line(self) -> str:
        line = f"{self.where}: {self.what}" if self.where else self.what
        facts = []
        if self.expected:
            facts.append(f"expected {self.expected}")
        if self.got is not None:
            facts.append(f"got {shortened(self.got)}")
        if facts:
            line += ": " + ", ".join(facts)
        return f"{line}; {self.remedy}" if self.remedy else line


class NetworkFileError(StreamingNetError):
    """A network file that cannot be read, or that contradicts itself."""


class RolloutError(StreamingNetError):
    """A rollout that is not valid for its network: unknown edge, bad delay, or a free cycle."""


class WeightsError(StreamingNetError):
    """A weights file that does not fit the network."""


class StateError(StreamingNetError):
    """A state, message or payload whose shape, type or encoding is not what the edge carries."""


class ImageError(StreamingNetError):
    """A camera image that cannot be understood."""


class BagError(StreamingNetError):
    """A recording that is missing, damaged, or lacks what was asked of it."""


class DataError(StreamingNetError):
    """Data to learn from that are missing, damaged, or do not fit together."""


class LedgerError(StreamingNetError):
    """A ledger that cannot be written, is damaged, or tells of another run."""


class SnapshotError(StreamingNetError):
    """A snapshot that cannot be written, is damaged, or is of another network."""


class ParameterError(StreamingNetError):
    """A parameter or command line value out of its range."""


class TransportError(StreamingNetError):
    """A faster way for states that does not exist here; a slower one is taken, and said."""


class RunError(StreamingNetError):
    """A run that cannot start or go on: a peer is missing, died, or is there twice."""

    exit_code = 3


def shortened(value: object, limit: int = 120) -> str:
    """``repr`` of a value, cut in the middle to ``limit`` characters (strings stay readable)."""
    text = value if isinstance(value, str) and value and len(value) <= limit else repr(value)
    if len(text) <= limit:
        return text
    half = (limit - 5) // 2
    return f"{text[:half]} ... {text[-half:]}"
