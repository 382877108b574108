"""What a network file may say, as frozen pydantic models.

Owns the schema: keys, types, ranges, and what can be checked without torch. Knows nothing of
reading or of YAML (``file``), of substitution (``expand``), or of layers' arguments and shapes
(``layers``, ``shapes``). Imported by the rest of ``network``, and through it by everybody.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)

from streaming_net_ros.frames import Period
from streaming_net_ros.theory import Edge, NetworkGraph

# Names that our own nodes take in the namespace, or that torch's ModuleDict has already.
RESERVED_NAMES = frozenset(
    {"frame_source", "container", "player", "recorder", "shared", "forward", "keys", "items",
     "values", "pop", "clear", "update", "type", "training", "train", "eval", "apply", "to",
     "half", "float", "double", "cpu", "cuda", "modules", "children", "parameters", "buffers",
     "register_buffer", "add_module", "extra_repr"}
)  # fmt: skip
_NAME = re.compile(r"^[A-Za-z](?:[A-Za-z0-9]|_(?!_))*$")


def _check_name(name: str) -> str:
    if not _NAME.match(name) or name.endswith("_") or len(name) > 64:
        raise ValueError(
            "expected a ROS name: letters, digits and single underscores, beginning with a letter"
        )
    if name in RESERVED_NAMES or name.startswith("container_"):
        raise ValueError("this name is taken by the package itself; choose another")
    return name


Name = Annotated[str, AfterValidator(_check_name)]
Count = Annotated[int, Field(strict=True, ge=1, le=1 << 24)]
Number = Annotated[float, Field(allow_inf_nan=False)]


class Frozen(BaseModel):
    """Of fixed keys and values: an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, validate_default=True)


class ImageInput(Frozen):
    """A camera: images are brought to this size and colour; groups hear ``(x/255 - mean)/std``."""

    type: Literal["image"]
    height: Count
    width: Count
    colour: Literal["rgb", "mono"] = "rgb"
    mean: Number | tuple[Number, ...] = 0.0
    std: Number | tuple[Number, ...] = 1.0

    @property
    def channels(self) -> int:
        """Channels of the state: 3 for rgb, 1 for mono."""
        return 3 if self.colour == "rgb" else 1

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state: (channels, height, width)."""
        return (self.channels, self.height, self.width)


class VectorInput(Frozen):
    """Numbers out of a message: ``topic_type`` and dotted ``fields``; ``(x - mean) / std``."""

    type: Literal["vector"]
    topic_type: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*/msg/[A-Za-z][A-Za-z0-9]*$")]
    fields: Annotated[tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_.\[\]]*$")], ...],
                      Field(min_length=1)]  # fmt: skip
    mean: Number | tuple[Number, ...] = 0.0
    std: Number | tuple[Number, ...] = 1.0

    @property
    def channels(self) -> int:
        """How many numbers."""
        return len(self.fields)

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the state: (features,)."""
        return (len(self.fields),)


class Named(Frozen):
    """A thing of torch by its name, with arguments."""

    name: str
    args: Mapping[str, Any] = Field(default_factory=dict)


class LayerSpec(Named):
    """One layer: a ``torch.nn`` name with its arguments, a named block, or a shared one."""

    is_shared: bool = False


def named(value: Any) -> Any:
    """``ReLU`` and ``{Conv2d: {...}}`` to one form: what a ``Named`` is made of.

    Raises:
        ValueError: neither of the two.
    """
    if isinstance(value, str):
        return {"name": value}
    if isinstance(value, dict) and len(value) == 1:
        ((name, args),) = value.items()
        if isinstance(args, dict) and all(isinstance(key, str) for key in args):
            return {"name": name, "args": args}
        if args is None:
            return {"name": name}
    if isinstance(value, Named):
        return value
    raise ValueError("expected a name, or {NAME: {argument: value}}")


