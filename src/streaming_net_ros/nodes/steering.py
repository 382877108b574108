"""Changing a group while it runs: lesions, gains, scalars, weights.

Each is a parameter of the group's node. A change waits for the border between two frames, holds
from a stated frame on, and is told: in the log, on the topic ``changes``, and in the ledger, from
which a replay makes it again.

Threads: parameters are set in the executor thread; a worker applies changes and tells of them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node
from rclpy.parameter import Parameter
from torch import Tensor

from streaming_net_ros.frames import LESIONS, Lesion, Mailbox
from streaming_net_ros.frames.ledger import ChangeLine, system_ns
from streaming_net_ros.network.adjust import (
    NOISE,
    WEIGHTS,
    Adjustable,
    Change,
    is_learning,
    is_lesion,
    lesion_name,
)
from streaming_net_ros.network.runner import Runner
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.learning import Learning
from streaming_net_ros.nodes.live import LiveParameters
from streaming_net_ros.nodes.settings import Row
from streaming_net_ros.wire import write_stamp_ns

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container

_DEPTH = 100


def changes_message(
    node: str, values: Mapping[str, str], frame: int, stamp_ns: int
) -> DiagnosticArray:
    """A message of the topic ``changes``."""
    told = [KeyValue(key=name, value=value) for name, value in values.items()]
    message = DiagnosticArray(
        status=[DiagnosticStatus(name=node, message=f"frame {frame}", values=told)]
    )
    write_stamp_ns(message.header.stamp, stamp_ns)
    return message


class Steering:
    """What of one group may change while it runs.

    Args:
        node: of the group.
        group: its name.
        container: of the node.
        runner: what computes it.
        learning: its own, if it may learn.
    """

    def __init__(
        self,
        node: Node,
        group: str,
        container: Container,
        runner: Runner,
        learning: Learning | None = None,
    ) -> None:
        self._node = node
        self._group = group
        self._container = container
        self._runner = runner
        self._learning = learning
        self._adjustable = Adjustable(container.network, group)
        self._mailbox: Mailbox[Tensor] | None = None
        self._pending: list[Change] = []
        self._untold: list[Change] = []
        self._changes = node.create_publisher(
            DiagnosticArray, topics.CHANGES, topics.reliable(_DEPTH)
        )
        self._sources = tuple(container.rules[group].delays)
        self._places = {lesion_name(source): source for source in (None, *self._sources)}
        self._rows = self._made_rows()
        self._parameters = LiveParameters(node, self._rows, self._checked, self._take)

    def begin(self, mailbox: Mailbox[Tensor]) -> None:
        """A run begins with an empty mailbox: what was lesioned stays so. Lock held."""
        old, self._mailbox = self._mailbox, mailbox
        if old is not None:
            for source, lesion in old.lesions.told().items():
                mailbox.lesions.set(lesion, source)

    def note(self, name: str, value: str) -> None:
        """Tell of what was changed otherwise, with the frame that begins next."""
        with self._container.pool.lock:
            self._untold.append(Change(name, value, "", lambda: None))

    def follow(self, numbers: Mapping[str, float], lesions: Mapping[str | None, Lesion]) -> None:
        """Set the parameters to what a snapshot says, whatever was asked for. Executor thread."""
        with self._container.pool.lock:
            self._pending = []
        values: dict[str, Any] = {**numbers, WEIGHTS: ""}
        values |= {lesion_name(source): lesion for source, lesion in lesions.items()}
        changed = [
            Parameter(name, value=value)
            for name, value in values.items()
            if self._node.get_parameter(name).value != value
        ]
        if changed:
            self._node.set_parameters(changed)

    def destroy(self) -> None:
        """Leave the node; the group is as in the network file again."""
        for name in self._adjustable.numbers():
            self._adjustable.checked(name, self._rows[name].default).apply()
        self._parameters.destroy()
        self._node.destroy_publisher(self._changes)

    def at_border(self) -> None:
        """Between two frames: apply what was changed. Called with the lock held."""
        if not self._pending or self._mailbox is None or self._mailbox.is_busy:
            return
        for change in self._pending:
            change.apply()
            is_of_layers = not (is_lesion(change.name) or is_learning(change.name))
            if is_of_layers and self._learning is not None:
                self._learning.adjusted(has_new_weights=change.name == WEIGHTS)
            if is_of_layers and change.name != NOISE:
                self._leave_backend()
        self._untold += self._pending
        self._pending = []

    def replaced_weights(self) -> None:
        """The group was given other weights by a snapshot. Called with the lock held."""
        self._leave_backend()
        if self._learning is not None:
            self._learning.adjusted(has_new_weights=True)

    def _leave_backend(self) -> None:
        """The layers were changed: torch computes them eagerly from here on."""
        if self._runner.leave_backend():
            self._node.get_logger().warning(
                "its backend was made of what is changed now: torch computes eagerly from here on"
            )

    def take_untold(self) -> list[Change]:
        """What holds from the frame that begins now on. Called with the lock held."""
        changes, self._untold = self._untold, []
        return changes

    def tell(self, frame: int, changes: Sequence[Change]) -> None:
        """Tell of changes, before the state of their first frame leaves. Worker thread."""
        if self._container.ledger is not None:
            for change in changes:
                self._container.ledger.write(
                    ChangeLine(
                        self._group,
                        frame,
                        change.name,
                        change.value,
                        system_ns(),
                        change.fingerprint,
                    )
                )
        values = {change.name: str(change.value) for change in changes}
        stamp_ns = self._container.grid.stamp_ns(frame)
        self._changes.publish(changes_message(self._group, values, frame, stamp_ns))
        told = ", ".join(f"{name} = {value}" for name, value in values.items())
        self._node.get_logger().info(f"from frame {frame} on: {told}")

    def warnings(self) -> list[str]:
        """What is lesioned now, in words: nobody shall wonder. Called with the lock held."""
        if self._mailbox is None or not self._mailbox.lesions.is_any:
            return []
        words = {"hold": "held", "silence": "silenced"}
        return [
            f"{self._group if source is None else f'edge {source} -> {self._group}'} "
            f"is {words[lesion]}"
            for source, lesion in self._mailbox.lesions.told().items()
            if lesion in words
        ]

    # --- parameters (executor thread) --------------------------------------------------------

    def _made_rows(self) -> dict[str, Row]:
        rows = {
            name: Row(
                "none",
                "none; hold: the last state stays; silence: " + (
                    "the group has no state" if source is None else f"'{source}' is not heard"
                ),
                choices=LESIONS,
            )
            for name, source in self._places.items()
        }  # fmt: skip
        for name, value in self._adjustable.numbers().items():
            rows[name] = Row(value, "the network file has " + f"{value:g}")
        rows[NOISE] = Row(0.0, "standard deviation of Gaussian noise on the state", 0, 1e6)
        rows |= self._learning.rows if self._learning is not None else {}
        rows[WEIGHTS] = Row("", "weights file to take this group's tensors from, while it runs")
        return rows

    def _checked(self, name: str, value: Any) -> Change:
        if self._learning is not None and is_learning(name):
            told = str(value).lower() if isinstance(value, bool) else value
            return Change(name, told, "", partial(self._learning.set, name, value))
        if (name, value) == (WEIGHTS, ""):  # those that it was started with, or restored with
            return Change(name, value, "", lambda: None)
        if not is_lesion(name):
            return self._adjustable.checked(name, value)
        source = self._places[name]

        def apply() -> None:
            assert self._mailbox is not None
            self._mailbox.lesions.set(value, source)

        return Change(name, value, "", apply)

    def _take(self, changes: Sequence[Change]) -> None:
        with self._container.pool.lock:
            self._pending += changes
            self._container.pool.wake(self._node)
