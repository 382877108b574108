"""Time, without a clock: which frame is it, what may be computed, what was.

Owns the frame grid, the mailbox (the firing rule that offline, lockstep and realtime share), the
intake (which image is which frame), the flow window of lockstep, origins and ages, the safety of
outputs, and the ledger of what happened. No torch, no rclpy. All but the ledger's file is pure: no
thread, and every "now" is handed in, so that each law can be tested with an invented clock;
``virtual`` plays whole networks in such a time. Imported by ``network`` and ``nodes``.
"""

from streaming_net_ros.frames.flow import FlowWindow, who_tells
from streaming_net_ros.frames.grid import FrameGrid
from streaming_net_ros.frames.guard import Limits, OutputGuard, Verdict
from streaming_net_ros.frames.intake import Companion, Fed, Intake, Offer
from streaming_net_ros.frames.latency import Latency, ResponseClock
from streaming_net_ros.frames.lesion import LESIONS, Lesion, Lesions
from streaming_net_ros.frames.mailbox import Arrival, Job, Mailbox, Memory
from streaming_net_ros.frames.origin import Origin, origin_of
from streaming_net_ros.frames.rule import Deadline, FiringRule, Mode, Period, firing_rules
from streaming_net_ros.frames.running import Arrived, Input, Running
from streaming_net_ros.frames.spread import Spread, quantile
from streaming_net_ros.frames.tally import Cadence, EdgeTally, FrameTally
from streaming_net_ros.frames.virtual import Done, VirtualRun
from streaming_net_ros.frames.watch import Watch

__all__ = [
    "LESIONS",
    "Arrival",
    "Arrived",
    "Cadence",
    "Companion",
    "Deadline",
    "Done",
    "EdgeTally",
    "Fed",
    "FiringRule",
    "FlowWindow",
    "FrameGrid",
    "FrameTally",
    "Input",
    "Intake",
    "Job",
    "Latency",
    "Lesion",
    "Lesions",
    "Limits",
    "Mailbox",
    "Memory",
    "Mode",
    "Offer",
    "Origin",
    "OutputGuard",
    "Period",
    "ResponseClock",
    "Running",
    "Spread",
    "Verdict",
    "VirtualRun",
    "Watch",
    "firing_rules",
    "origin_of",
    "quantile",
    "who_tells",
]