def _layer(value: Any) -> Any:
    """A named layer, ``{block: name}`` or ``{shared: name}`` to one form."""
    if isinstance(value, dict) and set(value) == {"shared"}:
        return {"name": value["shared"], "is_shared": True}
    try:
        return named(value)
    except ValueError:
        raise ValueError("expected a layer: ReLU, {Conv2d: {out_channels: 8, kernel_size: 3}}, "
                         "{block: NAME} or {shared: NAME}") from None  # fmt: skip


Layers = tuple[Annotated[LayerSpec, BeforeValidator(_layer)], ...]


class EdgeSpec(Frozen):
    """One edge into a group: its source, its layers, and a delay that no rollout changes.

    In realtime an edge may have a deadline (``wait_periods``) and a limit of holding
    (``hold_frames``) of its own, in place of the container's parameters.
    """

    source: Name
    layers: Layers = ()
    delay: Annotated[int, Field(strict=True, ge=0, le=1000)] | None = None
    wait_periods: Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)] | None = None
    hold_frames: Annotated[int, Field(strict=True, ge=0, le=1_000_000)] | None = None


class GroupSpec(Frozen):
    """One layer group: edges, a merge, what follows; or a factory in place of the last two.

    With ``every: n`` it computes only in frames ``t`` with ``t % n == offset`` (and in its first),
    and repeats its state in the others.
    """

    name: Name
    edges: Annotated[tuple[EdgeSpec, ...], Field(min_length=1)]
    merge: Literal["sum", "product", "concat"] = "sum"
    apply: Layers = ()
    shape: Annotated[tuple[Count, ...], Field(min_length=1, max_length=3)] | None = None
    factory: Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_]\w*$")] | None = None
    args: Mapping[str, Any] = Field(default_factory=dict)
    every: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 1
    offset: Annotated[int, Field(strict=True, ge=0)] = 0

    @model_validator(mode="after")
    def _check(self) -> GroupSpec:
        if self.offset >= self.every:
            raise ValueError(f"expected an 'offset' below 'every' ({self.every})")
        sources = [edge.source for edge in self.edges]
        if len(set(sources)) < len(sources):
            twice = next(s for s in sources if sources.count(s) > 1)
            raise ValueError(f"hears '{twice}' twice; a group has one edge per source")
        if self.args and self.factory is None:
            raise ValueError("'args' belong to a 'factory', and there is none")
        if self.factory is not None and (self.apply or any(edge.layers for edge in self.edges)):
            raise ValueError("a 'factory' makes the whole group; remove its 'layers' and 'apply'")
        return self


class OutputSpec(Frozen):
    """One output: the group whose state it is, and the message that carries it.

    ``twist`` puts elements of the state into a geometry_msgs/TwistStamped, clipped to ``limits``.
    In realtime an answer older than ``max_age_ms``, or of whose paths a larger share than
    ``max_held`` is held, does not leave; ``safe`` is sent once in its place, if it is given.
    """

    group: Name
    publish: Literal["tensor", "twist"] = "tensor"
    fields: Mapping[
        Literal["linear.x", "linear.y", "linear.z", "angular.x", "angular.y", "angular.z"],
        Annotated[int, Field(strict=True, ge=0)],
    ] = Field(default_factory=dict)
    limits: tuple[Number, Number] | None = None
    frame_id: str = ""
    max_age_ms: Annotated[float, Field(ge=1, allow_inf_nan=False)] | None = None
    max_held: Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)] | None = None
    safe: Mapping[str, Number] | None = None

    @model_validator(mode="after")
    def _check(self) -> OutputSpec:
        if self.publish == "twist" and not self.fields:
            raise ValueError("a twist needs 'fields', for example {angular.z: 0}")
        if self.publish == "tensor" and (self.fields or self.limits or self.safe is not None):
            raise ValueError("'fields', 'limits' and 'safe' belong to 'publish: twist'")
        if self.safe is not None and set(self.safe) != set(self.fields):
            raise ValueError(f"'safe' needs a value for each of {', '.join(self.fields)}")
        if self.safe is not None and self.max_age_ms is None:
            raise ValueError("'safe' needs 'max_age_ms': only an age tells that no answer comes")
        if self.limits is not None and self.limits[0] >= self.limits[1]:
            raise ValueError("expected limits [least, greatest]")
        return self


