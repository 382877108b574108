"""Memory of a CUDA GPU that processes share: the few calls of the CUDA runtime that it takes.

By ctypes on the library that is loaded already (torch loads it), because torch shares memory only
together with a process's tensors and their reference counts. Does not load torch.
"""

from __future__ import annotations

import ctypes
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from streaming_net_ros.errors import TransportError
from streaming_net_ros.wire.device_ring import DeviceMemory

_BLOCK = 2 << 20  # smaller allocations share a block, and all of a block is shared with the others
_ON_DEVICE = 3  # cudaMemcpyDeviceToDevice
_NOT_BLOCKING = 1  # cudaStreamNonBlocking: does not wait for the default stream, nor that for it
_LAZY_PEER_ACCESS = 1  # cudaIpcMemLazyEnablePeerAccess, the only flag there is


class Handle(ctypes.Structure):
    """cudaIpcMemHandle_t."""

    _fields_ = (("reserved", ctypes.c_ubyte * 64),)


_pointer, _int, _uint, _size = ctypes.c_void_p, ctypes.c_int, ctypes.c_uint, ctypes.c_size_t
_SIGNATURES: dict[str, tuple[Any, ...]] = {
    "cudaGetDevice": (ctypes.POINTER(_int),),
    "cudaSetDevice": (_int,),
    "cudaGetLastError": (),
    "cudaMalloc": (ctypes.POINTER(_pointer), _size),
    "cudaMemcpyAsync": (_pointer, _pointer, _size, _int, _pointer),
    "cudaStreamCreateWithFlags": (ctypes.POINTER(_pointer), _uint),
    "cudaStreamSynchronize": (_pointer,),
    "cudaIpcGetMemHandle": (ctypes.POINTER(Handle), _pointer),
    "cudaIpcOpenMemHandle": (ctypes.POINTER(_pointer), Handle, _uint),
    "cudaIpcCloseMemHandle": (_pointer,),
}


class CudaMemory(DeviceMemory):
    """Memory of one GPU.

    Args:
        ordinal: of the GPU in this process.
        uuid: of the GPU.
        runtime: the CUDA runtime; the one that is loaded if None.

    Raises:
        TransportError: none is loaded, or the GPU cannot be used.
    """

    def __init__(self, ordinal: int, uuid: str, runtime: Any = None) -> None:
        super().__init__(uuid)
        self._ordinal = ordinal
        self._runtime = runtime or _loaded_runtime()
        for name, arguments in _SIGNATURES.items():
            function = getattr(self._runtime, name)
            function.argtypes, function.restype = arguments, _int
        self._runtime.cudaGetErrorString.argtypes = (_int,)
        self._runtime.cudaGetErrorString.restype = ctypes.c_char_p
        self._stream = _pointer()
        with self._current():
            self._call("cudaStreamCreateWithFlags", ctypes.byref(self._stream), _NOT_BLOCKING)

    def allocate(self, size: int) -> int:
        """New memory, in blocks that hold nothing else."""
        address = _pointer()
        with self._current():
            self._call("cudaMalloc", ctypes.byref(address), -(-size // _BLOCK) * _BLOCK)
        return address.value or 0

    def handle(self, address: int) -> bytes:
        """The IPC handle."""
        handle = Handle()
        with self._current():
            self._call("cudaIpcGetMemHandle", ctypes.byref(handle), address)
        return bytes(handle)

    def open(self, handle: bytes) -> int:
        """Another process's memory; opened twice, it is the same address and counted."""
        address = _pointer()
        with self._current():
            self._call(
                "cudaIpcOpenMemHandle",
                ctypes.byref(address),
                Handle.from_buffer_copy(handle),
                _LAZY_PEER_ACCESS,
            )
        return address.value or 0

    def close(self, address: int) -> None:
        """Its owner may have ended, and the memory with it: nothing is left to be told then."""
        with suppress(TransportError), self._current():
            self._call("cudaIpcCloseMemHandle", address)

    def copy(self, target: int, source: int, size: int) -> None:
        """On a stream of its own: it waits for nothing that groups compute."""
        with self._current():
            self._call("cudaMemcpyAsync", target, source, size, _ON_DEVICE, self._stream)
            self._call("cudaStreamSynchronize", self._stream)

    @contextmanager
    def _current(self) -> Iterator[None]:
        """This GPU is the thread's device; torch finds its own again afterwards."""
        before = _int()
        self._call("cudaGetDevice", ctypes.byref(before))
        if before.value == self._ordinal:
            yield
            return
        self._call("cudaSetDevice", self._ordinal)
        try:
            yield
        finally:
            self._runtime.cudaSetDevice(before.value)

    def _call(self, name: str, *arguments: Any) -> None:
        code = getattr(self._runtime, name)(*arguments)
        if code:
            self._runtime.cudaGetLastError()  # torch would take it for an error of its own
            text = self._runtime.cudaGetErrorString(code).decode(errors="replace")
            raise TransportError(f"no memory of the GPU can be shared: {name}: {text} ({code})")


def _loaded_runtime() -> Any:
    """The CUDA runtime of this process: a second copy would know nothing of its contexts."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text(encoding="utf-8").splitlines() if maps.exists() else []
    paths = {line.split(maxsplit=5)[-1] for line in lines if "/libcudart.so" in line}
    if not paths:
        raise TransportError(
            "no CUDA runtime (libcudart) is loaded that could share a GPU's memory",
            remedy="a torch with CUDA from PyPI brings it",
        )
    return ctypes.CDLL(min(paths))
