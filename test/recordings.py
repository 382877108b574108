"""Small recordings that tests make for themselves."""

from __future__ import annotations

import cv2
import numpy as np

from streaming_net_ros.evaluation import BagWriter, message_type

IMAGE = "sensor_msgs/msg/Image"
COMPRESSED = "sensor_msgs/msg/CompressedImage"
TWIST = "geometry_msgs/msg/TwistStamped"
PERIOD_NS = 50_000_000
START_NS = 1_000_000_000_000


def header(stamp_ns, frame_id="camera"):
    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = message_type("builtin_interfaces/msg/Time")(sec=sec, nanosec=nanosec)
    return message_type("std_msgs/msg/Header")(stamp=stamp, frame_id=frame_id)


def raw_image(stamp_ns, pixels):
    height, width = pixels.shape[:2]
    return message_type(IMAGE)(
        header=header(stamp_ns),
        height=height,
        width=width,
        encoding="rgb8",
        is_bigendian=0,
        step=3 * width,
        data=np.ascontiguousarray(pixels).reshape(-1),
    )


def png_image(stamp_ns, pixels):
    file = cv2.imencode(".png", pixels[..., ::-1])[1].reshape(-1)
    return message_type(COMPRESSED)(header=header(stamp_ns), format="png", data=file)


def twist(stamp_ns, steering, throttle=0.5):
    vector = message_type("geometry_msgs/msg/Vector3")
    return message_type(TWIST)(
        header=header(stamp_ns, "base_link"),
        twist=message_type("geometry_msgs/msg/Twist")(
            linear=vector(x=throttle, y=0.0, z=0.0), angular=vector(x=0.0, y=0.0, z=steering)
        ),
    )


def toy_drive(frames, seed=0, size=(12, 16)):
    """Pictures whose bright side tells the steering: (frames, height, width, 3), and steering."""
    rng = np.random.default_rng(seed)
    steering = np.sin(np.arange(frames) / 3 + rng.uniform(0, 6)).astype(np.float64)
    pictures = rng.integers(0, 30, (frames, *size, 3), dtype=np.uint8)
    half = size[1] // 2
    pictures[:, :, :half] += np.rint(100 + 90 * steering).astype(np.uint8)[:, None, None, None]
    pictures[:, :, half:] += np.rint(100 - 90 * steering).astype(np.uint8)[:, None, None, None]
    return pictures, steering


def write_toy_bag(path, frames=60, seed=0, missing=()):
    """A recording of a toy drive, some frames of it left out."""
    pictures, steering = toy_drive(frames, seed)
    with BagWriter(path) as writer:
        for k in range(frames):
            stamp_ns = START_NS + k * PERIOD_NS
            if k not in missing:
                writer.write("/image", IMAGE, stamp_ns, raw_image(stamp_ns, pictures[k]))
            writer.write("/cmd", TWIST, stamp_ns, twist(stamp_ns, float(steering[k])))
    return path
