"""Parameters of a node that can be set while it runs.

What is asked for is checked, and prepared (files are read), before the parameter takes the value:
``ros2 param set`` is refused with the reason, and what was running goes on. Groups and the frame
source use it; when a value takes effect is theirs to say.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Generic, TypeVar

from rcl_interfaces.msg import SetParametersResult
from rclpy.node import Node
from rclpy.parameter import Parameter

from streaming_net_ros.errors import StreamingNetError
from streaming_net_ros.nodes.settings import Row, checked_value, declared

Prepared = TypeVar("Prepared")


class LiveParameters(Generic[Prepared]):
    """Declares parameters, and hands on what they are set to. Called from the executor thread.

    Args:
        node: whose parameters.
        rows: by name: default, meaning, range.
        prepare: makes of a name and a checked value what ``take`` is handed; may refuse with a
            StreamingNetError.
        take: is handed all that was set at once, when nothing of it was refused. Values given at
            the start that are not the defaults are taken at once.

    Raises:
        StreamingNetError: a value given at the start is not allowed.
    """

    def __init__(
        self,
        node: Node,
        rows: Mapping[str, Row],
        prepare: Callable[[str, Any], Prepared],
        take: Callable[[Sequence[Prepared]], None],
    ) -> None:
        self._node = node
        self._rows = rows
        self._prepare = prepare
        self._take = take
        self._prepared: dict[str, Prepared] = {}
        self._callbacks = (self._on_set, self._on_done)
        given = {name: declared(node, name, row, read_only=False) for name, row in rows.items()}
        changed = {n: value for n, value in given.items() if value != rows[n].default}
        if changed:
            take([prepare(name, value) for name, value in changed.items()])
        node.add_on_set_parameters_callback(self._on_set)
        node.add_post_set_parameters_callback(self._on_done)

    def destroy(self) -> None:
        """Leave the node."""
        self._node.remove_on_set_parameters_callback(self._on_set)
        self._node.remove_post_set_parameters_callback(self._on_done)
        for name in self._rows:
            self._node.undeclare_parameter(name)

    def _on_set(self, parameters: list[Parameter[Any]]) -> SetParametersResult:
        self._prepared = {}
        try:
            for parameter in parameters:
                if parameter.name in self._rows:
                    row = self._rows[parameter.name]
                    value = checked_value(parameter.name, row, parameter.value)
                    self._prepared[parameter.name] = self._prepare(parameter.name, value)
        except StreamingNetError as error:
            self._prepared = {}
            return SetParametersResult(successful=False, reason=str(error))
        return SetParametersResult(successful=True)

    def _on_done(self, parameters: list[Parameter[Any]]) -> None:
        """Nobody has refused."""
        names = [p.name for p in parameters]
        taken = [self._prepared.pop(name) for name in names if name in self._prepared]
        if taken:
            self._take(taken)