class RolloutSpec(Frozen):
    """A hybrid rollout: a base, and the edges that differ ("source -> target": delay)."""

    base: Literal["streaming", "sequential"] = "streaming"
    delays: Mapping[str, Annotated[int, Field(strict=True, ge=0, le=1000)]] = Field(
        default_factory=dict
    )


class LearningSpec(Frozen):
    """How a group may change its own weights while it streams; off until somebody turns it on.

    ``local`` follows the gradient of a loss between the group's state and what it hears of
    ``target``; the Hebbian rules change the dense layer at the end of the edge from ``edge``.

    Attributes:
        rule: which of them.
        target: of ``local``: an input or a group. If no edge of the group comes from it, it is
            heard for learning alone and is no part of the state.
        delay: of such a target, in frames under every rollout; None leaves it to the rollout.
        readout: of ``local``: layers between state and loss, learnt too, no part of the network.
        loss: of ``local``: of the difference, by its ``torch.nn`` name.
        edge: of the Hebbian rules: the source of the edge.
        parameters: of ``local``: patterns of the names of weights, within the group.
        optimizer: of ``local``.
        rate: learning rate, or factor of a Hebbian change.
        period_frames: frames that teach, from one update to the next.
        limit: the largest change of a tensor from where learning began, relative to its norm.
    """

    rule: Literal["local", "hebbian", "anti_hebbian", "oja"]
    target: Name | None = None
    delay: Annotated[int, Field(strict=True, ge=0, le=1000)] | None = None
    readout: Layers = ()
    loss: Annotated[Named, BeforeValidator(named)] = Named(name="MSELoss")
    edge: Name | None = None
    parameters: Annotated[tuple[str, ...], Field(min_length=1)] = ("*",)
    optimizer: Literal["sgd", "adam"] = "sgd"
    rate: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 1e-3
    period_frames: Annotated[int, Field(strict=True, ge=1, le=10_000)] = 10
    limit: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] = 0.5

    @model_validator(mode="after")
    def _check(self) -> LearningSpec:
        if self.rule == "local" and self.target is None:
            raise ValueError("rule 'local' needs a 'target': an input or a group")
        if self.rule != "local" and self.edge is None:
            raise ValueError(f"rule '{self.rule}' needs an 'edge': the source of a dense edge")
        others = {"edge"} if self.rule == "local" else _OF_LOCAL_LEARNING
        for key in sorted(others & self.model_fields_set):
            raise ValueError(f"'{key}' does not belong to rule '{self.rule}'")
        return self


_OF_LOCAL_LEARNING = {"target", "delay", "readout", "loss", "parameters", "optimizer"}


