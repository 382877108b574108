"""Every call is answered, once, and none holds up another."""

import math
from types import SimpleNamespace

import pytest

pytest.importorskip("rclpy", reason="rclpy is not installed: extra 'ros'")

from rcl_interfaces.srv import ListParameters
from std_srvs.srv import Trigger

from streaming_net_ros.viewer.control import Answer, Control


class Waited:
    def __init__(self):
        self.callbacks, self.given = [], None

    def add_done_callback(self, callback):
        self.callbacks.append(callback)

    def result(self):
        if isinstance(self.given, Exception):
            raise self.given
        return self.given

    def come(self, given):
        self.given = given
        for callback in self.callbacks:
            callback(self)


class Services:
    """A link, its node, and all services of a network, which answer when a law says so."""

    namespace = "/tiny"

    def __init__(self):
        self.ticks, self.endings, self.asked, self.is_ready = [], [], {}, True

    def tick(self, work):
        self.ticks.append(work)

    def on_end(self, work):
        self.endings.append(work)

    def post(self, work):
        work(self)

    def create_client(self, kind, name):
        def call_async(request):
            if name.startswith("broken"):
                raise OverflowError("cannot be encoded")
            return self.asked.setdefault(name, Waited())

        return SimpleNamespace(
            service_is_ready=lambda: self.is_ready,
            call_async=call_async,
            remove_pending_request=lambda waited: None,
        )


@pytest.fixture
def services():
    return Services()


@pytest.mark.parametrize("value", [2**70, -(2**63) - 1, "\ud800", "a\0b", math.inf, math.nan])
def test_a_value_that_ros_cannot_carry_is_refused_at_once(services, value):
    answer = Control(services).set("stem", "gain", value).result(0)
    assert not answer.is_done and answer.text.startswith("gain: ")
    assert not services.asked


def test_a_request_that_cannot_be_sent_settles_its_own_call_and_no_other_waits_for_it(services):
    services.is_ready = False
    control = Control(services)
    broken, other = control.trigger("broken", "reset"), control.trigger("stem", "reset")
    services.is_ready = True
    services.ticks[0](services)
    assert "cannot be encoded" in broken.result(0).text
    services.asked["stem/reset"].come(Trigger.Response(success=True, message="done"))
    assert other.result(0) == Answer(True, "done")


@pytest.mark.parametrize("given", [None, RuntimeError("torn"), SimpleNamespace()])
def test_an_answer_that_cannot_be_read_is_an_answer(services, given):
    asked = Control(services).trigger("stem", "reset")
    services.asked["stem/reset"].come(given)
    assert not asked.result(0).is_done


@pytest.mark.parametrize("given", [None, RuntimeError("torn"), SimpleNamespace()])
def test_parameters_that_cannot_be_read_are_none(services, given):
    asked = Control(services).parameters_of("stem")
    services.asked["stem/list_parameters"].come(given)
    assert asked.result(0) == ()


def test_parameters_that_are_described_otherwise_than_asked_are_none(services):
    asked = Control(services).parameters_of("stem")
    listed = ListParameters.Response()
    listed.result.names = ["gain"]
    services.asked["stem/list_parameters"].come(listed)
    services.asked["stem/describe_parameters"].come(SimpleNamespace(descriptors=[3]))
    assert asked.result(0) == ()


def test_an_answer_to_a_page_that_has_gone_or_that_comes_twice_is_nobodys_trouble(services):
    control = Control(services)
    gone, twice = control.trigger("stem", "reset"), control.trigger("head", "reset")
    chained = control.set_then_trigger("stem", "snapshot", "there", "save_snapshot")
    chained.cancel()
    gone.cancel()
    for name in ("stem/reset", "head/reset", "head/reset"):
        services.asked[name].come(Trigger.Response(success=True, message=name))
    done = SimpleNamespace(result=SimpleNamespace(successful=False, reason="no"))
    services.asked["stem/set_parameters_atomically"].come(done)
    assert twice.result(0) == Answer(True, "head/reset")


def test_calls_that_wait_are_answered_when_the_viewer_ends(services):
    control = Control(services)
    asked = control.parameters_of("stem"), control.set_then_trigger("stem", "a", 1, "reset")
    for work in services.endings:
        work()
    assert asked[0].result(0) == () and not asked[1].result(0).is_done
