"""A group in half precision: torch's autocast, with weights that are converted once.

float16 on a GPU, bfloat16 on the CPU (where float16 is not faster). Autocast decides which
operations can do with it; states stay in the network's own type. Imported by ``backends`` when it
is needed.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from streaming_net_ros.network.flat import flattened
from streaming_net_ros.network.group import LayerGroup
from streaming_net_ros.network.runner import Compute

# Layers of which autocast computes everything in half precision: left alone, it would convert
# their weights anew for each frame.
_CONVERTED = (
    nn.Linear, nn.Conv1d, nn.Conv2d, nn.Conv3d,
    nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d,
)  # fmt: skip


def half_precision(group: LayerGroup, examples: tuple[Tensor, ...]) -> Compute:
    """The group in half precision, with weights of its own.

    Args:
        group: on its device; left as it is.
        examples: a state per source, on that device.
    """
    device = examples[0].device.type
    dtype = torch.bfloat16 if device == "cpu" else torch.float16
    converted = copy.deepcopy(group)
    for layer in converted.modules():
        if type(layer) in _CONVERTED:  # a class derived from one may do anything with its weights
            layer.to(dtype)
    layers = flattened(converted)

    def compute(states: Sequence[Tensor]) -> Tensor:
        # The cache would hold converted weights until the end of the context, the end of a frame.
        with torch.autocast(device, dtype=dtype, cache_enabled=False):
            state = layers(dict(zip(group.sources, states, strict=True)))
        assert state is not None  # all of its sources are there
        return state

    with torch.inference_mode():
        compute(examples)  # what cannot be computed so is told now
    return compute
