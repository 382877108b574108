"""Hebbian rules: a dense edge's weights change by what fires before and after it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn

from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import StreamingNetwork
from streaming_net_ros.network.local import hebbian_change
from streaming_net_ros.training.learner import Learner
from streaming_net_ros.training.plan import HebbianSpec, LearnerSpec


class HebbianLearner(Learner):
    """Changes a dense edge's weights by what fires before and after it; no gradient.

    Args:
        spec: the rule, and ``every``.
        network: on its device.
        where: the place in the plan, for errors.

    Raises:
        ParameterError: no such edge, or one that does not end in a Linear.
    """

    def __init__(self, spec: LearnerSpec, network: StreamingNetwork, where: str) -> None:
        assert spec.hebbian is not None
        super().__init__(spec)
        self._rule: HebbianSpec = spec.hebbian
        self._source, self._target = _edge_of(self._rule.edge, network, where)
        stack = network.group(self._target).edges[self._source]
        assert isinstance(stack, nn.Sequential)
        if not len(stack) or not isinstance(stack[-1], nn.Linear):
            raise ParameterError(
                "a Hebbian rule is for a dense edge",
                where=f"{where}.hebbian.edge",
                expected="an edge whose layers end in a Linear",
                got=self._rule.edge,
            )
        self._linear = stack[-1]
        # What the layer itself hears: normalised, and after its own dropout.
        self._linear.register_forward_pre_hook(self._keep)
        self._x: Tensor | None = None
        shape = network.shapes[self._target]
        if shape != (self._linear.out_features,):
            raise ParameterError(
                "the group's state must have one element per unit of the edge",
                where=f"{where}.hebbian.edge",
                expected=f"({self._linear.out_features},)",
                got=shape,
            )
        self._change = torch.zeros_like(self._linear.weight)
        self._heard = 0

    @torch.no_grad()
    def hear(self, nodes: Mapping[str, Tensor | None]) -> None:
        """Take in what the edge's two sides were in one frame."""
        heard, state = self._x, nodes[self._target]
        self._x = None
        if heard is None or state is None:
            return
        x = heard.to(torch.float32)  # (batch, in)
        y = state.to(torch.float32)  # (batch, out)
        self._change += hebbian_change(self._rule.rule, x, y, self._linear.weight)
        self._heard += 1

    @torch.no_grad()
    def update(self) -> float:
        """Change the weights; gives the norm of the change."""
        if not self._heard:
            return 0.0
        change = self._rule.rate * self._change / self._heard
        size = float(change.norm())
        self._change.zero_()
        self._heard = 0
        if math.isfinite(size):
            self._linear.weight += change
            norms = self._linear.weight.norm(dim=1, keepdim=True)
            self._linear.weight *= (self._rule.limit / norms.clamp(min=1e-12)).clamp(max=1)
        return size

    def state(self) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """See ``Learner``."""
        return {"change": self._change}, {"heard": self._heard}

    def load(self, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
        """See ``Learner``."""
        self._change.copy_(tensors["change"])
        self._heard = int(facts["heard"])

    def _keep(self, layer: nn.Module, heard: tuple[Tensor, ...]) -> None:
        if layer.training:
            self._x = heard[0].detach()


def _edge_of(text: str, network: StreamingNetwork, where: str) -> tuple[str, str]:
    for edge in network.rollout.graph.edges:
        if str(edge) == text and edge.source in network.group(edge.target).edges:
            return edge.source, edge.target
    listed = ", ".join(str(edge) for edge in network.rollout.graph.edges)
    raise ParameterError(
        "no such edge with layers",
        where=f"{where}.hebbian.edge",
        expected=f"one of {listed}",
        got=text,
    )
