"""A layer group as a node: states in, one state out, responses where the network has an output.

Threads: callbacks of the executor thread only decode and store. A worker, or the thread that has
brought the last input, runs the layers, hands the state to the groups of this process by
reference, publishes it if anybody outside listens, and only then lets the group fire again, so
that everything leaves in the order of frames.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from streaming_net_ros.errors import RunError, StateError
from streaming_net_ros.frames import Arrival, FrameTally, Input, Job, Mailbox, Origin
from streaming_net_ros.frames.ledger import FrameLine, system_ns
from streaming_net_ros.network.adjust import Change
from streaming_net_ros.network.device import CPU, compute_stream
from streaming_net_ros.network.flat import only_reads
from streaming_net_ros.network.layout import all_finite, shares_memory, to_payload
from streaming_net_ros.network.measured import edge_name
from streaming_net_ros.network.noise import with_noise
from streaming_net_ros.network.tuning import tuned_runner
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.diagnostics import Health, tell_edge, tell_mailbox, tell_tally
from streaming_net_ros.nodes.hearing import StateHearer
from streaming_net_ros.nodes.keeper import GroupKeeper
from streaming_net_ros.nodes.learning import Learning
from streaming_net_ros.nodes.member import MemberNode
from streaming_net_ros.nodes.responses import Responder
from streaming_net_ros.nodes.sending import StateSender
from streaming_net_ros.nodes.steering import Steering
from streaming_net_ros.nodes.telling import NO_INPUTS, Inputs, Telling, inputs_at
from streaming_net_ros.nodes.waiting import steady_timer
from streaming_net_ros.nodes.workers import Aside, Task, earliest

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container

_READY_PERIOD_S = 0.05
_LOOK_PERIOD_S = 0.2


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
        self._mailbox = self.empty_mailbox()
        self._tally = FrameTally(self._rule.delays, container.target_hz)
        self._responders: list[Responder] = []
        self._refused: list[str] = []
        self._learning: Learning | None = None
        self._progress_ns = -1

    # --- life cycle --------------------------------------------------------------------------

    def configure(self) -> None:
        """Load the group's weights, warm it up, and join the topics."""
        container = self.container
        network, torch_threads = container.network, container.settings.torch_threads
        self._group = network.group(self.group_name)
        self._stream = compute_stream(container.device)
        with self._stream.work():
            made = tuned_runner(
                network, self.group_name, container.tuning, torch_threads, container.device
            )
        self._layers, self._backend, self._backend_reason = made.runner, made.backend, made.reason
        if made.reason:
            self.get_logger().warning(made.reason)
        if container.tuning is not None:
            container.tell_ledger_of(self.group_name, made.used)
        self._warm_up()
        if self.group_name in container.spec.learning:
            self._learning = Learning(self, self.group_name, container, self._layers)
        self._steering = Steering(self, self.group_name, container, self._layers, self._learning)
        self._keeper = GroupKeeper(self, self._steering, self._begin)
        self._sender = StateSender(self, self.group_name, container)
        self._telling = Telling(self, self.group_name, container)
        self._responders = [
            Responder(self, output, spec, container, self._telling.debug)
            for output, spec in self._outputs.items()
        ]
        # Layers of the network file write to no input, and nothing else keeps one.
        borrows = container.device == CPU and self._learning is None and only_reads(self._group)
        self._hearers = {
            source: StateHearer(
                self, source, container,
                take=partial(self._take_in, source),
                tell_hop=partial(self._tell_hop, source),
                refuse=self._refuse,
                borrows=borrows,
            )
            for source in self._rule.delays
            if source not in container.local_nodes
        }  # fmt: skip
        self._look_timer = steady_timer(self, _LOOK_PERIOD_S, self._look)
        self._ready_timer = self.create_timer(_READY_PERIOD_S, self._announce)

    def reset(self) -> None:
        """Forget all states."""
        self._begin(self.empty_mailbox())
        self._sender.reset()
        self._is_ready = self._has_heard = False
        self._progress_ns = -1
        self._ready_timer.reset()

    def restore(self, folder: Path) -> int | None:
        """Go on from the group's part of a snapshot."""
        return self._keeper.restore(folder)

    def empty_mailbox(self) -> Mailbox[Tensor]:
        """One that knows nothing yet. What an edge holds is a copy: states may be borrowed."""
        return Mailbox(self._rule, self._keep)

    def _keep(self, source: str, given: Input[Tensor]) -> Input[Tensor] | None:
        """A copy of what was heard; None if it was borrowed, and is not there any more."""
        if given.state is None:
            return given
        state = given.state.clone()
        hearer = self._hearers.get(source)
        is_whole = hearer is None or hearer.has(given.frame, given.state)
        return given._replace(state=state) if is_whole else None

    @property
    def mailbox(self) -> Mailbox[Tensor]:
        """What the group knows; the pool's lock guards it."""
        return self._mailbox

    @property
    def is_learning(self) -> bool:
        """Does it change its own weights now?"""
        return self._learning is not None and self._learning.is_on

    def _begin(self, mailbox: Mailbox[Tensor]) -> None:
        """Begin anew. Called with the lock held; a job under way leaves no trace."""
        self._mailbox = mailbox
        self._tally = FrameTally(self._rule.delays, self.container.target_hz)
        self._telling.begin(self._tally)
        self._steering.begin(mailbox)
        if self._learning is not None:
            self._learning.reset()
        for responder in self._responders:
            responder.reset()

    def release(self) -> None:
        """Leave the topics."""
        for hearer in self._hearers.values():
            hearer.close()
        for responder in self._responders:
            responder.release()
        self._sender.close()
        self._telling.release()
        self._keeper.destroy()
        self._steering.destroy()
        for timer in (self._ready_timer, self._look_timer):
            self.destroy_timer(timer)
        self._responders.clear()

    def stop(self) -> None:
        """Fire no more; outputs stop."""
        super().stop()
        for responder in self._responders:
            responder.end()

    def _warm_up(self) -> None:
        """Run the layers twice on zeros: allocators and kernels are chosen before frames count."""
        formats = self.container.formats
        with torch.inference_mode(), self._stream.work():
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
        assert state is not None
        if tuple(state.shape[1:]) != formats[self.group_name].shape:
            raise StateError(
                "the group gives a state of another shape than its file states",
                where=f"group {self.group_name}",
                expected=str(formats[self.group_name].shape),
                got=tuple(state.shape[1:]),
            )

    # --- arrivals ----------------------------------------------------------------------------

    def arrive(
        self, source: str, frame: int, batch: Tensor | None, origin: Origin, now_ns: int
    ) -> None:
        """A state is here, from another process or by reference. Called with the lock held."""
        if not self.is_active:
            return
        self._has_heard = True
        arrival = self._mailbox.arrive(source, frame, batch, origin, now_ns)
        if arrival is not Arrival.ACCEPTED:
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

    def _take_in(self, source: str, batch: Tensor | None, stamp_ns: int, origin: Origin) -> None:
        """Any thread: a state of another process is here."""
        frame = self.container.grid.frame_at(stamp_ns)
        with self.container.pool.lock:
            self.arrive(source, frame, batch, origin, self.container.pool.now_ns())

    def _tell_hop(self, source: str, stamp_ns: int, hop_ns: int) -> None:
        """Any thread: how long a state was on its way; told when it has been used."""
        with self.container.pool.lock:
            self._tally.edges[source].hop.add(hop_ns)
        if self._telling.debug.is_heard:
            name = edge_name(source, self.group_name, "hop_ms")
            self._telling.debug.tell(name, hop_ns / 1e6, stamp_ns)

    def _look(self) -> None:
        """Executor thread: is there a faster way for what is sent and heard?"""
        self._telling.look()
        for hearer in self._hearers.values():
            hearer.look()

    def _refuse(self, error: StateError) -> None:
        self._refused.append(str(error))
        del self._refused[:-100]
        self.get_logger().error(str(error), throttle_duration_sec=1.0)
        if self.container.settings.mode == "lockstep":
            self.container.fail(error)

    # --- work --------------------------------------------------------------------------------

    def next_task(self, now_ns: int) -> Task | None:
        """What is to be told of the last frame, or the next frame if its inputs are there."""
        if (telling := self._telling.next_task()) is not None:
            return telling
        if self._learning is not None:
            if (update := self._learning.next_task()) is not None:
                return update
            if self._learning.is_in_the_way:
                return self._telling.looked_at.next_task()
        self._steering.at_border()
        job = self._mailbox.next_job(now_ns)
        if job is None:
            return self._telling.looked_at.next_task()
        # To repeat a state, or to be silent, says nothing of what computing a state takes.
        kind = Aside if job.repeated is not None or job.is_silent else partial
        if changes := self._steering.take_untold():
            return kind(self._begin_with, changes, self._mailbox, job)
        return kind(self._compute, self._mailbox, job)

    def wake_at_ns(self) -> int | None:
        """Realtime: the deadline of the next frame; and when somebody is to be shown a state."""
        return earliest(self._mailbox.wake_at_ns(), self._telling.looked_at.wake_at_ns())

    def _begin_with(
        self, changes: Sequence[Change], mailbox: Mailbox[Tensor], job: Job[Tensor]
    ) -> None:
        """Worker thread: the first frame with what was changed."""
        self._steering.tell(job.frame, changes)
        self._compute(mailbox, job)

    def _compute(self, mailbox: Mailbox[Tensor], job: Job[Tensor]) -> None:
        """Worker thread. A job that was under way while the node was reset leaves no trace."""
        inputs = NO_INPUTS
        if self._is_realtime:
            inputs = inputs_at(job, self.group_name, self.container.pool.now_ns())
        begun_ns, at_ns = time.perf_counter_ns(), system_ns()
        batch, is_finite = job.repeated, True
        if batch is None:
            with self._stream.work():
                batch, is_finite = self._computed(job)
            if torn := self._torn(job):
                self._give_up(mailbox, job, torn)
                return
        work_ns = time.perf_counter_ns() - begun_ns
        # Before the state leaves: what anybody may have seen can be computed again.
        self._write_ledger(job, inputs, is_finite, work_ns, at_ns)
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
        if self._learning is not None and is_finite and mailbox is self._mailbox:
            self._learning.lived(job)
        self._finish(
            mailbox, job, batch if is_finite else None, inputs=inputs,
            done_ns=begun_ns + work_ns, work_ns=work_ns, is_lost=not is_finite,
        )  # fmt: skip

    def _finish(
        self,
        mailbox: Mailbox[Tensor],
        job: Job[Tensor],
        batch: Tensor | None,
        *,
        inputs: Inputs,
        done_ns: int,
        work_ns: int,
        is_lost: bool,
    ) -> None:
        """The frame is over; ``is_lost``: nothing may be used of it, not even by the group."""
        with self.container.pool.lock:
            if mailbox is not self._mailbox:
                return
            self._telling.finished(job, batch, inputs, done_ns, work_ns)
            if is_lost:
                mailbox.discard(job.frame)
            else:
                mailbox.finish(job.frame, batch)
            self._progress_ns = self.container.grid.stamp_ns(job.frame)
            self.container.finished(self.group_name, job.frame)
            self.container.pool.wake(self)

    def _computed(self, job: Job[Tensor]) -> tuple[Tensor | None, bool]:
        """A frame's state, and whether it is finite. On a GPU the host waits for that."""
        heard = {source: given.state for source, given in job.inputs.items()}
        if self._learning is not None:
            self._learning.enter(job.frame)
        batch = self._layers(heard)
        if batch is not None and any(shares_memory(batch, given) for given in heard.values()):
            batch = batch.clone(memory_format=torch.preserve_format)  # layers that only pass on
        is_finite = batch is None or all_finite(batch)
        if not is_finite and self._learning is not None and self._learning.take_back(job.frame):
            batch = self._layers(heard)
            is_finite = batch is None or all_finite(batch)
        if batch is not None:
            batch = with_noise(self._group, batch, job.frame)
        return batch, is_finite

    def _torn(self, job: Job[Tensor]) -> list[str]:
        """Sources whose state was borrowed, and overwritten while it was used."""
        return [
            source
            for source, hearer in self._hearers.items()
            if (given := job.inputs.get(source)) is not None
            and given.state is not None
            and not hearer.has(given.frame, given.state)
        ]

    def _give_up(self, mailbox: Mailbox[Tensor], job: Job[Tensor], torn: Sequence[str]) -> None:
        """A frame that was made of torn states gives none. It ends a run in lockstep."""
        for source in torn:
            self._hearers[source].lose(job.inputs[source].frame)
        if self._is_realtime:
            self._finish(mailbox, job, None, inputs=NO_INPUTS, done_ns=time.perf_counter_ns(),
                         work_ns=0, is_lost=True)  # fmt: skip

    def _write_ledger(
        self, job: Job[Tensor], inputs: Inputs, is_finite: bool, work_ns: int, at_ns: int
    ) -> None:
        if self.container.ledger is None:
            return
        line = FrameLine(
            group=self.group_name,
            frame=job.frame,
            inputs={s: given.frame for s, given in job.inputs.items() if given.state is not None},
            held=tuple(s for s in job.held if job.inputs[s].state is not None),
            skipped=job.skipped,
            is_repeated=job.repeated is not None,
            is_finite=is_finite,
            is_silent=job.is_silent,
            work_ns=work_ns,
            at_ns=at_ns,
            wait_ns=inputs.waits_ns,
            age_ns=inputs.ages_ns,
        )
        self.container.ledger.write(line)

    def _stop_state(self, job: Job[Tensor]) -> None:
        """A state that is no number goes nowhere, not even into the group's own memory."""
        error = RunError(
            f"NaN or infinite state in frame {job.frame}; it goes nowhere",
            where=f"group {self.group_name}",
            remedy="look at its weights and at what it hears",
        )
        self.get_logger().error(str(error), throttle_duration_sec=1.0)
        with self.container.pool.lock:
            self._tally.not_finite += 1
        if not self._is_realtime:
            self.container.fail(error)

    def _publish(self, job: Job[Tensor], batch: Tensor | None) -> None:
        stamp_ns = self.container.grid.stamp_ns(job.frame)
        self._sender.share(batch, stamp_ns, job.origin)
        if not (self._responders or self._sender.is_heard):
            return
        if batch is None:
            self._sender.send(None, stamp_ns, job.origin)
            return
        payload = self._stream.to_host(to_payload(batch)).numpy()
        self._sender.send(payload, stamp_ns, job.origin)
        for responder in self._responders:
            responder.answer(job.frame, payload, job.origin)

    # --- progress and readiness --------------------------------------------------------------

    def _announce(self) -> None:
        """Executor thread: say "ready" until the first frame is finished."""
        if not self.is_active:
            return
        if self._progress_ns >= 0:
            self._ready_timer.cancel()
            return
        if not self._is_ready:
            self._look()
            self._is_ready = all(
                hearer.is_matched for hearer in self._hearers.values()
            ) and self.container.peers.are_matched(
                self,
                self.group_name,
                self._sender,
                [responder.publisher for responder in self._responders],
            )
        if self._is_ready:
            self.container.ready(self.group_name)
            # With the lock no worker can begin: nobody hears "ready" after the first progress.
            with self.container.pool.lock:
                if not self._has_heard:
                    self._telling.tell_progress(topics.READY_NS)

    @property
    def has_worked(self) -> bool:
        """True once a frame is finished."""
        return self._progress_ns >= 0

    def health(self) -> Health:
        """Rate, work, holds and losses."""
        health = Health({"target_hz": f"{self.container.grid.rate_hz:g}"})
        with self.container.pool.lock:
            tell_tally(health, self._tally)
            tell_mailbox(health, self._mailbox)
            for source, edge in self._tally.edges.items():
                tell_edge(health, source, edge)
                if source in self._hearers:
                    self._hearers[source].health(health)
                else:
                    health.values[f"transport/{source}"] = "reference"
            health.warnings += self._steering.warnings()
        health.values |= {"device": str(self.container.device), "backend": self._backend}
        health.warnings += filter(None, (self._sender.refusal, self._backend_reason))
        if self._refused:
            health.errors.append(f"states refused; last: {self._refused[-1]}")
        if self._learning is not None:
            self._learning.health(health)
        for responder in self._responders:
            responder.health(health)
        return health

    def cadence_line(self) -> str:
        """For the report at the end of a run."""
        with self.container.pool.lock:
            return str(self._tally.cadence())
