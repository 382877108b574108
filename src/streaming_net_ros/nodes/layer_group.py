"""A layer group as a node: states in, one state out, responses where the network has an output.

Threads: callbacks of the executor thread only decode and store. A worker runs the layers, hands
the state to the groups of this process by reference, publishes it if anybody outside listens, and
only then lets the group fire again, so that everything leaves in the order of frames.
"""

from __future__ import annotations

import time
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from sensor_msgs.msg import Image
from std_msgs.msg import Header
from torch import Tensor

from streaming_net_ros.errors import RunError, StateError
from streaming_net_ros.frames import Arrival, FrameTally, Job, Mailbox, Origin
from streaming_net_ros.frames.ledger import FrameLine, system_ns
from streaming_net_ros.network.layout import from_payload, to_payload
from streaming_net_ros.network.measured import edge_name, group_name, measured_names
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.debug import DebugTopics
from streaming_net_ros.nodes.diagnostics import Health, told_spread
from streaming_net_ros.nodes.member import MemberNode
from streaming_net_ros.nodes.responses import Responder
from streaming_net_ros.nodes.workers import Task
from streaming_net_ros.wire import read_state, write_stamp_ns, write_state

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container

_READY_PERIOD_S = 0.05


class LayerGroupNode(MemberNode):
    """The node of one group."""

    def __init__(self, name: str, container: Container) -> None:
        super().__init__(name, container)
        self.group_name = name
        self._rule = container.rules[name]
        self._is_realtime = container.settings.mode == "realtime"
        self._outputs = {
            output: spec for output, spec in container.spec.outputs.items() if spec.group == name
        }
        self._mailbox: Mailbox[Tensor] = Mailbox(self._rule)
        self._tally = FrameTally(self._rule.delays, container.target_hz)
        self._responders: list[Responder] = []
        self._refused: list[str] = []
        self._progress_ns = -1

    # --- life cycle --------------------------------------------------------------------------

    def configure(self) -> None:
        """Load the group's weights, warm it up, and join the topics."""
        container = self.container
        self._layers = container.network.group(self.group_name)
        self._warm_up()
        qos = topics.reliable(container.queue_depth)
        options: dict[str, Any] = {"qos_overriding_options": topics.overridable()}
        self._state_publisher = self.create_publisher(
            Image, topics.state(self.group_name), qos, **options
        )
        self._progress_publisher = self.create_publisher(Header, topics.PROGRESS, qos, **options)
        self._debug = DebugTopics(self, self._debug_names())
        self._responders = [
            Responder(self, output, spec, container, self._debug)
            for output, spec in self._outputs.items()
        ]
        self._heard = [
            self.create_subscription(
                Image, topics.state(source), partial(self._on_state, source), qos, **options
            )
            for source in self._rule.delays
            if source not in container.local_nodes
        ]
        self._ready_timer = self.create_timer(_READY_PERIOD_S, self._announce)

    def reset(self) -> None:
        """Forget all states."""
        self._mailbox = Mailbox(self._rule)
        self._tally = FrameTally(self._rule.delays, self.container.target_hz)
        for responder in self._responders:
            responder.reset()
        self._is_ready = False
        self._progress_ns = -1
        self._ready_timer.reset()

    def release(self) -> None:
        """Leave the topics."""
        for subscription in self._heard:
            self.destroy_subscription(subscription)
        for responder in self._responders:
            responder.release()
        for publisher in (self._state_publisher, self._progress_publisher):
            self.destroy_publisher(publisher)
        self._debug.destroy()
        self.destroy_timer(self._ready_timer)
        self._responders.clear()

    def stop(self) -> None:
        """Fire no more; outputs stop."""
        super().stop()
        for responder in self._responders:
            responder.end()

    def _debug_names(self) -> list[str]:
        """The numbers that are told of this group, its edges and its outputs."""
        if not (self._is_realtime and self.container.settings.debug_topics):
            return []
        return list(measured_names(self.container.spec, self.group_name))

    def _warm_up(self) -> None:
        """Run the layers twice on zeros: allocators and kernels are chosen before frames count."""
        formats = self.container.formats
        with torch.inference_mode():
            zeros = {
                source: torch.zeros(
                    (1, *formats[source].shape),
                    dtype=getattr(torch, formats[source].dtype),
                    device=self.container.device,
                )
                for source in self._rule.delays
            }
            for _ in range(2):
                state = self._layers(zeros)
        if tuple(state.shape[1:]) != formats[self.group_name].shape:
            raise StateError(
                "the group gives a state of another shape than its file states",
                where=f"group {self.group_name}",
                expected=str(formats[self.group_name].shape),
                got=tuple(state.shape[1:]),
            )

    # --- arrivals ----------------------------------------------------------------------------

    def arrive(self, source: str, frame: int, batch: Tensor, origin: Origin) -> None:
        """A state is here, by message or by reference. Called with the lock held."""
        if not self.is_active:
            return
        arrival = self._mailbox.arrive(source, frame, batch, origin, self.container.pool.now_ns())
        self._tally.arrived(source, arrival)
        if arrival is Arrival.GAP:
            self.container.fail(
                RunError(
                    f"a state was lost in lockstep: frame {frame} came too early",
                    where=f"edge {source} -> {self.group_name}",
                    remedy="reset all nodes together, or run in realtime",
                )
            )
        self.container.pool.wake(self)

    def _on_state(self, source: str, message: Image) -> None:
        """Executor thread."""
        form = self.container.formats[source]
        try:
            given = read_state(message, form)
        except StateError as error:
            self._refuse(error)
            return
        batch = from_payload(torch.from_numpy(given.payload), form.shape)
        if self.container.device.type != "cpu":
            batch = batch.to(self.container.device)
        frame = self.container.grid.frame_at(given.stamp_ns)
        hop_ns = None if given.sent_ns is None else system_ns() - given.sent_ns
        with self.container.pool.lock:
            self.arrive(source, frame, batch, given.origin)
            if hop_ns is not None:
                self._tally.edges[source].hop.add(hop_ns)
        if hop_ns is not None:
            name = edge_name(source, self.group_name, "hop_ms")
            self._debug.tell(name, hop_ns / 1e6, given.stamp_ns)

    def _refuse(self, error: StateError) -> None:
        self._refused.append(str(error))
        del self._refused[:-100]
        self.get_logger().error(str(error), throttle_duration_sec=1.0)
        if self.container.settings.mode == "lockstep":
            self.container.fail(error)

    # --- work --------------------------------------------------------------------------------

    def next_task(self, now_ns: int) -> Task | None:
        """The next frame, if its inputs are there."""
        job = self._mailbox.next_job(now_ns)
        return None if job is None else partial(self._compute, self._mailbox, job)

    def wake_at_ns(self) -> int | None:
        """Realtime: the deadline of the next frame."""
        return self._mailbox.wake_at_ns()

    def _compute(self, mailbox: Mailbox[Tensor], job: Job[Tensor]) -> None:
        """Worker thread. A job that was under way while the node was reset leaves no trace."""
        waits_ns, ages_ns = self._measure_inputs(job)
        begun_ns, at_ns = time.perf_counter_ns(), system_ns()
        batch, is_finite = job.repeated, True
        if batch is None:
            with torch.inference_mode():
                batch = self._layers({source: given.state for source, given in job.inputs.items()})
                is_finite = bool(torch.isfinite(batch).all())
        work_ns = time.perf_counter_ns() - begun_ns
        if self.container.ledger is not None:
            # Before the state leaves: what anybody may have seen can be computed again.
            line = self._ledger_line(job, is_finite, work_ns, at_ns)
            self.container.ledger.write(replace(line, wait_ns=waits_ns, age_ns=ages_ns))
        if is_finite:
            with self.container.pool.lock:
                if mailbox is not self._mailbox:
                    return
                is_wanted = mailbox.is_wanted(job, self.container.pool.now_ns())
                if is_wanted:
                    self.container.deliver(self.group_name, job.frame, batch, job.origin)
            if is_wanted:
                self._publish(job, batch)
        else:
            self._stop_state(job)
        with self.container.pool.lock:
            if mailbox is not self._mailbox:
                return
            self._tally.record(job, begun_ns + work_ns, work_ns)
            self._tally.not_finite += not is_finite
            counts = self._counts()
            self._mailbox.finish(job.frame, batch if is_finite else None)
            self._progress_ns = self.container.grid.stamp_ns(job.frame)
            self.container.finished(self.group_name, job.frame)
            self.container.pool.wake(self)
        stamp_ns = self.container.grid.stamp_ns(job.frame)
        if job.repeated is None:
            counts[group_name(self.group_name, "work_ms")] = work_ns / 1e6
        for name, value in counts.items():
            self._debug.tell(name, value, stamp_ns)

    def _measure_inputs(self, job: Job[Tensor]) -> tuple[dict[str, int], dict[str, int]]:
        """How long each input has waited for this frame to begin, and how old it is (ns)."""
        if not self._is_realtime:
            return {}, {}
        now_ns = self.container.pool.now_ns()
        others = {s: given for s, given in job.inputs.items() if s != self.group_name}
        ages_ns = {source: now_ns - given.origin.since_ns for source, given in others.items()}
        waits_ns = {
            source: now_ns - given.arrived_ns
            for source, given in others.items()
            if not given.is_held
        }
        with self.container.pool.lock:
            for source, age_ns in ages_ns.items():
                self._tally.edges[source].age.add(age_ns)
            for source, wait_ns in waits_ns.items():
                self._tally.edges[source].wait.add(wait_ns)
        stamp_ns = self.container.grid.stamp_ns(job.frame)
        for source, age_ns in ages_ns.items():
            name = edge_name(source, self.group_name, "age_ms")
            self._debug.tell(name, age_ns / 1e6, stamp_ns)
        for source, wait_ns in waits_ns.items():
            name = edge_name(source, self.group_name, "wait_ms")
            self._debug.tell(name, wait_ns / 1e6, stamp_ns)
        return waits_ns, ages_ns

    def _counts(self) -> dict[str, float]:
        """What was lost so far, by the names of its topics. Called with the lock held."""
        counts: dict[str, float] = {
            group_name(self.group_name, "skipped_frames"): self._tally.skipped
        }
        for source, edge in self._tally.edges.items():
            if source != self.group_name:
                counts[edge_name(source, self.group_name, "held_frames")] = edge.held
                late = edge.arrivals[Arrival.LATE]
                counts[edge_name(source, self.group_name, "late_states")] = late
        return counts

    def _ledger_line(
        self, job: Job[Tensor], is_finite: bool, work_ns: int, at_ns: int
    ) -> FrameLine:
        return FrameLine(
            group=self.group_name,
            frame=job.frame,
            inputs={source: given.frame for source, given in job.inputs.items()},
            held=job.held,
            skipped=job.skipped,
            is_repeated=job.repeated is not None,
            is_finite=is_finite,
            work_ns=work_ns,
            at_ns=at_ns,
        )

    def _stop_state(self, job: Job[Tensor]) -> None:
        """A state that is no number goes nowhere, not even into the group's own memory."""
        error = RunError(
            f"NaN or infinite state in frame {job.frame}; it goes nowhere",
            where=f"group {self.group_name}",
            remedy="look at its weights and at what it hears",
        )
        self.get_logger().error(str(error), throttle_duration_sec=1.0)
        if not self._is_realtime:
            self.container.fail(error)

    def _publish(self, job: Job[Tensor], batch: Tensor) -> None:
        stamp_ns = self.container.grid.stamp_ns(job.frame)
        is_heard = self._state_publisher.get_subscription_count() > 0
        payload = to_payload(batch.cpu()).numpy() if is_heard or self._responders else None
        if is_heard and payload is not None:
            message = Image()
            form = self.container.formats[self.group_name]
            sent_ns = system_ns() if self._is_realtime else None
            write_state(message, form, payload, stamp_ns, job.origin, sent_ns=sent_ns)
            self._state_publisher.publish(message)
        for responder in self._responders:
            assert payload is not None
            responder.answer(job.frame, payload, job.origin)
        if self._progress_publisher.get_subscription_count():
            self._tell_progress(stamp_ns)

    # --- progress and readiness --------------------------------------------------------------

    def _tell_progress(self, stamp_ns: int) -> None:
        message = Header(frame_id=self.group_name)
        write_stamp_ns(message.stamp, stamp_ns)
        self._progress_publisher.publish(message)

    def _announce(self) -> None:
        """Executor thread: say "ready" until the first frame is finished."""
        if not self.is_active:
            return
        if self._progress_ns >= 0:
            self._ready_timer.cancel()
            return
        if not self._is_ready:
            self._is_ready = self.container.peers.are_matched(
                self,
                self.group_name,
                [self._state_publisher, *(r.publisher for r in self._responders)],
                self._heard,
            )
        if self._is_ready:
            self.container.ready(self.group_name)
            # With the lock no worker can begin: nobody hears "ready" after the first progress.
            with self.container.pool.lock:
                if self._mailbox.next_frame is None:
                    self._tell_progress(topics.READY_NS)

    @property
    def has_worked(self) -> bool:
        """True once a frame is finished."""
        return self._progress_ns >= 0

    def health(self) -> Health:
        """Rate, work, holds and losses."""
        with self.container.pool.lock:
            cadence = self._tally.cadence()
            health = Health(
                {
                    "frames": str(cadence.frames),
                    "rate_hz": f"{cadence.rate_hz:.2f}",
                    "target_hz": f"{self.container.grid.rate_hz:g}",
                    **told_spread("work", self._tally.work),
                    "over_budget": str(cadence.over_budget),
                    "skipped": str(cadence.skipped),
                    "late": str(cadence.late),
                    "duplicates": str(cadence.duplicates),
                    "silences": str(self._mailbox.silences),
                    "clock_jumps": str(self._mailbox.jumps),
                    "device": str(self.container.device),
                    "waits_for": ", ".join(self._mailbox.missing()),
                    "behind": ", ".join(self._mailbox.behind()),
                }
            )
            self._tell_edges(health)
        if cadence.held:
            health.warnings.append(f"{cadence.held} inputs held")
        if cadence.absent:
            health.warnings.append(f"{cadence.absent} inputs absent beyond the hold limit")
        if cadence.skipped:
            health.warnings.append(f"{cadence.skipped} frames skipped")
        if self._mailbox.jumps:
            health.warnings.append(f"the clock has jumped back {self._mailbox.jumps} times")
        if self._tally.not_finite:
            health.errors.append(f"{self._tally.not_finite} states NaN or infinite, stopped here")
        if self._refused:
            health.errors.append(f"states refused; last: {self._refused[-1]}")
        for responder in self._responders:
            responder.health(health)
        return health

    def _tell_edges(self, health: Health) -> None:
        for source, edge in self._tally.edges.items():
            health.values[f"transport/{source}"] = self.container.transport(source)
            late = edge.arrivals[Arrival.LATE]
            for what, count in (("held", edge.held), ("absent", edge.absent), ("late", late)):
                if count:
                    health.values[f"{what}/{source}"] = str(count)
            for what, spread in (("hop", edge.hop), ("wait", edge.wait), ("age", edge.age)):
                if spread.count:
                    health.values.update(told_spread(what, spread, source))
            if edge.arrivals[Arrival.FUTURE]:
                health.errors.append(
                    f"{edge.arrivals[Arrival.FUTURE]} states of '{source}' came from the future: "
                    "the hosts' clocks disagree, or time jumped back"
                )

    def cadence_line(self) -> str:
        """For the report at the end of a run."""
        with self.container.pool.lock:
            return str(self._tally.cadence())
