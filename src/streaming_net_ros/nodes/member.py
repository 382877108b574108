"""What the frame source and the layer groups have in common: a life cycle and a part in a run.

A member is a lifecycle node: *configure* loads and warms up, *activate* resets it and lets it
work. Its bookkeeping is guarded by the lock of the container's workers.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from streaming_net_ros.errors import StreamingNetError
from streaming_net_ros.nodes.diagnostics import Health
from streaming_net_ros.nodes.workers import Task

if TYPE_CHECKING:
    from streaming_net_ros.nodes.container import Container


class MemberNode(LifecycleNode):
    """A lifecycle node that the container's workers drive. Subclasses fill in the four hooks."""

    def __init__(self, name: str, container: Container) -> None:
        super().__init__(name, **container.node_options)
        self.container = container
        self.is_active = False
        self._snapshot = container.settings.restore

    def next_task(self, now_ns: int) -> Task | None:
        """See ``workers.Member``."""
        raise NotImplementedError

    def wake_at_ns(self) -> int | None:
        """See ``workers.Member``."""
        return None

    def configure(self) -> None:
        """Load, warm up, create publishers and subscriptions. May raise StreamingNetError."""
        raise NotImplementedError

    def reset(self) -> None:
        """Forget all states; called with the lock held, before the node becomes active."""
        raise NotImplementedError

    def restore(self, folder: Path) -> int | None:
        """Go on from a snapshot, just after a reset; the frame of the newest image in it.

        Raises:
            SnapshotError: it cannot be read, or is of another network.
        """
        raise NotImplementedError

    def release(self) -> None:
        """Undo ``configure``."""
        raise NotImplementedError

    @property
    def has_worked(self) -> bool:
        """True once the member has finished or fed a frame."""
        raise NotImplementedError

    def cadence_line(self) -> str:
        """For the report at the end of a run."""
        raise NotImplementedError

    def health(self) -> Health:
        """For diagnostics; called from the executor thread."""
        raise NotImplementedError

    def destroy_node(self) -> None:
        """Destroy the node at once, so that its name is free for the next run."""
        super().destroy_node()
        # rclpy leaves the state machine to the garbage collector, and it keeps the node alive.
        del self._state_machine

    # rclpy's life cycle, in terms of the hooks above.

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        try:
            self.configure()
        except Exception as error:  # rclpy would swallow it and stay unconfigured
            self.container.fail_with(error, f"cannot configure '{self.get_name()}'")
            return TransitionCallbackReturn.FAILURE
        return super().on_configure(state)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        with self.container.pool.lock:
            self.reset()
            self.is_active = True
        if self._snapshot is not None:
            folder, self._snapshot = self._snapshot, None  # the first time only
            try:
                self.restore(folder)
            except StreamingNetError as error:
                self.container.fail(error)
                return TransitionCallbackReturn.FAILURE
        self.container.pool.add(self)
        self.container.activated()
        return super().on_activate(state)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        self.stop()
        return super().on_deactivate(state)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        self.release()
        return super().on_cleanup(state)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Lifecycle transition."""
        self.stop()
        return super().on_shutdown(state)

    def stop(self) -> None:
        """Fire no more."""
        with self.container.pool.lock:
            self.is_active = False
        self.container.pool.remove(self)
