"""``streaming-net simulate``: recordings of a simulated drive, with an expert's answers.

Owns the layout of such a recording (topics and types, those of a small car's driver station).
Knows neither torch nor rclpy; the world itself is ``simulation``.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from streaming_net_ros.errors import BagError

if TYPE_CHECKING:
    from streaming_net_ros.evaluation import BagWriter
    from streaming_net_ros.simulation import DriveFrame, Image

IMAGE_TOPIC = "/camera/image_raw"
COMPRESSED_TOPIC = f"{IMAGE_TOPIC}/compressed"
COMMAND_TOPIC = "/teleop/cmd_vel"
START_NS = 1_700_000_000_000_000_000  # a plausible date: zero would read as "no stamp"
JPEG_QUALITY = 90


def simulate(
    *,
    out: Annotated[Path, typer.Option(help="The bag, or the folder of several; must be new.")],
    drives: Annotated[int, typer.Option(min=1, help="How many drives, each on its track.")] = 1,
    frames: Annotated[int, typer.Option(min=1, help="Frames of each drive.")] = 500,
    rate_hz: Annotated[float, typer.Option(help="Frames per second.")] = 20.0,
    seed: Annotated[int, typer.Option(min=0, help="Drive k has seed SEED + k.")] = 0,
    compressed: Annotated[
        bool, typer.Option("--compressed/--raw", help="jpeg, or raw images (tenfold size).")
    ] = True,
) -> None:
    """Write recordings of a simulated car on a track, with an expert's commands.

    Images on /camera/image_raw/compressed (or /camera/image_raw), the expert's answer on
    /teleop/cmd_vel: twist.angular.z is the steering, left positive, twist.linear.x the throttle,
    both as shares of the largest. The car is pushed aside now and then; the commands are what
    brings it back.

    Example: streaming-net simulate --out my_drives --drives 20
    """
    if out.exists():
        raise BagError(
            "will not write over what exists",
            where=str(out),
            remedy="remove it or choose another path",
        )
    paths = [out] if drives == 1 else [out / f"drive_{k:03}" for k in range(drives)]
    console = Console(stderr=True)
    with _progress(console) as progress:
        task = progress.add_task("", total=drives * frames)
        for k, path in enumerate(paths):
            write_drive(
                path,
                seed + k,
                frames,
                rate_hz,
                compressed=compressed,
                on_frame=lambda: progress.advance(task),
            )
    Console(highlight=False, soft_wrap=True).print(_told(out, paths, frames, compressed))


def write_drive(
    path: Path,
    seed: int,
    frames: int,
    rate_hz: float,
    *,
    compressed: bool = True,
    on_frame: Callable[[], object] = lambda: None,
) -> None:
    """Write one drive as a bag; the seed is that of its track and of its driving.

    Raises:
        BagError: the path exists or cannot be written.
        ParameterError: a value is out of its range.
    """
    from streaming_net_ros.evaluation import BagWriter
    from streaming_net_ros.simulation import simulate_drive

    drive = simulate_drive(seed, frames, rate_hz, drive_seed=seed, start_stamp_ns=START_NS)
    with BagWriter(path) as writer:
        for frame in drive:
            _write_image(writer, frame, compressed=compressed)
            _write_command(writer, frame)
            on_frame()


def _write_image(writer: BagWriter, frame: DriveFrame, *, compressed: bool) -> None:
    import numpy as np

    from streaming_net_ros.evaluation import message_type

    header = _header(frame.stamp_ns, "camera")
    if compressed:
        kind, topic = "sensor_msgs/msg/CompressedImage", COMPRESSED_TOPIC
        message = message_type(kind)(header=header, format="jpeg", data=_jpeg(frame.image))
    else:
        kind, topic = "sensor_msgs/msg/Image", IMAGE_TOPIC
        height, width = frame.image.shape[:2]
        message = message_type(kind)(
            header=header,
            height=height,
            width=width,
            encoding="rgb8",
            is_bigendian=0,
            step=3 * width,
            data=np.ascontiguousarray(frame.image).reshape(-1),
        )
    writer.write(topic, kind, frame.stamp_ns, message)


def _write_command(writer: BagWriter, frame: DriveFrame) -> None:
    from streaming_net_ros.evaluation import message_type

    kind = "geometry_msgs/msg/TwistStamped"
    vector = message_type("geometry_msgs/msg/Vector3")
    twist = message_type("geometry_msgs/msg/Twist")(
        linear=vector(x=frame.throttle, y=0.0, z=0.0),
        angular=vector(x=0.0, y=0.0, z=frame.steering),
    )
    message = message_type(kind)(header=_header(frame.stamp_ns, "base_link"), twist=twist)
    writer.write(COMMAND_TOPIC, kind, frame.stamp_ns, message)


def _header(stamp_ns: int, frame_id: str) -> Any:
    from streaming_net_ros.evaluation import message_type

    sec, nanosec = divmod(stamp_ns, 1_000_000_000)
    stamp = message_type("builtin_interfaces/msg/Time")(sec=sec, nanosec=nanosec)
    return message_type("std_msgs/msg/Header")(stamp=stamp, frame_id=frame_id)


def _jpeg(image: Image) -> Any:
    """An ordinary jpeg file, as uint8 array; OpenCV takes blue first."""
    import cv2

    file = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
    return file.reshape(-1)


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("driving"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("frames"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )


def _told(out: Path, paths: list[Path], frames: int, compressed: bool) -> str:
    topic = COMPRESSED_TOPIC if compressed else IMAGE_TOPIC
    each = "" if len(paths) == 1 else f" ({paths[0].name} ... {paths[-1].name})"
    return (
        f"{len(paths) * frames} frames written to {out}{each}\n"
        f"next: streaming-net train pilot --bag {out} --image-topic {topic} "
        f"--target {COMMAND_TOPIC}:twist.angular.z --out my_pilot.safetensors"
    )
