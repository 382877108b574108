"""What the benchmarks measure on: a chain of groups that each take a stated time."""

from __future__ import annotations

import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml

from streaming_net_ros.network import StreamingNetwork, parse_network

CHANNELS, INSIDE, SIDE = 16, 96, 32  # a state of 64 KiB; wider inside a group
START_NS = 1_700_000_000_000_000_000
PERIOD_NS = 33_333_333


def conv(channels: int) -> dict[str, Any]:
    """A 3x3 convolution that keeps the size."""
    return {"Conv2d": {"out_channels": channels, "kernel_size": 3, "padding": 1}}


def chain(groups: int, layers: int) -> dict[str, Any]:
    """A network file's content: ``groups`` groups of ``layers`` wide convolutions each.

    The last group ends in two numbers, a control output.
    """
    stack = [*[conv(INSIDE)] * layers, conv(CHANNELS)]
    control = [
        {"AdaptiveAvgPool2d": {"output_size": 4}},
        "Flatten",
        {"Linear": {"out_features": 2}},
    ]
    names = [f"g{number}" for number in range(groups)]
    return {
        "name": "chain",
        "rate_hz": 30,
        "inputs": {"image": {"type": "image", "height": SIDE, "width": SIDE}},
        "groups": [
            {
                "name": name,
                "edges": [{"source": source, "layers": stack}],
                "apply": control if name == names[-1] else [],
            }
            for name, source in zip(names, ["image", *names[:-1]], strict=True)
        ],
        "outputs": {"last": {"group": names[-1]}},
    }


def group_seconds(content: dict[str, Any], repeats: int = 60) -> list[float]:
    """Median compute time of every group, alone in this process on one thread."""
    torch.set_num_threads(1)
    network = StreamingNetwork(parse_network(content)).eval()
    times = []
    with torch.inference_mode():
        for name in network.groups:
            group = network.group(name)
            given = {s: torch.zeros(1, *network.shapes[s]) for s in group.sources}
            for _ in range(5):
                group(given)
            taken = []
            for _ in range(repeats):
                begun = time.perf_counter()
                group(given)
                taken.append(time.perf_counter() - begun)
            times.append(statistics.median(taken))
    return times


def layers_for(target_s: float) -> int:
    """How many convolutions take about so long here."""
    return max(1, round(target_s / (group_seconds(chain(1, 10))[0] / 10)))


def one_node_seconds(content: dict[str, Any], frames: int) -> float:
    """Seconds per frame of the whole network run after each other in one loop."""
    torch.set_num_threads(1)
    network = StreamingNetwork(parse_network(content)).eval()
    image = torch.zeros(1, 3, SIDE, SIDE, dtype=torch.uint8)
    state = network.init_state()
    begun = time.perf_counter()
    with torch.inference_mode():
        for _ in range(frames):
            state, _ = network.step(state, {"image": image})
    return (time.perf_counter() - begun) / frames


def write(content: dict[str, Any], folder: Path) -> Path:
    """The network file of a content."""
    path = folder / "chain.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def feed(frames: int) -> Any:
    """So many images, for ``run_network``."""
    from sensor_msgs.msg import Image

    from streaming_net_ros.nodes.player import Message
    from streaming_net_ros.nodes.run import Feed
    from streaming_net_ros.wire import write_rgb8, write_stamp_ns

    picture = np.zeros((SIDE, SIDE, 3), dtype=np.uint8)

    def messages():
        for number in range(frames):
            message = Image()
            write_rgb8(message, picture)
            stamp_ns = START_NS + number * PERIOD_NS
            write_stamp_ns(message.header.stamp, stamp_ns)
            yield Message("image", stamp_ns, message, is_image=True)

    return Feed(messages(), {"image": Image})


def machine() -> str:
    """This machine in a line."""
    model = "unknown processor"
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            model = line.split(":")[1].strip()
            break
    cores = len(os.sched_getaffinity(0))
    return f"{model}, {cores} cores, Python {platform.python_version()}, torch {torch.__version__}"
