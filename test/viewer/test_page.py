"""The page in a real browser, on the pilot as it drives: what is seen is what the network does.

One child process serves the page and starts simulator and network, in lockstep. What the page
shows is compared with what an rclpy node of this process hears.
"""

from __future__ import annotations

import http.client
import re
import signal
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from harness import wait_until
from streaming_net_ros.paths import find_network

pytest.importorskip("nicegui", reason="the page's library is not installed: extra 'view'")
pytest.importorskip("selenium", reason="selenium is not installed: extra 'test'")

CHROMIUM, DRIVER = Path("/usr/bin/chromium"), Path("/usr/bin/chromedriver")
TOKEN = "let-me"
pytestmark = [
    pytest.mark.ros,
    pytest.mark.skipif(
        not (CHROMIUM.exists() and DRIVER.exists()),
        reason="no browser: apt-get install chromium chromium-driver",
    ),
]
PIXELS = """
const image = document.querySelector(`[data-node='${arguments[0]}'] img`);
if (!image || !image.naturalWidth) return '';
const canvas = document.createElement('canvas');
canvas.width = image.naturalWidth; canvas.height = image.naturalHeight;
canvas.getContext('2d').drawImage(image, 0, 0);
return canvas.toDataURL();
"""


class Pages:
    """A browser on the viewer, and an observer over ROS."""

    def __init__(self, driver, port, observer):
        self.driver, self.port, self.observer = driver, port, observer
        self.address = f"http://127.0.0.1:{port}/"

    def open(self, query=""):
        self.driver.get(self.address + query)

    def find(self, name):
        found = self.driver.find_elements("css selector", f"[data-name='{name}']")
        return found[0] if found else None

    def text(self, name):
        found = self.find(name)
        return "" if found is None else found.text

    def press(self, name):
        assert wait_until(lambda: self.find(f"control-{name}")), name
        self.driver.execute_script("arguments[0].click()", self.find(f"control-{name}"))

    def said(self, pattern):
        """What the page said last that fits."""
        found = []

        def look():
            texts = [e.text for e in self.driver.find_elements("css selector", ".q-notification")]
            found[:] = [m for text in texts if (m := re.search(pattern, text))]
            return found

        assert wait_until(look), pattern
        return found[-1]

    def pixels(self, node):
        return self.driver.execute_script(PIXELS, node)

    def frame(self):
        """The newest frame that the head of the page tells of."""
        return int(re.sub(r"\D", "", self.text("frame")) or -1)

    def frame_of(self, node):
        """The frame of the picture that is shown of a node."""
        (caption,) = self.driver.find_elements(
            "css selector", f"figure[data-node='{node}'] figcaption"
        )
        told = re.search(r"frame ([\d\u202f]+)", caption.text)
        return int(re.sub(r"\D", "", told.group(1))) if told else -1


@pytest.fixture(scope="module")
def served():
    """The viewer's process, its port, and what it wrote."""
    command = [sys.executable, "-m", "streaming_net_ros.cli.app", "view", "pilot", "--simulate"]
    command += ["--mode", "lockstep", "--port", "0", "--token", TOKEN]
    command += ["--root", str(find_network("pilot").parent)]
    child = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        line = child.stdout.readline()
        told = re.search(r"http://127\.0\.0\.1:(\d+)/\?token=", line)
        assert told, line
        yield child, int(told.group(1))
    finally:
        child.send_signal(signal.SIGINT)
        assert child.wait(15) == 0


@pytest.fixture(scope="module")
def observer():
    """Watch and control of this process, beside the page's."""
    from streaming_net_ros.network import read_network_file
    from streaming_net_ros.viewer.control import Control
    from streaming_net_ros.viewer.link import Link
    from streaming_net_ros.viewer.watch import Watch

    link = Link("pilot")
    watch, control = Watch(link, read_network_file(find_network("pilot"))), Control(link, 60)
    with link:
        yield watch, control


@pytest.fixture(scope="module")
def pages(served, observer):
    from selenium import webdriver
    from selenium.webdriver.chrome.service import Service

    with tempfile.TemporaryDirectory() as profile:
        options = webdriver.ChromeOptions()
        options.binary_location = str(CHROMIUM)
        for flag in (
            "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
            "--disable-background-networking", "--disable-component-update", "--disable-sync",
            f"--user-data-dir={profile}", "--window-size=1400,900",
        ):  # fmt: skip
            options.add_argument(flag)
        driver = webdriver.Chrome(options, Service(str(DRIVER)))
        try:
            yield Pages(driver, served[1], observer)
        finally:
            driver.quit()


@pytest.fixture
def running(pages):
    """The network runs when a law begins, and its page is open with the token."""
    _, control = pages.observer
    assert control.resume().result().is_done
    pages.open(f"?token={TOKEN}")
    assert wait_until(lambda: pages.text("state").startswith("running")), pages.text("state")
    return pages


