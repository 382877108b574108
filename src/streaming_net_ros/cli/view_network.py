"""What ``view`` starts besides the page: a network on the simulator or a recording, as children.

Owns the command lines, and that no child outlives its parent. Imported by ``view``.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.paths import PACKAGE
from streaming_net_ros.viewer.children import ending_with_parent

if TYPE_CHECKING:
    from streaming_net_ros.network import NetworkSpec

_END_S = 5.0


def simulated(
    spec: NetworkSpec, namespace: str, further: Mapping[str, Any], *, is_lockstep: bool
) -> list[list[str]]:
    """The commands of a network that drives the simulated car.

    Args:
        spec: the network.
        namespace: of it.
        further: parameters of its container.
        is_lockstep: time stands still until a command comes; else it goes on.

    Raises:
        ParameterError: no output of it is a command.
    """
    from streaming_net_ros.launching import process_list

    commands = [name for name, output in spec.outputs.items() if output.publish == "twist"]
    if not commands:
        raise ParameterError(
            "this network does not drive",
            where="--simulate",
            expected="an output with 'publish: twist'",
            remedy="give it a recording: --bag",
        )
    simulator = [sys.executable, "-m", f"{PACKAGE}.nodes.simulator", "--ros-args"]
    simulator += ["-r", f"__ns:=/{namespace.strip('/')}", "-p", "speed_mps:=1.5"]
    simulator += ["-r", f"image:={spec.primary_input}"]
    simulator += ["-r", f"cmd_vel:=response/{commands[0]}", "-p", f"rate_hz:={spec.rate_hz}"]
    if is_lockstep:
        simulator += ["-p", "publish_clock:=true", "-p", "wait_for_command:=true"]
    (network,) = process_list(
        str(spec.path.resolve()),
        [group.name for group in spec.groups],
        composed=True,
        namespace=namespace,
        parameters={**further, "mode": "lockstep" if is_lockstep else "realtime"},
    )
    container = [sys.executable, "-m", f"{PACKAGE}.nodes", "--ros-args"]
    container += [*network.ros_arguments(), "-p", f"follow_pid:={os.getpid()}"]
    return [simulator, container]


def replayed(
    spec: NetworkSpec, namespace: str, bag: Path, options: Sequence[str], *, is_lockstep: bool
) -> list[list[str]]:
    """The command of a network that hears a recording.

    Args:
        spec: the network.
        namespace: of it.
        bag: the recording.
        options: further ones of ``run``.
        is_lockstep: no frame is lost; else at the recorded pace.

    Raises:
        ParameterError: there is no such recording.
    """
    if not bag.exists():
        raise ParameterError("no such recording", where="--bag", got=str(bag))
    command = [sys.executable, "-m", f"{PACKAGE}.cli.app", "run", str(spec.path.resolve())]
    command += ["--bag", str(bag), "--namespace", namespace, *options]
    return [[*command, "--mode", "lockstep" if is_lockstep else "realtime"]]


@contextmanager
def started(commands: Sequence[Sequence[str]]) -> Iterator[None]:
    """Run commands as children; asked to end, and seen to end, when this ends."""
    running: list[subprocess.Popen[bytes]] = []
    try:
        running += [
            # A session of its own: Ctrl-C reaches the parent, which ends the children in order.
            subprocess.Popen(
                command,
                start_new_session=True,
                preexec_fn=ending_with_parent(),  # noqa: PLW1509 - no thread of ours runs yet
            )
            for command in commands
        ]
        yield
    finally:
        for child in running:
            child.send_signal(signal.SIGINT)
        for child in running:
            try:
                child.wait(_END_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()
