"""A group computed by another runtime, over the ONNX format: ONNX Runtime, OpenVINO.

Both are for the CPU, read the states where they lie and write into memory in the layout of states;
nothing is copied. The model goes from one to the other in memory and is made anew at every start
(about a second). Imported by ``backends`` when it is needed; the packages are optional.
"""

from __future__ import annotations

import importlib
import io
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from streaming_net_ros.network.compiled import quiet
from streaming_net_ros.network.group import LayerGroup
from streaming_net_ros.network.layout import state_strides
from streaming_net_ros.network.runner import Compute


def by_onnxruntime(group: LayerGroup, examples: tuple[Tensor, ...], torch_threads: int) -> Compute:
    """The group computed by ONNX Runtime on so many threads."""
    runtime: Any = importlib.import_module("onnxruntime")
    numpy: Any = importlib.import_module("numpy")
    options = runtime.SessionOptions()
    options.intra_op_num_threads = torch_threads
    options.inter_op_num_threads = 1
    # Its threads would otherwise spin between frames, on cores that other groups need.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    options.log_severity_level = 3
    session = runtime.InferenceSession(
        onnx_model(group, examples), options, providers=["CPUExecutionProvider"]
    )
    binding = session.io_binding()
    inputs = [
        (one.name, numpy.dtype(str(given.dtype).removeprefix("torch.")))
        for one, given in zip(session.get_inputs(), examples, strict=True)
    ]
    output = session.get_outputs()[0].name
    output_dtype = numpy.dtype(str(group.dtype).removeprefix("torch."))

    def compute(states: Sequence[Tensor]) -> Tensor:
        for (name, dtype), given in zip(inputs, states, strict=True):
            dense = as_dense(given)
            binding.bind_input(name, "cpu", 0, dtype, dense.shape, dense.data_ptr())
        state = new_state(group.shape, group.dtype)
        dense = as_dense(state)
        binding.bind_output(output, "cpu", 0, output_dtype, dense.shape, dense.data_ptr())
        session.run_with_iobinding(binding)
        return state

    return compute


def by_openvino(group: LayerGroup, examples: tuple[Tensor, ...], torch_threads: int) -> Compute:
    """The group computed by OpenVINO on so many threads, in float32."""
    openvino: Any = importlib.import_module("openvino")
    core = openvino.Core()
    model = core.compile_model(
        core.read_model(model=onnx_model(group, examples)),
        "CPU",
        {
            "INFERENCE_NUM_THREADS": torch_threads,
            "NUM_STREAMS": 1,
            "INFERENCE_PRECISION_HINT": "f32",
            "ENABLE_CPU_PINNING": False,  # where a group runs is said in the tuning file
        },
    )
    request = model.create_infer_request()

    def compute(states: Sequence[Tensor]) -> Tensor:
        for number, given in enumerate(states):
            tensor = openvino.Tensor(as_dense(given).numpy(), shared_memory=True)
            request.set_input_tensor(number, tensor)
        state = new_state(group.shape, group.dtype)
        written = openvino.Tensor(as_dense(state).numpy(), shared_memory=True)
        request.set_output_tensor(0, written)
        request.infer()
        return state

    return compute


def onnx_model(group: LayerGroup, examples: tuple[Tensor, ...]) -> bytes:
    """The group in the ONNX format, with its weights; images are (1, height, width, channels)."""
    dense = tuple(as_dense(given) for given in examples)
    with quiet(), torch.no_grad():
        made = torch.onnx.export(ChannelsLast(group).eval(), dense, dynamo=True, verbose=False)
    written = io.BytesIO()
    assert made is not None
    onnx: Any = importlib.import_module("onnx")
    onnx.save_model(made.model_proto, written)
    return written.getvalue()


class ChannelsLast(nn.Module):
    """A group with one argument per source, images as their memory lies: (1, height, width, C).

    So a runtime that knows only dense arrays reads and writes states without a copy.
    """

    def __init__(self, group: LayerGroup) -> None:
        super().__init__()
        self.group = group

    def forward(self, *states: Tensor) -> Tensor:
        """The state of a frame from all sources' states."""
        heard = (s.permute(0, 3, 1, 2) if s.dim() == 4 else s for s in states)
        state: Tensor = self.group(dict(zip(self.group.sources, heard, strict=True)))
        return state.permute(0, 2, 3, 1) if state.dim() == 4 else state


def as_dense(state: Tensor) -> Tensor:
    """A view of a state as its memory lies: (1, height, width, channels) or (1, features)."""
    return state.permute(0, 2, 3, 1) if state.dim() == 4 else state


def new_state(shape: Sequence[int], dtype: torch.dtype) -> Tensor:
    """Memory for a state, (1, ...), in the layout of states."""
    size = (1, *shape)
    return torch.empty_strided(size, state_strides(size), dtype=dtype)
