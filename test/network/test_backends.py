"""Every backend computes what the group computes, within a tolerance, in the layout of states."""

from __future__ import annotations

import pytest
import torch

from networks import TINY
from streaming_net_ros.errors import ParameterError, RunError
from streaming_net_ros.network import StreamingNetwork, parse_network
from streaming_net_ros.network import backends as module
from streaming_net_ros.network.backends import (
    BACKENDS,
    backends_for,
    holds_interpreter,
    make_runner,
    what_lacks,
)
from streaming_net_ros.network.layout import ALIGNMENT_BYTES, state_strides
from streaming_net_ros.network.tuning import deviation, example_inputs

EXCHANGED = ("onnxruntime", "openvino")
TOLERANCE = 1e-5
NETWORK = StreamingNetwork(parse_network(TINY)).eval()
needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")


def needs(backend):
    lacking = what_lacks(backend)
    if lacking is not None:
        pytest.skip(str(lacking))


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache of compiled groups of this session's own."""
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("cache")
        patch.setenv("XDG_CACHE_HOME", str(folder))
        yield folder


@pytest.fixture(scope="module")
def runner_of(cache):
    """Runners of the tiny network's groups, each made once: exporting takes its time."""
    made = {}

    def make(name, backend, network=NETWORK):
        needs(backend)
        key = id(network), name, backend
        if key not in made:
            made[key] = make_runner(network.group(name), example_inputs(network, name), backend)
        return made[key]

    return make


def assert_computes_the_group(runner, network, name, tolerance=TOLERANCE):
    group = network.group(name)
    states = []
    for seed in (1, 2):
        given = example_inputs(network, name, seed)
        assert deviation(group, runner, given) <= tolerance
        with torch.inference_mode():
            states.append(runner(given))
            expected = group(given)
        assert states[-1].dtype == expected.dtype
        assert states[-1].stride() == state_strides(expected.shape)
        assert states[-1].data_ptr() % ALIGNMENT_BYTES == 0
    assert not torch.equal(*states)  # a state that was handed on is not written again


# 'stem' hears an image of 8 bits and a state, 'head' gives a vector.
@pytest.mark.parametrize("backend", EXCHANGED)
@pytest.mark.parametrize("name", ["stem", "head"])
def test_a_backend_computes_what_the_group_computes(backend, name, runner_of):
    assert_computes_the_group(runner_of(name, backend), NETWORK, name)


def test_compiled_code_computes_what_the_group_computes_and_is_kept(runner_of, cache, monkeypatch):
    """The compiler is asked once, for the smallest group: it takes seconds."""
    runner = runner_of("head", "compile")
    assert_computes_the_group(runner, NETWORK, "head")
    assert len(list(cache.rglob("*.pt2"))) == 1

    def compile_again(*args, **options):
        raise AssertionError("compiles again")

    monkeypatch.setattr("torch._inductor.aoti_compile_and_package", compile_again)
    again = make_runner(NETWORK.group("head"), example_inputs(NETWORK, "head"), "compile")
    assert deviation(runner, again, example_inputs(NETWORK, "head", 3)) == 0
    other = StreamingNetwork(NETWORK.spec, seed=7).eval()
    with pytest.raises(RunError, match="compiles again"):  # other weights are other code
        make_runner(other.group("head"), example_inputs(other, "head"), "compile")


@pytest.mark.parametrize("backend", EXCHANGED)
def test_half_precision_states_stay_so(backend, runner_of):
    half = StreamingNetwork(parse_network({**TINY, "state_dtype": "float16"})).eval()
    assert_computes_the_group(runner_of("deep", backend, half), half, "deep", 2e-3)


@pytest.mark.parametrize("backend", EXCHANGED)
def test_two_runners_of_one_backend_give_the_same_bits(backend, runner_of):
    given = example_inputs(NETWORK, "stem", 5)
    again = runner_of("stem", backend)
    other = make_runner(NETWORK.group("stem"), example_inputs(NETWORK, "stem"), backend)
    assert deviation(again, other, given) == 0


@pytest.mark.parametrize("backend", ["compile", *EXCHANGED])
def test_what_is_not_installed_is_told_with_its_remedy(backend, monkeypatch):
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(module.shutil, "which", lambda name: None)
    with pytest.raises(
        RunError, match=rf"backend {backend} needs .*; (pip install|install g\+\+)"
    ):
        make_runner(NETWORK.group("deep"), example_inputs(NETWORK, "deep"), backend)


