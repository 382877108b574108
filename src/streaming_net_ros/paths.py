"""Where the package's own files lie: launch files, network files, weights, profiles.

Found through the ament index where there is one (colcon, or AMENT_PREFIX_PATH), else below the
prefix that pip installed into, else in the source tree.
"""

from __future__ import annotations

import os
import sys
from functools import cache
from pathlib import Path

from streaming_net_ros.errors import NetworkFileError

PACKAGE = "streaming_net_ros"


@cache
def share_directory() -> Path:
    """The package's share directory: it holds ``config/`` and ``launch/``."""
    source = Path(__file__).resolve().parents[2]
    if (source / "package.xml").is_file():
        return source
    prefixes = [Path(p) for p in os.environ.get("AMENT_PREFIX_PATH", "").split(os.pathsep) if p]
    for prefix in [*prefixes, Path(sys.prefix)]:
        share = prefix / "share" / PACKAGE
        if (share / "package.xml").is_file():
            return share
    return Path(sys.prefix) / "share" / PACKAGE


def find_network(name: str) -> Path:
    """The network file of that path, or the shipped one of that name.

    Raises:
        NetworkFileError: neither exists; the shipped ones are listed.
    """
    path = Path(name)
    if path.is_file():
        return path
    shipped = share_directory() / "config" / "networks"
    if (shipped / f"{name}.yaml").is_file():
        return shipped / f"{name}.yaml"
    names = sorted(file.stem for file in shipped.glob("*.yaml"))
    raise NetworkFileError(
        "no such network file",
        where=name,
        expected="a path, or one of the shipped networks: " + ", ".join(names),
        remedy="check the path",
    )
