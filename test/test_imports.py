"""The house: imports point only downwards, and light rooms stay light. Read from the AST."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = "streaming_net_ros"
ROOT = Path(__file__).parents[1] / "src" / PACKAGE

# Room -> the rooms that it may import; "third" lists what it may import from outside the stdlib.
MAY = {
    "errors": set(),
    "paths": {"errors"},
    "theory": {"errors"},
    "frames": {"errors", "theory"},
    "network": {"errors", "theory", "frames"},
    "wire": {"errors", "frames"},
    "simulation": {"errors"},
    "evaluation": {"errors", "theory", "frames", "network", "wire", "simulation"},
    "training": {"errors", "theory", "frames", "network", "wire", "evaluation"},
    "launching": {"errors", "paths", "network"},
    "nodes": {"errors", "paths", "theory", "frames", "network", "wire", "evaluation", "simulation",
              "launching"},
    "viewer": {"errors", "paths", "theory", "frames", "network", "wire", "evaluation", "training",
               "launching", "nodes"},
    "cli": {"errors", "paths", "theory", "frames", "network", "wire", "simulation", "evaluation",
            "training", "launching", "nodes", "viewer"},
}  # fmt: skip
ROS = {"rclpy", "sensor_msgs", "std_msgs", "std_srvs", "geometry_msgs", "diagnostic_msgs",
       "rcl_interfaces", "lifecycle_msgs", "builtin_interfaces", "rosgraph_msgs"}  # fmt: skip
NEVER = {
    "errors": {"torch", "numpy", "networkx"} | ROS,
    "theory": {"torch", "numpy", "matplotlib"} | ROS,
    "frames": {"torch", "numpy"} | ROS,
    "network": ROS,
    "wire": {"torch"} | ROS,
    "simulation": {"torch"} | ROS,
    "evaluation": ROS,
    "training": ROS,
    "launching": {"torch"} | ROS,
    "paths": {"torch"} | ROS,
}


def room_of(path):
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path):
    """(line, dotted name) of every import, also those inside functions."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno}: import by the full name"
            yield node.lineno, node.module or ""


FILES = [p for p in sorted(ROOT.rglob("*.py")) if p.name != "__init__.py" or p.parent != ROOT]


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(ROOT)))
def test_imports_point_only_downwards(path):
    room = room_of(path)
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] == PACKAGE and len(parts) > 1 and parts[1] != room:
            assert parts[1] in MAY[room], f"{path}:{line}: {room} must not import {parts[1]}"
        assert parts[0] not in NEVER.get(room, set()), (
            f"{path}:{line}: {room} must not load {name}"
        )


def test_every_room_has_its_law():
    assert {room_of(path) for path in FILES} <= set(MAY)


@pytest.mark.parametrize(
    "module, unwanted",
    [
        ("streaming_net_ros", ["torch", "rclpy", "numpy"]),
        ("streaming_net_ros.theory", ["torch", "rclpy", "numpy"]),
        ("streaming_net_ros.frames", ["torch", "rclpy"]),
        ("streaming_net_ros.cli.app", ["torch", "rclpy", "matplotlib", "cv2"]),
        ("streaming_net_ros.launching", ["torch", "rclpy"]),
        ("streaming_net_ros.network", ["rclpy"]),
        ("streaming_net_ros.evaluation", ["rclpy"]),
    ],
)
def test_light_modules_load_no_heavy_ones(module, unwanted):
    code = f"import sys, {module}; print([m for m in {unwanted!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_the_core_names_no_executor_of_text():
    """Nothing is evaluated as code and nothing unpickled."""
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                name = getattr(node.func, "id", getattr(node.func, "attr", ""))
                # torch's module.eval() takes no argument; evaluating text takes one.
                called_on_text = name in ("eval", "exec") and (node.args or node.keywords)
                assert not called_on_text, f"{path}:{node.lineno}"
        for line, name in imports(path):
            assert name.split(".")[0] not in ("pickle", "marshal", "shelve"), f"{path}:{line}"
