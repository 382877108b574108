"""The container: one process with any members of one network, and its ``main``.

Members in one container hand states to each other by reference; a topic carries a state only
where somebody outside listens. ``ros2 run streaming_net_ros container --ros-args -p network:=...``
runs the whole network; with ``-p members:=[stem]`` one process runs one group.
"""

from __future__ import annotations

import os
import sys
import time
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from diagnostic_msgs.msg import DiagnosticArray
from rclpy.node import Node

from streaming_net_ros.errors import ParameterError, RunError, StreamingNetError
from streaming_net_ros.frames import Origin
from streaming_net_ros.launching import FRAME_SOURCE
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.collector import Collector
from streaming_net_ros.nodes.cores import (
    give_priority,
    leave_others_their_cores,
    pin_process,
    take_priority,
)
from streaming_net_ros.nodes.diagnostics import diagnostic_array
from streaming_net_ros.nodes.host import Host, has_ended
from streaming_net_ros.nodes.memory import keep_memory
from streaming_net_ros.nodes.peers import Peers, who_lives
from streaming_net_ros.nodes.settings import Settings, declare_settings
from streaming_net_ros.theory import first_frames
from streaming_net_ros.wire import Lines, line_name

if TYPE_CHECKING:
    from streaming_net_ros.frames.ledger import Tuned
    from streaming_net_ros.network.tuning import Tuning

CONTAINER = "container"
_DIAGNOSTICS_PERIOD_S = 1.0
_LATE_FRAMES = 8
_DISCOVERY_S = 1.0  # how long a container looks for a twin before it joins


