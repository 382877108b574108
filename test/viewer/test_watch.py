"""What is seen and changed of a running network: subscriptions follow looks, calls answer."""

from __future__ import annotations

import time
from contextlib import contextmanager

import numpy as np
import pytest

from harness import composed, wait_until
from streaming_net_ros.network import read_network_file

pytestmark = pytest.mark.ros


@contextmanager
def watched(path, namespace, **settings):
    """A running network, and a viewer's watch, control and gallery of it."""
    from streaming_net_ros.viewer.control import Control
    from streaming_net_ros.viewer.gallery import Gallery
    from streaming_net_ros.viewer.link import Link
    from streaming_net_ros.viewer.watch import Watch

    link = Link(namespace)
    watch = Watch(link, read_network_file(path))
    control = Control(link)
    with composed(path, namespace, **settings) as (container, robot), link:
        yield container, robot, watch, control, Gallery(watch)


def seen(robot, watch, condition, look=True):
    """Let the camera see until a condition holds."""

    def step():
        if look:
            robot.look()
        robot.host.spin(lambda: False, 0.02)
        return condition()

    return wait_until(step)


def test_reading_is_looking_and_what_nobody_reads_is_left(
    write_network, tiny, namespace, monkeypatch
):
    from streaming_net_ros.viewer import watch as module

    monkeypatch.setattr(module, "LINGER_S", 0.5)
    with watched(write_network(tiny), namespace) as (_, robot, watch, _, _):
        assert watch.looked_at() == []
        assert seen(robot, watch, lambda: watch.state("stem") is not None)
        assert watch.looked_at() == ["state/stem/throttled"]
        state = watch.state("stem")
        assert state.values.shape == watch.formats["stem"].shape
        assert wait_until(lambda: watch.looked_at() == [])
        assert robot.node.count_subscribers(f"/{namespace}/state/stem/throttled") == 0


def test_the_state_that_is_seen_is_the_one_that_offline_computes(write_network, tiny, namespace):
    import torch

    from streaming_net_ros.network import StreamingNetwork

    tiny["groups"][0]["edges"].pop()  # 'stem' hears nothing but the image
    path = write_network(tiny)
    with watched(path, namespace) as (_, robot, watch, _, _):
        found = {}

        def both():
            """An image and the state of 'stem' that it made, as far as both were let through."""
            stems = {one.origin.image_frame: one for one in watch.states("stem")}
            found.update({one: stems.get(one.frame) for one in watch.states("image")})
            return any(found.values())

        assert seen(robot, watch, both)
        image, stem = next((one, other) for one, other in found.items() if other is not None)
        network = StreamingNetwork(read_network_file(path), seed=0).eval()
        given = {"image": torch.from_numpy(np.array(image.values))[None]}
        state = network.init_state()
        with torch.inference_mode():
            for _ in range(1 + stem.frame - image.frame):
                state, _ = network.step(state, given)
        assert np.array_equal(state.history["stem"][0][0].numpy(), stem.values)


def test_a_picture_is_rendered_once_for_everybody(write_network, tiny, namespace):
    from streaming_net_ros.viewer.pictures import Options

    with watched(write_network(tiny), namespace) as (_, robot, watch, _, gallery):
        assert seen(robot, watch, lambda: gallery.picture("stem", Options()))
        robot.host.spin(lambda: False, 0.5)  # nobody feeds it: what is under way comes
        first = gallery.picture("stem", Options())
        rendered = gallery.rendered
        for _ in range(20):
            assert gallery.picture("stem", Options()) is first
        assert gallery.rendered == rendered
        assert gallery.picture("stem", Options("mean")).file != first.file


def test_answers_come_with_the_frame_of_their_image(write_network, tiny, namespace):
    with watched(write_network(tiny), namespace) as (_, robot, watch, _, _):
        told = []

        def look():
            told[:] = watch.responses("drive")
            return len([one for one in told if one.image_frame is not None]) > 3

        assert seen(robot, watch, look)
        frames = [one.image_frame for one in told if one.image_frame is not None]
        assert frames == sorted(set(frames))


def test_pause_and_a_lesion_are_asked_for_and_told(write_network, tiny, namespace):
    with watched(write_network(tiny), namespace) as (_, robot, watch, control, _):
        robot.look(5)
        assert robot.hears(4)

        def settled(asked):
            assert robot.host.spin(asked.done, 10)
            return asked.result()

        answer = settled(control.set("stem", "lesion", "hold"))
        assert answer.is_done, answer
        assert seen(robot, watch, watch.changes)
        (change,) = watch.changes()
        assert (change.node, change.parameter, change.value) == ("stem", "lesion", "hold")
        refused = settled(control.set("stem", "lesion", "explode"))
        assert not refused.is_done and "explode" in refused.text
        not_a_number = control.set("stem", "edge.image.gain", float("nan")).result(1)
        assert not not_a_number.is_done
        found = {one.name: one for one in settled(control.parameters_of("stem"))}
        assert found["lesion"].value == "hold"
        assert found["lesion"].choices == ("none", "hold", "silence")
        paused = settled(control.pause())
        assert paused.is_done and "paused" in paused.text


def test_a_network_that_is_not_there_is_said_in_time(namespace, tiny, write_network):
    from streaming_net_ros.viewer.control import Control
    from streaming_net_ros.viewer.link import Link
    from streaming_net_ros.viewer.watch import Watch

    link = Link(namespace)
    watch, control = Watch(link, read_network_file(write_network(tiny))), Control(link, 0.5)
    with link:
        begun = time.monotonic()
        answer = control.pause().result(20)
        assert not answer.is_done and "is the network there?" in answer.text
        assert control.parameters_of("stem").result(20) == ()
        assert time.monotonic() - begun > 0.5  # and not at once: it may be on its way
        assert not watch.is_present and watch.frame is None and watch.state("stem") is None
