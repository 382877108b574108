"""The learning of one group's node: what teaches it, and when an update takes effect.

Off until the group's parameter ``learning`` is set; a group without a section ``learning`` in the
network file has neither parameter nor this. An update is made as a task of its own, after the
state has left. In lockstep the group's next frame waits for it, so that a run is repeatable; in
realtime nothing waits, and it takes effect with whichever frame is next. The ledger tells of every
update which frames it was made from, and the first frame that was computed with it.

Threads: parameters arrive in the executor thread. ``enter``, ``take_back`` and ``lived`` are
called by the worker that computes a frame; one worker at a time makes an update.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from rclpy.node import Node
from torch import Tensor

from streaming_net_ros.frames import Job
from streaming_net_ros.frames.ledger import LearningLine, system_ns
from streaming_net_ros.network.adjust import LEARNING
from streaming_net_ros.network.online import Lesson, OnlineLearner, Update, fresh_inputs
from streaming_net_ros.network.runner import Runner
from streaming_net_ros.nodes.diagnostics import Health
from streaming_net_ros.nodes.settings import Row
from streaming_net_ros.nodes.workers import Aside, Task

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container

RATE = f"{LEARNING}.rate"


class Learning:
    """What one group learns while it streams.

    Args:
        node: of the group.
        group: its name; the network file has a section ``learning`` for it.
        container: of the node.
        runner: computes the group; a backend keeps the weights that it was made of, and is left.

    Attributes:
        rows: its parameters.

    Raises:
        NetworkFileError: the section does not fit the group.
    """

    def __init__(self, node: Node, group: str, container: Container, runner: Runner) -> None:
        self._node = node
        self._group = group
        self._container = container
        self._is_lockstep = container.settings.mode == "lockstep"
        self._runner = runner
        self._learner = OnlineLearner(container.network, group, runner.torch_threads)
        self._is_wanted = False  # what the parameter says
        self._begins = False  # with the next frame
        self._is_anew = False  # its limit will count from weights that the group was given
        self._lessons: Sequence[Lesson] = ()  # of an update that is due
        self._made: Update | None = None  # waits for the next frame
        self._is_at_it = False
        # A frame may still be under way when the group is reset and begins another one.
        self._learns = threading.Lock()
        self.rows = {
            LEARNING: Row(default=False, text="the group changes its own weights, as the network "
                          "file says"),
            RATE: Row(self._learner.rate, "learning rate, or factor of a Hebbian change",
                      0.0, 1e3),
        }  # fmt: skip

    @property
    def is_on(self) -> bool:
        """Does the group learn now?"""
        return self._learner.is_on

    # --- what is asked for (lock held, between two frames) ------------------------------------

    def set(self, name: str, value: Any) -> None:
        """Give one of its parameters another value."""
        if name == RATE:
            self._learner.rate = value
        elif value and (self._learner.stopped or not self._is_wanted):
            self._is_wanted = self._begins = True
        elif not value:
            self._is_wanted = self._begins = False

    def adjusted(self, *, has_new_weights: bool) -> None:
        """The group was changed by somebody else: what was learnt of it before is worth nothing.

        Args:
            has_new_weights: the limit counts from these.
        """
        self._is_anew |= has_new_weights
        self._begin_again()

    def reset(self) -> None:
        """A run begins: frames of another one teach nothing."""
        self._begin_again()

    def _begin_again(self) -> None:
        self._begins |= self._is_wanted and not self._learner.stopped

    # --- frames (worker) ----------------------------------------------------------------------

    def enter(self, frame: int) -> None:
        """A frame will be computed now: what was asked for and what was learnt takes effect."""
        with self._container.pool.lock:
            begins, self._begins = self._begins, False
            made, self._made = self._made, None
            if begins or not self._is_wanted:
                self._lessons = ()
        with self._learns:
            if not self._is_wanted:
                self._learner.end()
            elif begins:
                is_anew, self._is_anew = self._is_anew, False
                self._learner.begin(anew=is_anew)
                if self._runner.leave_backend():
                    self._node.get_logger().warning(
                        "it learns: torch computes eagerly from here on"
                    )
                self._tell(frame, "begin_anew" if is_anew else "begin")
            elif made is not None:
                if self._learner.apply(made):
                    self._tell(frame, "update", made)
                elif self._learner.stopped:
                    self._warn(frame)

    def take_back(self, frame: int) -> bool:
        """The frame's state is NaN or infinite: is it because of what was learnt last?

        Returns:
            True if the weights from before are back: compute the frame again.
        """
        with self._learns:
            if not self._learner.take_back():
                return False
            self._tell(frame, "take_back")
        self._warn(frame)
        return True

    def lived(self, job: Job[Tensor]) -> None:
        """A frame was computed, and its state has left."""
        if not self._learner.is_on or job.repeated is not None:
            return
        # Copies: what came through shared memory is only lent.
        heard = {source: state.clone() for source, state in fresh_inputs(job).items()}
        with self._learns, self._container.pool.lock:
            self._learner.hear(job.frame, heard)
            if not self._is_at_it and self._made is None and not self._lessons:
                self._lessons = self._learner.due()

    def next_task(self) -> Task | None:
        """An update to be made, if one is due. Called with the lock held."""
        if self._is_at_it or not self._lessons:
            return None
        self._is_at_it = True
        lessons, self._lessons = self._lessons, ()
        return Aside(self._update, lessons)

    @property
    def is_in_the_way(self) -> bool:
        """Must the next frame wait for an update? Called with the lock held."""
        return self._is_lockstep and (self._is_at_it or bool(self._lessons))

    def _update(self, lessons: Sequence[Lesson]) -> None:
        """Worker thread, beside the frames."""
        made = self._learner.compute(lessons) if self._learner.is_on else None
        with self._container.pool.lock:
            self._made = made
            self._is_at_it = False
            self._container.pool.wake(self._node)

    # --- what is told -------------------------------------------------------------------------

    def _tell(self, frame: int, what: Any, made: Update | None = None) -> None:
        if self._container.ledger is not None:
            lessons, rate = ((), 0.0) if made is None else (made.frames, made.rate)
            line = LearningLine(self._group, frame, what, lessons, rate, system_ns())
            self._container.ledger.write(line)

    def _warn(self, frame: int) -> None:
        why = self._learner.stopped
        self._node.get_logger().error(f"learning stopped at frame {frame}: {why}")

    def health(self, health: Health) -> None:
        """Adds what is to be said of it."""
        learner = self._learner
        state = "stopped" if learner.stopped else "on" if learner.is_on else "off"
        health.values.update(
            {
                LEARNING: state,
                "learning_updates": str(learner.updates),
                "learning_change": f"{learner.change:.4g}",
                "learning_rate": f"{learner.rate:g}",
            }
        )
        if learner.loss is not None:
            health.values["learning_loss"] = f"{learner.loss:.4g}"
        if learner.stopped:
            health.warnings.append(f"learning stopped: {learner.stopped}")