class Container:
    """The members of one process and what they share.

    Args:
        node: the container's own node: parameters, diagnostics.
        settings: what its parameters say.

    Raises:
        StreamingNetError: the network file, rollout, weights or a parameter is not right.
    """

    def __init__(self, node: Node, settings: Settings) -> None:
        # torch is imported here, after the node exists: discovery goes on meanwhile.
        import torch

        from streaming_net_ros.frames import Deadline, FrameGrid
        from streaming_net_ros.frames.ledger import LedgerWriter
        from streaming_net_ros.network import (
            read_network_file,
            rollout_of,
            rules_of,
            run_head,
            state_shapes,
        )
        from streaming_net_ros.nodes.workers import WorkerPool
        from streaming_net_ros.wire import StateFormat

        self.node = node
        self.settings = settings
        self.spec = read_network_file(settings.network)
        self.rollout = rollout_of(self.spec, settings.rollout)
        self.grid = FrameGrid(settings.rate_hz or self.spec.rate_hz)
        self.device = _device(settings.device, node)
        deadline = None
        if settings.mode == "realtime":
            wait_ns = round(settings.deadline_periods * self.grid.period_ns)
            deadline = Deadline(self.grid, wait_ns, settings.hold_limit_frames)
        self.rules = rules_of(self.spec, self.rollout, deadline)
        self.member_names = _members(settings, list(self.rules))
        self.tuning = self._read_tuning()
        self.ledger: LedgerWriter | None = None
        if settings.ledger is not None:
            self._ledger_head = run_head(
                self.spec,
                self.rollout,
                self.grid,
                settings.mode,
                weights=settings.weights or self.spec.weights_path,
                seed=settings.seed,
                torch_threads=settings.torch_threads,
                members=self.member_names,
            )
            self.ledger = LedgerWriter(settings.ledger, self._ledger_head, node.get_logger().error)
        self.formats = {
            name: StateFormat(name, shape, _dtype_of(self.spec, name))
            for name, shape in state_shapes(self.spec).items()
        }
        self.local_nodes = {name for name in self.member_names if name != FRAME_SOURCE}
        if FRAME_SOURCE in self.member_names:
            self.local_nodes |= set(self.spec.inputs)
        self.peers = Peers(self)
        self.failure: StreamingNetError | None = None
        self.warnings: list[str] = []  # of the process, told by every member
        self.members: list[Any] = []
        self._by_name: dict[str, Any] = {}
        self._hearers: dict[str, list[Any]] = {name: [] for name in self.rollout.graph.nodes}
        torch.set_num_threads(settings.torch_threads)
        self._uses_sim_time = bool(node.get_parameter("use_sim_time").value)
        self.pool = WorkerPool(
            settings.worker_count(len(self.member_names)),
            settings.torch_threads,
            self._now_ns,
            lambda error: self.fail_with(error, "a group failed to compute"),
        )
        self.pool.uses_sim_time = self._uses_sim_time
        self._has_priority = False
        self._collector = Collector()
        self._diagnostics = node.create_publisher(DiagnosticArray, topics.DIAGNOSTICS, 10)
        self._timer = node.create_timer(_DIAGNOSTICS_PERIOD_S, self._publish_diagnostics)

    # --- what members ask for ----------------------------------------------------------------

    @cached_property
    def network(self) -> Any:
        """The layers of this process's groups, with their weights, on the device."""
        from streaming_net_ros.network import StreamingNetwork, load_weights
        from streaming_net_ros.network.snapshot import restore_weights

        groups = [name for name in self.member_names if name != FRAME_SOURCE]
        network = StreamingNetwork(
            self.spec, self.rollout, members=groups, seed=self.settings.seed
        ).eval()
        path = self.settings.weights or self.spec.weights_path
        if path is not None:
            load_weights(network, path)
        else:
            self.node.get_logger().warning(
                f"network '{self.spec.name}' has no weights file: weights are random, seed "
                f"{self.settings.seed}"
            )
        if self.settings.restore is not None:  # backends are made of these
            restore_weights(self.settings.restore, network)
        return network.to(self.device)

    def _read_tuning(self) -> Tuning | None:
        """The tuning file; this process is pinned to the cores that it gives to its groups."""
        from streaming_net_ros.network.tuning import read_tuning

        if self.settings.tuning is None:
            return None
        tuning = read_tuning(self.settings.tuning, self.spec)
        cores = tuning.cores_of([name for name in self.member_names if name != FRAME_SOURCE])
        warnings = [tuning.other_machine(), pin_process(cores) if cores else ""]
        for warning in filter(None, warnings):
            self.node.get_logger().warning(f"{self.settings.tuning}: {warning}")
        return tuning

    @property
    def node_options(self) -> dict[str, Any]:
        """How member nodes are created: in the container's namespace and context."""
        return {"context": self.node.context, "namespace": self.node.get_namespace()}

    @property
    def target_hz(self) -> float | None:
        """The rate to keep; lockstep has none."""
        return self.grid.rate_hz if self.settings.mode == "realtime" else None

    @cached_property
    def queue_depth(self) -> int:
        """Messages of one topic that may be outstanding.

        The source runs ahead of every group by the flow window, counted in images. A group that
        hears a deep and a short path is that much further behind the deep one's newest state.
        """
        window = self.settings.window_frames or len(self.rules) + 1
        first = first_frames(self.rollout)
        ahead = max(
            first[edge.source] + self.rollout.delay(edge.source, edge.target) - first[edge.target]
            for edge in self.rollout.graph.edges
        )
        return window + max(ahead, self.rollout.max_delay) + 2

    @property
    def ring_slots(self) -> int:
        """States that a ring holds; in realtime nobody needs one that is some frames late."""
        if self.settings.mode == "lockstep":
            return self.queue_depth
        return min(self.queue_depth, self.rollout.max_delay + _LATE_FRAMES)

    @property
    def patience_s(self) -> float:
        """How long another process may take to answer while callbacks wait for it."""
        return 2.0 if self.settings.mode == "lockstep" else 0.2

    @property
    def hears_progress(self) -> bool:
        """True if some group runs in another process than the frame source."""
        return not set(self.rules) <= set(self.member_names)

    def hearers_outside(self, source: str) -> list[str]:
        """Groups of other processes that hear a source."""
        edges = self.rollout.graph.edges_out_of(source)
        return [edge.target for edge in edges if edge.target not in self.local_nodes]

    def line_name(self, source: str) -> str:
        """The name under which a source's states are to be had on this host."""
        domain_id = self.node.context.get_domain_id()
        return line_name(domain_id, self.node.get_namespace(), source)

    def may_have_line_to(self, member: str) -> bool:
        """Is that member in another process, and are lines allowed?"""
        return self.settings.transport == "auto" and member not in self.member_names

    @cached_property
    def lines(self) -> Lines:
        """The lines to other processes of this host; none until one is asked for."""
        return Lines(
            lambda error: self.fail_with(error, "a state could not be taken in"),
            self.pool.size + 1,  # one listens, however many do what follows from the news
            self._prepare_line,
        )

    def _prepare_line(self) -> None:
        """A thread of the lines: it computes as a worker does, whoever has started it when."""
        self.pool.prepare_thread()
        if self._has_priority:
            give_priority(0, self.settings.realtime_priority)

    def tell_ledger_of(self, group: str, used: Tuned) -> None:
        """A group of this process is computed so: a replay must round as it does."""
        if self.ledger is not None:
            self.ledger.write(replace(self._ledger_head, tuned={group: used}))

    def deliver(self, source: str, frame: int, batch: Any, origin: Origin) -> None:
        """Hand a state, or None for silence, to the groups of this process. Pool's lock held."""
        now_ns = self.pool.now_ns()
        for member in self._hearers[source]:
            member.arrive(source, frame, batch, origin, now_ns)

    def ready(self, group: str) -> None:
        """A local group is ready to run."""
        source = self._by_name.get(FRAME_SOURCE)
        if source is not None:
            with self.pool.lock:
                source.ready(group)

    def finished(self, group: str, frame: int) -> None:
        """A local group has finished a frame. Called with the pool's lock held."""
        source = self._by_name.get(FRAME_SOURCE)
        if source is not None:
            source.finished(group, frame)

    def fail(self, error: StreamingNetError) -> None:
        """End the run for a reason; the first one counts."""
        if self.failure is None:
            self.failure = error

    def fail_with(self, error: BaseException, what: str) -> None:
        """End the run for any exception; one that is not ours is told with its type."""
        if not isinstance(error, StreamingNetError):
            error = RunError(f"{what}: {type(error).__name__}: {error}")
        self.fail(error)

    # --- life --------------------------------------------------------------------------------

    def create_members(self) -> None:
        """Create the nodes of the members (unconfigured)."""
        from streaming_net_ros.nodes.frame_source import FrameSource
        from streaming_net_ros.nodes.layer_group import LayerGroupNode

        for name in self.member_names:
            member = FrameSource(self) if name == FRAME_SOURCE else LayerGroupNode(name, self)
            self.members.append(member)
            self._by_name[name] = member
        self._hearers = {
            node_name: [
                self._by_name[edge.target]
                for edge in self.rollout.graph.edges_out_of(node_name)
                if edge.target in self._by_name and edge.target != node_name
            ]
            for node_name in self.rollout.graph.nodes
        }

    def start(self) -> None:
        """Start the workers and bring every member to *active*.

        Raises:
            StreamingNetError: a member cannot be configured.
        """
        keep_memory()
        self.pool.start()
        for transition in ("trigger_configure", "trigger_activate"):
            for member in self.members if self.settings.autostart else []:
                getattr(member, transition)()
                if self.failure is not None:
                    raise self.failure
        self._collector.hold()

    def activated(self) -> None:
        """Executor thread: a member is active.

        With the last one the process goes before others, if it shall: whoever is loading holds
        nobody up.
        """
        priority = self.settings.realtime_priority
        if not (priority and all(member.is_active for member in self.members)):
            return
        if self.settings.mode == "lockstep":
            told = "realtime_priority has no effect in lockstep: nobody waits for an answer there"
        else:
            told = take_priority(priority)
            self._has_priority = not told
        if told and told not in self.warnings:
            self.warnings.append(told)
            self.node.get_logger().warning(told)

    def stop(self) -> None:
        """Let the workers finish what they are at, and end them."""
        for member in self.members:
            member.stop()
        if not self.pool.stop():
            self.node.get_logger().warning("a worker was still computing and is left behind")
        self._collector.release()
        if "lines" in self.__dict__:
            self.lines.close()
        if self.ledger is not None:
            self.ledger.close()

    def report(self) -> list[str]:
        """The cadence of every member, one line each."""
        return [f"{member.get_name()}: {member.cadence_line()}" for member in self.members]

    def _now_ns(self) -> int:
        """ROS time; without /clock that is the system's, without the way through rclpy."""
        if self._uses_sim_time:
            return int(self.node.get_clock().now().nanoseconds)
        return time.time_ns()

    def _publish_diagnostics(self) -> None:
        self._collector.collect()
        self._look_for_twins()
        stamp = self.node.get_clock().now().to_msg()
        self._diagnostics.publish(diagnostic_array(self.members, stamp, self.warnings))

    def _look_for_twins(self) -> None:
        """Refuse to share a name: whoever has not finished a frame yet gives way."""
        twins = self.peers.twins() if self.members else []
        if not twins:
            return
        if all(member.has_worked for member in self.members if member.get_name() in twins):
            self.node.get_logger().error(
                f"another process uses the names {', '.join(twins)}; it was told to give way",
                throttle_duration_sec=5.0,
            )
        else:
            self.fail(twin_error(twins, self.node.get_namespace()))


