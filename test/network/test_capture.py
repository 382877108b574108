"""What is recorded is what is repeated; on a GPU every branch lies between a fork and a join."""

from __future__ import annotations

from contextlib import contextmanager

import pytest
import torch

from networks import TINY
from streaming_net_ros.network import StreamingNetwork, parse_network
from streaming_net_ros.network.capture import CudaGraphs, plain_calls, recorder_of
from streaming_net_ros.network.device import CPU
from streaming_net_ros.network.graphed import graphed
from streaming_net_ros.network.tuning import example_inputs

NETWORK = StreamingNetwork(parse_network(TINY)).eval()


def test_on_the_cpu_a_replay_calls_all_branches_in_order():
    called = []
    replay = recorder_of(CPU)([lambda: called.append(1), lambda: called.append(2)])
    assert called == []
    replay(), replay()
    assert called == [1, 2, 1, 2]


@pytest.mark.parametrize("name", ["stem", "head"])
def test_a_graphed_group_computes_from_its_buffers_and_writes_no_state_again(name):
    group = NETWORK.group(name)
    compute = graphed(group, tuple(example_inputs(NETWORK, name).values()), plain_calls)
    with torch.inference_mode():
        given = [example_inputs(NETWORK, name, seed) for seed in (1, 2)]
        states = [compute(list(inputs.values())) for inputs in given]
        for state, inputs in zip(states, given, strict=True):
            expected = group(inputs)
            assert torch.equal(state, expected) and state.stride() == expected.stride()


class FakeGpu:
    """torch.cuda as far as a recording uses it: who waits for whom, and who worked where."""

    def __init__(self):
        self.log = []
        self.current = self.Stream(None)

    def Stream(self, device):  # noqa: N802 - torch's name
        gpu, number = self, sum(entry[0] == "stream" for entry in self.log)
        self.log.append(("stream", number))

        class Stream:
            def wait_stream(self, other):
                gpu.log.append(("wait", number, other.number))

        made = Stream()
        made.number = number
        return made

    @contextmanager
    def stream(self, stream):
        before, self.current = self.current, stream
        try:
            yield
        finally:
            self.current = before

    @contextmanager
    def graph(self, graph, pool, stream, capture_error_mode):
        self.log.append(("capture", capture_error_mode))
        before, self.current = self.current, stream
        yield
        self.log.append(("end",))
        # Where a recording fails, torch leaves the thread on the recording's stream.
        if not graph.fails:
            self.current = before
        else:
            raise RuntimeError("operation not permitted when stream is capturing")


@pytest.fixture
def gpu(monkeypatch):
    gpu = FakeGpu()

    class Graph:
        fails = False

        def replay(self):
            gpu.log.append(("replay",))

    gpu.Graph = Graph

    @contextmanager
    def device(_):
        yield

    for name, value in {
        "Stream": gpu.Stream, "stream": gpu.stream, "graph": gpu.graph, "CUDAGraph": Graph,
        "current_stream": lambda device=None: gpu.current, "graph_pool_handle": lambda: (0, 1),
        "synchronize": lambda: gpu.log.append(("synchronize",)), "device": device,
    }.items():  # fmt: skip
        monkeypatch.setattr(torch.cuda, name, value)
    return gpu


def test_each_branch_runs_on_its_own_stream_between_a_fork_and_a_join(gpu):
    def work():
        gpu.log.append(("work", gpu.current.number))

    replay = CudaGraphs(torch.device("cuda"))([work] * 3)
    begin, end = gpu.log.index(("capture", "thread_local")), gpu.log.index(("end",))
    recorded = gpu.log[begin + 1 : end]
    origin = 1  # 0 is the thread's own
    streams = [entry[1] for entry in recorded if entry[0] == "work"]
    assert len(set(streams)) == 3 and not {0, origin} & set(streams)
    for stream in streams:
        forked, joined = ("wait", stream, origin), ("wait", origin, stream)
        at = [recorded.index(entry) for entry in (forked, ("work", stream), joined)]
        assert at == sorted(at)
    # The same streams have seen the work before, and the GPU had done it.
    warmed = [entry[1] for entry in gpu.log[:begin] if entry[0] == "work"]
    assert warmed == streams and gpu.log[begin - 1] == ("synchronize",)
    replay()
    assert gpu.log[-1] == ("replay",)


def test_a_recording_that_fails_leaves_the_thread_on_its_stream(gpu):
    gpu.Graph.fails = True
    before = gpu.current
    with pytest.raises(RuntimeError, match="not permitted"):
        CudaGraphs(torch.device("cuda"))([lambda: None])
    assert gpu.current is before
