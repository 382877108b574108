"""What is chosen follows from the figures; what is measured is what the rollout hears."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from networks import GOLDEN_TOY, TINY
from streaming_net_ros.network import StreamingNetwork, measuring, parse_network
from streaming_net_ros.network.measuring import (
    LIGHT_MS,
    PLAIN,
    WORTH_IT,
    Figure,
    GroupFigures,
    Way,
    assign_cores,
    bound_hz,
    measure_group,
    rollout_inputs,
    ways,
)
from streaming_net_ros.network.runner import Runner

costs = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.tuples(st.floats(0.01, 100), st.integers(1, 3)),
    min_size=1,
)
some_cores = st.lists(st.integers(0, 9), min_size=1, max_size=4, unique=True)


def group(**by_way):
    """Figures by backend and threads ("compile2"): (ms, deviation)."""
    named = {Way(name[:-1], int(name[-1])): Figure(*told) for name, told in by_way.items()}
    return GroupFigures("stem", named)


def test_the_fastest_way_within_the_tolerance_is_chosen():
    measured = group(eager1=(2.0, 0), compile1=(1.0, 1e-6), openvino1=(0.5, 1e-2))
    assert measured.chosen(1e-4) == Way("compile", 1)
    assert measured.chosen(1e-1) == Way("openvino", 1)
    assert measured.chosen(1e-7) == PLAIN


def test_a_gain_under_five_percent_is_worth_no_thread_and_no_backend():
    assert group(eager1=(1.0, 0), compile1=(0.96, 0)).chosen(1) == PLAIN
    assert group(eager1=(1.0, 0), eager2=(0.96, 0)).chosen(1) == PLAIN
    assert group(eager1=(1.0, 0), eager2=(0.6, 0), compile1=(0.62, 0)).chosen(1) == Way(
        "compile", 1
    )


def test_what_holds_the_interpreter_is_chosen_for_light_groups_only():
    """Alone it is the fastest; the other groups of its process would wait for it."""

    def measured(ms):
        return GroupFigures(
            "stem",
            {PLAIN: Figure(2 * ms, 0), Way("compile", 1): Figure(ms, 0, holds_interpreter=True)},
        )

    assert measured(LIGHT_MS / 2).chosen(1e-4) == Way("compile", 1)
    assert measured(2 * LIGHT_MS).chosen(1e-4) == PLAIN


@pytest.mark.parametrize("backend", ["compile", "half"])
def test_what_holds_the_interpreter_is_part_of_the_figures(backend, monkeypatch):
    """The group itself computes in place of the backend: nothing is compiled."""
    monkeypatch.setattr(
        measuring, "make_runner", lambda group, given, backend, threads: Runner(group)
    )
    network = StreamingNetwork(parse_network(TINY)).eval()
    way = Way(backend, 1)
    told = measure_group(
        network, "head", rollout_inputs(network)["head"], [PLAIN, way], seconds_per=0.01
    )
    assert told.by_way[way].holds_interpreter == (backend == "compile")
    assert not told.by_way[PLAIN].holds_interpreter


@given(st.dictionaries(
    st.sampled_from(ways(["eager", "compile", "onnxruntime"], [1, 2])[1:]),
    st.builds(Figure, st.floats(0.01, 10), st.floats(0, 1)),
), st.floats(1e-6, 1))  # fmt: skip
def test_no_choice_is_slower_than_plain_or_deviates_more_than_allowed(others, tolerance):
    measured = GroupFigures("stem", {PLAIN: Figure(1.0, 0.0), **others})
    chosen = measured.by_way[measured.chosen(tolerance)]
    assert chosen.deviation <= tolerance
    within = [f.median_ms for f in measured.by_way.values() if f.deviation <= tolerance]
    assert chosen.median_ms <= min(within) / WORTH_IT


def test_the_bound_is_the_slowest_group_or_all_cores():
    assert bound_hz({"a": (10, 1), "b": (1, 1)}, 2) == pytest.approx(100)
    assert bound_hz({"a": (10, 1), "b": (10, 1), "c": (10, 1)}, 2) == pytest.approx(1000 / 15)
    assert bound_hz({"a": (10, 2), "b": (10, 2)}, 2) == pytest.approx(50)  # threads take cores


@given(costs, some_cores)
def test_every_group_gets_as_many_cores_as_it_has_threads_and_no_core_gets_far_too_much(
    costs_ms, cores
):
    assigned, loads = assign_cores(costs_ms, cores)
    assert assigned.keys() == costs_ms.keys() and loads.keys() == set(cores)
    for name, own in assigned.items():
        assert len(set(own)) == len(own) == min(costs_ms[name][1], len(cores))
    told = {core: sum(costs_ms[n][0] for n, own in assigned.items() if core in own)
            for core in cores}  # fmt: skip
    assert loads == pytest.approx(told)
    # Nobody is given to a core while another one has less to do.
    assert max(loads.values()) <= min(loads.values()) + max(c for c, _ in costs_ms.values()) + 1e-9


def test_groups_are_measured_on_what_they_hear_in_a_rollout():
    network = StreamingNetwork(parse_network(TINY)).eval()
    heard = rollout_inputs(network)
    assert heard.keys() == set(network.groups)
    for name, found in heard.items():
        assert all(set(states) == set(network.group(name).sources) for states in found)
        assert not torch.equal(*(states[network.group(name).sources[0]] for states in found[:2]))
    assert heard["stem"][0]["image"].dtype is torch.uint8


def test_a_measurement_tells_its_steps_and_what_does_not_work():
    network = StreamingNetwork(parse_network(GOLDEN_TOY)).eval()
    steps = []
    among = ways(["eager"], [1])
    told = measure_group(network, "a", [], [*among, Way("compile", 1)], seconds_per=0.01,
                         on_step=steps.append)  # fmt: skip
    assert told.by_way[PLAIN].median_ms > 0 and told.by_way[PLAIN].deviation == 0
    assert told.failures == {Way("compile", 1): "the group never hears all of its sources at once"}
    assert steps == ["a: making eager", "a: making compile", "a: measuring"]