def twin_error(names: list[str], namespace: str) -> RunError:
    """Two networks with one name in one namespace."""
    return RunError(
        f"already running: {', '.join(names)}",
        where=f"namespace {namespace}",
        remedy="stop the other run, or give this one another namespace or ROS_DOMAIN_ID",
    )


def _members(settings: Settings, groups: list[str]) -> tuple[str, ...]:
    known = (FRAME_SOURCE, *groups)
    unknown = [member for member in settings.members if member not in known]
    if unknown:
        raise ParameterError(
            "no such member",
            where="parameter members",
            expected=f"some of {', '.join(known)}",
            got=unknown[0],
        )
    return tuple(name for name in known if not settings.members or name in settings.members)


def _dtype_of(spec: Any, name: str) -> Any:
    from streaming_net_ros.network import ImageInput

    if name in spec.inputs:
        return "uint8" if isinstance(spec.inputs[name], ImageInput) else "float32"
    return spec.state_dtype


def _device(name: str, node: Node) -> Any:
    """The torch device; a missing GPU is said aloud and the CPU is taken."""
    import torch

    try:
        device = torch.device(name)
    except RuntimeError:
        raise ParameterError(
            "not a device", where="parameter device", expected="cpu, cuda or cuda:N", got=name
        ) from None
    if device.type == "cuda" and not torch.cuda.is_available():
        node.get_logger().warning(f"no GPU here: '{name}' falls back to the CPU")
        return torch.device("cpu")
    return device


