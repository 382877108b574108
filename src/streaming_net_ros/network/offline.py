"""The offline rollout: the mailboxes of all groups, driven in one thread, without ROS.

The reference for lockstep and realtime (they drive the same mailboxes), and what bag evaluation
runs on. Like the nodes it is eager: a group fires as soon as its inputs exist, so it may run ahead
of the newest image by its shortest delay.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor

from streaming_net_ros.errors import StateError
from streaming_net_ros.frames import Arrival, Job, Lesions, Mailbox, Origin
from streaming_net_ros.network.file import rules_of
from streaming_net_ros.network.layout import all_finite
from streaming_net_ros.network.network import StreamingNetwork
from streaming_net_ros.network.noise import with_noise
from streaming_net_ros.network.online import OnlineLearner, fresh_inputs


@dataclass(frozen=True)
class StampedState:
    """A state on its way: the tensor, and the capture time of the newest image inside it.

    Attributes:
        batch: (1, ...), in the layout of states.
        captured_ns: capture time of the newest image that can have influenced it (age law).
    """

    batch: Tensor
    captured_ns: int


@dataclass(frozen=True)
class GroupFrame:
    """A group has finished a frame."""

    group: str
    frame: int
    state: StampedState


class OfflineRollout:
    """Feeds images, yields what groups compute, in the order in which they compute it.

    Args:
        network: all groups, in evaluation mode and on their device.
        learners: of groups whose weights change on the way, by name; those that are on do.
    """

    def __init__(
        self,
        network: StreamingNetwork,
        learners: Mapping[str, OnlineLearner] | None = None,
    ) -> None:
        self._network = network
        self._learners = learners or {}
        self._boxes: dict[str, Mailbox[Tensor]] = {
            group: Mailbox(rule) for group, rule in rules_of(network.spec, network.rollout).items()
        }
        self._hearers: dict[str, list[str]] = {
            node: [edge.target for edge in network.rollout.graph.edges_out_of(node)]
            for node in network.rollout.graph.nodes
        }

    def feed(self, frame: int, inputs: Mapping[str, StampedState]) -> Iterator[GroupFrame]:
        """The inputs of one frame, and everything that can be computed now.

        Args:
            frame: its number; one more than the last one fed.
            inputs: every input's state for that frame.

        Raises:
            StateError: a frame that is out of order, or an input missing or of another shape.
        """
        if set(inputs) != set(self._network.spec.inputs):
            raise StateError(
                "a frame needs every input",
                where=f"frame {frame}",
                expected=str(sorted(self._network.spec.inputs)),
                got=sorted(inputs),
            )
        for name, given in inputs.items():
            batch = self._network.checked_input(name, given.batch)
            self._deliver(name, frame, batch, Origin(given.captured_ns, frame))
        while True:
            fired = list(self._fire())
            if not fired:
                return
            yield from (made for made in fired if made is not None)

    def lesions(self, group: str) -> Lesions[Tensor]:
        """What is lesioned at a group; a change takes effect with its next frame."""
        return self._boxes[group].lesions

    def _fire(self) -> Iterator[GroupFrame | None]:
        """Every group that can fire, once; None for one that is silent."""
        for name in self._network.rollout.frame_order:
            box = self._boxes[name]
            job = box.next_job()
            if job is None:
                continue
            batch = job.repeated
            if batch is None:
                batch = self._computed(name, job)
            box.finish(job.frame, batch)
            self._deliver(name, job.frame, batch, job.origin)
            if batch is None:
                yield None
            else:
                yield GroupFrame(name, job.frame, StampedState(batch, job.origin.captured_ns))

    def _computed(self, name: str, job: Job[Tensor]) -> Tensor | None:
        group, learner = self._network.group(name), self._learners.get(name)
        heard = {source: given.state for source, given in job.inputs.items()}
        with torch.inference_mode():
            batch: Tensor | None = group(heard)
            if batch is None:
                return None
            if learner is not None and not all_finite(batch) and learner.take_back():
                batch = group(heard)
            batch = None if batch is None else with_noise(group, batch, job.frame)
        if learner is None:
            return batch
        learner.live(job.frame, fresh_inputs(job))
        return batch

    def _deliver(self, source: str, frame: int, batch: Tensor | None, origin: Origin) -> None:
        for target in self._hearers[source]:
            if target == source:
                continue  # a group hears itself through its own mailbox's finish
            arrival = self._boxes[target].arrive(source, frame, batch, origin)
            if arrival is not Arrival.ACCEPTED:
                raise StateError(
                    f"frame {frame} is out of order: {arrival.value}",
                    where=f"edge {source} -> {target}",
                )


def run_offline(
    network: StreamingNetwork, frames: Iterable[tuple[int, Mapping[str, StampedState]]]
) -> Iterator[GroupFrame]:
    """Feed numbered frames, one after the other; yields every group's frames."""
    rollout = OfflineRollout(network)
    for frame, inputs in frames:
        yield from rollout.feed(frame, inputs)
