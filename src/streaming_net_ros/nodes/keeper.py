"""Reset, save and restore of one group: services of its node (std_srvs/Trigger).

``~/reset``, ``~/save_snapshot``, ``~/check_snapshot``, ``~/restore_snapshot``; the folder is the
parameter ``snapshot``. For a whole network the frame source asks all groups (``conductor``). In
lockstep a group answers once everything that is under way has arrived (``~/settle`` does nothing
else); in realtime, where frames are times, a restored group takes up its weights and begins anew.

Threads: all of it is in the executor thread; the pool's lock is held while the group changes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from std_srvs.srv import Trigger
from torch import Tensor

from streaming_net_ros.errors import SnapshotError, StreamingNetError
from streaming_net_ros.frames import Mailbox
from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.network.snapshot import (
    GroupSnapshot,
    read_snapshot,
    read_source,
    save_snapshot,
    snapshot_path,
)
from streaming_net_ros.network.weights import copy_weights
from streaming_net_ros.nodes.live import LiveParameters
from streaming_net_ros.nodes.settings import Row
from streaming_net_ros.nodes.steering import Steering
from streaming_net_ros.nodes.waiting import until

if TYPE_CHECKING:
    from streaming_net_ros.nodes.layer_group import LayerGroupNode

SNAPSHOT = "snapshot"
SNAPSHOT_ROW = Row("", "folder that a snapshot is saved to and restored from")


class GroupKeeper:
    """Keeps one group's snapshots.

    Args:
        node: of the group.
        steering: of the group.
        begin: makes the group begin anew with a mailbox; called with the lock held.
    """

    def __init__(
        self, node: LayerGroupNode, steering: Steering, begin: Callable[[Mailbox[Tensor]], None]
    ) -> None:
        self._node = node
        self._container = node.container
        self._steering = steering
        self._begin = begin
        self._rule = self._container.rules[node.group_name]
        self._is_lockstep = self._container.settings.mode == "lockstep"
        self._folder = ""
        self._parameters = LiveParameters(
            node, {SNAPSHOT: SNAPSHOT_ROW}, lambda name, value: value, self._on_folder
        )
        answers: dict[str, Callable[..., Any]] = {
            "settle": self._on_settle,
            "reset": self._on_reset,
            "save_snapshot": self._on_save,
            "check_snapshot": self._on_check,
            "restore_snapshot": self._on_restore,
        }
        self._services = [
            node.create_service(Trigger, f"~/{name}", answer) for name, answer in answers.items()
        ]

    def destroy(self) -> None:
        """Leave the node."""
        for service in self._services:
            self._node.destroy_service(service)
        self._parameters.destroy()

    def restore(self, folder: Path) -> int | None:
        """Go on from a snapshot; the frame of the newest image in it.

        Raises:
            SnapshotError: it cannot be read, or is of another network.
        """
        given = self._read(folder)
        is_changed = any(not torch.equal(mine, new) for mine, new in given.weights)
        with self._container.pool.lock:
            copy_weights(given.weights)
            if is_changed:
                self._steering.replaced_weights()
            mailbox = self._node.empty_mailbox()
            self._begin(mailbox)
            if self._is_lockstep:
                mailbox.recall(given.memory)
            self._container.pool.wake(self._node)
        self._steering.follow(given.numbers, given.memory.lesions)
        self._steering.note(SNAPSHOT, str(folder))
        return given.image_frame

    def _read(self, folder: Path) -> GroupSnapshot:
        """The group's part, if it belongs to the source's (where that is on this host)."""
        container = self._container
        path = snapshot_path(folder, self._rule.group)
        given = read_snapshot(path, container.network, self._rule)
        if self._is_lockstep and snapshot_path(folder, FRAME_SOURCE).exists():
            newest, _ = read_source(folder, container.spec, container.rollout)
            if given.image_frame not in (newest, None):
                raise SnapshotError(
                    "the parts do not belong together",
                    where=str(path),
                    expected=told_image(newest),
                    got=told_image(given.image_frame),
                )
        return given

    # --- services ----------------------------------------------------------------------------

    def _on_folder(self, folders: Sequence[str]) -> None:
        self._folder = folders[-1]

    async def _on_settle(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return await self._answered(response, lambda: "nothing is under way")

    def _on_check(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return answered(
            response, lambda: told_image(self._read(asked_folder(self._folder)).image_frame)
        )

    async def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return await self._answered(response, self._reset)

    async def _on_save(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return await self._answered(
            response, lambda: told_image(self._save(asked_folder(self._folder)))
        )

    async def _on_restore(
        self, _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        return await self._answered(
            response, lambda: told_image(self.restore(asked_folder(self._folder)))
        )

    async def _answered(
        self, response: Trigger.Response, act: Callable[[], str]
    ) -> Trigger.Response:
        """Do something once the group has come to rest."""
        if await until(self._node, self._is_at_rest, self._container.patience_s):
            return answered(response, act)
        response.success = False
        response.message = (
            f"group {self._rule.group}: frames are under way; pause first, or ask the frame source"
        )
        return response

    def _reset(self) -> str:
        with self._container.pool.lock:
            self._begin(self._node.empty_mailbox())
            self._container.pool.wake(self._node)
        return "all states are forgotten"

    def _save(self, folder: Path) -> int | None:
        mailbox = self._node.mailbox
        with self._container.pool.lock:
            memory, image_frame = mailbox.memory(), self._image_frame(mailbox)
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise SnapshotError(f"no folder ({error.strerror})", where=str(folder)) from None
        if self._node.is_learning:
            self._node.get_logger().warning(
                "what the group learns from (optimiser, lessons) is not in the snapshot: it "
                "begins to learn anew"
            )
        path = snapshot_path(folder, self._rule.group)
        save_snapshot(path, self._container.network, self._rule, memory, image_frame)
        return image_frame

    def _image_frame(self, mailbox: Mailbox[Tensor]) -> int | None:
        """Of the newest image that the group has worked through."""
        if mailbox.next_frame is None:
            return None
        return mailbox.next_frame - 1 - self._rule.first_frames[self._rule.group]

    def _is_at_rest(self) -> bool:
        """Lockstep: has everything arrived that sources make of the images up to the newest?

        Whoever is silent or lesioned says so, and counts as any other.
        """
        mailbox = self._node.mailbox
        with self._container.pool.lock:
            image_frame = self._image_frame(mailbox)
            if mailbox.is_busy:
                return False
            if not self._is_lockstep or image_frame is None:
                return True
            return all(
                box.newest == image_frame + self._rule.first_frames[source]
                for source, box in mailbox.running.sources.items()
            )


def answered(response: Trigger.Response, act: Callable[[], str]) -> Trigger.Response:
    """An answer that says what was done, or why not: nothing that goes wrong ends the process."""
    try:
        response.message, response.success = act(), True
    except StreamingNetError as error:
        response.message, response.success = str(error), False
    except Exception as error:
        response.message, response.success = f"{type(error).__name__}: {error}", False
    return response


def told_image(image_frame: int | None) -> str:
    """What nodes that save or restore say: the frame of the newest image in the snapshot."""
    return "before the first image" if image_frame is None else f"up to image {image_frame}"


def asked_folder(folder: str) -> Path:
    """The folder of the parameter ``snapshot``.

    Raises:
        SnapshotError: none was given.
    """
    if not folder:
        raise SnapshotError(
            "no folder", where=f"parameter {SNAPSHOT}", remedy="set it to a folder first"
        )
    return Path(folder)