def wait_for_discovery(host: Host, since_s: float) -> None:
    """Serve callbacks until a twin that was there before us must have been discovered."""
    host.spin(lambda: time.monotonic() - since_s >= _DISCOVERY_S)


def run(host: Host, node: Node, settings: Settings, since_s: float) -> None:
    """Run a container until a signal or a failure.

    Raises:
        StreamingNetError: why it ended, if it was not asked to.
    """
    if settings.mode == "lockstep":
        leave_others_their_cores()
    container = Container(node, settings)
    wait_for_discovery(host, since_s)
    if host.is_asked_to_end:
        return
    # A killed process of these names, whose place this one may take, is not a twin.
    twins = who_lives(host, node, container.peers.twins)
    if host.is_asked_to_end:
        return
    if twins:
        raise twin_error(twins, node.get_namespace())
    container.create_members()
    for member in container.members:
        host.add(member)
    try:
        container.start()
        host.spin(
            lambda: (
                container.failure is not None
                or (settings.follow_pid > 0 and has_ended(settings.follow_pid))
            )
        )
        if container.failure is not None:
            raise container.failure
    finally:
        container.stop()
        for line in container.report():
            node.get_logger().info(line)


def main(args: list[str] | None = None) -> None:
    """Console entry ``container``; ends the process with an error's exit code, or 0."""
    code = 0
    try:
        _main(args if args is not None else sys.argv[1:])
    except StreamingNetError as error:
        print(f"error: {error}", file=sys.stderr)
        code = error.exit_code
    # Nodes and participant are gone by now. What is left, torch's and the interpreter's own end,
    # takes seconds on a loaded machine, and launch would escalate to SIGTERM meanwhile.
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def _main(args: list[str]) -> None:
    with Host(args) as host:
        since_s = time.monotonic()
        node = Node(CONTAINER, context=host.context)
        host.add(node)
        run(host, node, declare_settings(node), since_s)


if __name__ == "__main__":
    main()
