"""The tuning file says what is wrong with it, and no choice of it is trusted unchecked."""

from __future__ import annotations

import pytest
import torch
import yaml

from networks import TINY
from streaming_net_ros.errors import RunError, StreamingNetError
from streaming_net_ros.frames.ledger import Tuned
from streaming_net_ros.network import StreamingNetwork, parse_network, tuning
from streaming_net_ros.network.backends import make_runner
from streaming_net_ros.network.runner import Runner
from streaming_net_ros.network.tuning import (
    Tuning,
    deviation,
    example_inputs,
    read_tuning,
    this_machine,
    tuned_runner,
    write_tuning,
)

SPEC = parse_network(TINY)
NETWORK = StreamingNetwork(SPEC).eval()
FILE = {
    "network": "tiny",
    "machine": {"processor": "a processor", "cores": 2, "torch": "2.0"},
    "tolerance": 1e-4,
    "groups": {
        "stem": {"backend": "compile", "torch_threads": 2, "cores": [0, 1], "eager_ms": 0.5,
                 "chosen_ms": 0.25, "deviation": 1e-7},
        "head": {"backend": "eager", "cores": [1]},
    },
}  # fmt: skip


@pytest.fixture
def written(tmp_path):
    def write(content):
        path = tmp_path / "tiny.tuning.yaml"
        path.write_text(content if isinstance(content, str) else yaml.safe_dump(content))
        return path

    return write


def test_a_tuning_file_comes_back_as_it_was_written(tmp_path):
    told = Tuning.model_validate(FILE)
    write_tuning(told, tmp_path / "one.yaml", "streaming-net tune tiny")
    assert read_tuning(tmp_path / "one.yaml", SPEC) == told
    assert (tmp_path / "one.yaml").read_text().startswith("# streaming-net tune tiny\n")


def changed(place, value):
    content = yaml.safe_load(yaml.safe_dump(FILE))
    *path, last = place
    inner = content
    for key in path:
        inner = inner[key]
    inner[last] = value
    return content


BAD = {
    "an unknown group": (changed(["groups", "stm"], {}), "groups.stm: no group 'stm'.*'stem'"),
    "an unknown backend": (changed(["groups", "stem", "backend"], "tvm"),
                           r"groups.stem.backend: .*'eager', 'cuda_graph'.* got tvm"),
    "threads in words": (changed(["groups", "stem", "torch_threads"], "two"),
                         "groups.stem.torch_threads"),
    "no threads": (changed(["groups", "stem", "torch_threads"], 0), "greater than or equal to 1"),
    "one core": (changed(["groups", "stem", "cores"], 1), "groups.stem.cores"),
    "a core below 0": (changed(["groups", "stem", "cores"], [-1]), "groups.stem.cores"),
    "a core twice": (changed(["groups", "stem", "cores"], [1, 1]), "a core is named twice"),
    "an unknown key": (changed(["groups", "stem", "thread"], 1), "unknown key"),
    "an unknown device": (changed(["device"], "tpu"), "device: .*'cpu' or 'cuda'"),
    "no tolerance": (changed(["tolerance"], 0), "tolerance: .*greater than 0"),
    "another network": (changed(["network"], "pilot"), "tuning file of another network"),
    "no mapping": ("[]", "tuning"),
    "no YAML": ("{", "tuning"),
    "nothing": ("network: tiny", "machine: a key is missing"),
}  # fmt: skip


@pytest.mark.parametrize("case", BAD)
def test_what_is_not_right_is_told_with_its_place(case, written):
    content, expected = BAD[case]
    path = written(content)
    with pytest.raises(StreamingNetError, match=expected) as error:
        read_tuning(path, SPEC)
    assert str(path) in str(error.value) and "\n" not in str(error.value)


def test_a_file_that_is_not_there_or_cannot_be_written_is_told(tmp_path):
    with pytest.raises(StreamingNetError, match="cannot read the tuning file"):
        read_tuning(tmp_path / "none.yaml", SPEC)
    with pytest.raises(StreamingNetError, match="cannot write"):
        write_tuning(Tuning.model_validate(FILE), tmp_path / "no" / "one.yaml", "tune")


def test_a_process_may_use_the_cores_of_all_of_its_groups():
    told = Tuning.model_validate(FILE)
    assert told.cores_of(["head"]) == {1}
    assert told.cores_of(["head", "stem"]) == {0, 1}
    assert told.cores_of(["head", "deep"]) is None  # 'deep' may run anywhere
    assert told.cores_of([]) is None


def test_another_machine_is_told():
    told = Tuning.model_validate(FILE)
    assert "torch: measured on 2.0" in told.other_machine()
    assert told.model_copy(update={"machine": this_machine()}).other_machine() == ""


