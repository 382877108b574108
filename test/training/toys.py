"""A small network, small clips and plans that all tests of training use."""

from __future__ import annotations

import copy
from dataclasses import dataclass, replace

import numpy as np
import torch

import strategies  # noqa: F401 (loads the profile of laws, which has no deadline)
from recordings import toy_drive
from streaming_net_ros.network import StreamingNetwork, parse_network
from streaming_net_ros.training import (
    Augmentation,
    Clips,
    Trainer,
    Watching,
    parse_plan,
    sequences_of,
    train,
)
from streaming_net_ros.training.checkpoint import read_checkpoint

FIELDS = ("angular.z", "linear.x")
CLASSES = ("left", "right")


def dense(features):
    return {"Linear": {"out_features": features}}


# A skip past a recurrent group, and feedback: all layers are dense, so a frame costs next to
# nothing. Under the streaming rollout the head answers after 2 frames and fully after 3.
SMALL = {
    "name": "small",
    "rate_hz": 10,
    "inputs": {
        "image": {
            "type": "image",
            "height": 4,
            "width": 4,
            "colour": "mono",
            "mean": 0.5,
            "std": 0.25,
        }
    },
    "groups": [
        {
            "name": "stem",
            "edges": [
                {"source": "image", "layers": ["Flatten", dense(6)]},
                {"source": "memory", "delay": 1, "layers": [dense(6)]},
            ],
            "apply": ["Tanh"],
        },
        {
            "name": "memory",
            "edges": [
                {"source": "stem", "layers": [dense(5)]},
                {"source": "memory", "layers": [dense(5)]},
            ],
            "apply": ["Tanh"],
        },
        {
            "name": "head",
            "edges": [
                {"source": "stem", "layers": [dense(2)]},
                {"source": "memory", "layers": [dense(2)]},
            ],
        },
    ],
    "outputs": {
        "drive": {
            "group": "head",
            "publish": "twist",
            "fields": {"angular.z": 0, "linear.x": 1},
        },
        "class": {"group": "head"},
    },
}
FIRST, FULL = 2, 3  # frames until the head answers


def small_network(rollout="streaming", seed=0, dropout=0.0):
    content = copy.deepcopy(SMALL)
    content["rollout"] = rollout
    if dropout:
        content["groups"][0]["apply"].append({"Dropout": {"p": dropout}})
    return StreamingNetwork(parse_network(content), seed=seed)


def numbered(*lengths, stamped=False):
    """Clips whose every pixel is the picture's number, as are the targets."""
    count = sum(lengths)
    numbers = torch.arange(count)
    images = numbers.to(torch.uint8)[:, None, None, None].expand(count, 1, 4, 4).contiguous()
    ends = torch.tensor(lengths).cumsum(0)
    return Clips(
        images,
        {"drive": torch.stack([numbers, -numbers], dim=1).float(), "class": numbers % 2},
        torch.stack([ends - torch.tensor(lengths), ends], dim=1),
        classes={"class": CLASSES},
        fields={"drive": FIELDS},
        stamps_ns=numbers * 100 if stamped else None,
        name="numbered",
    )


def drive_clips(frames=60, seed=0, size=(4, 4), channels=1):
    """A recording of a toy drive: the brighter side tells where to steer."""
    pictures, steering = toy_drive(frames, seed, size)
    images = np.ascontiguousarray(pictures[..., :channels].transpose(0, 3, 1, 2))
    targets = np.stack([steering, np.full_like(steering, 0.5)], axis=1).astype(np.float32)
    return Clips(
        torch.from_numpy(images),
        {"drive": torch.from_numpy(targets)},
        torch.tensor([[0, frames]]),
        fields={"drive": FIELDS},
        stamps_ns=torch.arange(frames),
        name="toy drive",
    )


def still_clips(count=24, seed=0):
    """Still pictures; the class is their brighter side."""
    rng = torch.Generator().manual_seed(seed)
    labels = torch.randint(0, 2, (count,), generator=rng)
    images = torch.randint(0, 90, (count, 1, 4, 4), generator=rng)
    for k, label in enumerate(labels.tolist()):
        images[k, :, :, 2 * label : 2 * label + 2] += 120
    return Clips.of_stills(images.to(torch.uint8), labels, CLASSES, "toy stills", "class")


def objective(of="drive", target="drive", loss="SmoothL1Loss", **more):
    return {"of": of, "target": target, "loss": loss, **more}


def learner(*objectives, **more):
    return {"objectives": list(objectives) or [objective()], "optimizer": adam(), **more}


def adam(lr=1e-2):
    return {"Adam": {"lr": lr}}


def sgd(lr=0.05, **more):
    return {"SGD": {"lr": lr, **more}}


def small_plan(*learners, **more):
    defaults = {"steps": 6, "batch": 4, "responses": 4, "validate_every": 3, "seed": 0}
    return parse_plan({"learners": list(learners) or [learner()], **defaults, **more})


@dataclass
class Trained:
    """What came of a training."""

    network: StreamingNetwork
    history: object
    steps: list


def fit(plan, network=None, clips=None, watching=None, judge_on=None, **more):
    """Train; gives the network, its history and what each step told."""
    network = small_network() if network is None else network
    sequences = sequences_of(plan, drive_clips() if clips is None else clips, network)
    checks = judge_on and sequences_of(plan, judge_on, network, to_judge=True)
    watching = watching or Watching()
    steps = []

    def on_step(step):
        steps.append(step)
        watching.on_step(step)

    history = train(
        network,
        sequences,
        plan,
        validation=checks,
        watching=replace(watching, on_step=on_step),
        **more,
    )
    return Trained(network, history, steps)


def weights_of(network):
    return {name: tensor.clone() for name, tensor in network.state_dict().items()}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(t, other[n]) for n, t in one.items())


def all_batches(sequences, size=3, seed=0):
    """Batches of which each sequence is in at least one."""
    return [sequences.batch(k, size, seed) for k in range(-(-len(sequences) // size))]


def noisy(noise=0.05):
    return Augmentation(noise=noise)


def named(network):
    return {name.removeprefix("groups."): p for name, p in network.named_parameters()}


def changed(before, network):
    """Names of the weights whose bits changed."""
    return {n for n, p in named(network).items() if not torch.equal(p, before[f"groups.{n}"])}


def trainer_of(plan, network=None, clips=None, judge_on=None):
    network, clips = network or small_network(), clips or drive_clips()
    checks = judge_on and sequences_of(plan, judge_on, network, to_judge=True)
    return Trainer(network, sequences_of(plan, clips, network), plan, checks)


def kept_in(checkpoint):
    """Tensors and facts of a checkpoint, but for the time that it took."""
    tensors, facts = read_checkpoint(checkpoint)
    assert facts.pop("seconds") > 0
    return tensors, facts


def resumed_and_whole(plan, tmp_path, steps=3, judge_on=None):
    """Checkpoints at the end of a training in one go, and of one that was taken up again."""
    found = []
    for is_resumed in (False, True):
        trainer = trainer_of(plan, judge_on=judge_on)
        for number in range(1, plan.steps + 1):
            trainer.step()
            if judge_on and trainer.is_at_a_landmark:
                trainer.validate()
            if is_resumed and number == steps:
                trainer.save(tmp_path / "halfway.safetensors")
                torch.rand(7)
                trainer = trainer_of(plan, small_network(seed=9), judge_on=judge_on)
                trainer.load(tmp_path / "halfway.safetensors")
        trainer.save(tmp_path / "end.safetensors")
        found.append(kept_in(tmp_path / "end.safetensors"))
    return found
