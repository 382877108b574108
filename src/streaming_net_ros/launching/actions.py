"""The launch actions of ``streaming_net.launch.py``, from its launch arguments.

Imports launch only when it is asked for actions: a machine without it runs `Children` instead.
"""

from __future__ import annotations

import math
import os
import shlex
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streaming_net_ros.errors import ParameterError, RunError
from streaming_net_ros.launching.processes import Process, camera_remapping, process_list
from streaming_net_ros.launching.respawn import BackOff, RespawnPolicy
from streaming_net_ros.paths import PACKAGE, find_network

if TYPE_CHECKING:
    from launch import LaunchContext
    from launch.action import Action


def launch_processes(context: LaunchContext) -> list[Action]:
    """The launch actions of ``streaming_net.launch.py``, from its launch arguments.

    In lockstep the whole run ends when one process ends (its states are lost); in realtime the
    process is started again, as `RespawnPolicy` says.
    """
    from streaming_net_ros.network.file import read_network_file

    given = context.launch_configurations
    path = find_network(given["network"]).resolve()
    spec = read_network_file(path)
    parameters: dict[str, Any] = {
        name: given[name] for name in ("weights", "tuning", "rollout", "device") if given[name]
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
    processes = process_list(
        str(path),
        [group.name for group in spec.groups],
        composed=_is_true(given, "composed"),
        members=[name.strip() for name in given["groups"].split(",") if name.strip()],
        namespace=given["namespace"] or spec.name,
        remappings=camera_remapping(spec.primary_input, given["image_topic"]),
        parameters=parameters,
    )

    further = ["--params-file", given["params_file"]] if given["params_file"] else []
    further += ["--log-level", given["log_level"]]
    policy = RespawnPolicy() if parameters["mode"] == "realtime" else None
    supervised = [_Supervised(process, further, policy) for process in processes]
    actions = [action for one in supervised for action in one.start()]
    if _is_true(given, "view"):
        actions.append(_page(str(path), given, spec.name))
    return actions


def view_command(network: str, given: Mapping[str, str], namespace: str = "") -> list[str]:
    """The command of the page, from launch arguments.

    Args:
        network: path of the network file.
        given: launch arguments: namespace, rollout, rate_hz, weights, view_arguments.
        namespace: if the argument is empty.
    """
    command = [sys.executable, "-m", f"{PACKAGE}.cli.app", "view", network]
    command += ["--namespace", given["namespace"] or namespace]
    for name in ("rollout", "rate_hz", "weights"):
        if given[name]:
            command += [f"--{name.replace('_', '-')}", given[name]]
    # Launch that is killed says nothing to its children.
    return [*command, "--follow-pid", str(os.getpid()), *shlex.split(given["view_arguments"])]


def _page(network: str, given: Mapping[str, str], namespace: str) -> Action:
    """The page's process. The network runs on, whatever becomes of it."""
    from launch.actions import ExecuteProcess

    return ExecuteProcess(
        cmd=view_command(network, given, namespace), name="view", output="screen"
    )


class _Supervised:
    """One process under launch: what starts it, and what follows when it ends.

    launch's own ``respawn`` waits equally long every time and knows no end, so a process that
    crashes at its start would be started for ever. The end of one action starts a new one instead.
    """

    def __init__(
        self, process: Process, further: Sequence[str], policy: RespawnPolicy | None
    ) -> None:
        self._process = process
        self._further = further
        self._back_off = None if policy is None else BackOff(process.name, policy)
        self._started_s = 0.0

    def start(self, context: LaunchContext | None = None) -> list[Action]:
        """The action that starts the process, now."""
        from launch_ros.actions import Node

        self._started_s = time.monotonic()
        return [
            Node(
                package=PACKAGE,
                executable="container",
                exec_name=self._process.name,
                output="screen",
                ros_arguments=[*self._process.ros_arguments(), *self._further],
                on_exit=self._on_exit,
            )
        ]

    def _on_exit(self, event: Any, now: LaunchContext) -> list[Action] | None:
        from launch.actions import LogInfo, OpaqueFunction, Shutdown, TimerAction

        if now.is_shutdown:
            return None  # it ends because all do
        if self._back_off is None:
            return [Shutdown(reason=f"{event.process_name} has ended ({event.returncode})")]
        lived_s = time.monotonic() - self._started_s
        try:
            delay_s = self._back_off.delay_s(event.returncode, lived_s)
        except RunError as error:
            return [LogInfo(msg=f"error: {error}"), Shutdown(reason=str(error))]
        told = f"'{self._process.name}' has ended; it is started again in {delay_s:g} s"
        return [
            LogInfo(msg=told),
            TimerAction(period=delay_s, actions=[OpaqueFunction(function=self.start)]),
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
