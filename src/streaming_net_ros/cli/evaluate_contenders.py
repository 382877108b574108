"""What ``evaluate`` compares: networks, rollouts, weights and compute times out of its options."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from streaming_net_ros.errors import ParameterError, RolloutError
from streaming_net_ros.paths import find_network

if TYPE_CHECKING:
    from streaming_net_ros.evaluation.streaming.played import Contender
    from streaming_net_ros.network import NetworkSpec, StreamingNetwork
    from streaming_net_ros.theory import Rollout

MS = 1_000_000
MEASURED = "measured"
_PIPELINED = "pipelined"


@dataclass(frozen=True)
class Entry:
    """A contender, and where its parts lie.

    Attributes:
        contender: what is compared.
        path: the network file.
        choice: the rollout, as ``rollout_of`` takes it.
        weights: the file; None are random ones.
    """

    contender: Contender
    path: Path
    choice: str | None
    weights: Path | None

    def notes(self) -> list[str]:
        """What a reader must know of it."""
        name = self.contender.name
        if self.weights is None:
            return [f"{name} has random weights: its answers mean nothing."]
        trained = trained_rollout(self.weights, self.contender.network)
        rollout = self.contender.network.rollout
        if trained is not None and dict(trained.delays) != dict(rollout.delays):
            return [
                f"{name}: the weights {self.weights.name} were trained under another rollout "
                f"({trained.name}); weights of its own may answer better (--weights {name}=FILE)."
            ]
        return []


def entries_of(
    networks: Sequence[str],
    rollouts: Sequence[str],
    weights: Sequence[str],
    *,
    is_pipelined: bool = False,
) -> list[Entry]:
    """One contender per network and rollout.

    Args:
        networks: files, or names of shipped ones.
        rollouts: streaming, sequential, pipelined, or files of rollout tables. None: of a single
            network streaming, sequential and its own; of several each one's own.
        weights: ``NAME=FILE`` for one contender, or ``FILE`` for all others.
        is_pipelined: sequential rollouts run all groups at once, too.

    Raises:
        StreamingNetError: a file that cannot be used, or a name that is none.
    """
    from streaming_net_ros.network import read_network_file

    paths = [find_network(name).resolve() for name in networks]
    specs = [read_network_file(path) for path in paths]
    pairs: list[tuple[NetworkSpec, Path, str | None]] = []
    for spec, path in zip(specs, paths, strict=True):
        chosen: list[str | None] = list(rollouts)
        if not chosen:
            chosen = [None] if len(specs) > 1 else _usual(spec)
        pairs += [(spec, path, choice) for choice in chosen]
    names = _names(pairs, several=len(specs) > 1, chosen=bool(rollouts))
    files = _weights_by_name(weights, names)
    entries = []
    for name, (spec, path, choice) in zip(names, pairs, strict=True):
        file = files.get(name, files.get("", spec.weights_path))
        entries.append(_entry(name, spec, path, choice, file, is_pipelined))
    return entries


def work_of(
    entries: Sequence[Entry], work_ms: float | None, work: Sequence[str]
) -> dict[str, int]:
    """Compute times by group, in ns, out of ``--work-ms`` and ``--work GROUP=MS``.

    Raises:
        ParameterError: not a time, or no such group.
    """
    groups = list(dict.fromkeys(g for entry in entries for g in entry.contender.groups))
    _check_ms(0.0 if work_ms is None else work_ms, "--work-ms")
    by_group = dict.fromkeys(groups, round((work_ms or 0.0) * MS))
    for text in work:
        group, equals, number = text.partition("=")
        if text == MEASURED:
            if work_ms is not None:
                raise ParameterError("given or measured?", where="--work measured, --work-ms",
                                     expected="one of them")  # fmt: skip
            continue
        if not equals or group not in groups:
            raise ParameterError(
                "not a group's compute time", where="--work", got=text,
                expected=f"measured, or GROUP=MS with a group of {', '.join(groups)}",
            )  # fmt: skip
        try:
            given_ms = float(number)
        except ValueError:
            given_ms = math.nan
        _check_ms(given_ms, f"--work {text}")
        by_group[group] = round(given_ms * MS)
    return by_group


def trained_rollout(path: Path, network: StreamingNetwork) -> Rollout | None:
    """The rollout that weights were trained under, if their file tells one of this network."""
    import safetensors

    from streaming_net_ros.theory import parse_table

    with safetensors.safe_open(path, framework="pt") as file:
        text = (file.metadata() or {}).get("rollout", "")
    try:
        return parse_table(text, network.rollout.graph)
    except RolloutError:
        return None


def _usual(spec: NetworkSpec) -> list[str | None]:
    own: list[str | None] = [] if isinstance(spec.rollout, str) else [None]
    return [*own, "streaming", "sequential"]


def _entry(
    name: str, spec: NetworkSpec, path: Path, choice: str | None, weights: Path | None,
    is_pipelined: bool,
) -> Entry:  # fmt: skip
    from streaming_net_ros.evaluation.streaming.played import Contender, is_sequential
    from streaming_net_ros.network import StreamingNetwork, load_weights, rollout_of

    named = "sequential" if choice == _PIPELINED else choice
    network = StreamingNetwork(spec, rollout_of(spec, named)).eval()
    if weights is not None:
        load_weights(network, weights)
    at_once = is_pipelined or choice == _PIPELINED or not is_sequential(network)
    words = "random weights" if weights is None else weights.name
    return Entry(Contender(name, network, words, at_once), path, named, weights)


def _names(
    pairs: Sequence[tuple[NetworkSpec, Path, str | None]], *, several: bool, chosen: bool
) -> list[str]:
    """What tells the contenders apart: the rollout, the network, or both."""
    from streaming_net_ros.network import rollout_of

    stems = len({spec.name for spec, _, _ in pairs}) < len({path for _, path, _ in pairs})
    names: list[str] = []
    for spec, path, choice in pairs:
        network = path.stem if stems else spec.name
        rollout = choice if choice == _PIPELINED else rollout_of(spec, choice).name
        parts = [network] * several + [rollout] * (chosen or not several)
        name = " ".join(parts)
        if name in names and choice is not None:
            name = " ".join([*parts[:-1], Path(choice).stem])
        if name in names:
            raise ParameterError(
                "the same rollout twice", where="--rollout", expected="each once", got=name
            )
        names.append(name)
    return names


def _weights_by_name(texts: Sequence[str], names: Sequence[str]) -> Mapping[str, Path]:
    files: dict[str, Path] = {}
    for text in texts:
        name, equals, file = text.rpartition("=")
        if equals and name not in names:
            raise ParameterError(
                "weights of no rollout", where="--weights", got=text,
                expected=f"FILE, or NAME=FILE with a name of {', '.join(names)}",
            )  # fmt: skip
        files[name] = Path(file)
    return files


def _check_ms(value: float, where: str) -> None:
    if not (math.isfinite(value) and value >= 0):
        raise ParameterError("not a time", where=where, expected="milliseconds >= 0", got=value)
