"""Time, without a clock: which frame is it, what may be computed, what was.

Owns the frame grid, the mailbox (the firing rule that offline, lockstep and realtime share), the
intake (which image is which frame), the flow window of lockstep, and the ledger of what happened.
Everything here is pure: no thread, no torch, no rclpy, and every "now" is handed in, so that each
law can be tested with an invented clock. Imported by ``network`` (offline) and ``nodes`` (ROS).
"""

from streaming_net_ros.frames.flow import FlowWindow
from streaming_net_ros.frames.grid import FrameGrid
from streaming_net_ros.frames.intake import Companion, Fed, Intake
from streaming_net_ros.frames.ledger import Cadence, FrameLedger
from streaming_net_ros.frames.mailbox import (
    Arrival,
    Deadline,
    FiringRule,
    Input,
    Job,
    Mailbox,
    Mode,
    Period,
    firing_rules,
)
from streaming_net_ros.frames.origin import Origin, origin_of
from streaming_net_ros.frames.virtual import Done, VirtualRun

__all__ = [
    "Arrival",
    "Cadence",
    "Companion",
    "Deadline",
    "Done",
    "Fed",
    "FiringRule",
    "FlowWindow",
    "FrameGrid",
    "FrameLedger",
    "Input",
    "Intake",
    "Job",
    "Mailbox",
    "Mode",
    "Origin",
    "Period",
    "VirtualRun",
    "firing_rules",
    "origin_of",
]
