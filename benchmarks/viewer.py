"""What a live page costs the network that it shows.

    python benchmarks/viewer.py [--network pilot] [--seconds 15] [--rounds 4]
                                [--realtime-priority 10]

One network in realtime, a process per group, fed by a camera in this process; a viewer beside it.
In turns, in one run: nobody looks; a page on six state views in a real browser; that page and 19
clients more, each on six states; a page whose browser is stopped, and connections that ask and
never read. Rate and latency of the first response are those of a plain subscriber.

Browser and clients run after the viewer and the camera (``SCHED_IDLE``), all of them in one
session. Where Linux shares cores between sessions first (autogroup), that session has a full
share beside the network's processes, which have sessions of their own. With
``--realtime-priority`` the network goes before all usual processes, and so does the camera that
feeds it and hears its answers, as a robot's drivers would; this needs the right to do so.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from latency import Camera
from report import Report, arguments, finish, told

from streaming_net_ros.frames import quantile
from streaming_net_ros.launching import Children, process_list
from streaming_net_ros.network import NetworkSpec, read_network_file
from streaming_net_ros.nodes import topics
from streaming_net_ros.nodes.cores import take_priority
from streaming_net_ros.nodes.host import Host
from streaming_net_ros.paths import PACKAGE, find_network

NAMESPACE = "viewed"
NOBODY = "nobody looks"
CLIENTS, PER_CLIENT, PERIOD_S = 19, 6, 0.2
SILENT, ASKED = 10, 200
_START_S, _SETTLE_S = 120.0, 4.0
_IDLE = ("chrt", "--idle", "0")  # runs when nobody else wants a core
_USUAL = ("chrt", "--other", "0")  # whatever this process runs as
_BROWSER = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
    "--remote-debugging-port=0", "--window-size=1400,900",
)  # fmt: skip


def cpu_s(pids: Iterable[int]) -> float:
    """User and system time of processes so far."""
    told = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in pids]
    return sum(int(one[11]) + int(one[12]) for one in told) / os.sysconf("SC_CLK_TCK")


@contextmanager
def viewer(path: Path) -> Iterator[tuple[int, int]]:
    """The viewer's process; gives its port and its id."""
    command = [*_USUAL, sys.executable, "-m", f"{PACKAGE}.cli.app", "view", str(path)]
    command += ["--port", "0", "--namespace", NAMESPACE]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    assert child.stdout is not None
    try:
        line = child.stdout.readline()
        yield int(line.partition("127.0.0.1:")[2].partition("/")[0]), child.pid
    finally:
        child.send_signal(signal.SIGINT)
        child.wait()


