"""The text of a new network file: pieces of commented YAML, and what they are filled with.

Owns the pieces and the choice among them. A value is put in by its marker, ``<<width>>``, and only
as YAML writes it: a name that YAML would read as something else (``on``, ``null``) gets its
quotes. Knows nothing of questions or files. Imported by ``new``.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from typing import Any

import yaml

from streaming_net_ros.errors import ParameterError

SMALLEST, LARGEST = 8, 4096  # pixels along a side
LEAST_GROUPS, MOST_GROUPS = 2, 16
MOST_ELEMENTS = 10_000
_LEAST_TO_HALVE = 12  # rows or columns below which a state is not halved again
COLOURS = ("rgb", "mono")
OUTPUTS = ("twist", "tensor")


@dataclass(frozen=True)
class NewNetwork:
    """What a new network is to be.

    Args:
        name: of the network.
        height: of its images (pixels).
        width: of its images (pixels).
        colour: ``rgb`` or ``mono``.
        rate_hz: frames per second.
        groups: layer groups from the camera to the answer, both ends included.
        skip: whether the first group also goes straight to the last: an early response.
        memory: whether a group hears itself.
        output: ``twist`` (a driving command) or ``tensor`` (numbers).
        elements: numbers of a ``tensor``.

    Raises:
        ParameterError: a value out of its range. The name is left to the network file's reader.
    """

    name: str
    height: int = 60
    width: int = 80
    colour: str = "rgb"
    rate_hz: float = 20.0
    groups: int = 5
    skip: bool = True
    memory: bool = False
    output: str = "twist"
    elements: int = 10

    def __post_init__(self) -> None:
        ranges: dict[str, tuple[float, float]] = {
            "height": (SMALLEST, LARGEST),
            "width": (SMALLEST, LARGEST),
            "rate_hz": (0.1, 1000),
            "groups": (LEAST_GROUPS, MOST_GROUPS),
            "elements": (1, MOST_ELEMENTS),
        }
        for key, (least, most) in ranges.items():
            if not least <= getattr(self, key) <= most:
                raise ParameterError(
                    "out of its range", where=option_of(key), expected=f"{least:g} to {most:g}",
                    got=getattr(self, key),
                )  # fmt: skip
        for key, choices in (("colour", COLOURS), ("output", OUTPUTS)):
            if getattr(self, key) not in choices:
                raise ParameterError(
                    "not one of the choices", where=option_of(key),
                    expected=" or ".join(choices), got=getattr(self, key),
                )  # fmt: skip
        if self.skip and self.groups == LEAST_GROUPS:
            object.__setattr__(self, "skip", False)  # there is nothing to skip


def option_of(key: str) -> str:
    """The command line's word for a value."""
    return "--" + key.replace("_", "-")


