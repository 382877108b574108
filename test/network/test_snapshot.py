"""A group is put away in a file, and taken up by another process."""

from __future__ import annotations

import copy

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import save_file

from networks import TINY
from streaming_net_ros.errors import SnapshotError
from streaming_net_ros.frames import Mailbox, Origin
from streaming_net_ros.network import StreamingNetwork, as_state, parse_network, rules_of
from streaming_net_ros.network.snapshot import (
    read_snapshot,
    read_source,
    restore_weights,
    save_snapshot,
    save_source,
    snapshot_path,
)
from streaming_net_ros.network.weights import copy_weights


def built(content=TINY, members=None, seed=0):
    return StreamingNetwork(parse_network(content), members=members, seed=seed).eval()


def lived(network, group):
    """A mailbox of a group after some frames of the network's real states."""
    rule = rules_of(network.spec, network.rollout)[group]
    box = Mailbox(rule)
    generator = torch.Generator().manual_seed(1)
    for frame in range(4):
        for source in rule.delays:
            if source != group:
                shape = (1, *network.shapes[source])
                state = as_state(torch.rand(shape, generator=generator))
                is_image = source in network.spec.inputs
                dtype = torch.uint8 if is_image else getattr(torch, network.spec.state_dtype)
                state = (state * 255).to(dtype)
                first = rule.first_frames[source]
                box.arrive(source, frame + first, state, Origin(frame, frame))
        while (job := box.next_job()) is not None:
            with torch.inference_mode():
                box.finish(
                    job.frame, network.group(group)({s: g.state for s, g in job.inputs.items()})
                )
    return rule, box


def same(one, other):
    """Are two memories of the same states?"""
    left, right = (
        [
            (name, at, given.frame, given.origin, given.state)
            for name, box in memory.running.sources.items()
            for at, given in sorted(box.states.items())
        ]
        for memory in (one, other)
    )
    return [row[:-1] for row in left] == [row[:-1] for row in right] and all(
        torch.equal(a[-1], b[-1]) and a[-1].stride() == b[-1].stride()
        for a, b in zip(left, right, strict=True)
    )


@pytest.mark.parametrize("group", ["stem", "memory", "deep", "head"])
@pytest.mark.parametrize("dtype", ["float32", "float16"])
def test_what_was_saved_is_read_back(group, dtype, tmp_path):
    network = built({**copy.deepcopy(TINY), "state_dtype": dtype})
    network.group(group).noise = 0.25
    rule, box = lived(network, group)
    box.lesions.set("hold", next(iter(rule.delays)))
    path = snapshot_path(tmp_path, group)
    save_snapshot(path, network, rule, box.memory(), 3)
    other = built({**copy.deepcopy(TINY), "state_dtype": dtype}, members=[group], seed=5)
    given = read_snapshot(path, other, rule)
    assert given.image_frame == 3 and given.numbers["noise"] == 0.25
    assert same(given.memory, box.memory()) and given.memory.lesions == box.memory().lesions
    copy_weights(given.weights)
    own = network.group(group).state_dict()
    assert all(torch.equal(own[n], t) for n, t in other.group(group).state_dict().items())


def test_states_that_are_views_of_one_memory_are_saved(tmp_path):
    content = copy.deepcopy(TINY)
    content["groups"][0]["apply"] = ["ReLU", {"AdaptiveAvgPool2d": {"output_size": 1}}]
    content["groups"][1]["edges"] = [{"source": "stem", "layers": ["Flatten"]}]
    content["groups"][1]["apply"] = []
    content["groups"] = content["groups"][:2]
    content["groups"][0]["edges"] = content["groups"][0]["edges"][:1]
    content["outputs"] = {"out": {"group": "memory"}}
    network = built(content)
    rule, box = lived(network, "memory")
    save_snapshot(snapshot_path(tmp_path, "memory"), network, rule, box.memory(), 3)
    assert same(
        read_snapshot(snapshot_path(tmp_path, "memory"), network, rule).memory, box.memory()
    )