def test_the_page_opens_and_feature_maps_change(running):
    assert TOKEN not in running.driver.current_url
    for node in ("image", "stem", "scene", "steer"):
        seen = set()
        assert wait_until(lambda n=node, s=seen: s.add(running.pixels(n)) or len(s - {""}) > 2)
    severe = [e for e in running.driver.get_log("browser") if e["level"] == "SEVERE"]
    assert severe == []


def test_pause_stops_frames_and_a_step_feeds_exactly_one(running):
    _, control = running.observer
    running.press("pause")
    paused = int(running.said(r"paused after (\d+) frames").group(1))
    assert wait_until(lambda: running.text("state").startswith("paused"))
    assert f"after {paused} frames" in control.pause().result().text

    last = settled(running.frame)
    before = running.pixels("image")
    running.press("step")
    assert wait_until(lambda: running.frame() == last + 1)
    assert wait_until(lambda: running.frame_of("image") == last + 1)
    assert wait_until(lambda: running.pixels("image") not in ("", before))
    assert wait_until(lambda: f"after {paused + 1} frames" in control.pause().result().text)


def settled(read):
    """A value once it no longer changes, for as long as fifty readings take."""
    recent = []

    def is_same():
        recent.append(read())
        return len(recent) > 50 and len(set(recent[-50:])) == 1

    assert wait_until(is_same, 30)
    return recent[-1]


def test_two_pages_agree(running):
    first = running.driver.current_window_handle
    running.driver.switch_to.new_window("window")
    second = running.driver.current_window_handle
    try:
        running.open()
        assert wait_until(lambda: running.text("state").startswith("running"))
        running.press("pause")
        frames = []
        for window in (first, second):
            running.driver.switch_to.window(window)
            assert wait_until(lambda: running.text("state").startswith("paused"))
            frames.append(settled(running.frame))
        assert frames[0] == frames[1] > 0
    finally:
        running.driver.switch_to.window(second)
        running.driver.close()
        running.driver.switch_to.window(first)


def ages(watch, nodes):
    """How many frames older than its own the newest image in each state is."""
    seen = {node: watch.state(node) for node in nodes}
    return {n: one.frame - one.origin.image_frame for n, one in seen.items() if one is not None}


def test_a_lesion_set_on_the_page_holds_in_the_network_and_is_in_the_log(running):
    watch, control = running.observer
    running.open("?panel=change")
    silence = "[data-name='card-steer'] .q-btn-toggle button:nth-child(3)"
    find = running.driver.find_elements
    assert wait_until(lambda: len(find("css selector", silence)) > 1)
    early = {"stem": 1, "road": 4, "steer": 2}  # frames behind the newest image inside
    assert wait_until(lambda: ages(watch, early) == early)
    try:
        # The second toggle is that of the first edge: stem -> steer, the skip path.
        running.driver.execute_script("arguments[0].click()", find("css selector", silence)[1])
        running.said("edge.stem.lesion is silence")
        assert wait_until(lambda: any(c.value == "silence" for c in watch.changes()))
        (change,) = [c for c in watch.changes() if c.value == "silence"]
        assert (change.node, change.parameter) == ("steer", "edge.stem.lesion")
        # The early response is gone, what comes along the deep path is not, and nothing else.
        assert wait_until(lambda: ages(watch, early) == {**early, "steer": 5})
        running.open("?panel=changes")
        wanted = f"{change.frame:,}".replace(",", "\u202f")
        assert wait_until(lambda: wanted in running.driver.page_source)
    finally:
        assert control.set("steer", "edge.stem.lesion", "none").result().is_done


def test_what_ros_sets_the_page_shows_and_does_not_set_again(running):
    watch, control = running.observer
    running.open("?panel=change")
    lesion = "[data-name='card-road'] .q-btn-toggle button"

    def shown():
        buttons = running.driver.find_elements("css selector", lesion)
        return [button.get_attribute("aria-pressed") for button in buttons][:3].index("true")

    assert wait_until(lambda: running.driver.find_elements("css selector", lesion))
    before = len(watch.changes())
    for number, choice in ((1, "hold"), (0, "none")):
        assert control.set("road", "lesion", choice).result().is_done
        assert wait_until(lambda n=number: shown() == n)
    assert wait_until(lambda: len(watch.changes()) >= before + 2)
    assert [one.value for one in watch.changes()[before:]] == ["hold", "none"]


def test_without_the_token_there_are_no_controls(running):
    for token in ("", "?token=guess", "?token=%00" + "x" * 4000):
        running.driver.delete_all_cookies()
        running.open(token)
        assert wait_until(lambda: "no token" in running.text("no-controls"))
        assert running.find("control-pause") is None


