"""A layer group as a node: states in, one state out, responses where the network has an output.

Threads: callbacks of the executor thread only decode and store. A worker runs the layers, hands
the state to the groups of this process by reference, publishes it if anybody outside listens, and
only then lets the group fire again, so that everything leaves in the order of frames.
"""

from __future__ import annotations

import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from geometry_msgs.msg import TwistStamped
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from std_msgs.msg import Header

from streaming_net_ros.errors import RunError, StateError
from streaming_net_ros.frames import Arrival, FrameLedger, Job, Mailbox
from streaming_net_ros.network import OutputSpec, StampedState, newest_capture
from streaming_net_ros.network.layout import from_payload, to_payload
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.diagnostics import Health
from streaming_net_ros.nodes.member import MemberNode
from streaming_net_ros.nodes.workers import Task
from streaming_net_ros.wire import read_state, write_field, write_stamp_ns, write_state

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container

_READY_PERIOD_S = 0.05


class LayerGroupNode(MemberNode):
    """The node of one group."""

    def __init__(self, name: str, container: Container) -> None:
        super().__init__(name, container)
        self.group_name = name
        self._rule = container.rules[name]
        self._outputs = {
            output: spec for output, spec in container.spec.outputs.items() if spec.group == name
        }
        self._mailbox: Mailbox[StampedState] = Mailbox(self._rule)
        self._ledger = FrameLedger(container.target_hz)
        self._published: dict[str, Publisher] = {}
        self._refused: list[str] = []
        self._not_finite = 0
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
        for output, spec in self._outputs.items():
            message = TwistStamped if spec.publish == "twist" else Image
            self._published[output] = self.create_publisher(
                message, topics.response(output), qos, **options
            )
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
        self._ledger = FrameLedger(self.container.target_hz)
        self._is_ready = False
        self._progress_ns = -1
        self._ready_timer.reset()

    def release(self) -> None:
        """Leave the topics."""
        for subscription in self._heard:
            self.destroy_subscription(subscription)
        publishers = (self._state_publisher, self._progress_publisher, *self._published.values())
        for publisher in publishers:
            self.destroy_publisher(publisher)
        self.destroy_timer(self._ready_timer)
        self._published.clear()

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

    def arrive(self, source: str, frame: int, state: StampedState) -> None:
        """A state is here, by message or by reference. Called with the lock held."""
        if not self.is_active:
            return
        arrival = self._mailbox.arrive(source, frame, state)
        if arrival is Arrival.GAP:
            self.container.fail(
                RunError(
                    f"a state was lost in lockstep: frame {frame} came too early",
                    where=f"edge {source} -> {self.group_name}",
                    remedy="reset all nodes together, or run in realtime",
                )
            )
        elif arrival is Arrival.DUPLICATE:
            self._ledger.duplicates += 1
        elif arrival is Arrival.LATE:
            self._ledger.late += 1
        self.container.pool.wake(self)

    def _on_state(self, source: str, message: Image) -> None:
        """Executor thread."""
        form = self.container.formats[source]
        try:
            payload, stamp_ns, captured_ns = read_state(message, form)
        except StateError as error:
            self._refuse(error)
            return
        batch = from_payload(torch.from_numpy(payload), form.shape)
        if self.container.device.type != "cpu":
            batch = batch.to(self.container.device)
        frame = self.container.grid.frame_at(stamp_ns)
        with self.container.pool.lock:
            self.arrive(source, frame, StampedState(batch, captured_ns))

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

    def _compute(self, mailbox: Mailbox[StampedState], job: Job[StampedState]) -> None:
        """Worker thread. A job that was under way while the node was reset leaves no trace."""
        begun_ns = time.perf_counter_ns()
        with torch.inference_mode():
            batch = self._layers({s: given.state.batch for s, given in job.inputs.items()})
        done_ns = time.perf_counter_ns()
        state = StampedState(batch, newest_capture(job.inputs.values()))
        stamp_ns = self.container.grid.stamp_ns(job.frame)
        with self.container.pool.lock:
            if mailbox is not self._mailbox:
                return
            self.container.deliver(self.group_name, job.frame, state)
        self._publish(job.frame, stamp_ns, state)
        with self.container.pool.lock:
            if mailbox is not self._mailbox:
                return
            self._ledger.record(done_ns, done_ns - begun_ns, job.held, job.skipped)
            self._mailbox.finish(job.frame, state)
            self._progress_ns = stamp_ns
            self.container.finished(self.group_name, job.frame)
            self.container.pool.wake(self)

    def _publish(self, frame: int, stamp_ns: int, state: StampedState) -> None:
        if self._state_publisher.get_subscription_count():
            message = Image()
            payload = to_payload(state.batch.cpu()).numpy()
            form = self.container.formats[self.group_name]
            write_state(message, form, payload, stamp_ns, state.captured_ns)
            self._state_publisher.publish(message)
        for output, spec in self._outputs.items():
            self._respond(output, spec, state)
        if self._progress_publisher.get_subscription_count():
            self._tell_progress(stamp_ns)

    def _respond(self, output: str, spec: OutputSpec, state: StampedState) -> None:
        """An answer, stamped with the capture time of the newest image inside (age law)."""
        payload = to_payload(state.batch.cpu()).numpy()
        if spec.publish == "twist":
            message = TwistStamped()
            write_stamp_ns(message.header.stamp, state.captured_ns)
            message.header.frame_id = spec.frame_id
            for name, element in spec.fields.items():
                value = float(payload[element])
                if not math.isfinite(value):
                    self._withhold(output)
                    return
                if spec.limits is not None:
                    value = min(max(value, spec.limits[0]), spec.limits[1])
                write_field(message, f"twist.{name}", value)
        else:
            message = Image()
            form = self.container.formats[self.group_name]
            write_state(message, form, payload, state.captured_ns, state.captured_ns)
            message.header.frame_id = spec.frame_id
        self._published[output].publish(message)

    def _withhold(self, output: str) -> None:
        """A control output is never made of NaN."""
        self._not_finite += 1
        error = RunError("response is NaN or infinite and is withheld", where=f"output {output}")
        self.get_logger().error(str(error), throttle_duration_sec=1.0)
        if self.container.settings.mode == "lockstep":
            self.container.fail(error)

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
                [self._state_publisher, *self._published.values()],
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
            cadence = self._ledger.cadence()
            held = dict(self._ledger.held)
            missing = self._mailbox.missing()
        health = Health(
            {
                "frames": str(cadence.frames),
                "rate_hz": f"{cadence.rate_hz:.2f}",
                "target_hz": f"{self.container.grid.rate_hz:g}",
                "work_p50_ms": f"{cadence.work_p50_ms:.3f}",
                "work_p99_ms": f"{cadence.work_p99_ms:.3f}",
                "work_worst_ms": f"{cadence.work_worst_ms:.3f}",
                "over_budget": str(cadence.over_budget),
                "skipped": str(cadence.skipped),
                "late": str(cadence.late),
                "duplicates": str(cadence.duplicates),
                "device": str(self.container.device),
                **{f"held/{source}": str(count) for source, count in held.items()},
                **{
                    f"transport/{source}": self.container.transport(source)
                    for source in self._rule.delays
                },
                "waits_for": ", ".join(missing),
            }
        )
        if held:
            health.warnings.append(f"{sum(held.values())} inputs held")
        if cadence.skipped:
            health.warnings.append(f"{cadence.skipped} frames skipped")
        if self._not_finite:
            health.errors.append(f"{self._not_finite} responses withheld: NaN or infinite")
        if self._refused:
            health.errors.append(f"states refused; last: {self._refused[-1]}")
        return health

    def cadence_line(self) -> str:
        """For the report at the end of a run."""
        with self.container.pool.lock:
            return str(self._ledger.cadence())
