"""What is uploaded arrives bit for bit in the layout of states; on the CPU nothing is copied."""

from __future__ import annotations

import pytest
import torch

from streaming_net_ros.network.device import CPU
from streaming_net_ros.network.layout import state_strides
from streaming_net_ros.network.upload import Uploader, uploader_to

needs_gpu = pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no CUDA GPU here")
SHAPES = [((3, 4, 5), torch.uint8), ((1, 1, 7), torch.float16), ((6,), torch.float32)]


def filled(uploader, shape, dtype):
    numbers = torch.Size(shape).numel()
    payload = uploader.memory(numbers, dtype)
    return payload.copy_(torch.arange(numbers))


@pytest.mark.parametrize("shape, dtype", SHAPES)
def test_on_the_cpu_the_memory_itself_is_the_state(shape, dtype):
    uploader = uploader_to(CPU)
    assert type(uploader) is Uploader
    payload = filled(uploader, shape, dtype)
    batch = uploader.upload(payload, shape)
    assert batch.data_ptr() == payload.data_ptr()
    assert batch.shape == (1, *shape) and batch.stride() == state_strides(batch.shape)


def test_a_process_has_one_uploader_to_a_device():
    assert uploader_to(CPU) is uploader_to(torch.device("cpu"))


@needs_gpu
@pytest.mark.parametrize("is_pinned", [True, False])
@pytest.mark.parametrize("shape, dtype", SHAPES)
def test_on_a_gpu_it_arrives_bit_for_bit_and_complete(shape, dtype, is_pinned):
    uploader = uploader_to(torch.device("cuda"))
    payload = filled(uploader if is_pinned else uploader_to(CPU), shape, dtype)
    assert payload.is_pinned() == is_pinned
    expected = uploader_to(CPU).upload(payload.clone(), shape)
    batch = uploader.upload(payload, shape)
    payload.zero_()  # it has been copied
    assert batch.is_cuda and batch.stride() == expected.stride()
    assert torch.equal(batch.cpu(), expected)


@needs_gpu
def test_a_state_that_was_handed_on_is_not_written_by_the_next_upload():
    uploader = uploader_to(torch.device("cuda"))
    states = [
        uploader.upload(torch.full((64,), value, dtype=torch.float32), (64,))
        for value in range(100)
    ]
    assert [int(state[0, 0]) for state in states] == list(range(100))