@contextmanager
def page(port: int) -> Iterator[subprocess.Popen]:
    """A page in a browser: the panel that it opens with shows six states."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile:
        command = [*_IDLE, "chromium", *_BROWSER, f"--user-data-dir={profile}"]
        browser = subprocess.Popen(
            [*command, f"http://127.0.0.1:{port}/"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            # Not a session of its own: with autogroup that would be one more full share of the
            # cores, and idle would be idle among the browser's own threads only.
            process_group=0,
        )
        try:
            yield browser
        finally:
            os.killpg(browser.pid, signal.SIGCONT)
            os.killpg(browser.pid, signal.SIGKILL)
            browser.wait()


@contextmanager
def clients(port: int, nodes: list[str], count: int) -> Iterator[None]:
    """Clients that ask for pictures as a page does, in a process of their own."""
    command = [sys.executable, __file__, "--as-clients", str(port), str(count), *nodes]
    child = subprocess.Popen([*_IDLE, *command])
    try:
        yield
    finally:
        child.terminate()
        child.wait()


@contextmanager
def hanging(port: int, settle: Callable[[], object]) -> Iterator[None]:
    """A page whose browser is stopped, and connections that ask and never read."""
    ask = f"GET /picture/image HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode()
    with ExitStack() as stack:
        browser = stack.enter_context(page(port))
        settle()
        os.killpg(browser.pid, signal.SIGSTOP)
        for _ in range(SILENT):
            line = stack.enter_context(socket.create_connection(("127.0.0.1", port)))
            line.setblocking(False)
            for _ in range(ASKED):
                try:
                    line.send(ask)
                except BlockingIOError:
                    break
        yield


@contextmanager
def crowd(port: int, nodes: list[str]) -> Iterator[None]:
    """A page, and 19 clients more."""
    with page(port), clients(port, nodes, CLIENTS):
        yield


def serve_clients(port: int, count: int, nodes: list[str]) -> None:
    """Each state of each client has a thread, which asks again when it has its picture."""

    def ask(node: str) -> None:
        tag = ""
        while True:
            begun_s = time.monotonic()
            request = urllib.request.Request(f"http://127.0.0.1:{port}/picture/{node}")
            request.add_header("If-None-Match", tag)
            try:
                with urllib.request.urlopen(request) as answer:
                    answer.read()
                    headers = answer.headers
                    tag = headers.get("ETag", "")
            except urllib.error.HTTPError as error:  # 304: nothing new
                headers = error.headers
            period_s = max(PERIOD_S, float(headers.get("X-Period", 0)) / 1e3)
            time.sleep(max(0.0, period_s - (time.monotonic() - begun_s)))

    for _ in range(count):
        for node in nodes[:PER_CLIENT]:
            threading.Thread(target=ask, args=(node,), daemon=True).start()
    signal.pause()


def measured(
    host: Host, camera: Camera, nodes: list[str], pids: tuple[list[int], int], seconds: float
) -> dict[str, Any]:
    """A stretch: images, how soon each was answered, states that were heard, processor time.

    Args:
        host: of this process.
        camera: of the network.
        nodes: whose states may be heard.
        pids: the network's processes, and the viewer's.
        seconds: how long.
    """
    network, page_pid = pids
    before = cpu_s(network), cpu_s([page_pid])
    first, begun_s = len(camera.sent), time.monotonic()
    host.spin(lambda: False, seconds)
    images, taken_s = camera.sent[first:], time.monotonic() - begun_s
    network_s, viewer_s = cpu_s(network) - before[0], cpu_s([page_pid]) - before[1]
    heard = sum(camera.count_subscribers(topics.throttled(node)) > 0 for node in nodes)
    host.spin(lambda: False, 1.0)  # what is under way comes out
    latency_ms = [camera.latency_ms.get(at) for at in images]
    answered = sum(ms is not None for ms in latency_ms)
    return {
        "latency_ms": latency_ms,
        "rate_hz": answered / taken_s,
        "states_heard": heard,
        "cpu_ms": 1e3 * network_s / len(images),
        "viewer_percent": 100 * viewer_s / taken_s,
    }


def row_of(kind: str, rounds: list[dict], nobody: dict[str, Any] | None) -> dict[str, Any]:
    """All stretches of a kind as one row, beside nobody's."""
    taken = [ms for one in rounds for ms in one["latency_ms"]]
    latency_ms = [ms for ms in taken if ms is not None]
    row = {
        "who looks": kind,
        "states_heard": min(one["states_heard"] for one in rounds),
        "rate_hz": sum(one["rate_hz"] for one in rounds) / len(rounds),
        "latency_p50_ms": quantile(latency_ms, 0.5),
        "latency_p99_ms": quantile(latency_ms, 0.99),
        "answered_percent": 100 * len(latency_ms) / len(taken),
        "cpu_a_frame_ms": sum(one["cpu_ms"] for one in rounds) / len(rounds),
        "viewer_of_a_core_percent": sum(one["viewer_percent"] for one in rounds) / len(rounds),
    }
    base = nobody or row
    for name in ("rate", "latency_p99"):
        key = f"{name}_hz" if name == "rate" else f"{name}_ms"
        row[f"{name}_differs_percent"] = 100 * (row[key] / base[key] - 1)
    return row


