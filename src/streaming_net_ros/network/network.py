"""The whole network as one torch module with explicit state: the frame law, one frame a call.

`StreamingNetwork.step` is what training differentiates through and what the mailbox-driven
rollouts (``offline``, the ROS nodes) are tested against. It holds no state of its own.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass

from torch import Tensor, nn

from streaming_net_ros.errors import ParameterError, StateError
from streaming_net_ros.network.file import rollout_of
from streaming_net_ros.network.group import Inputs, LayerGroup
from streaming_net_ros.network.layers import Shape, seeded
from streaming_net_ros.network.layout import as_state
from streaming_net_ros.network.schema import NetworkSpec
from streaming_net_ros.network.shapes import SharedStacks, state_shapes
from streaming_net_ros.theory import Rollout


@dataclass(frozen=True)
class NetworkState:
    """What a network remembers between two frames.

    Attributes:
        frame: the next frame, counted from 0 at ``init_state``.
        history: per node its last states, newest first, as many as its longest delay asks for;
            None where the state does not exist.
    """

    frame: int
    history: Mapping[str, tuple[Tensor | None, ...]]

    def detach(self) -> NetworkState:
        """The same state, cut off from the past's gradients (truncated back-propagation)."""
        return NetworkState(
            self.frame,
            {
                node: tuple(None if s is None else s.detach() for s in states)
                for node, states in self.history.items()
            },
        )


class StreamingNetwork(nn.Module):
    """All groups of a network file (or some of them) under one rollout.

    Args:
        spec: the network.
        rollout: how it is rolled out; the file's own if None.
        members: names of the groups to build; None builds all. A node builds only its own.
        seed: draws the weights; each group's depend on seed and name alone.

    Raises:
        NetworkFileError: shapes or layers that do not fit.
        ParameterError: a member that is no group.
    """

    def __init__(
        self,
        spec: NetworkSpec,
        rollout: Rollout | None = None,
        *,
        members: Collection[str] | None = None,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.spec = spec
        self.rollout = rollout or rollout_of(spec)
        self.shapes: dict[str, Shape] = state_shapes(spec)
        names = [group.name for group in spec.groups]
        for member in members or ():
            if member not in names:
                raise ParameterError(
                    "no such group", where="members", expected=f"some of {names}", got=member
                )
        stacks = SharedStacks(spec, seed)
        self.groups = nn.ModuleDict()
        for group in spec.groups:
            if members is None or group.name in members:
                with seeded(seed, group.name):
                    self.groups[group.name] = LayerGroup(spec, group, self.shapes, stacks.get)
        self.shared = stacks.stacks
        self._memory = {
            node: max((self.rollout.delay(node, edge.target)
                       for edge in self.rollout.graph.edges_out_of(node)), default=0)
            for node in self.rollout.graph.nodes
        }  # fmt: skip
        self._periods = spec.periods
        for name in self._periods:
            self._memory[name] = max(1, self._memory[name])  # its last state is repeated

    def group(self, name: str) -> LayerGroup:
        """The group of that name."""
        group = self.groups[name]
        assert isinstance(group, LayerGroup)
        return group

    def init_state(self) -> NetworkState:
        """The state before the first frame: nothing exists yet."""
        return NetworkState(0, {node: (None,) * size for node, size in self._memory.items()})

    def step(
        self, state: NetworkState, inputs: Inputs
    ) -> tuple[NetworkState, dict[str, Tensor | None]]:
        """One frame: every group's state by the frame law.

        Args:
            state: from ``init_state`` or the frame before.
            inputs: per input its state, (batch, channels, height, width) uint8 (or float in 0 to
                255) for an image, (batch, features) for a vector; None or absent if it has none.

        Returns:
            The state for the next frame, and per output its response, None while it is silent.

        Raises:
            StateError: an unknown input, or one of another shape.
        """
        state, nodes = self.advance(state, inputs)
        return state, {name: nodes[output.group] for name, output in self.spec.outputs.items()}

    def advance(
        self, state: NetworkState, inputs: Inputs
    ) -> tuple[NetworkState, dict[str, Tensor | None]]:
        """One frame, as ``step``, with the states of all nodes in place of the responses."""
        nodes: dict[str, Tensor | None] = dict.fromkeys(self.spec.inputs)
        for name, given in inputs.items():
            nodes[name] = None if given is None else self.checked_input(name, given)
        for name in self.rollout.frame_order:
            period = self._periods.get(name)
            if (
                period
                and period.newest(state.frame) < state.frame
                and state.history[name][0] is not None
            ):
                nodes[name] = state.history[name][0]
                continue
            heard = self.heard(name, state, nodes)
            is_silent = all(given is None for given in heard.values())
            nodes[name] = None if is_silent else self.group(name)(heard)
        history = {
            node: (nodes[node], *state.history[node])[:size] for node, size in self._memory.items()
        }
        return NetworkState(state.frame + 1, history), nodes

    def heard(
        self, name: str, state: NetworkState, nodes: Mapping[str, Tensor | None]
    ) -> dict[str, Tensor | None]:
        """What a group hears in the frame that follows ``state``.

        Args:
            name: the group's.
            state: before that frame.
            nodes: states of that frame, as far as edges without a delay need them.
        """
        return {
            source: nodes[source] if delay == 0 else state.history[source][delay - 1]
            for source, delay in self.rollout.delays_into(name).items()
        }

    def checked_input(self, name: str, given: Tensor) -> Tensor:
        """An input in the layout of states.

        Raises:
            StateError: an unknown input, or one of another shape.
        """
        if name not in self.spec.inputs:
            raise StateError(
                "unknown input", expected=f"one of {sorted(self.spec.inputs)}", got=name
            )
        shape = self.spec.inputs[name].shape
        if tuple(given.shape[1:]) != shape:
            raise StateError(
                "input of another shape",
                where=f"input {name}",
                expected=f"(batch, {', '.join(map(str, shape))})",
                got=tuple(given.shape),
            )
        return as_state(given)

    def forward(self, frames: Mapping[str, Tensor]) -> Iterator[dict[str, Tensor | None]]:
        """Responses over a window, from silence: ``frames`` holds (time, batch, ...) per input."""
        state = self.init_state()
        for t in range(len(next(iter(frames.values())))):
            state, outputs = self.step(state, {name: f[t] for name, f in frames.items()})
            yield outputs