def sharing():
    content = copy.deepcopy(TINY)
    conv = {"Conv2d": {"out_channels": 8, "kernel_size": 3, "padding": 1}}
    content["shared"] = {"twice": [conv]}
    for group in content["groups"][1:3]:
        group["edges"][0]["layers"] = [{"shared": "twice"}]
    return content


def test_a_part_fits_in_whatever_process_its_group_runs(tmp_path):
    whole = built(sharing())
    for group in ("stem", "deep"):
        rule, box = lived(whole, group)
        save_snapshot(snapshot_path(tmp_path, group), whole, rule, box.memory(), 3)
        alone = built(sharing(), members=[group], seed=3)
        given = read_snapshot(snapshot_path(tmp_path, group), alone, rule)
        names = {n.split(".")[0] for n in _tensors(snapshot_path(tmp_path, group))}
        assert names == {"state", "weights"} and same(given.memory, box.memory())


def _tensors(path):
    with safe_open(path, framework="pt") as file:
        return {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118


def _header(path):
    with safe_open(path, framework="pt") as file:
        return file.metadata()


@pytest.fixture
def saved(tmp_path):
    network = built()
    rule, box = lived(network, "memory")
    path = snapshot_path(tmp_path, "memory")
    save_snapshot(path, network, rule, box.memory(), 3)
    return network, rule, path


def spoiled(path, change):
    tensors, header = _tensors(path), _header(path)
    header = change(tensors, header) or header
    save_file(tensors, path, header)


def lose_weight(tensors, header):
    tensors.pop(next(name for name in tensors if name.startswith("weights.")))


def lose_state(tensors, header):
    tensors.pop("state.0")


def double(tensors, header):
    tensors["state.0"] = tensors["state.0"].double()


def poison(tensors, header):
    name = next(name for name in tensors if name.startswith("weights."))
    tensors[name] = torch.full_like(tensors[name], torch.nan)


def rename(tensors, header):
    return {"snapshot": header["snapshot"].replace('"noise"', '"fog"')}


def strange(tensors, header):
    return {"snapshot": header["snapshot"].replace('"skipped"', '"slipped"')}


@pytest.mark.parametrize(
    "change", [lose_weight, lose_state, double, poison, rename, strange], ids=lambda c: c.__name__
)
def test_a_part_that_is_not_whole_is_refused(change, saved):
    network, rule, path = saved
    spoiled(path, change)
    with pytest.raises(SnapshotError):
        read_snapshot(path, network, rule)


def test_a_part_of_another_group_network_or_rollout_is_refused(saved):
    network, rule, path = saved
    rules = rules_of(network.spec, network.rollout)
    with pytest.raises(SnapshotError, match="another group"):
        read_snapshot(path, network, rules["head"])
    with pytest.raises(SnapshotError, match="another network"):
        read_snapshot(path, built({**copy.deepcopy(TINY), "rate_hz": 31}), rule)
    from streaming_net_ros.network import rollout_of

    sequential = rules_of(network.spec, rollout_of(network.spec, "sequential"))["memory"]
    with pytest.raises(SnapshotError, match="another rollout"):
        read_snapshot(path, network, sequential)


def test_the_source_s_part_is_read_back_and_refused_for_another_rollout(tmp_path):
    from streaming_net_ros.network import rollout_of

    network = built()
    save_source(tmp_path, network.spec, network.rollout, 7, {})
    assert read_source(tmp_path, network.spec, network.rollout) == (7, {})
    with pytest.raises(SnapshotError, match="another rollout"):
        read_source(tmp_path, network.spec, rollout_of(network.spec, "sequential"))


def test_weights_alone_are_restored_before_anything_is_made_of_them(saved, tmp_path):
    network, _, path = saved
    other = built(members=["memory"], seed=9)
    restore_weights(path.parent, other)
    own = network.group("memory").state_dict()
    assert all(torch.equal(own[n], t) for n, t in other.group("memory").state_dict().items())
    with pytest.raises(SnapshotError, match="cannot read"):
        restore_weights(path.parent, built(members=["head"]))
