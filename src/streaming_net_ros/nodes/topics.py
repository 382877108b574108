"""Topic names and qualities of service: the ROS interface, said once (DESIGN, section 6)."""

from __future__ import annotations

from rclpy.qos import (
    QoSDurabilityPolicy,
    QoSHistoryPolicy,
    QoSProfile,
    QoSReliabilityPolicy,
    qos_profile_sensor_data,
)
from rclpy.qos_overriding_options import QoSOverridingOptions

from streaming_net_ros.frames import Mode

FRAMES = "frames"
PROGRESS = "progress"
CHANGES = "changes"
DIAGNOSTICS = "/diagnostics"
# Who looks on gets the newest, or nothing: a slow one holds nobody up.
LOOKED_AT = QoSProfile(depth=1, reliability=QoSReliabilityPolicy.BEST_EFFORT)
READY_NS = -1  # progress with this stamp says "ready": no frame can have it


def state(node: str) -> str:
    """Topic of a node's state."""
    return f"state/{node}"


def throttled(node: str) -> str:
    """Topic of a few of a node's states a second."""
    return f"{state(node)}/throttled"


def response(output: str) -> str:
    """Topic of an output's responses."""
    return f"response/{output}"


def debug(name: str) -> str:
    """Topic of a measured number."""
    return f"debug/{name}"


def compressed(name: str) -> str:
    """Topic of an image input's compressed images, beside the raw ones (as image_transport)."""
    return f"{name}/compressed"


def reliable(depth: int) -> QoSProfile:
    """States, frames, progress and responses: reliable, volatile, and deep enough."""
    return QoSProfile(
        history=QoSHistoryPolicy.KEEP_LAST,
        depth=depth,
        reliability=QoSReliabilityPolicy.RELIABLE,
        durability=QoSDurabilityPolicy.VOLATILE,
    )


def camera(mode: Mode, queue_frames: int) -> QoSProfile:
    """Images in: sensor data; in lockstep, where none may be lost, reliable."""
    return qos_profile_sensor_data if mode == "realtime" else reliable(queue_frames)


def overridable() -> QoSOverridingOptions:
    """Lets ``qos_overrides.<topic>.<publisher|subscription>.<policy>`` parameters decide."""
    return QoSOverridingOptions.with_default_policies()
