"""What is asked of the whole network: pause, resume, step, slow motion, reset and snapshots.

Services and parameters of the frame source, because it decides when a frame begins. To reset the
network, save or restore it, the source stops feeding, waits (in lockstep) until nothing is under
way, and asks every group for its part (``keeper``).

Threads: services and parameters are served in the executor thread, as coroutines where they wait;
``may_feed`` and ``fed`` are called by workers. The pool's lock guards what both use.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.msg import Parameter as ParameterMessage
from rcl_interfaces.srv import SetParameters
from rclpy.client import Client
from rclpy.parameter import Parameter
from std_srvs.srv import Trigger

from streaming_net_ros.errors import ParameterError, RunError, StreamingNetError
from streaming_net_ros.frames.ledger import ChangeLine, system_ns
from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.keeper import SNAPSHOT, SNAPSHOT_ROW, asked_folder, told_image
from streaming_net_ros.nodes.live import LiveParameters
from streaming_net_ros.nodes.settings import Row
from streaming_net_ros.nodes.steering import changes_message
from streaming_net_ros.nodes.waiting import until

if TYPE_CHECKING:
    from streaming_net_ros.nodes.frame_source import FrameSource

_ROWS = {
    "step_frames": Row(1, "lockstep: images that one step feeds (frames)", 1, 1e6),
    "pace_hz": Row(0.0, "lockstep: slow motion: at most so many frames per second (Hz); 0: as "
                   "fast as it goes", 0, 1e5),
    SNAPSHOT: SNAPSHOT_ROW,
}  # fmt: skip
_THERE_S = 5.0  # how long a group's service may take to be discovered
_SLOWEST_HZ = 1e-4
_DONE_S = 60.0  # how long a group may take to come to rest, to save or to restore
_DEPTH = 100
Answer = Awaitable[str]


def _checked(name: str, value: Any) -> tuple[str, Any]:
    if name == "pace_hz" and 0 < value < _SLOWEST_HZ:
        raise ParameterError(
            "too slow", where="parameter pace_hz", expected=f"0, or {_SLOWEST_HZ:g} and more",
            got=value,
        )  # fmt: skip
    return name, value


class Conductor:
    """Serves requests that concern all groups.

    Args:
        source: the frame source.
        groups: of the network.

    Attributes:
        is_paused: nothing is fed but what steps ask for.
    """

    def __init__(self, source: FrameSource, groups: Iterable[str]) -> None:
        self._source = source
        self._container = source.container
        self._groups = tuple(groups)
        self._is_lockstep = self._container.settings.mode == "lockstep"
        self.is_paused = False
        self._steps = 0
        self._values = {name: row.default for name, row in _ROWS.items()}
        self._due_ns = 0  # slow motion: when the next frame may be fed
        self._is_at_it = False
        self._clients: dict[tuple[str, str], Client] = {}
        self._changes = source.create_publisher(
            DiagnosticArray, topics.CHANGES, topics.reliable(_DEPTH)
        )
        self._parameters = LiveParameters(source, _ROWS, _checked, self._on_values)
        answers: dict[str, Callable[..., Any]] = {
            "pause": self._on_pause,
            "resume": self._on_resume,
            "step": self._on_step,
            "reset": self._on_reset,
            "save_snapshot": self._on_save,
            "restore_snapshot": self._on_restore,
        }
        self._services = [
            source.create_service(Trigger, f"~/{name}", answer) for name, answer in answers.items()
        ]

    def destroy(self) -> None:
        """Leave the node."""
        for service in self._services:
            self._source.destroy_service(service)
        for client in self._clients.values():
            self._source.destroy_client(client)
        self._parameters.destroy()
        self._source.destroy_publisher(self._changes)

    def told(self) -> str:
        """For the diagnostics: does the network run, and how?"""
        if self.is_paused or self._is_at_it:
            return "paused"
        is_slow = self._is_lockstep and self._values["pace_hz"]
        return "slow motion" if is_slow else "running"

    # --- feeding (called with the lock held) -------------------------------------------------

    @property
    def is_running(self) -> bool:
        """Nobody said pause, or there are steps to take, and nothing is done to the network."""
        return not self._is_at_it and (not self.is_paused or self._steps > 0)

    def may_feed(self) -> bool:
        """May an image be fed now, as far as requests say?"""
        return self.is_running and time.monotonic_ns() >= self._due_ns

    def wake_at_ns(self) -> int | None:
        """Slow motion: when to ask again (ROS time); None: when something happens."""
        left_ns = self._due_ns - time.monotonic_ns()
        return self._container.pool.now_ns() + left_ns if left_ns > 0 else None

    def fed(self) -> None:
        """An image was fed."""
        self._steps = max(0, self._steps - 1)
        pace_hz = self._values["pace_hz"] if self._is_lockstep else 0
        self._due_ns = time.monotonic_ns() + round(1e9 / pace_hz) if pace_hz else 0

    # --- pause, resume, step (executor thread) -----------------------------------------------

    def _on_values(self, values: Sequence[tuple[str, Any]]) -> None:
        with self._container.pool.lock:
            self._values |= dict(values)
            self._due_ns = 0
            self._container.pool.wake(self._source)
        for name, value in values:
            if name == "pace_hz":
                self._tell(name, value)

    def _on_pause(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._set(is_paused=True)
        self._tell("pause", 1.0)
        response.success, response.message = True, f"paused after {self._source.fed} frames"
        return response

    def _on_resume(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        self._set(is_paused=False)
        self._tell("pause", 0.0)
        response.success, response.message = True, "running"
        return response

    def _on_step(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        with self._container.pool.lock:
            may = self.is_paused and self._is_lockstep and not self._is_at_it
            if may:
                self._steps += self._values["step_frames"]
                self._container.pool.wake(self._source)
        images = self._values["step_frames"]
        if may:
            self._tell("step", float(images))
        told = "one image" if images == 1 else f"{images} images"
        response.success = may
        response.message = (
            f"{told} will be fed" if may else "stepping needs lockstep and a paused source"
        )
        return response

    def _set(self, *, is_paused: bool) -> None:
        with self._container.pool.lock:
            self.is_paused, self._steps = is_paused, 0
            self._container.pool.wake(self._source)

    # --- the whole network (executor thread) -------------------------------------------------

    async def _on_reset(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return await self._at_rest(self._reset, response)

    async def _on_save(self, _: Trigger.Request, response: Trigger.Response) -> Trigger.Response:
        return await self._at_rest(self._save, response)

    async def _on_restore(
        self, _: Trigger.Request, response: Trigger.Response
    ) -> Trigger.Response:
        return await self._at_rest(self._restore, response)

    async def _at_rest(
        self, act: Callable[[], Answer], response: Trigger.Response
    ) -> Trigger.Response:
        """Do something while nothing is fed and, in lockstep, nothing is under way."""
        response.success = False
        if self._is_at_it:
            response.message = "another request is under way"
            return response
        self._is_at_it = True
        try:
            if not await until(self._source, self._source.is_at_rest, _DONE_S):
                raise RunError(f"frames are still under way after {_DONE_S:g} s")
            await self._ask_all("settle")
            response.message = await act()
            response.success = True
        except StreamingNetError as error:
            response.message = str(error)
        except Exception as error:  # whatever it was, it ends neither the process nor the pause
            response.message = f"{type(error).__name__}: {error}"
        finally:
            with self._container.pool.lock:
                self._is_at_it = False
                self._container.pool.wake(self._source)
        if not response.success:
            self._source.get_logger().error(response.message)
        return response

    async def _reset(self) -> str:
        await self._ask_all("reset")
        self._tell("reset", 1.0)
        return "all states are forgotten"

    async def _save(self) -> str:
        """The source's part comes last: an older one does not fit to new parts of groups."""
        folder = self._folder()
        image_frame = self._source.image_frame
        await self._set_all(Parameter(SNAPSHOT, value=str(folder)).to_parameter_msg())
        self._belong_together(await self._ask_all("save_snapshot"), image_frame, folder)
        self._source.save(folder)
        self._tell("save_snapshot", str(folder))
        return f"saved to {folder}, {told_image(image_frame)}"

    async def _restore(self) -> str:
        """Nobody changes anything before everybody has found the own part fit."""
        folder = self._folder()
        image_frame = self._source.check_snapshot(folder)
        await self._set_all(Parameter(SNAPSHOT, value=str(folder)).to_parameter_msg())
        self._belong_together(await self._ask_all("check_snapshot"), image_frame, folder)
        await self._ask_all("restore_snapshot")
        self._source.restore(folder)
        self._tell("restore_snapshot", str(folder))
        return f"restored from {folder}, {told_image(image_frame)}"

    def _folder(self) -> Path:
        """The same for all processes, wherever they were started."""
        return asked_folder(self._values[SNAPSHOT]).resolve()

    def _belong_together(
        self, told: dict[str, str], image_frame: int | None, folder: Path
    ) -> None:
        """Lockstep: all parts are of one moment, or all groups had just been reset."""
        fits = set(told.values()) in ({told_image(image_frame)}, {told_image(None)})
        if self._is_lockstep and not fits:
            raise RunError(
                "the parts do not belong together",
                where=str(folder),
                expected=f"all groups {told_image(image_frame)}",
                got=", ".join(f"{group} {text}" for group, text in told.items()),
            )

    def _tell(self, name: str, value: float | str) -> None:
        """In the log, on the topic and in the ledger: what was asked of the whole network."""
        newest = self._source.image_frame
        frame = 0 if newest is None else newest + 1
        stamp_ns = self._container.grid.stamp_ns(frame)
        self._changes.publish(changes_message(FRAME_SOURCE, {name: str(value)}, frame, stamp_ns))
        if self._container.ledger is not None:
            line = ChangeLine(FRAME_SOURCE, frame, name, value, system_ns())
            self._container.ledger.write(line)
        self._source.get_logger().info(f"from frame {frame} on: {name} = {value}")

    async def _set_all(self, value: ParameterMessage) -> None:
        request = SetParameters.Request(parameters=[value])
        answers = await self._call_all(SetParameters, "set_parameters", request)
        for group, answer in answers.items():
            if not answer.results[0].successful:
                raise RunError(f"group '{group}' refuses: {answer.results[0].reason}")

    async def _ask_all(self, service: str) -> dict[str, str]:
        """What every group says.

        Raises:
            RunError: one of them is not there, does not answer, or refuses.
        """
        answers = await self._call_all(Trigger, service, Trigger.Request())
        refused = [f"{g}: {answer.message}" for g, answer in answers.items() if not answer.success]
        if refused:
            raise RunError("; ".join(refused))
        return {group: answer.message for group, answer in answers.items()}

    async def _call_all(self, kind: Any, service: str, request: Any) -> dict[str, Any]:
        clients = {group: self._client(kind, group, service) for group in self._groups}

        def are_there() -> bool:
            return all(client.service_is_ready() for client in clients.values())

        if not await until(self._source, are_there, _THERE_S):
            silent = [g for g, client in clients.items() if not client.service_is_ready()]
            raise RunError(f"nobody serves {service} of {', '.join(silent)}")
        calls = {group: client.call_async(request) for group, client in clients.items()}
        if not await until(
            self._source, lambda: all(call.done() for call in calls.values()), _DONE_S
        ):
            silent = [group for group, call in calls.items() if not call.done()]
            raise RunError(f"no answer to {service} from {', '.join(silent)}")
        return {group: call.result() for group, call in calls.items()}

    def _client(self, kind: Any, group: str, service: str) -> Client:
        """Made when it is first asked for: most runs never do."""
        if (group, service) not in self._clients:
            self._clients[group, service] = self._source.create_client(kind, f"{group}/{service}")
        return self._clients[group, service]
