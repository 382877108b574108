"""What can be changed of a group between two frames."""

from __future__ import annotations

import copy

import pytest

from networks import TINY
from streaming_net_ros.errors import ParameterError, WeightsError
from streaming_net_ros.network import StreamingNetwork, parse_network
from streaming_net_ros.network.adjust import Adjustable, way_back


def network(*layers):
    content = copy.deepcopy(TINY)
    content["groups"][-1]["apply"] = list(layers)
    return StreamingNetwork(parse_network(content)).eval()


def test_numbers_are_gains_noise_and_the_scalars_that_layers_use():
    built = network({"LeakyReLU": {"negative_slope": 0.3}}, {"Dropout": {"p": 0.5}})
    assert Adjustable(built, "head").numbers() == {
        "edge.stem.gain": 1.0, "edge.deep.gain": 1.0, "noise": 0.0,
        "scalar.apply.0.negative_slope": 0.3,
    }  # fmt: skip


def test_a_scalar_without_end_cannot_be_changed_and_is_no_error():
    built = network({"Hardtanh": {"min_val": -1.0, "max_val": float("inf")}})
    assert set(Adjustable(built, "head").numbers()) >= {"scalar.apply.0.min_val"}
    assert "scalar.apply.0.max_val" not in Adjustable(built, "head").numbers()


def test_a_change_takes_effect_when_it_is_applied_and_a_gain_of_one_is_none():
    built = network({"LeakyReLU": {"negative_slope": 0.3}})
    head = Adjustable(built, "head")
    back = way_back(built, "head")
    for name, value in (
        ("edge.stem.gain", 2),
        ("noise", 0.5),
        ("scalar.apply.0.negative_slope", 1),
    ):
        change = head.checked(name, value)
        assert head.numbers()[name] != value
        change.apply()
        assert head.numbers()[name] == value
    head.checked("edge.stem.gain", 1.0).apply()
    assert built.group("head").gains == {}
    back()
    assert head.numbers()["noise"] == 0.0
    assert head.numbers()["scalar.apply.0.negative_slope"] == 0.3


@pytest.mark.parametrize(
    ("name", "value"),
    [("noise", -1.0), ("noise", float("inf")), ("edge.stem.gain", "much"), ("edge.image.gain", 1)],
)
def test_what_is_no_such_number_is_refused(name, value):
    with pytest.raises(ParameterError):
        Adjustable(network(), "head").checked(name, value)


def test_weights_that_are_none_are_refused(tmp_path):
    (tmp_path / "none.safetensors").write_bytes(b"no weights")
    with pytest.raises(WeightsError, match="cannot read weights"):
        Adjustable(network(), "head").checked("weights", str(tmp_path / "none.safetensors"))