def network_text(wanted: NewNetwork) -> str:
    """The network file, commented, as it is to be written."""
    values: dict[str, Any] = {f.name: getattr(wanted, f.name) for f in fields(wanted)}
    values["last"] = "stem"
    pieces = [_HEAD, _STEM]
    size = [-(-wanted.height // 2), -(-wanted.width // 2)]
    middle = wanted.groups - 2
    for number in range(1, middle + 1):
        halves = min(size) >= _LEAST_TO_HALVE
        size = [-(-side // 2) for side in size] if halves else size
        named = {"group": f"layer{number}", "source": values["last"], "stride": 2 if halves else 1}
        pieces.append(_filled(_LAYER if number == 1 else _NEXT_LAYER, named))
        values["last"] = named["group"]
    if wanted.memory:
        channels = 16 if middle == 0 else 32
        pieces.append(_filled(_MEMORY, {"group": values["last"], "channels": channels}))
    pieces.append(_ACTIVATION)
    is_twist = wanted.output == "twist"
    values["numbers"] = 2 if is_twist else wanted.elements
    pieces += [_ANSWER, _SKIP if wanted.skip else "", _TANH if is_twist else ""]
    pieces += [_TWIST if is_twist else _TENSOR, _ROLLOUT]
    return _filled("".join(pieces), values)


def _filled(text: str, values: dict[str, Any]) -> str:
    """The text with markers replaced as far as their values are known here."""

    def value(match: re.Match[str]) -> str:
        key = match.group(1)
        return yaml_scalar(values[key]) if key in values else match.group(0)

    return re.sub(r"<<(\w+)>>", value, text)


def yaml_scalar(value: Any) -> str:
    """A value as YAML writes it, on one line."""
    if isinstance(value, float) and value == int(value):
        value = int(value)
    return yaml.safe_dump(value, width=1 << 20, allow_unicode=True).splitlines()[0]


_HEAD = """\
# A network for streaming_net_ros: layer groups that all compute at once, on different frames.
#
#   streaming-net plan THIS_FILE                 what it answers and when, before anything runs
#   streaming-net plan THIS_FILE --picture p.svg the same as a picture
#   streaming-net train THIS_FILE --bag BAG --target TOPIC:FIELD --out WEIGHTS.safetensors
#   streaming-net run THIS_FILE --bag BAG        stream a recording through its ROS nodes
#
# All that a network file may say: docs/network_file.md.

name: <<name>> # its ROS namespace as well: /<<name>>/image, /<<name>>/response/...
rate_hz: <<rate_hz>> # frames per second; not more than the camera delivers

# weights: WEIGHTS.safetensors # what 'train' wrote, beside this file; without it: random numbers

# What comes from outside. Images of any size arrive; they are brought to this one.
inputs:
  image: # the topic's name, inside the namespace
    type: image
    height: <<height>> # pixels; half as many cost a quarter of the work
    width: <<width>>
    colour: <<colour>> # rgb: 3 channels, mono: 1
    mean: 0.45 # groups hear (x / 255 - mean) / std,
    std: 0.25 # so that numbers are around 0 whatever the camera

# Layer groups. Each is a ROS node of its own and holds one state. In every frame it takes the
# states of its sources, runs each edge's layers, adds the results up, and runs 'apply' on the sum.
# An edge has a delay of one frame: a group works on what its source computed the frame before.
groups:
"""

_STEM = """\
  - name: stem # sees the camera
    edges:
      - source: image # an input, or a group
        layers: # by their torch.nn names; in_channels and in_features are filled in
          - Conv2d: {out_channels: 16, kernel_size: 5, stride: 2, padding: 2} # halves the size
"""

_ACTIVATION = """\
    apply: [ReLU] # after the sum
"""

_LAYER = """\
    apply: [ReLU]

  - name: <<group>> # the deep path: each group adds a frame to it, none makes the others slower
    edges:
      - source: <<source>>
        layers:
          - Conv2d: {out_channels: 32, kernel_size: 3, stride: <<stride>>, padding: 1}
"""

_NEXT_LAYER = """\
    apply: [ReLU]

  - name: <<group>>
    edges:
      - source: <<source>>
        layers:
          - Conv2d: {out_channels: 32, kernel_size: 3, stride: <<stride>>, padding: 1}
"""

_MEMORY = """\
      - source: <<group>> # memory: it hears its own state of the frame before
        layers: # what it adds must have the state's own shape
          - Conv2d: {out_channels: <<channels>>, kernel_size: 3, padding: 1}
"""

_ANSWER = """\

  - name: head # gives the answer
    edges:
      - source: <<last>> # the deep path: the full response
        layers:
          - AdaptiveAvgPool2d: {output_size: [4, 5]} # any image size becomes 4 x 5
          - Flatten # Linear takes a vector
          - Linear: {out_features: <<numbers>>}
"""

_SKIP = """\
      - source: stem # the skip path: an early response, which the deep path refines frames later
        layers:
          - AdaptiveAvgPool2d: {output_size: [4, 5]}
          - Flatten
          - Linear: {out_features: <<numbers>>}
"""

_TANH = """\
    apply: [Tanh] # a command lies between -1 and 1
"""

_TWIST = """\

# What is published for every frame, as response/NAME.
outputs:
  drive:
    group: head # whose state it is
    publish: twist # geometry_msgs/TwistStamped
    fields: {angular.z: 0, linear.x: 1} # which number becomes what: steering, throttle
    limits: [-1, 1] # clipped to these, whatever the network says
    frame_id: base_link
    max_age_ms: 500 # realtime: an answer to an older image does not leave
    safe: {angular.z: 0, linear.x: 0} # what is sent once instead: stop
"""

_TENSOR = """\

# What is published for every frame, as response/NAME.
outputs:
  answer:
    group: head # whose state it is
    publish: tensor # all its numbers, as sensor_msgs/Image; 'twist': a driving command
"""

_ROLLOUT = """\

# Delay of every edge. streaming: 1, an answer every frame, early ones first. sequential: 0, a
# frame waits for the whole network. Compare both with 'plan'; see docs/time.md.
rollout: streaming
"""
