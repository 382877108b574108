"""From a network file to the processes that run it, said once for launch and command line.

`process_list` decides which process holds which members; `launch_processes` turns that list into
launch actions for ``ros2 launch``, `Children` into plain child processes for
``streaming-net run --processes`` on a machine without launch. Both start a process again that has
died in realtime, as `RespawnPolicy` says. Loads neither torch nor rclpy.
"""

from streaming_net_ros.launching.actions import launch_processes
from streaming_net_ros.launching.children import Children, start_process
from streaming_net_ros.launching.processes import (
    FRAME_SOURCE,
    Process,
    camera_remapping,
    process_list,
)
from streaming_net_ros.launching.respawn import BackOff, RespawnPolicy

__all__ = [
    "FRAME_SOURCE",
    "BackOff",
    "Children",
    "Process",
    "RespawnPolicy",
    "camera_remapping",
    "launch_processes",
    "process_list",
    "start_process",
]