def draw(report: Report) -> Any:
    """Latency of every answer, as the share of images that were answered within it."""
    from matplotlib.ticker import LogLocator, NullLocator
    from picture import COMPOSED, INK, NAIVE, ONE_NODE, STATESTREAM, legend_above, new_figure

    figure = new_figure("From capture to first response, by who looks", told(report.machine), 9.5)
    axes = figure.subplots()
    colours = (ONE_NODE, COMPOSED, STATESTREAM, NAIVE)
    for (kind, taken), colour in zip(report.details["latency_ms"].items(), colours, strict=True):
        came = sorted(ms for ms in taken if ms is not None)
        shares = [100 * (number + 1) / len(taken) for number in range(len(came))]
        axes.plot(came, shares, color=colour, label=kind, linewidth=1.6)
    axes.axhline(99, color=INK, linewidth=0.6, linestyle=":")
    axes.set(xlabel="latency (ms)", ylabel="images answered (%)", ylim=(0, 101))
    axes.set_xscale("log")
    axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axes.xaxis.set_major_formatter("{x:g}")
    axes.xaxis.set_minor_locator(NullLocator())
    legend_above(figure, axes)
    return figure


def take_turns(
    spec: NetworkSpec, path: Path, rate_hz: float, seconds: float, rounds: int, priority: int
) -> dict[str, list[dict]]:
    """Every kind in every round, on one running network."""
    nodes = [*spec.inputs, *(group.name for group in spec.groups)]
    shares = process_list(
        str(path), [group.name for group in spec.groups], namespace=NAMESPACE,
        parameters={"mode": "realtime", "rate_hz": rate_hz, "realtime_priority": priority},
    )  # fmt: skip
    taken: dict[str, list[dict]] = {}
    if priority and (why_not := take_priority(priority)):  # before anything is started
        raise SystemExit(why_not)
    arguments_of_host = ["--ros-args", "-r", f"__ns:=/{NAMESPACE}"]
    with Children(shares) as children, Host(arguments_of_host, handles_signals=False) as host:
        camera = Camera(host, spec, rate_hz)
        host.add(camera)
        if not host.spin(lambda: len(camera.latency_ms) > 0, _START_S):
            raise SystemExit(f"no answer within {_START_S:g} s")

        def settle() -> None:
            host.spin(lambda: False, 2 * _SETTLE_S)

        with viewer(path) as (port, pid):
            pids = (list(children.pids.values()), pid)
            kinds = {
                NOBODY: ExitStack,
                "a page, six states": lambda: page(port),
                "20 clients, six states each": lambda: crowd(port, nodes),
                "pages that hang, clients that never read": lambda: hanging(port, settle),
            }
            for number in range(rounds):
                order = list(kinds) if number % 2 == 0 else list(kinds)[::-1]
                for kind in order:
                    with kinds[kind]():
                        settle()
                        taken.setdefault(kind, []).append(
                            measured(host, camera, nodes, pids, seconds)
                        )
    return {kind: taken[kind] for kind in kinds}


def main() -> None:
    if sys.argv[1:2] == ["--as-clients"]:
        serve_clients(int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:])
        return
    parser = arguments(__doc__)
    parser.add_argument("--network", default="pilot")
    parser.add_argument("--rate-hz", type=float, help="default: the network file's")
    parser.add_argument("--seconds", type=float, default=15, help="of each stretch")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--realtime-priority", type=int, default=0, help="of the network")
    given = parser.parse_args()
    path = find_network(given.network).resolve()
    spec = read_network_file(path)
    rate_hz = given.rate_hz or spec.rate_hz
    priority = given.realtime_priority
    taken = take_turns(spec, path, rate_hz, given.seconds, given.rounds, priority)
    nobody = row_of(NOBODY, taken[NOBODY], None)
    rows = [row_of(kind, rounds, nobody) for kind, rounds in taken.items()]
    details = {"latency_ms": {kind: [ms for one in rounds for ms in one["latency_ms"]]
                              for kind, rounds in taken.items()}}  # fmt: skip
    notes = (
        f"{spec.name} at {rate_hz:g} Hz in realtime, a process per group; {given.rounds} "
        f"stretches of {given.seconds:g} s each, in turns; browser and clients run on the same "
        "cores",
        f"network, camera and subscriber at real-time priority {priority}"
        if priority
        else "network, camera and subscriber as usual processes",
    )
    question = "What does a live page cost the network that it shows?"
    finish(Report("viewer", question, rows, notes, details), given, draw)


if __name__ == "__main__":
    main()
