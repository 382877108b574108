"""Reading a network file: from YAML to checked, frozen objects, with errors that say where.

Owns reading, blocks, the choice of the rollout, and the firing rules that follow. Nothing in a
file is ever evaluated as code; a group that names a Python factory has it imported by its dotted
name, when the group is built, never when the file is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from streaming_net_ros.errors import NetworkFileError, RolloutError
from streaming_net_ros.frames import Deadline, FiringRule, firing_rules
from streaming_net_ros.network.base import on_base
from streaming_net_ros.network.expand import MAX_ITEMS, Places, expand, read_yaml
from streaming_net_ros.network.findings import first_finding
from streaming_net_ros.network.schema import NetworkSpec, RolloutSpec, did_you_mean
from streaming_net_ros.theory import (
    Rollout,
    first_frames,
    hybrid,
    parse_table,
    sequential,
    streaming,
)

_ALSO = ("constants", "blocks", "base")  # keys that are gone before the schema sees a file


def read_network_file(path: Path | str, constants: Mapping[str, Any] | None = None) -> NetworkSpec:
    """Read and check a network file, and the files that it is built on.

    Args:
        path: the YAML file.
        constants: win over those of the file, in this process only: whoever reads the same path
            without them gets another network.

    Raises:
        NetworkFileError: anything in it that is not right, with the place and the remedy; or a
            constant that the file does not know.
    """
    path = Path(path)
    return parse_network(read_yaml(path), path, constants)


def parse_network(
    content: Mapping[str, Any],
    path: Path | str = "network.yaml",
    constants: Mapping[str, Any] | None = None,
) -> NetworkSpec:
    """Check a network that is already in memory as plain mappings and lists.

    Args:
        content: what a network file may say.
        path: where it would stand; its ``base`` and ``weights`` are relative to that.
        constants: as for ``read_network_file``.

    Raises:
        NetworkFileError: as for ``read_network_file``.
    """
    where = str(path)
    whole, places = on_base(content, Path(path), constants)
    whole = _with_blocks(expand(whole, places), places)
    if "path" in whole:  # the reader's own word: pydantic would take it for known
        raise NetworkFileError("unknown key", where=places.at("path"))
    try:
        spec = NetworkSpec.model_validate({**whole, "path": Path(path)})
    except ValidationError as error:
        raise first_finding(
            error, places.at, NetworkSpec, NetworkFileError, also=_ALSO, hidden=("path",)
        ) from None
    try:
        graph = spec.graph
        unused = [name for name in spec.inputs if name not in graph.inputs]
        if unused:
            raise NetworkFileError(
                f"no group hears the input '{unused[0]}'",
                where=places.at(f"inputs.{unused[0]}"),
                remedy="remove it, or give a group an edge from it",
            )
        rollout_of(spec)
    except RolloutError as error:
        raise NetworkFileError(str(error), where=places.at("rollout")) from None
    except NetworkFileError as error:
        if where in str(error):
            raise
        raise NetworkFileError(str(error), where=where) from None
    return spec


def rollout_of(spec: NetworkSpec, choice: str | Path | None = None) -> Rollout:
    """The rollout that a network file names, or another one for the same network.

    Args:
        spec: the network.
        choice: None for the file's own; ``streaming``, ``sequential``, or the path of a rollout
            table (as ``plan --table`` prints it).

    Raises:
        RolloutError: not valid for this network, or the table cannot be read; or a group would
            hear whom it learns from before it hears anything else.
    """
    rollout = _chosen_rollout(spec, choice)
    first = first_frames(rollout)
    for group, teacher in spec.teachers.items():
        delays = rollout.delays_into(group)
        taught = first[teacher] + delays[teacher]
        others = [first[source] + delay for source, delay in delays.items()
                  if source not in (teacher, group)]  # fmt: skip
        if others and taught < min(others):
            raise RolloutError(
                f"group '{group}' would hear '{teacher}' before there is anything to teach",
                where=f"learning of '{group}'",
                expected=f"a delay of {min(others) - first[teacher]} frames or more",
                got=delays[teacher],
                remedy=f"write 'delay: {min(others) - first[teacher]}' into that section",
            )
    return rollout


def _chosen_rollout(spec: NetworkSpec, choice: str | Path | None) -> Rollout:
    graph = spec.graph
    own = choice is None
    selected = spec.rollout if own else str(choice)
    if selected == "streaming":
        return streaming(graph)
    if selected == "sequential":
        return sequential(graph)
    if isinstance(selected, RolloutSpec):
        by_text = {str(edge): (edge.source, edge.target) for edge in graph.edges}
        unknown = [text for text in selected.delays if text not in by_text]
        if unknown:
            raise RolloutError(
                f"no edge '{unknown[0]}'{did_you_mean(unknown[0], list(by_text))}",
                where="delays",
            )
        named = {by_text[text]: delay for text, delay in selected.delays.items()}
        return hybrid(graph, named, selected.base)
    try:
        text = Path(selected).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise RolloutError(
            "not a rollout",
            where=str(selected),
            expected="streaming, sequential, or a file with a rollout table",
            got=type(error).__name__,
            remedy="'streaming-net plan NETWORK --table' prints one to start from",
        ) from None
    return parse_table(text, graph)


def rules_of(
    spec: NetworkSpec, rollout: Rollout, deadline: Deadline | None = None
) -> dict[str, FiringRule]:
    """The firing rule of every group: its edges, its period, and in realtime its deadlines.

    Args:
        spec: the network.
        rollout: of it.
        deadline: realtime's, for all edges that have none of their own; None is lockstep.
    """
    if deadline is None:
        return firing_rules(rollout, periods=spec.periods, teachers=spec.teachers)
    own = {}
    for group in spec.groups:
        for edge in group.edges:
            wait_ns, hold_frames = deadline.wait_ns, deadline.hold_limit_frames
            if edge.wait_periods is not None:
                wait_ns = round(edge.wait_periods * deadline.grid.period_ns)
            if edge.hold_frames is not None:
                hold_frames = edge.hold_frames
            own[edge.source, group.name] = Deadline(deadline.grid, wait_ns, hold_frames)
    return firing_rules(rollout, deadline, edges=own, periods=spec.periods, teachers=spec.teachers)


def _with_blocks(content: dict[str, Any], places: Places) -> dict[str, Any]:
    """Put named blocks (lists of layers, each use with weights of its own) where they are used."""
    blocks = content.pop("blocks", {}) or {}
    if not (isinstance(blocks, dict) and all(isinstance(b, list) for b in blocks.values())):
        raise NetworkFileError(
            "blocks must map names to lists of layers", where=places.at("blocks"), got=blocks
        )

    count = 0

    def put(value: Any, path: str, inside: tuple[str, ...]) -> Any:
        nonlocal count
        count += 1
        if count > MAX_ITEMS:
            raise NetworkFileError(
                "the file grows too large when blocks are written out",
                where=places.at(path),
                expected=f"at most {MAX_ITEMS} values",
            )
        if isinstance(value, dict):
            return {k: put(v, f"{path}.{k}".lstrip("."), inside) for k, v in value.items()}
        if not isinstance(value, list):
            return value
        items: list[Any] = []
        for number, item in enumerate(value):
            if isinstance(item, dict) and set(item) == {"block"}:
                name = item["block"]
                place = places.at(f"{path}[{number}]")
                if name in inside:
                    raise NetworkFileError(f"block '{name}' contains itself", where=place)
                if not isinstance(name, str) or name not in blocks:
                    raise NetworkFileError(
                        "unknown block", where=place, expected=f"one of {sorted(blocks)}", got=name
                    )
                items.extend(put(blocks[name], f"blocks.{name}", (*inside, name)))
            else:
                items.append(put(item, f"{path}[{number}]", inside))
        return items

    result = put(content, "", ())
    assert isinstance(result, dict)
    return result
