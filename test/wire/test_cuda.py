"""The calls of the CUDA runtime: on the right GPU, told when they fail, nothing left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from contextlib import closing

import pytest

from streaming_net_ros.errors import TransportError
from streaming_net_ros.wire import CudaMemory, DeviceRingWriter, cuda


class FakeRuntime:
    """libcudart as far as it is used, for a process that has its threads on GPU 0."""

    def __init__(self, failing=()):
        self.current, self.error, self.calls = 0, 0, []
        effects = {
            "cudaGetDevice": lambda into: write(into, self.current),
            "cudaSetDevice": lambda ordinal: setattr(self, "current", ordinal),
            "cudaGetLastError": lambda: setattr(self, "error", 0),
            "cudaMalloc": lambda into, size: write(into, 0x1000),
            "cudaIpcGetMemHandle": lambda into, _: into._obj.reserved.__setitem__(63, 63),
            "cudaIpcOpenMemHandle": lambda into, handle, _: write(
                into, 0x2000 + handle.reserved[63]
            ),
        }
        for name in cuda._SIGNATURES:
            effect = effects.get(name, lambda *_: None)
            setattr(self, name, self._function(name, effect, name in failing))
        setattr(self, "cudaGetErrorString", Text())  # noqa: B010 - not a name of ours

    def _function(self, name, effect, fails):
        def call(*arguments):
            self.calls.append((name, self.current, *arguments))
            if fails:
                self.error = 201
                return 201
            effect(*arguments)
            return 0

        return call

    def of(self, name):
        return [call[1:] for call in self.calls if call[0] == name]


class Text:
    """cudaGetErrorString; its types are set, as those of a function."""

    def __call__(self, code):
        return b"invalid device context"


def write(into, value):
    """Through a ctypes.byref."""
    into._obj.value = value


def test_every_call_is_made_on_its_gpu_and_the_thread_gets_its_own_back():
    runtime = FakeRuntime()
    memory = CudaMemory(1, "GPU-a", runtime)
    address = memory.take(100)
    handle = memory.handle(address)
    assert memory.open(handle) == 0x2000 + 63
    memory.copy(1, 2, 3)
    memory.close(0x203F)
    on = {call[1] for call in runtime.calls if not call[0].endswith("Device")}
    assert on == {1} and runtime.current == 0


def test_memory_that_is_shared_shares_its_block_with_nothing_else():
    runtime = FakeRuntime()
    CudaMemory(0, "GPU-a", runtime).take((2 << 20) + 1)
    (_, _, size), = runtime.of("cudaMalloc")  # fmt: skip
    assert size == 4 << 20


def test_a_copy_is_complete_on_return():
    runtime = FakeRuntime()
    CudaMemory(0, "GPU-a", runtime).copy(1, 2, 3)
    names = [call[0] for call in runtime.calls]
    assert names.index("cudaMemcpyAsync") < names.index("cudaStreamSynchronize")


@pytest.mark.parametrize(
    "name, call",
    [("cudaMalloc", lambda m: m.take(1)), ("cudaIpcGetMemHandle", lambda m: m.handle(1)),
     ("cudaIpcOpenMemHandle", lambda m: m.open(bytes(64))),
     ("cudaStreamSynchronize", lambda m: m.copy(1, 2, 3))],
)  # fmt: skip
def test_what_fails_is_told_once_and_leaves_no_error_behind(name, call):
    runtime = FakeRuntime([name])
    memory = CudaMemory(1, "GPU-a", runtime)
    with pytest.raises(TransportError, match=rf"{name}: invalid device context \(201\)"):
        call(memory)
    assert runtime.error == 0 and runtime.current == 0


def test_to_let_go_of_memory_whose_owner_has_ended_is_no_error():
    runtime = FakeRuntime(["cudaIpcCloseMemHandle"])
    CudaMemory(0, "GPU-a", runtime).close(1)
    assert runtime.error == 0


def test_a_process_without_cuda_is_told(monkeypatch, tmp_path):
    maps = tmp_path / "maps"
    maps.write_text(
        "7f00-7f01 r-xp 00000000 00:00 1    /usr/lib/libc.so.6\n7f02-7f03 rw-p 0 0 0\n"
    )
    monkeypatch.setattr(cuda, "Path", lambda _: maps)
    with pytest.raises(TransportError, match="no CUDA runtime"):
        CudaMemory(0, "GPU-a")


READER = """
import sys, torch
from streaming_net_ros.wire import CudaMemory, DeviceRingReader
state = torch.zeros(1000, device="cuda")
uuid = str(torch.cuda.get_device_properties(0).uuid)
reader = DeviceRingReader(int(sys.argv[1]), 4000, CudaMemory(0, uuid))
print(reader.read(3, state.data_ptr()), state.unique().tolist(), reader.read(4, state.data_ptr()))
"""


def test_on_a_gpu_another_process_reads_what_was_written_here():
    import torch

    if not torch.cuda.is_available():
        pytest.skip("there is no CUDA GPU here")
    state = torch.zeros(1000, device="cuda")
    memory = CudaMemory(0, str(torch.cuda.get_device_properties(0).uuid))
    with closing(DeviceRingWriter(2, 4000, memory)) as writer:
        for number in (1, 2, 3):
            state.fill_(number)
            torch.cuda.synchronize()
            writer.write(state.data_ptr())
        descriptor = writer.descriptor()
        done = subprocess.run(
            [sys.executable, "-c", READER, str(descriptor)], pass_fds=[descriptor],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        os.close(descriptor)
    assert done.stdout.strip() == "True [3.0] False"
