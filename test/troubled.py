"""Realtime runs under trouble in virtual time, with the ledger that they leave."""

from __future__ import annotations

import copy

import torch

from networks import TINY
from streaming_net_ros.frames import Deadline, FrameGrid, Origin, VirtualRun
from streaming_net_ros.frames.ledger import FrameLine, InputLine, ResponseLine
from streaming_net_ros.network import StreamingNetwork, parse_network, rules_of

GRID = FrameGrid(10)


def sensed_network():
    """The tiny network that also hears a speed, and whose memory repeats every second frame."""
    content = copy.deepcopy(TINY)
    content["inputs"]["speed"] = {
        "type": "vector",
        "topic_type": "geometry_msgs/msg/TwistStamped",
        "fields": ["twist.linear.x", "twist.linear.y"],
    }
    _, memory, _, head = content["groups"]
    memory["every"] = 2
    head["edges"].append({"source": "speed", "layers": [{"Linear": {"out_features": 2}}]})
    return content


TINY_NETWORK = StreamingNetwork(parse_network(TINY)).eval()
SENSED_NETWORK = StreamingNetwork(parse_network(sensed_network())).eval()


def image(captured_ns):
    """The picture captured then."""
    generator = torch.Generator().manual_seed(captured_ns % 10**6)
    return torch.randint(0, 256, (1, 3, 12, 16), dtype=torch.uint8, generator=generator)


def captured_at(frame):
    """Capture times of a camera that starts anew in frame 12."""
    return 7 * frame + 1 if frame < 12 else 7 * (frame - 12) + 3


def lived(works, losses, network=TINY_NETWORK, frames=25, broken=(), kept_back=()):
    """A realtime run under trouble.

    Args:
        works: compute times in periods, by frame, over and over.
        losses: whether a state is lost on its way, over and over.
        network: that runs.
        frames: images that are fed.
        broken: frames in which states are not finite.
        kept_back: frames whose responses the guard keeps back.

    Returns:
        States and capture stamps by (group, frame), and the lines of the ledger.
    """
    made, lines, sent = {}, [], iter(losses * 2000)

    def compute(group, job):
        if job.frame in broken:
            return None
        with torch.inference_mode():
            return network.group(group)({s: given.state for s, given in job.inputs.items()})

    def play(until_ns):
        for done in run.play(until_ns):
            job, at_ns = done.job, 1 + run.now_ns
            inputs = {source: given.frame for source, given in job.inputs.items()}
            is_repeated, is_finite = job.repeated is not None, done.state is not None
            lines.append(FrameLine(done.group, job.frame, inputs, job.held, job.skipped,
                                   is_repeated, is_finite, 0, at_ns))  # fmt: skip
            if is_finite:
                made[done.group, job.frame] = done.state, job.origin.captured_ns
                has_left = job.frame not in kept_back
                lines.extend(
                    ResponseLine(output, job.frame, has_left, at_ns)
                    for output, spec in network.spec.outputs.items()
                    if spec.group == done.group
                )

    run = VirtualRun(
        network.rollout,
        rules_of(network.spec, network.rollout, Deadline(GRID, GRID.period_ns, 4)),
        compute,
        lambda group, frame: round(works[frame % len(works)] * GRID.period_ns),
        workers=2,
        carry=lambda source, target, frame, at_ns: () if next(sent) else (at_ns,),
    )
    for frame in range(frames):
        play(GRID.stamp_ns(frame))
        image_ns = captured_at(frame)
        fed = {"image": (image(image_ns), image_ns, None)}
        if "speed" in network.spec.inputs:
            values = (0.5 * frame, -2.0)
            fed["speed"] = torch.tensor([values]), image_ns + 1000, values  # stamped later
        for name, (given, captured_ns, values) in fed.items():
            lines.append(InputLine(name, frame, captured_ns, image_ns, values, 1 + run.now_ns))
            run.feed(name, frame, network.checked_input(name, given), Origin(image_ns, frame))
    play(GRID.stamp_ns(frames + 15))
    return made, lines
