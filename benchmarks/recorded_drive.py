"""A recorded drive: the pilot, streamed, beside the mean and a single-frame network.

    python benchmarks/recorded_drive.py drive_a [--learn 0:500] [--judge 500:700] [--seeds 3]

Trains on the first part of a bag and judges on the last one, which no training has seen. The
single-frame network (pilot_single) has as many weights and costs as much per frame, but no
memory; it answers by its sequential rollout. The pilot is also trained from the shipped weights,
which have learnt in simulation. Prints a line each, and draws the steering of the first seed.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from report import Report, arguments, finish, told

from streaming_net_ros.evaluation.recorded import parse_part
from streaming_net_ros.network import StreamingNetwork, load_weights, read_network_file, read_yaml
from streaming_net_ros.paths import find_network, share_directory
from streaming_net_ros.training import (
    Clips,
    Target,
    find_target,
    image_input,
    judged,
    parse_plan,
    sequences_of,
    stream,
    train,
)
from streaming_net_ros.training.datasets.recordings import TopicFields, read_recording

FIELDS = ("twist.angular.z", "twist.linear.x")
SHIPPED = share_directory() / "config/networks/pilot.safetensors"
NETWORKS = {  # the network, and the weights that it begins with
    "pilot, streaming": ("pilot", None),
    "pilot, streaming, from simulation": ("pilot", SHIPPED),
    "single frame, sequential": ("pilot_single", None),
}


def read(bag: Path, topic: str, network: StreamingNetwork, part: str) -> Clips:
    _, given = image_input(network.spec)
    target = find_target(network, FIELDS)
    where = {target.output: TopicFields(topic, FIELDS, target.fields)}
    return read_recording(bag, given, where, part=parse_part(part, "part"))


def trained(
    name: str,
    plan: Mapping[str, Any],
    bag: Path,
    topic: str,
    learn: str,
    seed: int,
    init: Path | None = None,
) -> tuple[StreamingNetwork, Target]:
    network = StreamingNetwork(read_network_file(find_network(name)), seed=seed)
    if init is not None:
        load_weights(network, init)
    chosen = parse_plan({**plan, "seed": seed})
    clips = read(bag, topic, network, learn)
    train(network, sequences_of(chosen, clips, network), chosen)
    return network, find_target(network, FIELDS)


def main() -> None:
    parser = arguments(__doc__)
    parser.add_argument("bag", type=Path)
    parser.add_argument("--topic", default="/teleop/cmd_vel")
    parser.add_argument("--learn", default="0:500")
    parser.add_argument("--judge", default="500:700")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--plan", type=Path, default=share_directory() / "config/plans/drive.yaml")
    given = parser.parse_args()
    torch.set_num_threads(1)
    plan = read_yaml(given.plan)
    rows: list[dict[str, Any]] = []
    drawn: dict[str, list[float]] = {}
    for title, (name, init) in NETWORKS.items():
        errors = []
        for seed in range(given.seeds):
            network, target = trained(name, plan, given.bag, given.topic, given.learn, seed, init)
            clips = read(given.bag, given.topic, network, given.judge)
            errors.append(judged(network, target, clips))
            if seed == 0:
                answers = stream(network, target, clips.images_of(0))[:, 0]
                right = clips.targets[target.output][:, 0].numpy()
                drawn |= {"driver": right.tolist(), title: answers.tolist()}
        early, full = (np.array([getattr(e, k).mae[0] for e in errors]) for k in ("early", "full"))
        rows.append(
            {
                "network": title,
                "early_error": float(early.mean()),
                "early_deviation": float(early.std(ddof=1)),
                "full_error": float(full.mean()),
                "full_deviation": float(full.std(ddof=1)),
                "mean_predictor_error": float(errors[0].mean.mae[0]),
                "images": errors[0].images,
            }
        )
        print(f"{title}: measured", flush=True)
    notes = (
        f"absolute error of the steering, -1 to 1; mean and deviation of {given.seeds} seeds",
    )
    question = "How well does a streamed network steer on a drive that it has never seen?"
    finish(Report("recorded_drive", question, rows, notes, {"steering": drawn}), given, draw)


def draw(report: Report) -> Any:
    """The steering of the first seed over the images."""
    from picture import COMPOSED, INK, PROCESSES, STATESTREAM, new_figure

    title = "A drive never seen: early responses, by the image that they are about"
    figure = new_figure(title, told(report.machine), 11)
    axes = figure.subplots()
    colours = (INK, STATESTREAM, COMPOSED, PROCESSES)
    steering = report.details["steering"]
    for (name, answers), colour in zip(steering.items(), colours, strict=True):
        axes.plot(answers, color=colour, label=name, linewidth=1.6 if name == "driver" else 1.1)
    axes.set(xlabel="image", ylabel="steering, left positive", ylim=(-1.1, 1.1))
    axes.legend(ncols=4, loc="upper right")
    return figure


if __name__ == "__main__":
    main()
