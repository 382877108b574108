"""A network file that is being typed: is it right, where not, and what would it answer when.

Owns the check of a text that came from a page, with plain values as its outcome. Nothing in the
text is run: a group with a factory is refused before anything would import it, and the files that
a text names lie below one folder. May take long for a hostile text, so it is called in a process
of its own (``draft_process``). Knows neither NiceGUI nor ROS.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, TypedDict

import torch

from streaming_net_ros.errors import NetworkFileError, RolloutError, StreamingNetError
from streaming_net_ros.network import (
    NetworkSpec,
    StreamingNetwork,
    parse_network,
    read_yaml,
    rollout_of,
    state_shapes,
)
from streaming_net_ros.network.base import on_base
from streaming_net_ros.network.schema import GroupSpec, LayerSpec
from streaming_net_ros.theory import Rollout, inference_factor, response_times
from streaming_net_ros.theory.layout import lay_out
from streaming_net_ros.viewer.draft_place import line_of
from streaming_net_ros.viewer.files import below
from streaming_net_ros.viewer.graph_picture import Look, Tint, graph_svg

MAX_TEXT = 1 << 16
"""Characters of a text from a page; a file of its own may have more."""

MAX_GROUPS = 200
MAX_EDGES = 1000


class Branch(TypedDict, total=False):
    """One line of the structure, and what belongs to it."""

    id: str
    label: str
    children: list[Branch]


class Answer(TypedDict):
    """When an output answers."""

    output: str
    first_frames: int
    first_ms: float
    full_frames: int
    full_ms: float


class Planned(TypedDict):
    """What a rollout would give."""

    rollout: str
    factor: int
    answers: list[Answer]


class Draft(TypedDict):
    """The outcome of a check.

    ``error`` is empty for a file that is right; ``line`` tells where it stands, if that is known.
    ``missing`` is a weights file that is named and not there: the file is right, and cannot run.
    The rest is of what could be read: empty if nothing could.
    """

    error: str
    line: int | None
    missing: str
    name: str
    drives: bool
    parameters: int
    tree: list[Branch]
    plans: list[Planned]
    svg: str


def check_draft(text: str, root: Path, file: str) -> Draft:
    """Check a text as the network file of a name below a folder.

    Args:
        text: what was typed.
        root: the folder; a base and weights must lie below it.
        file: where it would stand in that folder.
    """
    draft = no_draft("")
    root = root.resolve()
    try:
        _fill(draft, text, below(root, file), root)
    except StreamingNetError as error:
        draft["error"] = str(error).replace(f"{root}/", "")
        draft["line"] = line_of(text, draft["error"].removeprefix(file).lstrip(": "))
    except RecursionError:
        draft["error"] = "nested too deeply to be a network file"
    return draft


def no_draft(why: str) -> Draft:
    """The outcome for a text of which nothing is known but an error."""
    return Draft(
        error=why, line=None, missing="", name="", drives=False, parameters=0, tree=[], plans=[],
        svg="",
    )  # fmt: skip


def _fill(draft: Draft, text: str, path: Path, root: Path) -> None:
    """As much as the text gives, then the first error."""
    if len(text) > MAX_TEXT:
        raise NetworkFileError(
            "too long for this page", where=path.name, expected=f"at most {MAX_TEXT} characters",
            got=len(text), remedy="edit it elsewhere, and check it with 'streaming-net plan'",
        )  # fmt: skip
    content = _read(text, path)
    for key in ("base", "weights"):
        if isinstance(content.get(key), str):
            _check_below(root, path, key, content[key])
    on_base(content, path, below=root)  # the base's base, too
    spec = parse_network(content, path)
    _check_size(spec, path)
    made = next((group.name for group in spec.groups if group.factory is not None), None)
    draft["name"] = spec.name
    draft["drives"] = any(output.publish == "twist" for output in spec.outputs.values())
    draft["tree"] = _tree(spec, {})
    draft["plans"] = _plans(spec)
    draft["svg"] = _svg(spec, {})
    if made is not None:
        raise NetworkFileError(
            "a factory is Python code of yours, which no page may run",
            where=f"{path}: group {made}.factory",
            remedy="check and start it from the command line",
        )
    shapes = state_shapes(spec)
    with torch.device("meta"):
        network = StreamingNetwork(spec)
    weights = spec.weights_path
    draft["missing"] = "" if weights is None or weights.is_file() else str(spec.weights)
    draft["parameters"] = sum(weight.numel() for weight in network.parameters())
    draft["tree"], draft["svg"] = _tree(spec, shapes), _svg(spec, shapes)


def _check_size(spec: NetworkSpec, path: Path) -> None:
    """Before anything is planned or laid out: both take long for very many."""
    edges = sum(len(group.edges) for group in spec.groups)
    for what, most, got in (("groups", MAX_GROUPS, len(spec.groups)), ("edges", MAX_EDGES, edges)):
        if got > most:
            raise NetworkFileError(
                f"too many {what} for this page", where=str(path), expected=f"at most {most}",
                got=got, remedy="'streaming-net plan' tells of it",
            )  # fmt: skip


def _read(text: str, path: Path) -> dict[str, Any]:
    """The mapping in the text, by the same strict reader that reads a file."""
    with TemporaryDirectory() as folder:
        copy = Path(folder) / path.name
        copy.write_text(text, encoding="utf-8", errors="replace")
        try:
            return read_yaml(copy)
        except NetworkFileError as error:
            told = str(error).replace(str(copy), str(path))
            raise NetworkFileError(told) from None


def _check_below(root: Path, path: Path, key: str, named: str) -> None:
    if "\0" in named or not (path.parent / named).resolve().is_relative_to(root):
        raise NetworkFileError(
            "a file that a page's text names must lie below the viewer's folder",
            where=f"{path}: {key}", got=named, remedy="copy it there first",
        )  # fmt: skip


def _plans(spec: NetworkSpec) -> list[Planned]:
    """What its own rollout answers when, and streaming and sequential beside it."""
    plans: list[Planned] = []
    seen: list[Rollout] = []
    for choice in (None, "streaming", "sequential"):
        try:
            rollout = rollout_of(spec, choice)
        except RolloutError:
            if choice is None:
                raise
            continue  # this network has no such rollout
        if rollout in seen:
            continue
        seen.append(rollout)
        times = response_times(rollout)
        plans.append(
            Planned(
                rollout=rollout.name,
                factor=inference_factor(rollout),
                answers=[
                    Answer(
                        output=name,
                        first_frames=times[output.group].first_frames,
                        first_ms=1e3 * times[output.group].first_frames / spec.rate_hz,
                        full_frames=times[output.group].full_frames,
                        full_ms=1e3 * times[output.group].full_frames / spec.rate_hz,
                    )
                    for name, output in spec.outputs.items()
                ],
            )
        )
    return plans


def _svg(spec: NetworkSpec, shapes: Mapping[str, tuple[int, ...]]) -> str:
    graph = spec.graph
    tints = {node: Tint(text=_told(shape)) for node, shape in shapes.items()}
    return graph_svg(graph, rollout_of(spec), lay_out(graph), Look(nodes=tints))


def _tree(spec: NetworkSpec, shapes: Mapping[str, tuple[int, ...]]) -> list[Branch]:
    """Inputs, groups with their edges and layers, outputs."""
    inputs = [
        Branch(id=f"inputs.{name}", label=f"{name}: {given.type}, {_told(given.shape)}")
        for name, given in spec.inputs.items()
    ]
    groups = [_group(spec, group, shapes) for group in spec.groups]
    outputs = [
        Branch(id=f"outputs.{name}", label=f"{name}: {output.publish} of {output.group}")
        for name, output in spec.outputs.items()
    ]
    return [
        Branch(id="inputs", label="inputs", children=inputs),
        Branch(id="groups", label="groups", children=groups),
        Branch(id="outputs", label="outputs", children=outputs),
    ]


def _group(spec: NetworkSpec, group: GroupSpec, shapes: Mapping[str, tuple[int, ...]]) -> Branch:
    delays = rollout_of(spec).delays
    lines = []
    for edge in group.edges:
        layers = " \u00b7 ".join(map(_layer, edge.layers)) or "as it is"
        delay = delays[edge.source, group.name]
        lines.append(
            Branch(
                id=f"{group.name}.{edge.source}",
                label=f"\u2190 {edge.source}, delay {delay}: {layers}",
            )
        )
    if group.factory is not None:
        lines.append(Branch(id=f"{group.name}.factory", label=f"made by {group.factory}"))
    if group.apply:
        applied = " \u00b7 ".join(map(_layer, group.apply))
        lines.append(Branch(id=f"{group.name}.apply", label=f"then {applied}"))
    merge = f", {group.merge} of {len(group.edges)}" if len(group.edges) > 1 else ""
    every = f", every {group.every} frames" if group.every > 1 else ""
    told = f": {_told(shapes[group.name])}" if group.name in shapes else ""
    return Branch(id=group.name, label=f"{group.name}{told}{merge}{every}", children=lines)


def _layer(layer: LayerSpec) -> str:
    if layer.is_shared:
        return f"shared {layer.name}"
    sizes = [f"{layer.args[key]}" for key in ("out_channels", "out_features") if key in layer.args]
    return f"{layer.name} {sizes[0]}" if sizes else layer.name


def _told(shape: tuple[int, ...]) -> str:
    return " \u00d7 ".join(map(str, shape))
