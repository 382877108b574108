"""Two hosts on one machine: network namespaces joined by a cable that can be cut.

Needs no rights: everything happens inside a user namespace, made by ``unshare`` (util-linux), and
``ip`` (iproute2). Fast DDS takes the two for different hosts, because their addresses differ, and
uses UDP between them: shared memory would not notice a cut cable.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Collection
from pathlib import Path
from types import TracebackType

from streaming_net_ros.launching import Process, start_process

_INSIDE = "STREAMING_NET_INSIDE_NAMESPACE"
_PATH = os.pathsep.join([os.environ.get("PATH", ""), "/usr/sbin", "/sbin"])
NEAR, FAR = "10.99.0.1/24", "10.99.0.2/24"


def why_not() -> str | None:
    """Why two hosts cannot be had here; None if they can."""
    for tool in ("unshare", "nsenter", "ip"):
        if shutil.which(tool, path=_PATH) is None:
            return f"no command '{tool}' (util-linux, iproute2)"
    tried = subprocess.run(
        ["unshare", "-Urnm", "true"], capture_output=True, text=True, check=False
    )
    return None if tried.returncode == 0 else f"no namespaces here: {tried.stderr.strip()}"


def go_inside() -> None:
    """Run this program again inside a user and network namespace, unless it runs there."""
    if os.environ.get(_INSIDE) is None:
        environment = {**os.environ, _INSIDE: "1", "PATH": _PATH}
        environment["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "SUBNET"
        command = ["unshare", "-Urnm", sys.executable, *sys.argv]
        os.execvpe("unshare", command, environment)


class TwoHosts:
    """This process's host and a far one; a context manager. Only inside, see ``go_inside``.

    Args:
        far: names of the processes that run on the far host.
    """

    def __init__(self, far: Collection[str]) -> None:
        self._far = set(far)

    def __enter__(self) -> TwoHosts:
        self._holder = subprocess.Popen(["unshare", "-n", "sleep", "infinity"])
        own = Path("/proc/self/ns/net").readlink()
        while Path(f"/proc/{self._holder.pid}/ns/net").readlink() == own:
            time.sleep(0.01)
        self._prefix = ["nsenter", "-n", "-t", str(self._holder.pid)]
        _ip("link", "add", "near", "type", "veth", "peer", "name", "far")
        _ip("link", "set", "far", "netns", str(self._holder.pid))
        for name, address, prefix in (("near", NEAR, []), ("far", FAR, self._prefix)):
            _ip("link", "set", "lo", "up", prefix=prefix)
            _ip("addr", "add", address, "dev", name, prefix=prefix)
            _ip("link", "set", name, "up", prefix=prefix)
            _ip("route", "add", "224.0.0.0/4", "dev", name, prefix=prefix)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._holder.kill()
        self._holder.wait()

    def start(self, process: Process) -> subprocess.Popen[bytes]:
        """Start a process on the host that it belongs to."""
        return start_process(process, self._prefix if process.name in self._far else ())

    def cut(self) -> None:
        """The far host drops off."""
        _ip("link", "set", "far", "down", prefix=self._prefix)

    def mend(self) -> None:
        """The far host is back."""
        _ip("link", "set", "far", "up", prefix=self._prefix)
        # The route went with the link; the address came back by itself.
        _ip("route", "add", "224.0.0.0/4", "dev", "far", prefix=self._prefix)


def _ip(*arguments: str, prefix: Collection[str] = ()) -> None:
    subprocess.run([*prefix, "ip", *arguments], check=True)
