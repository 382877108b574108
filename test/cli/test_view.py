"""The verb ``view``: bad input is one line, what it starts is said in full, its end is clean."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from urllib.parse import parse_qs, urlsplit

import pytest

from networks import GOLDEN_TOY
from streaming_net_ros.cli.app import main
from streaming_net_ros.cli.view import page_address
from streaming_net_ros.cli.view_network import replayed, simulated, started
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import parse_network, read_network_file
from streaming_net_ros.paths import find_network

PILOT = read_network_file(find_network("pilot"))


def refused(capsys, *arguments):
    code = main(["view", *arguments])
    told = capsys.readouterr().err
    assert told.startswith("error: ") and told.count("\n") == 1, told
    return code, told


@pytest.mark.parametrize(
    "arguments, hint",
    [
        (["nothing_here"], "no such network file"),
        (["pilot", "--simulate", "--bag", "b"], "one of --simulate, --bag"),
        (["pilot", "--mode", "warp"], "lockstep or realtime"),
        (["pilot", "--root", "/no/such"], "no such folder"),
        (["pilot", "--host", "203.0.113.1"], "cannot serve the page there"),
        (["pilot", "--host", "no host"], "cannot serve the page there"),
        (["pilot", "--rollout", "warp"], "not a rollout"),
        (["pilot", "--bag", "/no/such/bag"], "no such recording"),
        (["pilot", "--rate-hz", "-1"], "not a frame rate"),
    ],
    ids=lambda v: " ".join(v) if isinstance(v, list) else "",
)
def test_bad_input_is_one_line(capsys, arguments, hint):
    pytest.importorskip("nicegui")
    pytest.importorskip("rclpy")
    code, told = refused(capsys, *arguments, *([] if "--port" in arguments else ["--port", "0"]))
    assert code in (2, 3) and hint in told


def test_a_port_that_is_taken_is_said_with_what_to_do(capsys):
    pytest.importorskip("nicegui")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        code, told = refused(capsys, "pilot", "--port", port)
    assert code == 3 and port in told and "--port" in told


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "localhost", "::", "0.0.0.0"])
def test_a_page_is_served_at_addresses_of_both_kinds(host):
    pytest.importorskip("nicegui")
    pytest.importorskip("rclpy")
    from streaming_net_ros.viewer.app import listen

    if ":" in host:
        try:
            socket.create_server(("::1", 0), family=socket.AF_INET6).close()
        except OSError:
            pytest.skip("this machine has no IPv6")
    with listen(host, 0) as listening:
        reached = {"0.0.0.0": "127.0.0.1", "::": "127.0.0.1"}.get(host, host)
        socket.create_connection((reached, listening.getsockname()[1]), timeout=10).close()


@pytest.mark.parametrize("token", ["a b&c=d#e+f%20", "\u00e9/?"])
def test_the_address_that_is_printed_gives_the_token_whatever_it_is_made_of(token):
    parts = urlsplit(page_address("::1", 8080, token))
    assert parse_qs(parts.query) == {"token": [token]}
    assert (parts.hostname, parts.port) == ("::1", 8080) and not parts.fragment


def test_the_simulator_drives_the_network_that_is_shown():
    simulator, network = simulated(PILOT, "here", {"rate_hz": 15.0}, is_lockstep=True)
    assert "cmd_vel:=response/drive" in simulator and "image:=image" in simulator
    assert "wait_for_command:=true" in simulator and "__ns:=/here" in simulator
    assert "mode:=lockstep" in network and "rate_hz:=15.0" in network and "__ns:=/here" in network
    simulator, network = simulated(PILOT, "here", {}, is_lockstep=False)
    assert "wait_for_command:=true" not in simulator and "mode:=realtime" in network


def test_a_network_that_does_not_drive_is_refused():
    with pytest.raises(ParameterError, match="does not drive"):
        simulated(parse_network(GOLDEN_TOY), "here", {}, is_lockstep=True)


def test_a_recording_is_streamed_as_run_does_it(tmp_path):
    (command,) = replayed(PILOT, "here", tmp_path, ["--rate-hz=15.0"], is_lockstep=True)
    assert command[2:5] == ["streaming_net_ros.cli.app", "run", str(PILOT.path.resolve())]
    assert command[-3:] == ["--rate-hz=15.0", "--mode", "lockstep"]


def test_what_was_started_ends_with_the_page_whether_it_wants_to_or_not(monkeypatch):
    from streaming_net_ros.cli import view_network

    monkeypatch.setattr(view_network, "_END_S", 0.3)
    deaf = "import signal, time; signal.signal(2, signal.SIG_IGN); print(1, flush=True); "
    command = [sys.executable, "-c", deaf + "time.sleep(60)"]
    begun_s = time.monotonic()
    with started([command]):
        pass
    assert time.monotonic() - begun_s < 30  # and not a minute


def test_loading_the_verb_loads_neither_the_page_nor_torch():
    code = "import sys, streaming_net_ros.cli.view, streaming_net_ros.cli.view_network as v; " \
           "print([m for m in ('nicegui', 'torch', 'rclpy') if m in sys.modules])"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
