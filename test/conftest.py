"""Fixtures for all rooms; a DDS domain of this session's own."""

from __future__ import annotations

import copy
import importlib.util
import os
from itertools import count
from pathlib import Path

import pytest
import yaml

from networks import TINY

# Before anything imports rclpy: this session's processes see only each other.
os.environ["ROS_DOMAIN_ID"] = str(1 + os.getpid() % 100)
os.environ["ROS_AUTOMATIC_DISCOVERY_RANGE"] = "LOCALHOST"
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