class NetworkSpec(Frozen):
    """A whole network file. ``path`` is where it was read."""

    name: Name
    rate_hz: Annotated[float, Field(ge=1e-3, le=1e5, allow_inf_nan=False)]
    inputs: Annotated[Mapping[Name, Annotated[ImageInput | VectorInput,
                                              Field(discriminator="type")]],
                      Field(min_length=1)]  # fmt: skip
    groups: Annotated[tuple[GroupSpec, ...], Field(min_length=1)]
    outputs: Annotated[Mapping[Name, OutputSpec], Field(min_length=1)]
    shared: Mapping[Name, Layers] = Field(default_factory=dict)
    rollout: Literal["streaming", "sequential"] | RolloutSpec = "streaming"
    state_dtype: Literal["float32", "float16"] = "float32"
    learning: Mapping[Name, LearningSpec] = Field(default_factory=dict)
    weights: str | None = None
    description: str = ""
    path: Path = Path("network.yaml")

    @model_validator(mode="after")
    def _check(self) -> NetworkSpec:
        names = [*self.inputs, *(group.name for group in self.groups)]
        for name in names:
            if names.count(name) > 1:
                raise ValueError(f"'{name}' names two nodes")
        for group in self.groups:
            for edge in group.edges:
                if edge.source not in names:
                    raise ValueError(
                        f"group '{group.name}' hears '{edge.source}', which is neither an input "
                        f"nor a group{did_you_mean(edge.source, names)}"
                    )
        for output, spec in self.outputs.items():
            if spec.group not in names[len(self.inputs) :]:
                raise ValueError(
                    f"output '{output}' names group '{spec.group}', which does not exist"
                    f"{did_you_mean(spec.group, names)}"
                )
        for name, learning in self.learning.items():
            self._check_learning(name, learning, names)
        for name, given in self.inputs.items():
            for key in ("mean", "std"):
                value = getattr(given, key)
                if isinstance(value, tuple) and len(value) != given.channels:
                    raise ValueError(
                        f"input '{name}' has {given.channels} channels and {len(value)} "
                        f"values of '{key}'"
                    )
            deviations = given.std if isinstance(given.std, tuple) else (given.std,)
            if any(value <= 0 for value in deviations):
                raise ValueError(f"input '{name}': std must be above 0")
        return self

    def _check_learning(self, name: str, learning: LearningSpec, names: list[str]) -> None:
        groups = names[len(self.inputs) :]
        if name not in groups:
            raise ValueError(f"'learning' names group '{name}', which does not exist"
                             f"{did_you_mean(name, groups)}")  # fmt: skip
        sources = [edge.source for edge in self.group(name).edges]
        if learning.edge is not None and learning.edge not in sources:
            raise ValueError(f"learning of '{name}': no edge comes from '{learning.edge}'"
                             f"{did_you_mean(learning.edge, sources)}")  # fmt: skip
        if learning.target is not None and learning.target not in names:
            hint = did_you_mean(learning.target, names)
            raise ValueError(f"learning of '{name}': target '{learning.target}' is neither an "
                             f"input nor a group{hint}")  # fmt: skip
        if learning.delay is not None and learning.target in sources:
            raise ValueError(f"learning of '{name}': '{learning.target}' is heard by an edge, and "
                             "has that edge's delay; remove 'delay'")  # fmt: skip

    @property
    def teachers(self) -> dict[str, str]:
        """By group: whom it hears for learning alone, without an edge."""
        return {
            name: learning.target
            for name, learning in self.learning.items()
            if learning.target is not None
            and learning.target not in [edge.source for edge in self.group(name).edges]
        }

    @property
    def periods(self) -> dict[str, Period]:
        """Of the groups that do not compute in every frame."""
        return {g.name: Period(g.every, g.offset) for g in self.groups if g.every > 1}

    @property
    def graph(self) -> NetworkGraph:
        """The directed graph that theory works on; who is heard for learning alone has an edge."""
        teachers = self.teachers
        edges: list[Edge] = []
        for group in self.groups:
            edges += [Edge(edge.source, group.name, edge.delay) for edge in group.edges]
            if group.name in teachers:
                delay = self.learning[group.name].delay
                edges.append(Edge(teachers[group.name], group.name, delay, teaches=True))
        outputs = tuple(dict.fromkeys(spec.group for spec in self.outputs.values()))
        return NetworkGraph(tuple(edges), outputs, self.name)

    @property
    def primary_input(self) -> str:
        """The input whose messages set the frames: the first camera, or else the first input."""
        images = [name for name, given in self.inputs.items() if isinstance(given, ImageInput)]
        return images[0] if images else next(iter(self.inputs))

    def group(self, name: str) -> GroupSpec:
        """The group of that name."""
        return next(group for group in self.groups if group.name == name)

    @property
    def weights_path(self) -> Path | None:
        """The weights file that the network file names, relative to itself."""
        return None if self.weights is None else self.path.parent / self.weights


def did_you_mean(name: str, names: list[str]) -> str:
    """A close name, or the names there are, as the end of a message."""
    close = difflib.get_close_matches(name, names, 1)
    return f"; did you mean '{close[0]}'?" if close else f"; there are {', '.join(names[:12])}"
