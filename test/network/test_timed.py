"""Networks in virtual time: real answers at stated times."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from networks import TINY
from streaming_net_ros.errors import ParameterError
from streaming_net_ros.network import (
    OfflineRollout,
    StampedState,
    StreamingNetwork,
    TimedPasses,
    TimedRollout,
    parse_network,
    pass_schedule,
    rollout_of,
)

MS = 1_000_000
RATE_HZ = 20.0
PERIOD_NS = 50 * MS
START_NS = 20_000 * PERIOD_NS
SPEC = parse_network(TINY)
GROUPS = [group.name for group in SPEC.groups]  # stem, memory, deep, head


def network(choice="streaming"):
    return StreamingNetwork(SPEC, rollout_of(SPEC, choice)).eval()


def image(number):
    generator = torch.Generator().manual_seed(number)
    return torch.randint(0, 256, (1, 3, 12, 16), dtype=torch.uint8, generator=generator)


def driven(timed, images=10, period_ns=PERIOD_NS):
    answers = []
    for number in range(images):
        now_ns = START_NS + number * period_ns
        answers += timed.play(now_ns)
        timed.see(now_ns, now_ns, {"image": image(number)})
    answers += timed.play(START_NS + images * period_ns + 10 * PERIOD_NS)
    return [answer for answer in answers if answer.output == "drive"]


def work(**ms):
    return {group: ms.get(group, 10) * MS for group in GROUPS}


def test_a_streaming_answer_comes_after_the_work_on_the_shortest_path():
    timed = TimedRollout(network(), work(stem=7, head=5), rate_hz=RATE_HZ)
    for answer in driven(timed)[:10]:
        assert answer.published_ns - answer.origin.captured_ns == 12 * MS


def test_its_answers_are_those_of_the_offline_rollout_while_nothing_is_held():
    built = network()
    answers = driven(TimedRollout(built, work(), rate_hz=RATE_HZ))[:10]
    offline = OfflineRollout(built)
    wanted = {}
    for number in range(10):
        given_ = {"image": StampedState(image(number), START_NS + number * PERIOD_NS)}
        for done in offline.feed(number, given_):
            if done.group == "head":
                wanted[done.state.captured_ns] = done.state.batch
    assert len(answers) == 10
    for answer in answers:
        assert torch.equal(answer.state, wanted[answer.origin.captured_ns])
        assert answer.origin.held == 0


def test_passes_answer_after_the_whole_network_and_skip_images_meanwhile():
    timed = TimedPasses(network("sequential"), work(stem=40, memory=40, deep=40, head=40))
    answers = driven(timed)
    assert timed.pass_ns == 160 * MS
    starts = [0, 160, 320, 480]  # at once on the newest image that has come
    shown = [0, 150, 300, 450]
    for answer, begin, captured in zip(answers, starts, shown, strict=False):
        assert answer.published_ns == START_NS + (begin + 160) * MS
        assert answer.origin.captured_ns == START_NS + captured * MS


def test_passes_compute_what_a_step_computes_on_the_images_they_take():
    built = network("sequential")
    answers = driven(TimedPasses(built, work(stem=100)))
    state = built.init_state()
    for answer in answers:
        number = (answer.origin.captured_ns - START_NS) // PERIOD_NS
        with torch.inference_mode():
            state, responses = built.step(state, {"image": image(number)})
        assert torch.equal(answer.state, responses["drive"])


def test_an_overload_holds_and_skips_and_still_answers_at_the_rate():
    timed = TimedRollout(network(), work(deep=3 * 50), rate_hz=RATE_HZ)
    answers = driven(timed, images=40)
    live = [a for a in answers if a.published_ns <= START_NS + 40 * PERIOD_NS]
    assert len(live) >= 38 and timed.held["head"] > 15
    assert timed.computed["deep"] < 20 < timed.computed["stem"]


@settings(max_examples=30, deadline=None)
@given(
    st.lists(st.integers(0, 200), min_size=4, max_size=4),
    st.integers(0, 4),
    st.integers(10, 90),
    st.sampled_from(["rollout", "passes"]),
)
def test_answers_come_in_order_and_never_before_their_image(works, workers, period_ms, kind):
    times = dict(zip(GROUPS, (ms * MS for ms in works), strict=True))
    if kind == "rollout":
        timed = TimedRollout(network(), times, rate_hz=RATE_HZ, workers=workers)
    else:
        timed = TimedPasses(network("sequential"), times, workers=workers)
    answers = driven(timed, images=12, period_ns=period_ms * MS)
    published = [answer.published_ns for answer in answers]
    assert published == sorted(published)
    assert all(a.published_ns >= a.origin.captured_ns for a in answers)


def test_groups_of_a_pass_that_do_not_need_each_other_share_the_workers():
    spec = parse_network(
        {
            "name": "fork", "rate_hz": 20,
            "inputs": {"x": {"type": "vector", "topic_type": "std_msgs/msg/Float64",
                             "fields": ["data"]}},
            "groups": [{"name": n, "edges": [{"source": s} for s in heard]} for n, heard in
                       {"a": ["x"], "b": ["x"], "c": ["a", "b"]}.items()],
            "outputs": {"c": {"group": "c"}},
        }
    )  # fmt: skip
    built = StreamingNetwork(spec, rollout_of(spec, "sequential"))
    times = {"a": 10, "b": 20, "c": 5}
    assert pass_schedule(built, times) == {"a": 10, "b": 20, "c": 25}
    assert pass_schedule(built, times, workers=1) == {"a": 10, "b": 30, "c": 35}


@pytest.mark.parametrize(
    "times", [{}, {**work(), "other": 1}, {**work(), "stem": -1}], ids=["none", "other", "minus"]
)
def test_a_compute_time_that_is_missing_unknown_or_negative_is_refused(times):
    for kind in (TimedRollout, TimedPasses):
        with pytest.raises(ParameterError, match="compute time"):
            kind(network("sequential"), times)
