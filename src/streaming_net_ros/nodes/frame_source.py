"""The frame source: images in, numbered frames out; the owner of time and of flow control.

Lockstep: images queue, and a frame is fed when the window allows it. Realtime: an image is fed in
the frame in which it arrives. ``~/pause``, ``~/resume`` and ``~/step`` act here. It hears every
camera and every group, and names whoever is silent.

Threads: callbacks of the executor thread decode and queue; a worker numbers, publishes and hands
the image on.
"""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from numpy.typing import NDArray
from sensor_msgs.msg import TimeReference
from std_msgs.msg import Header

from streaming_net_ros.errors import RunError, TransportError
from streaming_net_ros.frames import Companion, FlowWindow, Intake, Offer, Origin
from streaming_net_ros.frames.ledger import InputLine, system_ns
from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.network import ImageInput
from streaming_net_ros.network.layout import from_payload
from streaming_net_ros.network.snapshot import read_source, save_source
from streaming_net_ros.network.upload import uploader_to
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.conductor import Conductor
from streaming_net_ros.nodes.diagnostics import Health
from streaming_net_ros.nodes.inputs import InputTopics
from streaming_net_ros.nodes.listeners import Listeners
from streaming_net_ros.nodes.member import MemberNode
from streaming_net_ros.nodes.sending import StateSender
from streaming_net_ros.nodes.throttled import Throttle, Throttled
from streaming_net_ros.nodes.waiting import steady_timer
from streaming_net_ros.nodes.watchdog import Watchdog
from streaming_net_ros.nodes.workers import Task, earliest
from streaming_net_ros.wire import Outlet, ServeOn, read_progress, read_stamp_ns, write_stamp_ns

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container

_STALL_S = 1.0
_WATCH_PERIOD_S = 0.25
_Payloads = dict[str, tuple[NDArray[Any], int]]  # per input: flat numbers, capture time


