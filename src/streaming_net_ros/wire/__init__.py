"""What travels: states and camera images as message payloads, without per-element cost.

Knows numpy and the fields of standard messages (by duck typing, so that rclpy's and rosbags'
message classes both fit), and nothing of nodes, topics or torch. Imported by ``nodes`` and
``evaluation``.
"""

from streaming_net_ros.wire.camera import decode_camera, fit_image, write_rgb8
from streaming_net_ros.wire.cuda import CudaMemory
from streaming_net_ros.wire.device_ring import DeviceMemory, DeviceRingReader, DeviceRingWriter
from streaming_net_ros.wire.fields import read_fields, write_field
from streaming_net_ros.wire.lines import Lines, Outlet, ServeOn, ask, line_name, say
from streaming_net_ros.wire.notice import (
    Notice,
    pack_notice,
    pack_progress,
    read_notice,
    read_progress,
)
from streaming_net_ros.wire.ring import RingReader, RingWriter, Tell
from streaming_net_ros.wire.stamps import read_stamp_ns, write_stamp_ns
from streaming_net_ros.wire.state import (
    StateFormat,
    StateMessage,
    read_state,
    write_state,
    write_tensor,
)

__all__ = [
    "CudaMemory",
    "DeviceMemory",
    "DeviceRingReader",
    "DeviceRingWriter",
    "Lines",
    "Notice",
    "Outlet",
    "RingReader",
    "RingWriter",
    "ServeOn",
    "StateFormat",
    "StateMessage",
    "Tell",
    "ask",
    "decode_camera",
    "fit_image",
    "line_name",
    "pack_notice",
    "pack_progress",
    "read_fields",
    "read_notice",
    "read_progress",
    "read_stamp_ns",
    "read_state",
    "say",
    "write_field",
    "write_rgb8",
    "write_stamp_ns",
    "write_state",
    "write_tensor",
]