def test_a_file_of_another_device_is_refused_with_a_remedy():
    on_gpu = Tuning.model_validate({**FILE, "device": "cuda"})
    with pytest.raises(
        StreamingNetError,
        match=r"another device: expected cpu, got cuda; "
        r"'streaming-net tune --device cpu' writes one",
    ):
        tuned_runner(NETWORK, "deep", on_gpu)  # fmt: skip
    with pytest.raises(StreamingNetError, match="expected cuda, got cpu"):
        Tuning.model_validate(FILE).check_device(torch.device("cuda:1"))
    on_gpu.check_device(torch.device("cuda:1"))


def test_a_file_of_a_gpu_tells_its_name_and_comes_back(tmp_path):
    machine = {**FILE["machine"], "gpu": "some GPU"}
    told = Tuning.model_validate({**FILE, "device": "cuda", "machine": machine})
    write_tuning(told, tmp_path / "one.yaml", "streaming-net tune tiny --device cuda")
    assert read_tuning(tmp_path / "one.yaml", SPEC) == told
    if not torch.cuda.is_available():
        assert "gpu: measured on some GPU, here none" in told.other_machine()


def by(monkeypatch, compute):
    """Backends of the tuning file compute so."""

    def make(group, examples, backend, torch_threads):
        return Runner(group, compute, examples, torch_threads)

    monkeypatch.setattr(tuning, "make_runner", make)


def eagerly(name):
    group = NETWORK.group(name)
    return lambda states: group(dict(zip(group.sources, states, strict=True)))


@pytest.fixture(autouse=True)
def threads():
    before = torch.get_num_threads()
    yield
    torch.set_num_threads(before)


def test_a_backend_within_the_tolerance_is_used(monkeypatch):
    by(monkeypatch, lambda states: eagerly("stem")(states) * (1 + 5e-5))
    made = tuned_runner(NETWORK, "stem", Tuning.model_validate(FILE))
    assert (made.backend, made.reason, made.used) == ("compile", "", Tuned("compile", 2))
    assert 1e-5 < made.deviation < 1e-4


@pytest.mark.parametrize(
    "spoil",
    [lambda s: s * 1.001, lambda s: s * float("nan"), lambda s: s * float("inf"),
     lambda s: s.double(), lambda s: s[:, :1]],
    ids=["a thousandth", "nan", "infinite", "another dtype", "another shape"],
)  # fmt: skip
def test_a_backend_that_deviates_is_not_used_and_the_reason_is_told(spoil, monkeypatch):
    by(monkeypatch, lambda states: spoil(eagerly("stem")(states)))
    made = tuned_runner(NETWORK, "stem", Tuning.model_validate(FILE))
    assert made.backend == "eager" and made.used == Tuned("eager", 2)
    assert "compile deviates by" in made.reason and "the tolerance is 0.0001" in made.reason
    given = example_inputs(NETWORK, "stem", 9)
    assert deviation(NETWORK.group("stem"), made.runner, given) == 0


def test_a_backend_that_is_missing_is_not_used_and_the_reason_is_told(monkeypatch):
    def lacks(*given):
        raise RunError("backend compile needs a C++ compiler", remedy="install g++")

    monkeypatch.setattr(tuning, "make_runner", lacks)
    made = tuned_runner(NETWORK, "stem", Tuning.model_validate(FILE))
    assert made.backend == "eager"
    assert made.reason == "computed eagerly: backend compile needs a C++ compiler; install g++"


@pytest.mark.parametrize("file", [None, Tuning.model_validate(FILE)], ids=["no file", "not in it"])
def test_a_group_of_which_no_file_tells_is_computed_eagerly(file):
    made = tuned_runner(NETWORK, "deep", file, torch_threads=3)
    assert (made.backend, made.reason, made.used) == ("eager", "", Tuned("eager", 3))


def test_deviation_is_relative_to_the_largest_value():
    group, given = NETWORK.group("deep"), example_inputs(NETWORK, "deep")
    eager = make_runner(group, given)
    assert deviation(group, eager, given) == 0
    raised = Runner(group, lambda states: group({"memory": states[0]}) * 1.25, given)
    assert deviation(group, raised, given) == pytest.approx(0.25)
    silent = replace_weights_by_zero(NETWORK)
    moved = Runner(silent, lambda states: silent({"memory": states[0]}) + 1e-9, given)
    assert deviation(silent, moved, given) == float("inf")  # anything is far from zero


def replace_weights_by_zero(network):
    group = StreamingNetwork(network.spec, seed=3).eval().group("deep")
    with torch.no_grad():
        for weight in group.parameters():
            weight.zero_()
    return group