class FrameSource(MemberNode):
    """The node that turns images into frames. One per network."""

    def __init__(self, container: Container) -> None:
        super().__init__(FRAME_SOURCE, container)
        self._primary = container.spec.primary_input
        self._is_lockstep = container.settings.mode == "lockstep"
        self._inputs = InputTopics(self, container, self._offer)
        self._outlet: Outlet | None = None
        self._looked_at: dict[str, Throttled] = {}
        self.fed = 0
        self.reset()

    # --- life cycle --------------------------------------------------------------------------

    def configure(self) -> None:
        """Join the topics and offer the services."""
        container = self.container
        qos = topics.reliable(container.queue_depth)
        options: dict[str, Any] = {"qos_overriding_options": topics.overridable()}
        self._frames_publisher = self.create_publisher(
            TimeReference, topics.FRAMES, qos, **options
        )
        self._hear_frames = Listeners(self._frames_publisher)
        self._senders = {
            name: StateSender(self, name, container) for name in container.spec.inputs
        }
        self._throttle = Throttle(self)
        self._looked_at = {
            name: Throttled(self, name, container, self._throttle)
            for name in container.spec.inputs
        }
        self._inputs.join()
        self._heard: list[Any] = []
        if container.hears_progress and container.settings.transport == "auto":
            self._offer_line()
        if container.hears_progress:
            # Ready announcements and progress of all groups share this queue.
            depth = container.queue_depth * max(1, len(container.rules))
            self._heard.append(
                self.create_subscription(
                    Header, topics.PROGRESS, self._on_progress, topics.reliable(depth)
                )
            )
        self._conductor = Conductor(self, container.rules)
        self._timers_own = [
            self.create_timer(_WATCH_PERIOD_S, self._watch),
            steady_timer(self, _WATCH_PERIOD_S, self._look),
        ]

    def _offer_line(self) -> None:
        name = self.container.line_name(FRAME_SOURCE)
        try:
            self._outlet = self.container.lines.offer(name, on_said=self._on_said)
        except TransportError as error:
            self.get_logger().warning(f"progress comes as messages: {error}")

    def reset(self) -> None:
        """Forget all images; the next one is the first frame."""
        settings = self.container.settings
        self._intake: Intake[_Payloads] = Intake(
            self.container.grid, settings.mode, settings.queue_frames
        )
        self._companions: dict[str, Companion[tuple[NDArray[Any], int]]] = {
            name: Companion(
                settings.mode,
                16 * settings.queue_frames,
                settings.hold_limit_frames * self.container.grid.period_ns,
            )
            for name in self.container.spec.inputs
            if name != self._primary
        }
        for shown in self._looked_at.values():
            shown.forget()
        self._window = FlowWindow(self.container.rollout, settings.window_frames)
        self._watchdog = Watchdog(
            self,
            self.container.spec.inputs,
            self._primary,
            self.container.rules,
            round(settings.watchdog_periods * self.container.grid.period_ns),
        )
        self._waiting_for = set(self.container.rules) if settings.mode == "lockstep" else set()
        self._is_matched = settings.mode == "realtime"
        self._is_feeding = False
        self._last_progress_s = time.monotonic()
        self._stalled: dict[str, int] = {}
        self.fed = 0

    def release(self) -> None:
        """Leave the topics."""
        self._inputs.leave()
        for subscription in self._heard:
            self.destroy_subscription(subscription)
        for sender in self._senders.values():
            sender.close()
        for shown in self._looked_at.values():
            shown.destroy()
        self._throttle.destroy()
        if self._outlet is not None:
            self.container.lines.withdraw(self._outlet)
            self._outlet = None
        self.destroy_publisher(self._frames_publisher)
        self._conductor.destroy()
        for timer in self._timers_own:
            self.destroy_timer(timer)

    # --- arrivals (executor thread) ----------------------------------------------------------

    def _offer(self, name: str, payload: NDArray[Any], stamp_ns: int) -> None:
        with self.container.pool.lock:
            if not self.is_active:
                return
            self._watchdog.image(name)
            if name != self._primary:
                now_ns = self.container.pool.now_ns()
                if not self._companions[name].offer(stamp_ns, (payload, stamp_ns), now_ns):
                    self._lose(f"a message of '{name}'")
            else:
                now_ns = self.container.pool.now_ns()
                offer = self._intake.offer(stamp_ns, {name: (payload, stamp_ns)}, now_ns)
                if offer is Offer.FULL:
                    self._lose("an image")
                elif offer is not Offer.TAKEN:
                    self.get_logger().warning(
                        f"an image of '{name}' is not used: {offer.value}",
                        throttle_duration_sec=5.0,
                    )
            self.container.pool.wake(self)

    def _lose(self, what: str) -> None:
        """Lockstep loses nothing: what the queue cannot hold ends the run."""
        self.container.fail(
            RunError(
                f"{what} found the queue full in lockstep",
                where=FRAME_SOURCE,
                expected=f"at most {self.container.settings.queue_frames} images waiting",
                remedy="let the publisher wait for 'frames', or raise queue_frames",
            )
        )

    def _on_progress(self, message: Header) -> None:
        """A "ready" that took this way may come late, after progress that took a shorter one."""
        group, stamp_ns = message.frame_id, read_stamp_ns(message.stamp)
        is_on_line = self._outlet is not None and group in self._outlet.hearers
        tells_shorter = is_on_line or group in self.container.member_names
        if not (tells_shorter and stamp_ns == topics.READY_NS):
            self._progressed(group, stamp_ns)

    def _on_said(self, group: str, packet: bytes, serve_on: ServeOn) -> None:
        """A thread of the lines: progress of a group of another process on this host."""
        try:
            stamp_ns = read_progress(packet)
        except TransportError as error:
            self.get_logger().error(str(error), throttle_duration_sec=1.0)
            return
        with self.container.pool.helping(serve_on):
            self._progressed(group, stamp_ns)

    def _progressed(self, group: str, stamp_ns: int) -> None:
        with self.container.pool.lock:
            if stamp_ns == topics.READY_NS:
                self._check_not_again(group)
                self.ready(group)
            else:
                self.finished(group, self.container.grid.frame_at(stamp_ns))

    def _check_not_again(self, group: str) -> None:
        """Lockstep: a group that starts again has lost its memory; its answers would be wrong."""
        if self.is_active and self._is_lockstep and self._window.has_begun(group):
            self.container.fail(
                RunError(
                    f"group '{group}' has started again in a lockstep run: its memory is lost",
                    where=FRAME_SOURCE,
                    remedy="reset all nodes together, or run in realtime",
                )
            )

    def ready(self, group: str) -> None:
        """A group can hear and be heard. Called with the lock held."""
        self._waiting_for.discard(group)
        self.container.pool.wake(self)

    def finished(self, group: str, frame: int) -> None:
        """A group has finished a frame. Called with the lock held."""
        if not self.is_active:
            return
        if not self._is_lockstep:
            self._watchdog.progress(group)
            return
        self._last_progress_s = time.monotonic()
        if self._window.finished(group, frame) and not self._is_feeding:
            self.container.pool.wake(self)

    # --- feeding (worker) --------------------------------------------------------------------

    def next_task(self, now_ns: int) -> Task | None:
        """Feed the next image, if it may be fed now; otherwise show one to those who look on."""
        if (feed := self._next_feed(now_ns)) is not None:
            return feed
        shown = (looked_at.next_task() for looked_at in self._looked_at.values())
        return next((task for task in shown if task is not None), None)

    def _next_feed(self, now_ns: int) -> Task | None:
        if not (self._may_run() and self._conductor.may_feed()):
            return None
        frame = self._intake.next_frame(now_ns)
        if frame is None or (self._is_lockstep and not self._window.may_feed(frame)):
            return None
        captured_ns = self._intake.next_capture_ns()
        beside = {n: box.choose(captured_ns, now_ns) for n, box in self._companions.items()}
        if self._is_lockstep and any(given is None for given in beside.values()):
            return None
        fed = self._intake.take(now_ns)
        if fed is None:
            return None
        self._window.fed(fed.frame)
        self._is_feeding = True
        self._conductor.fed()
        self._watchdog.fed()
        # The intake's capture time: an image without a stamp is captured on arrival.
        image = {name: (payload, fed.captured_ns) for name, (payload, _) in fed.image.items()}
        # The image last: whoever hears both begins with it, and finds the others there.
        payloads = {**{n: given for n, given in beside.items() if given is not None}, **image}
        clocked_ns = None if self._is_lockstep else fed.clocked_ns
        return partial(self._feed, self._intake, fed.frame, payloads, clocked_ns)

    def _may_run(self) -> bool:
        """Everybody is connected, and the last image has left."""
        return self._is_matched and not (self._is_feeding or self._waiting_for)

    def wake_at_ns(self) -> int | None:
        """Realtime: an image whose frame was taken waits for the next tick."""
        feed_at_ns = None
        if self._may_run() and self._conductor.is_running:
            pace = self._conductor if self._is_lockstep else self._intake
            feed_at_ns = pace.wake_at_ns()
        return earliest(feed_at_ns, *(one.wake_at_ns() for one in self._looked_at.values()))

    def _feed(
        self, intake: Intake[_Payloads], frame: int, payloads: _Payloads, clocked_ns: int | None
    ) -> None:
        """Worker thread. What was under way while the node was reset leaves no trace."""
        container = self.container
        stamp_ns = container.grid.stamp_ns(frame)
        if self._hear_frames:
            for name, (_, captured_ns) in payloads.items():
                self._tell_frame(name, stamp_ns, captured_ns)
        for name, (payload, captured_ns) in payloads.items():
            form = container.formats[name]
            # The age of a state counts images; a vector's age counts only where there is none.
            age_ns = captured_ns if self._counts_for_age(name) else payloads[self._primary][1]
            self._write_ledger(name, frame, payload, captured_ns, age_ns)
            origin = Origin(age_ns, frame, clocked_ns=clocked_ns)
            self._senders[name].send(payload, stamp_ns, origin)
            upload = uploader_to(container.device).upload
            given = torch.from_numpy(payload)
            batch = upload(given, form.shape)
            shown = from_payload(given, form.shape)  # of the host, where it is wanted
            with container.pool.lock:
                if intake is not self._intake:
                    return
                container.deliver(name, frame, batch, origin)
                self._looked_at[name].take(shown, stamp_ns, origin)
        with container.pool.lock:
            if intake is not self._intake:
                return
            self.fed += 1
            self._is_feeding = False
            self._last_progress_s = time.monotonic()
            container.pool.wake(self)

    def _tell_frame(self, name: str, stamp_ns: int, captured_ns: int) -> None:
        message = TimeReference(source=name)
        message.header.frame_id = name
        write_stamp_ns(message.header.stamp, stamp_ns)
        write_stamp_ns(message.time_ref, captured_ns)
        self._frames_publisher.publish(message)

    def _write_ledger(
        self, name: str, frame: int, payload: NDArray[Any], captured_ns: int, image_ns: int
    ) -> None:
        if self.container.ledger is not None:
            is_image = self._counts_for_age(name)
            values = None if is_image else tuple(float(value) for value in payload)
            self.container.ledger.write(
                InputLine(name, frame, captured_ns, image_ns, values, system_ns())
            )

    def _counts_for_age(self, name: str) -> bool:
        return isinstance(self.container.spec.inputs[name], ImageInput)

    # --- snapshots (executor thread) ---------------------------------------------------------

    def is_at_rest(self) -> bool:
        """Is nothing under way? In realtime there is always something."""
        with self.container.pool.lock:
            return not self._is_lockstep or (not self._is_feeding and self._window.is_drained)

    @property
    def image_frame(self) -> int | None:
        """The newest frame that was fed."""
        return self._intake.last_frame

    def save(self, folder: Path) -> None:
        """Write what the source knows.

        Raises:
            SnapshotError: it cannot be written.
        """
        with self.container.pool.lock:
            beside = {name: box.memory() for name, box in self._companions.items()}
            image_frame = self._intake.last_frame
        container = self.container
        save_source(folder, container.spec, container.rollout, image_frame, beside)

    def check_snapshot(self, folder: Path) -> int | None:
        """The frame of the newest image in a snapshot that the source could go on from.

        Raises:
            SnapshotError: it cannot be read, or is of another network.
        """
        return read_source(folder, self.container.spec, self.container.rollout)[0]

    def restore(self, folder: Path) -> int | None:
        """Go on from a snapshot; the frame of the newest image in it.

        Images that wait are of the run that was left, and are dropped.

        Raises:
            SnapshotError: it cannot be read, or is of another network.
        """
        image_frame, beside = read_source(folder, self.container.spec, self.container.rollout)
        with self.container.pool.lock:
            if self._is_lockstep:
                self._intake.go_on(image_frame)
                self._window.go_on(image_frame)
                for name, messages in beside.items():
                    self._companions[name].recall(messages)
        return image_frame

    # --- watching (executor thread) ----------------------------------------------------------

    def _look(self) -> None:
        """Show what waits."""
        if self.is_active:
            for shown in self._looked_at.values():
                shown.look()

    def _watch(self) -> None:
        """Match peers before the first frame; name who stands still after it."""
        if not self.is_active:
            return
        if not self._is_matched:
            self._is_matched = all(
                self.container.peers.are_matched(self, name, sender)
                for name, sender in self._senders.items()
            )
            with self.container.pool.lock:
                self.container.pool.wake(self)
        if self._is_lockstep:
            self._watch_standstill()
        else:
            with self.container.pool.lock:
                self._watchdog.look(self._conductor.is_paused)
                if not self.container.pool.uses_sim_time:
                    self._watchdog.clock(self.container.pool.now_ns())

    def _watch_standstill(self) -> None:
        """Lockstep: everybody waits for whom?"""
        with self.container.pool.lock:
            idle_s = time.monotonic() - self._last_progress_s
            stands = not self._window.is_drained and idle_s > _STALL_S
            stalled = self._window.stalled() if stands else {}
        for group, frame in stalled.items():
            if group not in self._stalled:
                self.get_logger().error(
                    f"group '{group}' has not finished frame {frame} for {idle_s:.1f} s: "
                    "it died or hangs; lockstep waits for it"
                )
        self._stalled = stalled

    @property
    def has_worked(self) -> bool:
        """True once a frame is fed."""
        return self.fed > 0

    def health(self) -> Health:
        """Images in, queue, and who is waited for."""
        with self.container.pool.lock:
            waiting, counts = len(self._intake), dict(self._intake.counts)
            foreign = self._intake.foreign_stamps
            jumps = self._intake.jumps + self._watchdog.clock_jumps
            dropped = self._intake.dropped
            not_ready = sorted(self._waiting_for)
        health = Health(
            {
                "frames": str(self.fed),
                "mode": self.container.settings.mode,
                "target_hz": f"{self.container.grid.rate_hz:g}",
                "waiting_images": str(waiting),
                "dropped_images": str(dropped),
                **{
                    f"dropped_images/{offer.name.lower()}": str(count)
                    for offer, count in counts.items()
                    if count and offer is not Offer.TAKEN
                },
                "refused_images": str(self._inputs.refused),
                "foreign_stamps": str(foreign),
                "clock_jumps": str(jumps),
                "state": self._conductor.told(),
            }
        )
        health.warnings += [s.refusal for s in self._senders.values() if s.refusal]
        if dropped:
            health.warnings.append(f"{dropped} images dropped")
        if foreign:
            health.warnings.append(
                f"{foreign} images with stamps of another clock: their age counts from arrival"
            )
        if jumps:
            health.warnings.append(f"clocks have jumped {jumps} times")
        if self._inputs.refused:
            health.errors.append(
                f"{self._inputs.refused} inputs refused; last: {self._inputs.last_refusal}"
            )
        if self.is_active and not_ready:
            health.warnings.append(f"waits for groups to be ready: {', '.join(not_ready)}")
        health.errors += [f"group {g} stands still at frame {f}" for g, f in self._stalled.items()]
        health.errors += self._watchdog.silent
        return health

    def cadence_line(self) -> str:
        """For the report at the end of a run."""
        dropped = self._intake.dropped if self.is_active or self.fed else 0
        return f"{self.fed} frames fed, {dropped} images dropped, {self._inputs.refused} refused"
