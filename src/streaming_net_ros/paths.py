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
    return _find(name, "networks", "network")


def find_experiment(name: str) -> Path:
    """The experiment file of that path, or the shipped one of that name.

    Raises:
        NetworkFileError: neither exists; the shipped ones are listed.
    """
    return _find(name, "experiments", "experiment")


def find_plan(name: str) -> Path:
    """The training plan of that path, or the shipped one of that name.

    Raises:
        NetworkFileError: neither exists; the shipped ones are listed.
    """
    return _find(name, "plans", "plan")


def _find(name: str, folder: str, kind: str) -> Path:
    path = Path(name)
    if path.is_file():
        return path
    shipped = share_directory() / "config" / folder
    if (shipped / f"{name}.yaml").is_file():
        return shipped / f"{name}.yaml"
    names = sorted(file.stem for file in shipped.glob("*.yaml"))
    raise NetworkFileError(
        f"no such {kind} file",
        where=name,
        expected=f"a path, or one of the shipped {kind}s: " + ", ".join(names),
        remedy="check the path",
    )
