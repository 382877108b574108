from __future__ import annotations

import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file

from streaming_net_ros.errors import ParameterError, WeightsError
from streaming_net_ros.network import (
    StreamingNetwork,
    load_weights,
    parse_network,
    save_weights,
)


@pytest.fixture
def saved(tiny, tmp_path):
    spec = parse_network(tiny)
    network = StreamingNetwork(spec, seed=3)
    path = tmp_path / "tiny.safetensors"
    save_weights(network, path)
    return spec, network, path


def test_weights_come_back_bit_for_bit(saved):
    spec, network, path = saved
    other = StreamingNetwork(spec, seed=4)
    load_weights(other, path)
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name])


def test_a_process_builds_and_loads_only_its_own_groups(saved):
    spec, network, path = saved
    part = StreamingNetwork(spec, members=["deep"], seed=9)
    load_weights(part, path)
    assert list(part.groups) == ["deep"]
    mine, whole = part.group("deep").state_dict(), network.group("deep").state_dict()
    assert all(torch.equal(mine[name], whole[name]) for name in mine)


def test_weights_drawn_by_seed_are_the_same_in_every_process(tiny):
    spec = parse_network(tiny)
    whole = StreamingNetwork(spec, seed=5).group("memory").state_dict()
    alone = StreamingNetwork(spec, members=["memory"], seed=5).group("memory").state_dict()
    assert all(torch.equal(whole[name], alone[name]) for name in whole)
    other = StreamingNetwork(spec, seed=6).group("memory").state_dict()
    assert not all(torch.equal(whole[name], other[name]) for name in whole)


def shared_network(tiny):
    layer = {"shared": "same"}
    tiny["shared"] = {"same": [{"Conv2d": {"out_channels": 8, "kernel_size": 3, "padding": 1}}]}
    tiny["groups"][1]["edges"][0]["layers"] = [layer]
    tiny["groups"][1]["edges"][1]["layers"] = [layer, "ReLU"]
    tiny["groups"][2]["edges"][0]["layers"] = [layer]
    return parse_network(tiny)


def test_shared_stacks_have_one_set_of_weights_however_often_they_are_used(tiny, tmp_path):
    spec = shared_network(tiny)
    network = StreamingNetwork(spec)
    assert len(list(network.shared.parameters())) == 2
    state = network.init_state()
    image = torch.rand(1, 3, 12, 16) * 255
    outputs = []
    for _ in range(6):
        state, out = network.step(state, {"image": image})
        outputs.append(out["features"])
    outputs[-1].sum().backward()
    assert network.shared["same"][0].weight.grad is not None
    path = tmp_path / "w.safetensors"
    save_weights(network, path)
    assert {n for n in load_file(path) if n.startswith("shared.")} == {
        "shared.same.0.weight", "shared.same.0.bias",
    }  # fmt: skip
    part = StreamingNetwork(spec, members=["deep"], seed=8)
    load_weights(part, path)
    assert torch.equal(part.shared["same"][0].weight, network.shared["same"][0].weight)
    assert not list(StreamingNetwork(spec, members=["head"]).shared)


def broken_files(path):
    tensors = load_file(path)
    name = "deep.edges.memory.0.weight"

    def without():
        return {n: t for n, t in tensors.items() if n != name}

    def with_(tensor):
        return {**tensors, name: tensor}

    bad = tensors[name].clone()
    bad[0, 0, 0, 0] = float("nan")
    yield "missing tensor", without(), "is missing"
    yield "other shape", with_(torch.zeros(8, 8, 1, 1)), "tensor does not fit"
    yield "other type", with_(tensors[name].double()), "tensor does not fit"
    yield "nan", with_(bad), "NaN or infinity"
    yield "unknown group", {**tensors, "tail.after.0.bias": torch.zeros(2)}, "tail.after.0.bias"
    yield "unknown layer", {**tensors, "deep.edges.memory.7.bias": torch.zeros(2)}, "is unknown"


def test_weights_that_do_not_fit_are_refused_by_name(saved, tmp_path):
    spec, _, path = saved
    for number, (_, tensors, message) in enumerate(broken_files(path)):
        broken = tmp_path / f"{number}.safetensors"
        save_file(tensors, broken)
        network = StreamingNetwork(spec, seed=1)
        before = {n: t.clone() for n, t in network.state_dict().items()}
        with pytest.raises(WeightsError, match=message) as error:
            load_weights(network, broken)
        assert str(broken) in str(error.value)
        assert all(torch.equal(before[n], t) for n, t in network.state_dict().items())


@pytest.mark.parametrize("content", [b"", b"garbage" * 100, pickle.dumps({"a": 1}), b"\xff" * 64])
def test_a_file_that_is_no_safetensors_is_refused(saved, tmp_path, content):
    _, network, _ = saved
    path = tmp_path / "weights.safetensors"
    path.write_bytes(content)
    with pytest.raises(WeightsError, match="cannot read weights"):
        load_weights(network, path)


def test_missing_files_and_folders_are_told(saved, tmp_path):
    _, network, _ = saved
    with pytest.raises(WeightsError, match="cannot read weights"):
        load_weights(network, tmp_path / "none.safetensors")
    with pytest.raises(WeightsError, match="cannot write weights"):
        save_weights(network, tmp_path / "none" / "w.safetensors")


def test_a_member_that_is_no_group_is_refused(tiny):
    with pytest.raises(ParameterError, match="no such group"):
        StreamingNetwork(parse_network(tiny), members=["tail"])
