"""Networks that several tests use, as plain mappings."""

from __future__ import annotations

import copy
from typing import Any

# DESIGN, law 3. Every layer is the identity; the input's delay is 0 under every rollout.
GOLDEN_TOY: dict[str, Any] = {
    "name": "golden",
    "rate_hz": 30,
    "inputs": {
        "one": {"type": "vector", "topic_type": "std_msgs/msg/Float64", "fields": ["data"]}
    },
    "groups": [
        {
            "name": "a",
            "edges": [
                {"source": "one", "delay": 0},
                {"source": "a"},
                {"source": "b", "delay": 1},
            ],
        },
        {"name": "b", "edges": [{"source": "b"}, {"source": "a"}]},
    ],
    "outputs": {"b": {"group": "b"}},
}


# Four groups with a skip path, a recurrent group and a feedback edge, on small images.
TINY: dict[str, Any] = {
    "name": "tiny",
    "rate_hz": 30,
    "inputs": {
        "image": {
            "type": "image",
            "height": 12,
            "width": 16,
            "mean": [0.4, 0.5, 0.6],
            "std": [0.2, 0.2, 0.25],
        }
    },
    "groups": [
        {
            "name": "stem",
            "edges": [
                {
                    "source": "image",
                    "layers": [
                        {
                            "Conv2d": {
                                "out_channels": 8,
                                "kernel_size": 3,
                                "stride": 2,
                                "padding": 1,
                            }
                        }
                    ],
                },
                {
                    "source": "deep",
                    "delay": 1,
                    "layers": [{"Conv2d": {"out_channels": 8, "kernel_size": 1}}],
                },
            ],
            "apply": ["ReLU"],
        },
        {
            "name": "memory",
            "edges": [
                {
                    "source": "stem",
                    "layers": [{"Conv2d": {"out_channels": 8, "kernel_size": 3, "padding": 1}}],
                },
                {
                    "source": "memory",
                    "layers": [{"Conv2d": {"out_channels": 8, "kernel_size": 3, "padding": 1}}],
                },
            ],
            "apply": ["Tanh"],
        },
        {
            "name": "deep",
            "edges": [
                {
                    "source": "memory",
                    "layers": [{"Conv2d": {"out_channels": 8, "kernel_size": 3, "padding": 1}}],
                }
            ],
            "apply": ["ReLU"],
        },
        {
            "name": "head",
            "edges": [
                {
                    "source": "stem",
                    "layers": [
                        {"AdaptiveAvgPool2d": {"output_size": 2}},
                        "Flatten",
                        {"Linear": {"out_features": 2}},
                    ],
                },
                {
                    "source": "deep",
                    "layers": ["Flatten", {"Linear": {"out_features": 2}}],
                },
            ],
            "apply": ["Tanh"],
        },
    ],
    "outputs": {
        "drive": {
            "group": "head",
            "publish": "twist",
            "fields": {"angular.z": 0, "linear.x": 1},
            "limits": [-1, 1],
        },
        "features": {"group": "deep"},
    },
}


def two_groups(content):
    """Stem and head of such a network alone: two processes, where any number will do."""
    content = copy.deepcopy(content)
    stem, _, _, head = content["groups"]
    for group, source in ((stem, "image"), (head, "stem")):
        group["edges"] = [edge for edge in group["edges"] if edge["source"] == source]
        if "args" in group:
            del group["args"]["channels_in"][1:]  # the edge that is left was the first
    content["groups"] = [stem, head]
    content["outputs"] = {"drive": content["outputs"]["drive"], "features": {"group": "stem"}}
    return content


def jittery_network():
    """The tiny network's graph with a random delay in every group."""
    content = copy.deepcopy(TINY)
    widths = {"image": 3, "stem": 4, "memory": 4, "deep": 4, "head": 4}
    for group in content["groups"]:
        sources = [edge["source"] for edge in group["edges"]]
        group["edges"] = [
            {key: edge[key] for key in ("source", "delay") if key in edge}
            for edge in group["edges"]
        ]
        group.pop("apply", None)
        group["factory"] = "jittery:group"
        group["args"] = {"channels_in": [widths[s] for s in sources], "channels": 4}
        group["shape"] = [4, 12, 16]
    content["outputs"] = {"features": {"group": "deep"}, "drive": {"group": "head"}}
    return content
