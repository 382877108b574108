"""From a network file to the processes that run it, said once for launch and command line.

`process_list` decides which process holds which members; `launch_processes` turns that list into
launch actions for ``ros2 launch``, `Children` into plain child processes for
``streaming-net run --processes`` on a machine without launch. Loads neither torch nor rclpy.
"""

from __future__ import annotations

import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import yaml

from streaming_net_ros.errors import ParameterError, RunError, StreamingNetError
from streaming_net_ros.paths import PACKAGE, find_network

if TYPE_CHECKING:
    from launch import LaunchContext
    from launch.action import Action

FRAME_SOURCE = "frame_source"
_STOP_S = 2.0


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


class Children:
    """The processes of a list as children of this one; a context manager.

    The children watch their parent (``follow_pid``), so that none outlives a parent that was
    killed; a child that dies is reported by name at the next `check`.
    """

    def __init__(self, processes: Sequence[Process]) -> None:
        self._processes = processes
        self._children: dict[str, subprocess.Popen[bytes]] = {}

    def __enter__(self) -> Children:
        for process in self._processes:
            command = [sys.executable, "-m", f"{PACKAGE}.nodes.container", "--ros-args"]
            command += [*process.ros_arguments(), "-p", f"follow_pid:={os.getpid()}"]
            # A session of its own: Ctrl-C reaches the parent, which ends the children in order.
            self._children[process.name] = subprocess.Popen(command, start_new_session=True)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for child in self._children.values():
            if child.poll() is None:
                child.send_signal(signal.SIGINT)
        end_s = time.monotonic() + _STOP_S
        for child in self._children.values():
            try:
                child.wait(max(0.0, end_s - time.monotonic()))
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()

    def check(self) -> None:
        """Raise if a child has ended.

        Raises:
            RunError: naming the process, and how it ended.
        """
        for name, child in self._children.items():
            code = child.poll()
            if code is not None:
                how = (
                    f"killed by {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
                )
                raise RunError(
                    f"the process of '{name}' has ended ({how})",
                    where=f"pid {child.pid}",
                    remedy="its own message stands above; start the run again",
                )

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by process name."""
        return {name: child.pid for name, child in self._children.items()}


def launch_processes(context: LaunchContext) -> list[Action]:
    """The launch actions of ``streaming_net.launch.py``, from its launch arguments.

    In lockstep the whole run ends when one process ends (its states are lost); in realtime the
    process is started again, unless it has refused its input.
    """
    from launch.actions import Shutdown
    from launch_ros.actions import Node

    from streaming_net_ros.network.file import read_network_file

    given = context.launch_configurations
    path = find_network(given["network"]).resolve()
    spec = read_network_file(path)
    parameters: dict[str, Any] = {
        name: given[name] for name in ("weights", "rollout", "device") if given[name]
    }
    parameters["use_sim_time"] = _is_true(given, "use_sim_time")
    # SIGTERM ends launch without a word to its children: they watch for it themselves.
    parameters["follow_pid"] = os.getpid()
    if given["rate_hz"]:
        parameters["rate_hz"] = _rate_hz(given["rate_hz"])
    if given["params_file"] and not Path(given["params_file"]).is_file():
        raise ParameterError(
            "no such file", where="params_file", expected="a YAML file", got=given["params_file"]
        )
    parameters["mode"] = _choice(given, "mode", ("realtime", "lockstep"))
    is_realtime = parameters["mode"] == "realtime"
    processes = process_list(
        str(path),
        [group.name for group in spec.groups],
        composed=_is_true(given, "composed"),
        members=[name.strip() for name in given["groups"].split(",") if name.strip()],
        namespace=given["namespace"] or spec.name,
        remappings=camera_remapping(spec.primary_input, given["image_topic"]),
        parameters=parameters,
    )

    def after_exit(event: Any, now: LaunchContext) -> list[Action] | None:
        if now.is_shutdown:
            return None  # it ends because all do
        refused = event.returncode in (StreamingNetError.exit_code, RunError.exit_code)
        if is_realtime and not refused:
            return None  # respawned: it rejoins at the right frame
        return [Shutdown(reason=f"{event.process_name} has ended ({event.returncode})")]

    return [
        Node(
            package=PACKAGE,
            executable="container",
            exec_name=process.name,
            output="screen",
            ros_arguments=[
                *process.ros_arguments(),
                *(["--params-file", given["params_file"]] if given["params_file"] else []),
                "--log-level",
                given["log_level"],
            ],
            respawn=is_realtime,
            respawn_delay=1.0,
            on_exit=after_exit,
        )
        for process in processes
    ]


def _choice(given: Mapping[str, str], name: str, choices: Sequence[str]) -> str:
    # Told here, once, instead of by every process.
    if given[name].lower() not in choices:
        raise ParameterError(
            "value not allowed", where=name, expected=" or ".join(choices), got=given[name]
        )
    return given[name].lower()


def _is_true(given: Mapping[str, str], name: str) -> bool:
    return _choice(given, name, ("true", "false")) == "true"


def _rate_hz(text: str) -> float:
    try:
        rate_hz = float(text)
    except ValueError:
        rate_hz = math.nan
    if not 0 <= rate_hz < math.inf:
        raise ParameterError("not a rate", where="rate_hz", expected="frames per second", got=text)
    return rate_hz
