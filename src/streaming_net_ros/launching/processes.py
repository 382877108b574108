"""Which process holds which members of a network."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from streaming_net_ros.errors import ParameterError

FRAME_SOURCE = "frame_source"


@dataclass(frozen=True)
class Process:
    """One process of a network.

    Attributes:
        name: for logs: its member, or ``container`` if it has several.
        members: the nodes in it.
        namespace: the network's.
        parameters: of its container, beside ``members``.
        remappings: topic from -> to.
    """

    name: str
    members: tuple[str, ...]
    namespace: str
    parameters: Mapping[str, Any]
    remappings: Mapping[str, str]

    def ros_arguments(self) -> list[str]:
        """What follows ``--ros-args`` on the container's command line."""
        arguments = ["-r", f"__ns:={self.namespace}", "-r", f"container:__node:={self.node_name}"]
        for source, target in self.remappings.items():
            arguments += ["-r", f"{source}:={target}"]
        for name, value in {**self.parameters, "members": list(self.members)}.items():
            # One line of YAML, which is what rcl reads a value as.
            text = yaml.safe_dump(value, default_flow_style=True, width=1 << 20).splitlines()[0]
            arguments += ["-p", f"{name}:={text}"]
        return arguments

    @property
    def node_name(self) -> str:
        """The container node's name, unique in the namespace."""
        return "container" if self.name == "container" else f"container_{self.name}"


def process_list(
    network: str,
    groups: Sequence[str],
    *,
    composed: bool = False,
    members: Sequence[str] = (),
    namespace: str,
    remappings: Mapping[str, str] | None = None,
    parameters: Mapping[str, Any] | None = None,
) -> list[Process]:
    """The processes that run a network, or this host's share of it.

    Args:
        network: path of the network file.
        groups: its groups.
        composed: all members in one process; otherwise one process each.
        members: the members to run here; empty runs all.
        namespace: of the network, with or without the leading slash.
        remappings: topics from -> to.
        parameters: of every container.

    Raises:
        ParameterError: a member that is not in the network.
    """
    known = (FRAME_SOURCE, *groups)
    for member in members:
        if member not in known:
            raise ParameterError(
                "no such member",
                where="groups",
                expected=f"some of {', '.join(known)}",
                got=member,
            )
    wanted = tuple(name for name in known if not members or name in members)
    given = {"network": str(network), **(parameters or {})}
    shares = [("container", wanted)] if composed else [(name, (name,)) for name in wanted]
    namespace = "/" + namespace.strip("/")
    return [
        Process(name, share, namespace, given, dict(remappings or {})) for name, share in shares
    ]


def camera_remapping(input_name: str, topic: str) -> dict[str, str]:
    """Connects an image input to a camera; a topic ``.../compressed`` carries such images."""
    if not topic:
        return {}
    own = f"{input_name}/compressed" if topic.endswith("/compressed") else input_name
    return {own: topic}