HOSTILE = [
    ("GET", "/picture/nobody", {}),
    ("GET", "/picture/stem?as=__import__", {}),
    ("GET", "/picture/stem?channels=0-999999999", {}),
    ("GET", "/picture/stem?channels=99", {}),
    ("GET", "/picture/stem?low=nan&high=nan", {}),
    ("GET", "/picture/..%2f..%2fetc%2fpasswd", {}),
    ("POST", "/picture/stem", {}),
    ("DELETE", "/", {}),
    ("GET", "/no/such/page", {}),
    ("GET", "/_nicegui/../../../../etc/passwd", {}),
    ("GET", "/", {"Host": "evil.example"}),
    ("GET", "/", {"Origin": "http://evil.example"}),
    ("GET", "/_nicegui_ws/socket.io/?EIO=4&transport=polling", {"Origin": "null"}),
    ("POST", "/_nicegui_ws/socket.io/?EIO=4&transport=polling&sid=x", {}),
]


@pytest.mark.parametrize("method, path, headers", HOSTILE, ids=lambda v: str(v)[:40])
def test_a_hostile_request_is_refused(served, method, path, headers):
    connection = http.client.HTTPConnection("127.0.0.1", served[1], timeout=10)
    connection.request(method, path, headers=headers)
    assert 400 <= connection.getresponse().status < 500


def test_a_web_socket_of_another_page_is_refused(served):
    lines = [
        "GET /_nicegui_ws/socket.io/?EIO=4&transport=websocket HTTP/1.1",
        f"Host: 127.0.0.1:{served[1]}", "Origin: http://evil.example", "Upgrade: websocket",
        "Connection: Upgrade", "Sec-WebSocket-Version: 13",
        "Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==", "", "",
    ]  # fmt: skip
    with socket.create_connection(("127.0.0.1", served[1]), 10) as line:
        line.sendall("\r\n".join(lines).encode())
        assert b" 403 " in line.recv(4096).splitlines()[0]


def test_garbage_and_a_client_that_never_reads_stop_nothing(running, served):
    watch, _ = running.observer
    greedy = socket.create_connection(("127.0.0.1", served[1]), 10)
    ask = f"GET /picture/image HTTP/1.1\r\nHost: 127.0.0.1:{served[1]}\r\n\r\n".encode()
    with greedy, socket.create_connection(("127.0.0.1", served[1]), 10) as rude:
        rude.sendall(b"\x16\x03\x01\x00\xff" * 1000)
        greedy.sendall(ask * 100)  # and reads nothing
        begun = watch.frame
        assert wait_until(lambda: (watch.frame or 0) > (begun or 0) + 20)
        seen = running.pixels("image")
        assert wait_until(lambda: running.pixels("image") != seen)


TIP = """
const cell = document.querySelector('[data-name=rollout] .cell.tip[data-node]');
return cell ? [cell.dataset.node, Number(cell.dataset.frame)] : [];
"""
CLICK = """
const cells = document.querySelectorAll(`[data-name=rollout] .cell[data-node='${arguments[0]}']`);
cells[arguments[1]].dispatchEvent(new MouseEvent('click', {bubbles: true}));
"""


def test_the_rollout_view_moves_with_the_frames_and_a_click_lights_a_cone(running):
    _, control = running.observer
    running.open("?panel=rollout")
    assert wait_until(lambda: len(running.driver.find_elements("css selector", ".seen image")) > 5)
    assert control.pause().result().is_done
    # Two frames after the newest image, the first answer to it.
    assert wait_until(lambda: "steer is made of" in running.text("rollout-told"))
    newest = settled(running.frame)

    def tip():
        return running.driver.execute_script(TIP)

    assert wait_until(lambda: tip() == ["steer", newest + 2])
    running.driver.execute_script(CLICK, "image", 3)
    assert wait_until(lambda: tip() == ["image", newest - 5])  # eight frames back is the first
    assert "a frame of image first reaches drive after 2 frames" in running.text("rollout-told")
    running.press("step")
    assert wait_until(lambda: tip() == ["image", newest - 4])


def test_saliency_shows_every_image_that_can_influence_the_answer(running):
    running.open("?panel=saliency")
    images = "[data-name=saliency] img"
    assert wait_until(lambda: len(running.driver.find_elements("css selector", images)) == 14, 60)
    told = running.text("saliency")
    assert "newest:" in told and "-1: none" in told and "drive angular.z" in told


def test_a_draft_s_error_stands_at_its_line_and_the_plan_beside_it(running):
    from selenium.webdriver.common.keys import Keys

    running.open("?panel=design")
    assert wait_until(lambda: "pilot: right" in running.text("design-told"), 60)
    assert "2 frames, 100 ms" in running.text("design-plan")
    editor = running.driver.find_element("css selector", ".cm-content")
    editor.click()
    editor.send_keys(Keys.CONTROL, Keys.HOME)
    editor.send_keys("rate: 3\n")
    assert wait_until(lambda: "unknown key" in running.text("design-told"))
    (wrong,) = running.driver.find_elements("css selector", ".cm-line.wrong")
    assert wrong.text == "rate: 3"
    assert "2 frames, 100 ms" in running.text("design-plan")  # of what was last right


def test_without_the_token_nothing_is_designed(running):
    running.driver.delete_all_cookies()
    running.open("?panel=design")
    assert wait_until(lambda: "open the page with its token" in running.driver.page_source)
    assert running.find("design-text") is None
