"""ament_python package with a src/ layout; pip and colcon install the same files."""

from pathlib import Path

from setuptools import find_packages, setup

NAME = "streaming_net_ros"
SHARE = f"share/{NAME}"


def files(folder: str, pattern: str) -> tuple[str, list[str]]:
    return f"{SHARE}/{folder}", sorted(str(path) for path in Path(folder).glob(pattern))


setup(
    name=NAME,
    version="0.3.0",
    description="Neural networks on robots as streaming rollouts of ROS 2 nodes",
    long_description=Path("README.md").read_text(encoding="utf-8"),
    long_description_content_type="text/markdown",
    license="Apache-2.0",
    package_dir={"": "src"},
    packages=find_packages("src"),
    package_data={NAME: ["py.typed"], f"{NAME}.viewer": ["*.css", "*.js"]},
    python_requires=">=3.11",
    install_requires=[
        "matplotlib",
        "networkx",
        "numpy",
        "opencv-python-headless",
        "pydantic>=2",
        "pyyaml",
        "rich",
        "rosbags",
        "safetensors",
        "torch",
        "typer",
    ],
    extras_require={
        # Real rclpy of ROS 2 Kilted, for a machine without a ROS installation.
        "ros": [
            "ros-rclpy[fastrtps]",
            "ros-builtin-interfaces",
            "ros-diagnostic-msgs",
            "ros-geometry-msgs",
            "ros-lifecycle-msgs",
            "ros-rcl-interfaces",
            "ros-rosgraph-msgs",
            "ros-sensor-msgs",
            "ros-std-msgs",
            "ros-std-srvs",
        ],
        # The small real data set that is always at hand.
        "digits": ["scikit-learn"],
        # Backends that 'streaming-net tune' measures beside torch.
        "tune": ["onnx", "onnxruntime", "onnxscript", "openvino"],
        # The page of 'streaming-net view'.
        "view": ["nicegui>=3"],
        "test": [
            "hypothesis",
            "mypy",
            "nicegui>=3",
            "onnx",  # with these two 35 MB; OpenVINO's 60 MB are left to 'tune'
            "onnxruntime",
            "onnxscript",
            "pytest",
            "pytest-timeout",
            "ruff",
            "selenium",  # drives Debian's chromium, where there is one
            "types-PyYAML",
        ],
    },
    data_files=[
        ("share/ament_index/resource_index/packages", [f"resource/{NAME}"]),
        (SHARE, ["package.xml"]),
        files("launch", "*.launch.py"),
        files("config", "*.xml"),
        files("config/experiments", "*"),
        files("config/networks", "*"),
        files("config/params", "*"),
        files("config/plans", "*"),
    ],
    zip_safe=False,
    entry_points={
        "console_scripts": [
            "streaming-net = streaming_net_ros.cli.app:main",
            "container = streaming_net_ros.nodes.__main__:main",
            "simulator = streaming_net_ros.nodes.simulator:main",
        ],
    },
)
