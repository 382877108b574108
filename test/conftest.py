"""Fixtures for all rooms; a DDS domain of this process's own, one thread for torch."""

from __future__ import annotations

import copy
import importlib.util
import os
import socket
from itertools import count
from pathlib import Path

import pytest
import yaml

from networks import TINY


def a_domain():
    """A DDS domain that no other tests on this machine have, and what holds it while it is open.

    Held is a name of the network namespace that DDS is in too; it is free again when this process
    ends, however it ends.
    """
    for number in range(100):
        domain = 1 + (os.getpid() + number) % 100  # above 101, ports are lent to anybody
        holder = socket.socket(socket.AF_UNIX)
        try:
            holder.bind(f"\0streaming_net_ros.test.domain.{domain}")
        except OSError:
            holder.close()
        else:
            return domain, holder
    raise RuntimeError("all DDS domains are taken by other tests")


# Before anything imports rclpy: this process and its children see only each other. Each of
# pytest-xdist's workers comes here by itself, and gets another domain.
_domain, _holder = a_domain()
os.environ["ROS_DOMAIN_ID"] = str(_domain)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
# Before anything imports torch: the tests' tensors are small, and threads that wait for each
# other on cores that others use cost a multiple of the work.
os.environ["OMP_NUM_THREADS"] = "1"
_TEST = Path(__file__).parent
# Child processes find the source tree and the tests' own factories.
os.environ["PYTHONPATH"] = os.pathsep.join(
    [str(_TEST.parent / "src"), str(_TEST), *filter(None, [os.environ.get("PYTHONPATH")])]
)
HAS_ROS = importlib.util.find_spec("rclpy") is not None
_namespaces = count()


def pytest_collection_modifyitems(items):
    skip = pytest.mark.skip(reason="rclpy is not installed: pip install 'streaming_net_ros[ros]'")
    for item in items:
        if "ros" in item.keywords and not HAS_ROS:
            item.add_marker(skip)


@pytest.fixture
def write_network(tmp_path):
    """Writes a network's mapping to a file and gives its path."""

    def write(content, name="network.yaml"):
        path = tmp_path / name
        path.write_text(yaml.safe_dump(content))
        return path

    return write


@pytest.fixture
def tiny():
    """A copy of the tiny network's mapping, to change at will."""
    return copy.deepcopy(TINY)


@pytest.fixture
def namespace():
    """A ROS namespace that no other test uses."""
    return f"test{next(_namespaces)}"


@pytest.fixture
def shared_data():
    """The development recordings beside the repository."""
    folder = _TEST.parents[1] / "shared" / "data"
    if not folder.is_dir():
        pytest.skip(f"no development recordings at {folder}")
    return folder
