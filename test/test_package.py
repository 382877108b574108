"""What an installation contains, whether by pip or by colcon: both run setup.py."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-index",
               "--no-build-isolation", "--wheel-dir", str(folder), str(ROOT)]  # fmt: skip
    subprocess.run(command, check=True, capture_output=True)
    return zipfile.ZipFile(next(folder.glob("*.whl")))


def test_launch_and_config_files_lie_where_the_ament_index_finds_them(wheel):
    share = {name.split("/share/", 1)[1] for name in wheel.namelist() if "/share/" in name}
    assert "ament_index/resource_index/packages/streaming_net_ros" in share
    wanted = ["package.xml", "launch/streaming_net.launch.py", "config/fastdds.xml"]
    wanted += [f"config/networks/{path.name}" for path in (ROOT / "config/networks").iterdir()]
    assert {f"streaming_net_ros/{name}" for name in wanted} <= share


def test_both_commands_are_installed(wheel):
    name = next(n for n in wheel.namelist() if n.endswith("entry_points.txt"))
    text = wheel.read(name).decode()
    assert "streaming-net = streaming_net_ros.cli.app:main" in text
    assert "container = streaming_net_ros.nodes.__main__:main" in text


def test_types_are_marked_and_tests_stay_out(wheel):
    names = wheel.namelist()
    assert "streaming_net_ros/py.typed" in names
    assert not [name for name in names if name.startswith("test")]


def test_one_version_everywhere():
    import streaming_net_ros

    version = streaming_net_ros.__version__
    assert f"<version>{version}</version>" in (ROOT / "package.xml").read_text()
    assert f'version="{version}"' in (ROOT / "setup.py").read_text()
    assert f"\n{version} (" in (ROOT / "CHANGELOG.rst").read_text()
