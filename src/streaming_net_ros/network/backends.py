"""The ways to compute one group: eagerly by torch, compiled, as a CUDA graph, by another runtime.

Owns their list: which devices each is for, what it needs, and what it does to others.
``compiled``, ``exchanged``, ``graphed`` and ``half`` make them, and a ``runner`` calls them. A
backend rounds otherwise than eager torch does, so none is used unless a tuning file asks for it
(``tuning``).
"""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Mapping, Sequence
from typing import Literal, get_args

import torch
from torch import Tensor

from streaming_net_ros.errors import ParameterError, RunError, StreamingNetError
from streaming_net_ros.network.group import LayerGroup
from streaming_net_ros.network.layout import as_state
from streaming_net_ros.network.named import first_line
from streaming_net_ros.network.runner import Compute, Runner

Backend = Literal["eager", "cuda_graph", "compile", "onnxruntime", "openvino", "half"]
BACKENDS: tuple[Backend, ...] = get_args(Backend)  # from plain to elaborate, and to coarse

_EXPORT = ("onnx", "onnxscript")
_PACKAGES: Mapping[Backend, tuple[str, ...]] = {
    "eager": (),
    "cuda_graph": (),
    "compile": (),
    "onnxruntime": ("onnxruntime", *_EXPORT),
    "openvino": ("openvino", *_EXPORT),
    "half": (),
}
_DEVICES: Mapping[Backend, tuple[str, ...]] = {
    "eager": ("cpu", "cuda"),
    "cuda_graph": ("cuda",),
    "compile": ("cpu", "cuda"),
    "onnxruntime": ("cpu",),
    "openvino": ("cpu",),
    "half": ("cpu", "cuda"),
}
_HOLDS_INTERPRETER: Sequence[Backend] = ("compile",)  # as torch's loader of compiled code does
_COMPILERS = ("c++", "g++", "clang++")


def make_runner(
    group: LayerGroup,
    examples: Mapping[str, Tensor],
    backend: Backend = "eager",
    torch_threads: int = 1,
) -> Runner:
    """A runner of a group. May take seconds (``onnxruntime``, ``openvino``) to a minute.

    Args:
        group: in evaluation mode, on its device, with its weights: a backend keeps those it was
            made with.
        examples: per source a state, (1, channels, height, width) or (1, features), of the dtype
            that it comes in, on the group's device.
        backend: one of ``BACKENDS``.
        torch_threads: of one operation.

    Raises:
        ParameterError: no such backend.
        RunError: a package or compiler is missing, the backend is not for this device, or it
            cannot compute this group.
    """
    if backend not in BACKENDS:
        raise ParameterError(
            "no such backend", where="backend", expected=f"one of {BACKENDS}", got=backend
        )
    if backend == "eager":
        return Runner(group, torch_threads=torch_threads)
    ordered = {source: as_state(examples[source]) for source in group.sources}
    devices = {tensor.device.type for tensor in (*group.parameters(), *ordered.values())}
    if not devices <= set(_DEVICES[backend]) or len(devices) > 1:
        raise RunError(
            f"backend {backend} is not for this device",
            where=f"group {group.name}",
            expected=" or ".join(_DEVICES[backend]),
            got=" and ".join(sorted(devices)),
            remedy="'streaming-net tune --device' chooses among those that are",
        )
    lacking = what_lacks(backend, devices.pop())
    if lacking is not None:
        raise lacking
    threads = torch.get_num_threads()
    torch.set_num_threads(torch_threads)  # compiled code is written for a number of threads
    try:
        compute = _made(group, tuple(ordered.values()), backend, torch_threads)
    except StreamingNetError:
        raise
    except Exception as error:  # whatever an exporter or compiler throws
        raise RunError(
            f"backend {backend} cannot compute this group "
            f"({type(error).__name__}: {first_line(error)[:200]})",
            where=f"group {group.name}",
            remedy="leave it to eager",
        ) from error
    finally:
        torch.set_num_threads(threads)
    return Runner(group, compute, ordered, torch_threads)


def backends_for(device: str) -> tuple[Backend, ...]:
    """The backends that there are for a type of device, ``cpu`` or ``cuda``."""
    return tuple(backend for backend in BACKENDS if device in _DEVICES[backend])


def holds_interpreter(backend: Backend, device: str = "cpu") -> bool:
    """Does no other Python thread go on while a group computes? On a GPU it only gives orders."""
    return device == "cpu" and backend in _HOLDS_INTERPRETER


def what_lacks(backend: Backend, device: str = "cpu") -> RunError | None:
    """Why a backend cannot be used here, and what to install; None if it can."""
    lacking = [name for name in _PACKAGES[backend] if importlib.util.find_spec(name) is None]
    if lacking:
        return RunError(
            f"backend {backend} needs {' and '.join(lacking)}",
            remedy="pip install 'streaming_net_ros[tune]'",
        )
    if backend == "compile" and not any(shutil.which(name) for name in _COMPILERS):
        return RunError(
            "backend compile needs a C++ compiler", remedy="install g++ (apt install g++)"
        )
    if backend == "compile" and device == "cuda" and not importlib.util.find_spec("triton"):
        return RunError(
            "backend compile needs triton on a GPU",
            remedy="pip install triton, of the version that this torch asks for",
        )
    return None


def _made(
    group: LayerGroup, examples: tuple[Tensor, ...], backend: Backend, torch_threads: int
) -> Compute:
    if backend == "compile":
        from streaming_net_ros.network.compiled import compiled

        return compiled(group, examples, torch_threads)
    if backend == "cuda_graph":
        from streaming_net_ros.network.graphed import graphed

        return graphed(group, examples)
    if backend == "half":
        from streaming_net_ros.network.half import half_precision

        return half_precision(group, examples)
    from streaming_net_ros.network.exchanged import by_onnxruntime, by_openvino

    make = by_onnxruntime if backend == "onnxruntime" else by_openvino
    return make(group, examples, torch_threads)