def test_an_unknown_backend_is_told():
    with pytest.raises(ParameterError, match="no such backend"):
        make_runner(NETWORK.group("deep"), example_inputs(NETWORK, "deep"), "tensorrt")


def test_a_group_that_a_backend_cannot_compute_is_told(monkeypatch):
    monkeypatch.setattr(module, "what_lacks", lambda *given: None)
    monkeypatch.setattr(module, "_made", lambda *given: 1 / 0)
    with pytest.raises(RunError, match=r"group deep: .*cannot compute .*ZeroDivisionError"):
        make_runner(NETWORK.group("deep"), example_inputs(NETWORK, "deep"), "onnxruntime")


def test_half_precision_computes_the_group_within_its_digits():
    """bfloat16 has 8 bits: 0.4 % of each number."""
    assert_computes_the_group(
        make_runner(NETWORK.group("stem"), example_inputs(NETWORK, "stem"), "half"),
        NETWORK, "stem", 0.02,
    )  # fmt: skip


def test_half_precision_leaves_the_group_and_its_weights_as_they_are():
    group, given = NETWORK.group("head"), example_inputs(NETWORK, "head")
    before = {name: weight.clone() for name, weight in group.state_dict().items()}
    runner = make_runner(group, given, "half")
    after = group.state_dict()
    assert all(torch.equal(weight, after[name]) for name, weight in before.items())
    assert deviation(group, runner, given) > 0  # it did compute in another precision
    assert not torch.is_autocast_enabled("cpu")


def test_what_half_precision_cannot_compute_is_told_when_it_is_made(monkeypatch):
    def fail(heard):
        raise RuntimeError("not implemented for 'BFloat16'")

    monkeypatch.setattr("streaming_net_ros.network.half.flattened", lambda group: fail)
    with pytest.raises(RunError, match=r"backend half cannot compute .*BFloat16"):
        make_runner(NETWORK.group("deep"), example_inputs(NETWORK, "deep"), "half")


def test_a_backend_of_another_device_is_refused():
    with pytest.raises(RunError, match=r"cuda_graph is not for this device: expected cuda, got cpu"
                                       r".*tune --device"):  # fmt: skip
        make_runner(NETWORK.group("deep"), example_inputs(NETWORK, "deep"), "cuda_graph")
    away = StreamingNetwork(NETWORK.spec).eval().to("meta").group("deep")
    with pytest.raises(RunError, match=r"onnxruntime is not for this device: .*got cpu and meta"):
        make_runner(away, example_inputs(NETWORK, "deep"), "onnxruntime")


def test_every_backend_is_for_some_device_and_eager_for_all():
    of_devices = [backends_for("cpu"), backends_for("cuda")]
    assert set().union(*of_devices) == set(BACKENDS)
    assert all(backends[0] == "eager" for backends in of_devices)
    assert "cuda_graph" not in of_devices[0] and "openvino" not in of_devices[1]


def test_compiled_code_keeps_the_interpreter_on_a_cpu_and_nothing_else_does():
    held = {backend for backend in BACKENDS if holds_interpreter(backend)}
    assert held == {"compile"}
    assert not any(holds_interpreter(backend, "cuda") for backend in BACKENDS)


def test_compiled_code_on_a_gpu_needs_triton(monkeypatch):
    monkeypatch.setattr(module.shutil, "which", lambda name: name)
    monkeypatch.setattr(module.importlib.util, "find_spec", lambda name: None)
    assert what_lacks("compile") is None
    assert "triton" in str(what_lacks("compile", "cuda"))


@needs_gpu
@pytest.mark.parametrize("backend, tolerance", [("cuda_graph", 1e-6), ("half", 5e-3)])
@pytest.mark.parametrize("name", ["stem", "head"])
def test_a_backend_on_a_gpu_computes_what_the_group_computes(backend, tolerance, name):
    gpu = torch.device("cuda")
    network = StreamingNetwork(NETWORK.spec).eval().to(gpu)
    group = network.group(name)
    runner = make_runner(group, example_inputs(network, name, device=gpu), backend)
    for seed in (1, 2):
        assert deviation(group, runner, example_inputs(network, name, seed, gpu)) <= tolerance
